/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors: a number of the store and its authentication code (BLAKE2b with the server's key), in base64.
 *
 * Called by the list of jobs.  What must never happen here: a number that is
 * taken from a text which was made for another key, or not by this server. */
#include "server/api/cursor.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum { CURSOR_MAC = 16, CURSOR_BYTES = 8 + CURSOR_MAC };

static void make_mac(const struct api *api, const char *tenant, const unsigned char seq[8],
                     unsigned char mac[CURSOR_MAC])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, api->cursor_key, sizeof(api->cursor_key), CURSOR_MAC);
    crypto_generichash_update(&state, seq, 8);
    crypto_generichash_update(&state, (const unsigned char *) tenant, strlen(tenant));
    crypto_generichash_final(&state, mac, CURSOR_MAC);
}

void cursor_add(struct buf *out, const struct api *api, const char *tenant, int64_t seq)
{
    unsigned char bytes[CURSOR_BYTES];
    char text[CURSOR_TEXT];

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char) ((uint64_t) seq >> (56 - 8 * i));
    make_mac(api, tenant, bytes, bytes + 8);
    sodium_bin2base64(text, sizeof(text), bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_addf(out, "\"%s\"", text);
}

int cursor_take(const struct api *api, const char *tenant, const char *text, int64_t *ret_seq)
{
    unsigned char bytes[CURSOR_BYTES], mac[CURSOR_MAC];
    size_t len;
    int err = sodium_base642bin(bytes, sizeof(bytes), text, strlen(text), NULL, &len, NULL,
                                sodium_base64_VARIANT_URLSAFE_NO_PADDING);

    if (err || len != sizeof(bytes))
        return -EINVAL;
    make_mac(api, tenant, bytes, mac);
    if (sodium_memcmp(mac, bytes + 8, sizeof(mac)) != 0)
        return -EINVAL;
    uint64_t seq = 0;
    for (int i = 0; i < 8; i++)
        seq = seq << 8 | bytes[i];
    *ret_seq = (int64_t) seq;
    return 0;
}
