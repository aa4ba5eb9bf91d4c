/* SPDX-License-Identifier: Apache-2.0 */
/* Messages are checked against their table before anybody looks into them.
 *
 * Every process reads its peers through this file, the supervisor with its privileges among them.
 * What must never happen here: a message of another size, sender or number of descriptors that
 * reaches a handler, or a descriptor that stays open because nobody expected it. */
#include "base/wire.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

_Static_assert((int) WIRE_FDS_MAX == (int) FD_PASS_MAX, "fd_recv() takes as many");
_Static_assert(WIRE_TYPES <= 64, "wire_link.heard has a bit for each");

#define MESSAGE(name, from, to, members, descriptors, times)                                                           \
    _Static_assert(offsetof(members, type) == 0, "the type comes first");
#include "base/wire.def"

static const struct wire_row rows[WIRE_TYPES] = {
#define MESSAGE(name, from, to, members, descriptors, times)                                                           \
    [WIRE_##name] = WIRE_ROW(#name, from, to, members, descriptors, times),
#include "base/wire.def"
};

const struct wire_table wire_table = { rows, WIRE_TYPES };

static const char *const peers[] = {
    [PEER_SUPERVISOR] = "supervisor",
    [PEER_SERVER] = "server",
    [PEER_ZYGOTE] = "zygote",
    [PEER_COURIER] = "courier",
};

/* NULL: there is no such message. */
static const struct wire_row *row_of(const struct wire_link *link, const void *msg, size_t size, uint32_t *ret_type)
{
    *ret_type = 0;
    if (size < sizeof(*ret_type))
        return NULL;
    memcpy(ret_type, msg, sizeof(*ret_type));
    return *ret_type < link->table->n && link->table->rows[*ret_type].name ? &link->table->rows[*ret_type] : NULL;
}

const char *wire_check(struct wire_link *link, const void *msg, size_t size, unsigned n_fds)
{
    uint32_t type;
    const struct wire_row *row = row_of(link, msg, size, &type);

    if (!row)
        return "its type";
    if (row->from != link->from || row->to != link->to)
        return "its sender";
    if (size != row->size)
        return "its size";
    if (row->n_fds != WIRE_FDS_SOME && n_fds != (unsigned) row->n_fds)
        return "its descriptors";
    const uint64_t bit = UINT64_C(1) << type;
    if (row->times == WIRE_ONCE && (link->heard & bit))
        return "it came before";
    link->heard |= bit;
    return NULL;
}

static void refuse(const struct wire_link *link, const void *msg, size_t size, const char *why)
{
    uint32_t type;
    const struct wire_row *row = row_of(link, msg, size, &type);

    log_error("a process has sent what it may not send",
              LOG_S("process", peers[link->from]) LOG_S("message", row ? row->name : "unknown") LOG_S("why", why));
}

static unsigned count_fds(const struct wire_in *in)
{
    unsigned n = 0;

    while (n < WIRE_FDS_MAX && in->fds[n] >= 0)
        n++;
    return n;
}

static void close_fds(struct wire_in *in)
{
    for (unsigned i = 0; i < WIRE_FDS_MAX; i++)
        fd_close(&in->fds[i]);
}

int wire_hear(struct wire_link *link, int sock, struct wire_in *in, wire_handler *const *handlers, void *data)
{
    in->sender = (struct ucred){ 0 };
    ssize_t n = fd_recv(sock, in->msg, in->size, in->fds, WIRE_FDS_MAX, &in->sender);

    if (n == -ECONNRESET)
        return 0;
    if (n == 0 || (n < 0 && n != -EMSGSIZE && n != -EPROTO))
        return (int) n;
    const char *why = n == -EMSGSIZE ? "its size"
                      : n == -EPROTO ? "its descriptors"
                                     : wire_check(link, in->msg, (size_t) n, count_fds(in));
    if (why) {
        refuse(link, in->msg, n < 0 ? 0 : (size_t) n, why);
        close_fds(in);
        return -EPROTO;
    }
    wire_handler *handle = handlers[*(const uint32_t *) in->msg];
    if (handle)
        handle(data, in);
    close_fds(in);
    return 1;
}
