/* SPDX-License-Identifier: Apache-2.0 */
/* Standard Webhooks: HMAC-SHA256 over id, timestamp and body.
 *
 * Called once for each attempt.  What must never happen here: a signature over other bytes than
 * those that are sent, or a key that stays behind on the stack. */
#include "courier/sign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

static const char prefix[] = "whsec_";

int sign_secret(const char *text, unsigned char ret_key[SIGN_KEY_MAX], unsigned *ret_len)
{
    static const int variants[] = { sodium_base64_VARIANT_ORIGINAL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING };
    size_t len = 0;

    for (size_t i = 0; i < sizeof(variants) / sizeof(*variants) && strncmp(text, prefix, sizeof(prefix) - 1) == 0;
         i++) {
        const char *base64 = text + sizeof(prefix) - 1;
        if (sodium_base642bin(ret_key, SIGN_KEY_MAX, base64, strlen(base64), NULL, &len, NULL, variants[i]) == 0
            && len >= SIGN_KEY_MIN) {
            *ret_len = (unsigned) len;
            return 0;
        }
    }
    sodium_memzero(ret_key, SIGN_KEY_MAX);
    return -EINVAL;
}

static void add_signature(const unsigned char *key, size_t key_len, const char *head, const void *body, size_t len,
                          struct buf *out)
{
    crypto_auth_hmacsha256_state state;
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    char base64[sodium_base64_ENCODED_LEN(sizeof(mac), sodium_base64_VARIANT_ORIGINAL)];

    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *) head, strlen(head));
    crypto_auth_hmacsha256_update(&state, body, len);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof(state));
    sodium_bin2base64(base64, sizeof(base64), mac, sizeof(mac), sodium_base64_VARIANT_ORIGINAL);
    buf_addf(out, "v1,%s", base64);
}

void sign_webhook(const struct courier_conf *conf, const char *id, int64_t timestamp, const void *body, size_t len,
                  struct buf *out)
{
    char head[128];

    snprintf(head, sizeof(head), "%s.%" PRId64 ".", id, timestamp);
    for (unsigned i = 0; i < conf->n_secrets; i++) {
        buf_adds(out, i ? " " : "");
        add_signature(conf->secrets[i].key, conf->secrets[i].len, head, body, len, out);
    }
}
