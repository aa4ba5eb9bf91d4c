/* SPDX-License-Identifier: Apache-2.0 */
/* What the log has of requests that were refused.
 *
 * Called by the HTTP room and by handlers.  A refused key is a line that an
 * operator, or fail2ban, can act on; of each address it is at most one a
 * second, and the next has how many were left out.  The address is that of
 * whoever has connected: X-Forwarded-For is what anybody may write, so behind a
 * proxy it is the proxy's log that has the client's.
 * What must never happen here: a word of the request in the log, or a log that
 * a stranger fills. */
#include "server/api/api.h"

#include "base/clock.h"
#include "base/log.h"

#include <sodium.h>
#include <string.h>

enum { SLOTS = 256, QUIET_US = 1000000, ADDRESS_MAX = 64 };

/* Of all addresses with the same hash, whose key nobody knows. */
struct slot {
    int64_t logged_us; /* 0: never */
    unsigned left_out; /* since then */
};

static struct slot *slot_of(const char *address)
{
    static struct slot slots[SLOTS];
    static unsigned char key[crypto_shorthash_KEYBYTES];
    static bool has_key;
    unsigned char hash[crypto_shorthash_BYTES];

    if (!has_key)
        crypto_shorthash_keygen(key);
    has_key = true;
    crypto_shorthash(hash, (const unsigned char *) address, strlen(address), key);
    return &slots[hash[0] % SLOTS];
}

static const char *path_of(const struct request *req)
{
    const struct route *route = request_route(req);
    return route ? route->path : NULL;
}

static void log_key(const struct request *req)
{
    bool given = request_header(req, "x-api-key") || request_header(req, "authorization");
    char address[ADDRESS_MAX];
    int64_t now = now_us();

    request_address(req, address, sizeof(address));
    struct slot *slot = slot_of(address);
    if (slot->logged_us && now - slot->logged_us < QUIET_US) {
        slot->left_out++;
        return;
    }
    log_warn("a key was refused", LOG_S("address", address) LOG_S("path", path_of(req))
                                      LOG_S("key", given ? "wrong" : "none") LOG_I("left_out", slot->left_out));
    *slot = (struct slot){ .logged_us = now };
}

void api_on_refusal(void *data, const struct request *req, int status)
{
    char address[ADDRESS_MAX];

    (void) data;
    if (status == 401)
        log_key(req);
    else if (log_has(LOG_DEBUG)) {
        request_address(req, address, sizeof(address));
        log_debug("a request was refused",
                  LOG_I("status", status) LOG_S("path", path_of(req)) LOG_S("address", address));
    }
}
