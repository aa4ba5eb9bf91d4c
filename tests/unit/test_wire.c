/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of wire.def and courier.def against every reader: what its row says comes through, all else is refused and leaves no
 * descriptor. */
#include "base/wire.h"

#include "base/fd.h"
#include "base/log.h"
#include "courier/courier.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROOM = 65536, PEERS = PEER_COURIER + 1 };

static char room[ROOM];
static const struct wire_table *const tables[] = { &wire_table, &courier_table };
static const struct wire_table *table = &wire_table; /* whose messages are heard */

/* What the handler saw. */
struct seen {
    unsigned n;
    uint32_t type;
    bool takes;
    int taken;
};

static void on_any(void *data, struct wire_in *in)
{
    struct seen *seen = data;

    seen->n++;
    memcpy(&seen->type, in->msg, sizeof(seen->type));
    seen->taken = seen->takes ? fd_steal(&in->fds[0]) : -1;
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 64; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

struct scene {
    int ours, theirs;
    struct wire_link link;
    struct seen seen;
    wire_handler *handlers[64];
};

static void start(struct scene *s, enum wire_peer from, enum wire_peer to)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    *s = (struct scene){ .ours = pair[0], .theirs = pair[1], .link = { .table = table, .from = from, .to = to } };
    for (int i = 0; i < 64; i++)
        s->handlers[i] = on_any;
}

static void stop(struct scene *s)
{
    close(s->ours);
    close(s->theirs);
}

static int hear(struct scene *s)
{
    struct wire_in in = { .msg = room, .size = sizeof(room) };
    return wire_hear(&s->link, s->ours, &in, s->handlers, &s->seen);
}

/* Send @size bytes that begin with @type. */
static void send_type(struct scene *s, uint32_t type, size_t size, unsigned n_fds)
{
    static char msg[2 * ROOM];
    const int fds[WIRE_FDS_MAX] = { 0 };

    memcpy(msg, &type, sizeof(type));
    assert_int_equal(fd_send(s->theirs, msg, size, fds, n_fds), 0);
}

/* What is heard of one message, with a new peer. */
static int heard_of(enum wire_peer from, enum wire_peer to, uint32_t type, size_t size, unsigned n_fds)
{
    struct scene s;
    unsigned before = open_fds();

    start(&s, from, to);
    send_type(&s, type, size, n_fds);
    int heard = hear(&s);
    assert_int_equal(s.seen.n, heard == 1);
    if (heard == 1)
        assert_int_equal(s.seen.type, type);
    stop(&s);
    assert_int_equal(open_fds(), before);
    return heard;
}

static unsigned fds_of(const struct wire_row *row)
{
    return row->n_fds == WIRE_FDS_SOME ? 3 : (unsigned) row->n_fds;
}

static void check_rows(void)
{
    for (unsigned type = 1; type < table->n; type++) {
        const struct wire_row *row = &table->rows[type];
        unsigned n = fds_of(row);
        assert_int_equal(heard_of(row->from, row->to, type, row->size, n), 1);
        for (unsigned from = 0; from < PEERS; from++)
            for (unsigned to = 0; to < PEERS; to++)
                if (from != row->from || to != row->to)
                    assert_int_equal(heard_of(from, to, type, row->size, n), -EPROTO);
        assert_int_equal(heard_of(row->from, row->to, type, row->size - 1, n), -EPROTO);
        assert_int_equal(heard_of(row->from, row->to, type, row->size + 1, n), -EPROTO);
        assert_int_equal(heard_of(row->from, row->to, type, row->size + sizeof(room), n), -EPROTO);
        for (unsigned k = 0; k <= WIRE_FDS_MAX; k++)
            assert_int_equal(heard_of(row->from, row->to, type, row->size, k),
                             row->n_fds == WIRE_FDS_SOME || k == n ? 1 : -EPROTO);
    }
}

static void of_each_table(void (*check)(void))
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        table = tables[i];
        check();
    }
    table = &wire_table;
}

static void test_rows(void **state)
{
    (void) state;
    of_each_table(check_rows);
}

static void test_unknown(void **state)
{
    static const uint32_t types[] = { WIRE_NONE, WIRE_TYPES, 63, 64, 77, INT32_MAX, UINT32_MAX };

    (void) state;
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        for (unsigned n = 0; n <= WIRE_FDS_MAX; n++)
            assert_int_equal(heard_of(PEER_ZYGOTE, PEER_SERVER, types[i], sizeof(struct wire_of_box), n), -EPROTO);
    for (size_t size = 1; size < sizeof(uint32_t); size++)
        assert_int_equal(heard_of(PEER_ZYGOTE, PEER_SERVER, WIRE_WARM, size, 2), -EPROTO);
}

/* As often as the row says; and a new peer begins anew. */
static void check_times(void)
{
    for (unsigned type = 1; type < table->n; type++) {
        const struct wire_row *row = &table->rows[type];
        struct scene s;
        start(&s, row->from, row->to);
        for (int i = 0; i < 3; i++) {
            send_type(&s, type, row->size, fds_of(row));
            assert_int_equal(hear(&s), i && row->times == WIRE_ONCE ? -EPROTO : 1);
        }
        stop(&s);
    }
}

static void test_times(void **state)
{
    (void) state;
    of_each_table(check_times);
}

/* A handler keeps what it takes; what it leaves, and what nobody handles, is closed. */
static void test_descriptors(void **state)
{
    unsigned before = open_fds();
    struct scene s;

    (void) state;
    start(&s, PEER_ZYGOTE, PEER_SERVER);
    s.seen.takes = true;
    send_type(&s, WIRE_BOX, sizeof(struct wire_of_box), 4);
    assert_int_equal(hear(&s), 1);
    assert_true(s.seen.taken >= 0);
    assert_int_equal(open_fds(), before + 3);
    assert_int_equal(fcntl(s.seen.taken, F_GETFD), FD_CLOEXEC);
    close(s.seen.taken);
    s.handlers[WIRE_BOX] = NULL;
    send_type(&s, WIRE_BOX, sizeof(struct wire_of_box), 4);
    assert_int_equal(hear(&s), 1);
    assert_int_equal(s.seen.n, 1);
    assert_int_equal(open_fds(), before + 2);
    stop(&s);
}

static void test_nothing_and_the_end(void **state)
{
    struct scene s;

    (void) state;
    start(&s, PEER_ZYGOTE, PEER_SERVER);
    assert_int_equal(hear(&s), -EAGAIN);
    close(s.theirs);
    assert_int_equal(hear(&s), 0);
    close(s.ours);
    start(&s, PEER_ZYGOTE, PEER_SERVER);
    send_type(&s, WIRE_WARM, 0, 2); /* looks like the end */
    assert_int_equal(hear(&s), 0);
    assert_int_equal(s.seen.n, 0);
    stop(&s);
}

/* Any bytes of any length with any descriptors: what comes through is what its row says. */
static void test_any_bytes(void **state)
{
    unsigned before = open_fds(), n_heard = 0;
    unsigned short seed[3] = { 1, 2, 3 };

    (void) state;
    for (int i = 0; i < 5000; i++) {
        uint32_t type = (uint32_t) nrand48(seed) % (WIRE_TYPES + 3);
        const struct wire_row *row = type && type < WIRE_TYPES ? &wire_table.rows[type] : &wire_table.rows[1];
        size_t size = nrand48(seed) % 2 ? row->size : (size_t) nrand48(seed) % 64;
        unsigned n_fds = nrand48(seed) % 2 ? fds_of(row) : (unsigned) nrand48(seed) % (WIRE_FDS_MAX + 1);
        enum wire_peer from = nrand48(seed) % 2 ? row->from : (enum wire_peer)(nrand48(seed) % PEERS);
        enum wire_peer to = nrand48(seed) % 2 ? row->to : (enum wire_peer)(nrand48(seed) % PEERS);
        bool good = type && type < WIRE_TYPES && size == row->size && from == row->from && to == row->to
                    && (row->n_fds == WIRE_FDS_SOME || n_fds == fds_of(row));
        assert_int_equal(heard_of(from, to, type, size, n_fds), good ? 1 : size ? -EPROTO : 0);
        n_heard += good;
    }
    assert_true(n_heard > 100);
    assert_int_equal(open_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_nothing_and_the_end),
        cmocka_unit_test(test_any_bytes),
    };

    log_init("test", LOG_JSON, LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
