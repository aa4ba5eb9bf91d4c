/* SPDX-License-Identifier: Apache-2.0 */
/* The pool and the server's end of its boxes, with a zygote and boxes that are played.
 *
 * All sockets are local and both ends are in one process: what was sent has
 * arrived, so a few turns of the loop bring the pool to rest.  A test waits
 * only for the clocks of the pool's own: a deadline, the pause after a failure. */
#include "base/fd.h"
#include "base/log.h"
#include "box/box.h"
#include "server/pool/pool.h"
#include "server/pool/slot.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { SLOTS = 16, OUTPUT_MAX = 1000, RESULT_MAX = 200000, TOKEN = 16, LONG_MS = 60000 };

/* The other end of one box. */
struct box_end {
    bool open;
    uint32_t serial;
    int control, out, err, life;
    struct wire_run order;
};

struct scene {
    uv_loop_t loop;
    struct wire_server_conf conf;
    struct pool *pool;
    int zygote;
    unsigned n_ready, n_refused, n_asked, n_zygotes_asked, n_long, n_maybe, fds_before;
    uint32_t asked_slot, asked_serial;
    unsigned asked_runtime;
    int64_t memory;
    bool two_keys;
    struct box_end boxes[SLOTS];
};

struct told {
    struct job job;
    struct scene *scene;
    struct told *next; /* run it from on_done() */
    unsigned n_done, n_refused;
    enum outcome_kind kind;
    int exit_code;
    struct buf result, error, out, err, live;
    int64_t out_total;
};

/* There is no way to end a pool, as the server never does: those of ended scenes stay reachable here. */
static void *ended[256];
static unsigned n_ended;

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void on_ready(void *data)
{
    struct scene *s = data;
    s->n_ready++;
}

static void on_refused(void *data, const struct wire_box_state *state)
{
    struct scene *s = data;
    assert_int_not_equal(state->step, 0);
    s->n_refused++;
}

static void on_ask(void *data, uint32_t slot, uint32_t serial)
{
    struct scene *s = data;
    s->n_asked++;
    s->asked_slot = slot;
    s->asked_serial = serial;
}

static void on_ask_zygote(void *data, unsigned runtime)
{
    struct scene *s = data;
    s->n_zygotes_asked++;
    s->asked_runtime = runtime;
}

static void on_long(void *data, uint32_t slot, uint32_t serial, bool maybe)
{
    struct scene *s = data;

    (void) slot;
    s->n_long += !maybe;
    s->n_maybe += maybe;
    assert_int_not_equal(serial, 0);
}

/* Of 1000 bytes. */
static int64_t memory_left(void *data, unsigned kept)
{
    struct scene *s = data;
    return s->memory - (int64_t) kept;
}

static bool has_keys(void *data)
{
    struct scene *s = data;
    return s->two_keys;
}

static const struct pool_hooks hooks = {
    .memory_left = memory_left,
    .has_keys = has_keys,
    .on_ready = on_ready,
    .on_refused = on_refused,
    .ask_usage = on_ask,
    .tell_long = on_long,
    .ask_zygote = on_ask_zygote,
};

static void turn(struct scene *s)
{
    for (int i = 0; i < 8; i++)
        uv_run(&s->loop, UV_RUN_NOWAIT);
}

static void bring_zygote(struct scene *s)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    s->zygote = pair[0];
    pool_zygote(s->pool, 0, pair[1]);
}

static struct scene *start_with(struct wire_server_conf conf)
{
    struct scene *s = calloc(1, sizeof(*s));

    assert_int_equal(slots_prepare(), 0);
    s->fds_before = open_fds();
    s->conf = conf;
    s->memory = 1000;
    s->conf.n_runtimes = conf.n_runtimes ? conf.n_runtimes : 1;
    s->conf.n_first_slots = conf.n_first_slots ? conf.n_first_slots : conf.n_slots;
    s->conf.places = conf.places ? conf.places : conf.max_runs;
    s->conf.limits = (struct wire_limits){
        .output_bytes = OUTPUT_MAX, .result_bytes = RESULT_MAX, .processes = 4, .memory_bytes = 1 << 20
    };
    uv_loop_init(&s->loop);
    s->pool = pool_new(&s->loop, &s->conf, &hooks, s);
    bring_zygote(s);
    return s;
}

static struct scene *start(unsigned n_slots, unsigned pool_size, unsigned max_runs, int64_t queue_max)
{
    return start_with((struct wire_server_conf){
        .n_slots = n_slots, .runtimes[0].pool_size = pool_size, .max_runs = max_runs, .queue_max = queue_max });
}

/* Of a zygote: @status is what its program ended with (WIRE_EXITED), or -errno (WIRE_GONE). */
static void tell_with(struct scene *s, enum wire_type type, uint32_t slot, uint32_t serial, int status, unsigned n_fds)
{
    static const int fds[4] = { 0 };
    const union {
        struct wire_plain plain;
        struct wire_of_box box;
        struct wire_exited exited;
        struct wire_gone gone;
    } msg = { .exited = {
                  .type = type, .slot = slot, .serial = serial, .status = type == WIRE_GONE ? -status : status } };
    size_t size = type == WIRE_EXITED ? sizeof(msg.exited)
                  : type == WIRE_GONE ? sizeof(msg.gone)
                  : type == WIRE_WARM ? sizeof(msg.plain)
                                      : sizeof(msg.box);

    assert_int_equal(fd_send(s->zygote, &msg, size, fds, n_fds), 0);
    turn(s);
}

static void tell(struct scene *s, enum wire_type type, uint32_t slot, uint32_t serial, int status)
{
    tell_with(s, type, slot, serial, status, 0);
}

/* The next order to the zygote, if there is one. */
static bool get_order(struct scene *s, struct wire_of_box *ret_order)
{
    turn(s);
    ssize_t n = recv(s->zygote, ret_order, sizeof(*ret_order), MSG_DONTWAIT);
    if (n < 0)
        return false;
    assert_int_equal(n, sizeof(*ret_order));
    assert_int_equal(ret_order->type, WIRE_SPAWN);
    assert_true(ret_order->slot < s->conf.n_slots);
    return true;
}

static bool no_order(struct scene *s)
{
    struct wire_of_box order;
    return !get_order(s, &order);
}

static struct wire_of_box wait_order(struct scene *s)
{
    struct wire_of_box order;

    while (!get_order(s, &order))
        uv_run(&s->loop, UV_RUN_ONCE);
    return order;
}

/* Send the ends of a new box, and keep the others. */
static struct box_end *send_box(struct scene *s, const struct wire_of_box *order)
{
    struct wire_of_box msg = { .type = WIRE_BOX, .slot = order->slot, .serial = order->serial };
    struct box_end *box = &s->boxes[order->slot];
    int control[2], out[2], err[2], life[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control), 0);
    assert_int_equal(pipe2(life, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    int fds[] = { control[0], out[0], err[0], life[1] };
    assert_int_equal(fd_send(s->zygote, &msg, sizeof(msg), fds, 4), 0);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    assert_false(box->open);
    *box = (struct box_end){ true, order->serial, control[1], out[1], err[1], life[0], { { 0 }, 0, 0 } };
    fcntl(box->out, F_SETFL, O_NONBLOCK);
    fcntl(box->err, F_SETFL, O_NONBLOCK);
    turn(s);
    return box;
}

static void close_box(struct box_end *box)
{
    fd_close(&box->control);
    fd_close(&box->out);
    fd_close(&box->err);
    fd_close(&box->life);
    box->open = false;
}

static void say_state(struct scene *s, struct box_end *box, int step, int error)
{
    struct wire_box_state state = { step, error };
    assert_int_equal(send(box->control, &state, sizeof(state), 0), sizeof(state));
    turn(s);
}

static struct box_end *make_box(struct scene *s, const struct wire_of_box *order)
{
    struct box_end *box = send_box(s, order);

    say_state(s, box, BOX_READY, 0);
    return box;
}

/* The next order becomes a waiting box. */
static struct box_end *wait_box(struct scene *s)
{
    struct wire_of_box order = wait_order(s);
    return make_box(s, &order);
}

static uint32_t slot_of(const struct scene *s, const struct box_end *box)
{
    return (uint32_t) (box - s->boxes);
}

/* Has the server let go of it? */
static bool is_killed(const struct box_end *box)
{
    char c;
    return read(box->life, &c, 1) == 0;
}

/* The zygote has seen all of it end. */
static void bury(struct scene *s, struct box_end *box)
{
    uint32_t serial = box->serial;

    close_box(box);
    tell(s, WIRE_GONE, slot_of(s, box), serial, 0);
}

/* End the scene: nothing of it may stay open. */
static void stop(struct scene *s)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (s->boxes[i].open)
            close_box(&s->boxes[i]);
    fd_close(&s->zygote);
    turn(s);
    assert_false(pool_is_ready(s->pool));
    unsigned now = open_fds();
    uv_loop_t other;
    uv_loop_init(&other); /* the loop's own descriptors are as many as any loop's */
    unsigned own = open_fds() - now;
    uv_loop_close(&other);
    if (now != s->fds_before + own)
        fail_msg("%d descriptors are left over", (int) (now - s->fds_before - own));
    assert_true(n_ended < sizeof(ended) / sizeof(*ended));
    ended[n_ended++] = s; /* and with it its pool */
}

/* --- jobs --- */

static void copy(struct buf *to, const struct buf *from)
{
    buf_init(to, 1 << 20);
    buf_add(to, from->data, from->len);
}

static void on_done(struct job *job, struct outcome *outcome)
{
    struct told *t = job->owner;

    t->n_done++;
    t->kind = outcome->kind;
    t->exit_code = outcome->exit_code;
    copy(&t->result, &outcome->result);
    copy(&t->error, &outcome->error);
    copy(&t->out, &outcome->out.kept);
    copy(&t->err, &outcome->err.kept);
    t->out_total = outcome->out.total;
    assert_true(job->queued_us <= job->started_us && job->started_us <= job->ended_us);
    if (t->next)
        assert_int_equal(pool_run(t->scene->pool, &t->next->job), 0);
}

static void on_no_box(struct job *job)
{
    struct told *t = job->owner;

    t->n_refused++;
    assert_true(job->queued_us <= job->started_us && job->started_us == job->ended_us);
    if (t->next)
        assert_int_equal(pool_run(t->scene->pool, &t->next->job), 0);
}

static void on_output(struct job *job, int fd, const char *p, size_t n)
{
    struct told *t = job->owner;
    buf_addc(&t->live, (char) ('0' + fd));
    buf_add(&t->live, p, n);
}

static void make_job(struct told *t, struct scene *s)
{
    *t = (struct told){ .scene = s, .job = { .code = "pass", .code_len = 4, .timeout_ms = LONG_MS } };
    t->job.on_done = on_done;
    t->job.on_refused = on_no_box;
    t->job.owner = t;
    strcpy(t->job.id, "0190a3b2-0000-7000-8000-000000000001");
    buf_init(&t->live, 1000);
}

static void free_job(struct told *t)
{
    buf_free(&t->result);
    buf_free(&t->error);
    buf_free(&t->out);
    buf_free(&t->err);
    buf_free(&t->live);
}

static bool is(const struct buf *b, const char *text)
{
    return b->len == strlen(text) && (!b->len || memcmp(b->data, text, b->len) == 0);
}

/* The box takes its order; its source has to be @code. */
static void take_order(struct box_end *box, const char *code)
{
    char packet[sizeof(struct wire_run) + 100];
    ssize_t n = recv(box->control, packet, sizeof(packet), MSG_DONTWAIT);

    assert_int_equal(n, sizeof(box->order) + strlen(code));
    memcpy(&box->order, packet, sizeof(box->order));
    assert_int_equal(box->order.code_len, strlen(code));
    assert_memory_equal(packet + sizeof(box->order), code, strlen(code));
}

/* Run @t in a box that waits: it has its order when this returns. */
static void begin(struct scene *s, struct told *t, struct box_end *box)
{
    make_job(t, s);
    assert_int_equal(pool_run(s->pool, &t->job), 0);
    assert_int_equal(pool_queue_length(s->pool), 0);
    take_order(box, "pass");
}

static void send_packet(struct scene *s, struct box_end *box, const unsigned char *token, const void *head,
                        size_t head_len, const char *body, size_t len)
{
    static char packet[TOKEN + sizeof(struct wire_outcome) + WIRE_PIECE + 1000];

    memcpy(packet, token, TOKEN);
    memcpy(packet + TOKEN, head, head_len);
    memcpy(packet + TOKEN + head_len, body, len);
    assert_int_equal(send(box->control, packet, TOKEN + head_len + len, MSG_NOSIGNAL), TOKEN + head_len + len);
    turn(s);
}

static void send_head(struct scene *s, struct box_end *box, struct wire_outcome head, const char *body, size_t len)
{
    send_packet(s, box, box->order.token, &head, sizeof(head), body, len);
}

static void send_piece(struct scene *s, struct box_end *box, const char *body, size_t len)
{
    send_packet(s, box, box->order.token, "", 0, body, len);
}

static void report(struct scene *s, struct box_end *box, int kind, int exit_code, const char *result, const char *error)
{
    char body[1000];

    strcpy(stpcpy(body, result), error);
    send_head(s, box, (struct wire_outcome){ kind, exit_code, (int64_t) strlen(result), (int64_t) strlen(error) }, body,
              strlen(body));
}

static void write_text(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void answer_about(struct scene *s, uint32_t slot, uint32_t serial, int64_t oom_kills, int64_t pid_refusals)
{
    const struct wire_usage msg = {
        .type = WIRE_USAGE, .slot = slot, .serial = serial, .oom_kills = oom_kills, .pid_refusals = pid_refusals
    };
    pool_usage(s->pool, &msg);
    turn(s);
}

/* To the last question. */
static void answer(struct scene *s, uint32_t slot, int64_t oom_kills, int64_t pid_refusals)
{
    answer_about(s, slot, s->asked_serial, oom_kills, pid_refusals);
}

/* --- boxes --- */

static void test_orders(void **state)
{
    struct scene *s = start(SLOTS, 3, 2, 0);
    struct wire_of_box orders[3];

    (void) state;
    assert_true(no_order(s)); /* not before the zygote is warm */
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(get_order(s, &orders[i]));
        for (int j = 0; j < i; j++)
            assert_true(orders[i].slot != orders[j].slot && orders[i].serial > orders[j].serial);
    }
    assert_true(no_order(s));
    assert_false(pool_is_ready(s->pool));
    for (int i = 0; i < 3; i++) {
        struct box_end *box = send_box(s, &orders[i]);
        assert_int_equal(s->n_ready, i > 0);
        say_state(s, box, BOX_READY, 0);
        assert_int_equal(s->n_ready, 1); /* once */
        assert_true(pool_is_ready(s->pool));
    }
    assert_true(no_order(s));
    stop(s);
}

static void test_run(void **state)
{
    struct scene *s = start(2, 1, 2, 0);
    struct told first, second;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &first, box);
    assert_int_equal(box->order.timeout_ms, LONG_MS);
    write_text(box->out, "printed\n");
    write_text(box->err, "warned\n");
    assert_true(no_order(s)); /* the next box is ordered when the reply has left */
    assert_true(pool_is_ready(s->pool));
    report(s, box, OUTCOME_OK, 0, "[1, 2]", "");
    assert_int_equal(first.n_done, 1);
    assert_int_equal(first.kind, OUTCOME_OK);
    assert_int_equal(first.exit_code, 0);
    assert_true(is(&first.result, "[1, 2]"));
    assert_true(is(&first.out, "printed\n") && is(&first.err, "warned\n"));
    assert_true(is_killed(box));
    assert_int_equal(s->n_asked, 0);
    struct box_end *next = wait_box(s);
    assert_ptr_not_equal(next, box); /* its slot is not free before the zygote says so */
    begin(s, &second, next);
    assert_memory_not_equal(next->order.token, box->order.token, TOKEN);
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, 9);
    bury(s, box);
    report(s, next, OUTCOME_OK, 0, "", "");
    assert_int_equal(second.n_done, 1);
    assert_int_equal(first.n_done, 1);
    assert_ptr_equal(wait_box(s), box); /* now it is */
    free_job(&first);
    free_job(&second);
    stop(s);
}

/* As many slots as boxes: the next is made when the last of the old is gone. */
static void test_slots(void **state)
{
    struct scene *s = start(1, 1, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 5; i++) {
        struct box_end *box = wait_box(s);
        begin(s, &t, box);
        report(s, box, OUTCOME_OK, 0, "", "");
        assert_int_equal(t.n_done, 1);
        assert_true(no_order(s));
        tell(s, WIRE_EXITED, 0, box->serial, 9);
        assert_true(no_order(s));
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

static void test_output(void **state)
{
    struct scene *s = start(SLOTS, 2, 2, 0);
    char text[OUTPUT_MAX * 3 + 1];
    struct told t;

    (void) state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    write_text(box->out, text);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.out.len, OUTPUT_MAX);
    assert_int_equal(t.out_total, OUTPUT_MAX * 3);
    assert_int_equal(t.err.len, 0);
    free_job(&t);
    /* told as it comes, and not kept */
    box = wait_box(s);
    begin(s, &t, box);
    t.job.on_output = on_output;
    write_text(box->out, "a");
    while (!t.live.len) /* without the report: the loop looks for it */
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_true(is(&t.live, "1a"));
    write_text(box->err, "b");
    fd_close(&box->err); /* an end of output is not the end of the run */
    turn(s);
    assert_int_equal(t.n_done, 0);
    write_text(box->out, "c");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_true(is(&t.live, "1a2b1c"));
    assert_int_equal(t.out.len, 0);
    assert_int_equal(t.out_total, 2);
    free_job(&t);
    stop(s);
}

/* A program that writes without end is read in turns, and its report is seen. */
static void test_flood(void **state)
{
    static char text[4096];
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;
    size_t written = 0;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    while (written < 4 << 20) {
        ssize_t n = write(box->out, text, sizeof(text));
        if (n > 0)
            written += (size_t) n;
        else
            uv_run(&s->loop, UV_RUN_ONCE);
    }
    while (write(box->out, text, sizeof(text)) > 0)
        written += sizeof(text);
    report(s, box, OUTCOME_OK, 0, "1", "");
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.out_total, written);
    assert_int_equal(t.out.len, OUTPUT_MAX);
    free_job(&t);
    stop(s);
}

/* Without a report the wait status is the outcome, and a failure asks for the reason. */
static void test_exits(void **state)
{
    static const struct {
        int status;
        int64_t oom_kills, pid_refusals;
        enum outcome_kind kind;
        int exit_code;
    } ends[] = {
        { 0, 0, 0, OUTCOME_OK, 0 },
        { 3 << 8, 0, 0, OUTCOME_EXIT, 3 },
        { SIGSEGV, 0, 0, OUTCOME_SIGNAL, 139 },
        { SIGKILL, 2, 0, OUTCOME_MEMORY, 137 },
        { 1 << 8, 0, 7, OUTCOME_PROCESSES, 1 },
    };
    struct scene *s = start(SLOTS, 1, 1, 0);

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (unsigned i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        struct box_end *box = wait_box(s);
        uint32_t slot = slot_of(s, box);
        struct told t;
        begin(s, &t, box);
        write_text(box->out, "before");
        fd_close(&box->control);
        turn(s);
        assert_int_equal(t.n_done, 0);
        s->n_asked = 0;
        tell(s, WIRE_EXITED, slot, box->serial, ends[i].status);
        assert_int_equal(s->n_asked, ends[i].kind != OUTCOME_OK);
        if (s->n_asked) {
            assert_int_equal(t.n_done, 0);
            assert_int_equal(s->asked_slot, slot);
            assert_int_equal(s->asked_serial, box->serial);
            bury(s, box); /* that all of it is gone changes nothing */
            answer(s, slot, ends[i].oom_kills, ends[i].pid_refusals);
        } else
            bury(s, box);
        assert_int_equal(t.n_done, 1);
        assert_int_equal(t.kind, ends[i].kind);
        assert_int_equal(t.exit_code, ends[i].exit_code);
        assert_true(is(&t.out, "before"));
        answer(s, slot, 5, 5); /* nobody has asked */
        free_job(&t);
    }
    stop(s);
}

/* Which reported failures are asked about. */
static void test_asks(void **state)
{
    static const struct {
        int kind, exit_code;
        bool asks;
    } kinds[] = {
        { OUTCOME_EXCEPTION, 1, true },
        { OUTCOME_EXIT, 2, true },
        { OUTCOME_SYNTAX, 1, false },
        { OUTCOME_RESULT, 0, false },
    };
    struct scene *s = start(SLOTS, 1, 1, 0);

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct box_end *box = wait_box(s);
        struct told t;
        begin(s, &t, box);
        s->n_asked = 0;
        report(s, box, kinds[i].kind, kinds[i].exit_code, "", "why");
        assert_int_equal(s->n_asked, kinds[i].asks);
        assert_int_equal(t.n_done, !kinds[i].asks);
        answer(s, SLOTS + 5, 1, 1); /* a slot that there is not */
        if (kinds[i].asks)
            report(s, box, OUTCOME_OK, 0, "1", ""); /* too late */
        answer(s, slot_of(s, box), 0, 0);
        assert_int_equal(t.n_done, 1);
        assert_int_equal(t.kind, kinds[i].kind);
        assert_true(is(&t.error, "why"));
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

/* --- hostile reports --- */

static void test_wrong_token(void **state)
{
    static const struct wire_outcome forged = { OUTCOME_OK, 0, 1, 0 };
    struct scene *s = start(SLOTS, 1, 1, 0);
    unsigned char token[TOKEN];
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    for (unsigned i = 0; i < TOKEN; i++) { /* each byte counts */
        memcpy(token, box->order.token, TOKEN);
        token[i] ^= 1;
        send_packet(s, box, token, &forged, sizeof(forged), "1", 1);
    }
    for (size_t n = 1; n < TOKEN + sizeof(forged); n++) { /* nor half a token, nor half a head */
        char packet[TOKEN + sizeof(forged)] = { 0 };
        memcpy(packet, box->order.token, TOKEN);
        assert_int_equal(send(box->control, packet, n, 0), n);
        turn(s);
    }
    assert_int_equal(t.n_done, 0);
    send_head(s, box, (struct wire_outcome){ OUTCOME_OK, 0, 4, 0 }, "[1", 2);
    send_packet(s, box, token, &forged, sizeof(forged), "9", 1); /* between two pieces */
    assert_int_equal(t.n_done, 0);
    send_piece(s, box, "2]", 2);
    while (t.n_done == 0) /* after what is not of our code the socket rests */
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(t.n_done, 1);
    assert_true(is(&t.result, "[12]"));
    free_job(&t);
    stop(s);
}

/* What the box says of its time counts where it can be true, and not at all otherwise. */
static void test_stamps(void **state)
{
    enum {
        RIGHT,
        EARLY,
        SWAPPED,
        COMPILED_LATE,
        FUTURE,
        NEGATIVE,
        REHEARSED,
        LONG_REHEARSED,
        REHEARSED_BACK,
        NONE,
        CASES
    };
    struct scene *s = start(2, 1, 1, 0);

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < CASES; i++) {
        struct told t;
        struct box_end *box = wait_box(s);
        begin(s, &t, box);
        int64_t now = now_us(), started = t.job.started_us;
        const struct wire_stamps cases[] = {
            [RIGHT] = { 0, started, now, now },
            [EARLY] = { 0, started - 1, now, now },
            [SWAPPED] = { 0, now, started - 1, now },
            [COMPILED_LATE] = { 0, started, now + 1, now },
            [FUTURE] = { 0, started, now, now + 60000000 },
            [NEGATIVE] = { 0, INT64_MIN, INT64_MIN, INT64_MIN },
            [REHEARSED] = { 1, now, now, now },
            [LONG_REHEARSED] = { 60000000, now, now, now },
            [REHEARSED_BACK] = { -1, now, now, now },
            [NONE] = { 0 },
        };
        struct wire_outcome head = { OUTCOME_OK, 0, 1, 0, cases[i] };
        send_head(s, box, head, "7", 1);
        assert_int_equal(t.n_done, 1); /* it is a good report all the same */
        assert_true(is(&t.result, "7"));
        bool counts = i == RIGHT || i == REHEARSED;
        const struct wire_stamps none = { 0 };
        assert_memory_equal(&t.job.stamps, counts ? &cases[i] : &none, sizeof(none));
        tell(s, WIRE_EXITED, slot_of(s, box), box->serial, 9);
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

/* The same report whole, in two pieces cut anywhere, and byte by byte. */
static void test_pieces(void **state)
{
    static const char body[] = "{\"a\": [1, 2.5, \"x\"]}Traceback";
    const size_t len = sizeof(body) - 1, error_len = 9;
    struct scene *s = start(SLOTS, 1, 1, 0);

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (size_t cut = 0; cut <= len + 1; cut++) {
        struct box_end *box = wait_box(s);
        struct wire_outcome head = { OUTCOME_EXCEPTION, 1, (int64_t) (len - error_len), (int64_t) error_len };
        struct told t;
        begin(s, &t, box);
        send_head(s, box, head, body, cut <= len ? cut : 0);
        assert_int_equal(s->n_asked, cut == len);
        if (cut < len)
            send_piece(s, box, body + cut, len - cut);
        else if (cut > len)
            for (size_t i = 0; i < len; i++) {
                assert_int_equal(s->n_asked, 0);
                send_piece(s, box, body + i, 1);
            }
        assert_int_equal(s->n_asked, 1);
        s->n_asked = 0;
        answer(s, slot_of(s, box), 0, 0);
        assert_int_equal(t.n_done, 1);
        assert_int_equal(t.kind, OUTCOME_EXCEPTION);
        assert_true(is(&t.error, "Traceback"));
        assert_int_equal(t.result.len, len - error_len);
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

static void test_large_report(void **state)
{
    static char body[RESULT_MAX];
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    memset(body, '1', sizeof(body));
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    send_head(s, box, (struct wire_outcome){ OUTCOME_OK, 0, RESULT_MAX, 0 }, body, WIRE_PIECE);
    for (size_t at = WIRE_PIECE; at < RESULT_MAX; at += WIRE_PIECE)
        send_piece(s, box, body, RESULT_MAX - at < WIRE_PIECE ? RESULT_MAX - at : WIRE_PIECE);
    while (!t.n_done) /* it is checked in a thread */
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.kind, OUTCOME_OK);
    assert_int_equal(t.result.len, RESULT_MAX);
    assert_memory_equal(t.result.data, body, RESULT_MAX);
    free_job(&t);
    stop(s);
}

/* Lengths that cannot be end the run at once; nothing waits for bytes that never come. */
static void test_lies(void **state)
{
    static const struct wire_outcome lies[] = {
        { OUTCOME_OK, 0, -1, 0 },
        { OUTCOME_OK, 0, 0, -1 },
        { OUTCOME_OK, 0, INT64_MIN, INT64_MAX },
        { OUTCOME_OK, 0, INT64_MAX, INT64_MAX },
        { OUTCOME_OK, 0, 1LL << 40, 0 },
        { OUTCOME_OK, 0, 0, 1LL << 40 },
        { OUTCOME_OK, 0, 0, 0 }, /* and "1" behind it */
        { OUTCOME_TIMEOUT, 0, 1, 0 },
        { OUTCOME_OK, 7, 1, 0 },
    };
    struct scene *s = start(SLOTS, 1, 1, 0);

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (unsigned i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        struct box_end *box = wait_box(s);
        struct told t;
        begin(s, &t, box);
        send_head(s, box, lies[i], "1", 1);
        answer(s, slot_of(s, box), 0, 0);
        assert_int_equal(t.n_done, 1);
        assert_int_equal(t.kind, OUTCOME_EXIT);
        assert_int_equal(t.exit_code, 1);
        assert_int_equal(t.result.len, 0);
        assert_true(is_killed(box));
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

/* An empty packet looks like the end of the stream; the report behind it counts when the program has ended. */
static void test_empty_packet(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    assert_int_equal(send(box->control, "", 0, 0), 0);
    turn(s);
    report(s, box, OUTCOME_OK, 0, "5", "");
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, 0);
    assert_int_equal(t.n_done, 1);
    assert_true(is(&t.result, "5"));
    free_job(&t);
    stop(s);
}

/* The last words of a program that is reaped before they were read. */
static void test_report_then_exit(void **state)
{
    struct wire_exited exited = { .type = WIRE_EXITED, .status = SIGKILL };
    struct wire_outcome head = { OUTCOME_OK, 0, 1, 0 };
    struct scene *s = start(SLOTS, 1, 1, 0);
    char packet[TOKEN + sizeof(head) + 1];
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    exited.slot = slot_of(s, box);
    exited.serial = box->serial;
    memcpy(packet, box->order.token, TOKEN);
    memcpy(packet + TOKEN, &head, sizeof(head));
    packet[TOKEN + sizeof(head)] = '5';
    fd_send(s->zygote, &exited, sizeof(exited), NULL, 0);
    assert_int_equal(send(box->control, packet, sizeof(packet), 0), sizeof(packet));
    turn(s);
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.kind, OUTCOME_OK);
    assert_true(is(&t.result, "5"));
    free_job(&t);
    stop(s);
}

/* --- time --- */

static void test_timeout(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    make_job(&t, s);
    t.job.timeout_ms = 50;
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    take_order(box, "pass");
    write_text(box->out, "so far");
    send_head(s, box, (struct wire_outcome){ OUTCOME_OK, 0, 5, 0 }, "[1", 2); /* half a report is none */
    while (!t.n_done)
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_int_equal(t.kind, OUTCOME_TIMEOUT);
    assert_int_equal(t.exit_code, 137);
    assert_int_equal(t.result.len, 0);
    assert_true(is(&t.out, "so far"));
    assert_true(t.job.ended_us - t.job.started_us >= 50000);
    assert_true(is_killed(box));
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, SIGKILL);
    bury(s, box);
    assert_int_equal(t.n_done, 1);
    free_job(&t);
    stop(s);
}

/* The supervisor does not answer: the outcome that is known is told soon, whatever time the program had left. */
static void test_no_answer(void **state)
{
    (void) state;
    for (int zygote_lives = 0; zygote_lives < 2; zygote_lives++) {
        struct scene *s = start(SLOTS, 1, 1, 0);
        struct told t;
        tell(s, WIRE_WARM, 0, 0, 0);
        struct box_end *box = wait_box(s);
        begin(s, &t, box);
        report(s, box, OUTCOME_EXCEPTION, 1, "", "why");
        assert_int_equal(s->n_asked, 1);
        if (!zygote_lives)
            fd_close(&s->zygote);
        while (!t.n_done)
            uv_run(&s->loop, UV_RUN_ONCE);
        assert_int_equal(t.kind, OUTCOME_EXCEPTION);
        assert_true(is(&t.error, "why"));
        assert_true(t.job.ended_us - t.job.started_us < LONG_MS / 2 * 1000LL);
        answer(s, slot_of(s, box), 1, 1);
        assert_int_equal(t.n_done, 1);
        free_job(&t);
        stop(s);
    }
}

/* An answer that comes when the slot has another box is not about that. */
static void test_late_answer(void **state)
{
    struct scene *s = start(1, 1, 1, 0);
    struct told first, second;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &first, box);
    report(s, box, OUTCOME_EXIT, 1, "", "");
    uint32_t serial = s->asked_serial;
    pool_cancel(s->pool, &first.job);
    bury(s, box);
    box = wait_box(s);
    begin(s, &second, box);
    report(s, box, OUTCOME_EXIT, 1, "", "");
    assert_int_equal(s->n_asked, 2);
    assert_int_not_equal(s->asked_serial, serial);
    answer_about(s, 0, serial, 9, 9);
    assert_int_equal(second.n_done, 0);
    answer(s, 0, 0, 0);
    assert_int_equal(second.n_done, 1);
    assert_int_equal(second.kind, OUTCOME_EXIT);
    free_job(&first);
    free_job(&second);
    stop(s);
}

/* --- the queue --- */

/* The box that has got a job and not taken it; those that are ordered come meanwhile. */
static struct box_end *wait_handed(struct scene *s)
{
    struct wire_of_box order;

    for (;;) {
        for (unsigned i = 0; i < SLOTS; i++)
            if (s->boxes[i].open && recv(s->boxes[i].control, &order, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
                return &s->boxes[i];
        if (get_order(s, &order))
            say_state(s, send_box(s, &order), BOX_READY, 0);
        else
            uv_run(&s->loop, UV_RUN_ONCE);
    }
}

static void test_queue(void **state)
{
    static const char *const codes[] = { "a", "b", "c", "d", "e" };
    struct scene *s = start(SLOTS, 2, 1, 3);
    struct told t[5];

    (void) state;
    for (int i = 0; i < 5; i++) {
        make_job(&t[i], s);
        t[i].job.code = codes[i];
        t[i].job.code_len = 1;
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    assert_int_equal(pool_queue_length(s->pool), 3);
    assert_int_equal(pool_run(s->pool, &t[3].job), -EAGAIN);
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *first = wait_box(s), *second = wait_box(s);
    assert_ptr_equal(wait_handed(s), first);
    assert_int_equal(pool_queue_length(s->pool), 2); /* two boxes, but one run at a time */
    assert_int_equal(recv(second->control, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    assert_int_equal(pool_run(s->pool, &t[3].job), 0);
    assert_int_equal(pool_run(s->pool, &t[4].job), -EAGAIN);
    for (int i = 0; i < 4; i++) {
        struct box_end *box = wait_handed(s);
        take_order(box, codes[i]);
        assert_int_equal(pool_queue_length(s->pool), 3 - i);
        assert_int_equal(t[i].n_done, 0);
        report(s, box, OUTCOME_OK, 0, "", "");
        assert_int_equal(t[i].n_done, 1);
        bury(s, box);
    }
    assert_int_equal(t[4].n_done, 0);
    stop(s);
    for (int i = 0; i < 5; i++)
        free_job(&t[i]);
}

static void run_until_long(struct scene *s, unsigned n)
{
    while (s->n_long < n)
        uv_run(&s->loop, UV_RUN_ONCE);
}

/* What runs for long gives its place to the next, and still counts among those that run. */
static void test_places(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = SLOTS, .runtimes[0].pool_size = 2, .max_runs = 2, .places = 1 });
    struct told t[3];

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    wait_box(s);
    begin(s, &t[0], wait_box(s)); /* the last that came */
    for (int i = 1; i < 3; i++) {
        make_job(&t[i], s);
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    }
    assert_int_equal(pool_free_boxes(s->pool), 1);
    assert_int_equal(pool_queue_length(s->pool), 2);
    run_until_long(s, 1);
    assert_int_equal(s->n_maybe, 0); /* somebody waits for its place: so it has that for a shorter time */
    assert_int_equal(pool_queue_length(s->pool), 1);
    wait_box(s); /* others need one while it runs */
    run_until_long(s, 2);
    wait_box(s);
    assert_int_equal(pool_free_boxes(s->pool), 2);
    assert_int_equal(pool_queue_length(s->pool), 1); /* the place is free, but two run */
    pool_cancel(s->pool, &t[0].job);
    assert_int_equal(pool_queue_length(s->pool), 0);
    pool_cancel(s->pool, &t[1].job);
    pool_cancel(s->pool, &t[2].job);
    wait_box(s);
    for (int i = 0; i < 2; i++) {
        make_job(&t[i], s);
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    }
    assert_int_equal(pool_queue_length(s->pool), 1); /* the places of the long ones were not given back twice */
    assert_int_not_equal(pool_free_boxes(s->pool), 0);
    pool_cancel(s->pool, &t[1].job);
    stop(s);
    for (int i = 0; i < 3; i++)
        free_job(&t[i]);
}

/* Who begins, by what: a box waits for each. */
static enum lack try_job(struct scene *s, struct told *t, struct share *share)
{
    make_job(t, s);
    t->job.share = share;
    assert_int_equal(pool_run(s->pool, &t->job), 0);
    return t->job.slot ? LACK_NONE : t->job.waited_for;
}

/* One program more has just begun than there are places, if it is of a key of which nothing runs. */
static void test_place_for_newcomer(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = SLOTS, .runtimes[0].pool_size = 4, .max_runs = 9, .places = 1 });
    struct share one, other, third;
    struct told t[4];

    (void) state;
    share_init(&one);
    share_init(&other);
    share_init(&third);
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 4; i++)
        wait_box(s);
    assert_int_equal(try_job(s, &t[0], &one), LACK_NONE);
    assert_int_equal(try_job(s, &t[1], &one), LACK_PLACE);
    assert_int_equal(try_job(s, &t[2], &other), LACK_NONE);
    assert_int_equal(try_job(s, &t[3], &third), LACK_PLACE);
    stop(s);
    for (int i = 0; i < 4; i++)
        free_job(&t[i]);
}

/* Memory counts where more run than places; half of what is kept is for a key of which nothing runs. */
static void test_memory(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = SLOTS, .runtimes[0].pool_size = 5, .max_runs = 9, .places = 1 });
    struct share one, other;
    struct told t[4];

    (void) state;
    share_init(&one);
    share_init(&other);
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 5; i++)
        wait_box(s);
    s->memory = 0;
    assert_int_equal(try_job(s, &t[0], &one), LACK_NONE);
    run_until_long(s, 1);
    assert_int_equal(try_job(s, &t[1], &one), LACK_MEMORY);
    assert_int_equal(pool_lack(s->pool), LACK_MEMORY);
    s->memory = 51;
    assert_int_equal(try_job(s, &t[2], &other), LACK_NONE);
    assert_int_equal(pool_queue_length(s->pool), 1);
    run_until_long(s, 2);
    assert_int_equal(try_job(s, &t[3], &other), LACK_MEMORY);
    s->memory = 101;
    while (pool_queue_length(s->pool)) /* nobody tells of memory: it is looked at again */
        uv_run(&s->loop, UV_RUN_ONCE);
    stop(s);
    for (int i = 0; i < 4; i++)
        free_job(&t[i]);
}

/* An eighth of all runs is kept for keys of which nothing runs, where there are others. */
static void test_runs_kept(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = SLOTS, .runtimes[0].pool_size = 8, .max_runs = 8, .places = 8 });
    struct share one, other;
    struct told t[10];

    (void) state;
    share_init(&one);
    share_init(&other);
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int i = 0; i < 8; i++)
        wait_box(s);
    s->two_keys = true;
    for (int i = 0; i < 7; i++)
        assert_int_equal(try_job(s, &t[i], &one), LACK_NONE);
    assert_int_equal(try_job(s, &t[7], &one), LACK_RUNS);
    assert_int_equal(try_job(s, &t[8], &other), LACK_NONE);
    assert_int_equal(try_job(s, &t[9], &other), LACK_RUNS);
    wait_box(s);
    pool_cancel(s->pool, &t[8].job);
    assert_int_equal(pool_queue_length(s->pool), 1); /* the other's second job was the first of a newcomer */
    pool_cancel(s->pool, &t[9].job);
    wait_box(s);
    s->two_keys = false;
    pool_cancel(s->pool, &t[0].job);
    assert_int_equal(pool_queue_length(s->pool), 0);
    stop(s);
    for (int i = 0; i < 10; i++)
        free_job(&t[i]);
}

static void test_words_of_lack(void **state)
{
    (void) state;
    assert_string_equal(lack_word(LACK_NONE), "");
    assert_string_equal(lack_word(LACK_KEY), "key");
    assert_non_null(strstr(lack_why(LACK_RUNS), "pool.max_runs"));
}

/* Slots beyond the first ones come with programs that run for long, and no more than there may be. */
static void test_later_slots(void **state)
{
    struct scene *s = start_with(
        (struct wire_server_conf){ .n_slots = 3, .n_first_slots = 1, .runtimes[0].pool_size = 2, .max_runs = 9 });
    struct told t[3];

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct box_end *box = wait_box(s);
        assert_int_equal(slot_of(s, box), i);
        assert_true(no_order(s));
        begin(s, &t[i], box);
        run_until_long(s, i + 1);
    }
    assert_true(no_order(s));
    stop(s);
    for (int i = 0; i < 3; i++)
        free_job(&t[i]);
}

/* Fewer boxes wait than may run: a job that could run is not kept back until another has ended. */
static void test_small_pool(void **state)
{
    struct scene *s = start(SLOTS, 1, 3, 0);
    struct told t[4];

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t[0], box);
    for (int i = 1; i < 4; i++) {
        make_job(&t[i], s);
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    }
    for (int i = 1; i < 3; i++) {
        struct wire_of_box order;
        assert_true(get_order(s, &order));
        say_state(s, send_box(s, &order), BOX_READY, 0);
        assert_int_equal(pool_queue_length(s->pool), 3 - i);
    }
    wait_box(s);
    assert_int_equal(pool_queue_length(s->pool), 1);
    assert_true(no_order(s));
    pool_cancel(s->pool, &t[3].job);
    stop(s);
    for (int i = 0; i < 4; i++)
        free_job(&t[i]);
}

static void test_unlimited_queue(void **state)
{
    enum { N = 3000 };
    struct scene *s = start(1, 1, 1, 0);
    struct told *t = calloc(N, sizeof(*t));

    (void) state;
    for (int i = 0; i < N; i++) {
        make_job(&t[i], s);
        assert_int_equal(pool_run(s->pool, &t[i].job), 0);
    }
    assert_int_equal(pool_queue_length(s->pool), N);
    for (int i = N - 1; i >= 0; i--)
        pool_cancel(s->pool, &t[i].job);
    assert_int_equal(pool_queue_length(s->pool), 0);
    stop(s);
    for (int i = 0; i < N; i++)
        free_job(&t[i]);
    free(t);
}

static void test_cancel_waiting(void **state)
{
    (void) state;
    for (unsigned mask = 0; mask < 16; mask++) { /* every choice of four */
        struct scene *s = start(SLOTS, 1, 1, 0);
        struct told t[4];
        for (int i = 0; i < 4; i++) {
            make_job(&t[i], s);
            t[i].job.code = &"0123"[i];
            t[i].job.code_len = 1;
            assert_int_equal(pool_run(s->pool, &t[i].job), 0);
        }
        unsigned left = 4;
        for (int i = 0; i < 4; i++)
            if (mask & 1u << i) {
                pool_cancel(s->pool, &t[i].job);
                left--;
            }
        assert_int_equal(pool_queue_length(s->pool), left);
        tell(s, WIRE_WARM, 0, 0, 0);
        for (int i = 0; i < 4; i++) {
            if (mask & 1u << i)
                continue;
            struct box_end *box = wait_box(s);
            char code[] = { (char) ('0' + i), '\0' };
            take_order(box, code);
            report(s, box, OUTCOME_OK, 0, "", "");
            bury(s, box);
        }
        for (int i = 0; i < 4; i++) {
            assert_int_equal(t[i].n_done, !(mask & 1u << i));
            free_job(&t[i]);
        }
        stop(s);
    }
}

static void test_cancel_running(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told first, second, third;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &first, box);
    make_job(&second, s);
    assert_int_equal(pool_run(s->pool, &second.job), 0);
    pool_cancel(s->pool, &first.job);
    turn(s);
    assert_true(is_killed(box));
    struct box_end *next = wait_box(s);
    take_order(next, "pass");
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, SIGKILL);
    bury(s, box);
    assert_int_equal(first.n_done, 0);
    /* and while the supervisor is asked */
    report(s, next, OUTCOME_EXIT, 1, "", "");
    assert_int_equal(s->n_asked, 1);
    pool_cancel(s->pool, &second.job);
    answer(s, slot_of(s, next), 0, 0);
    assert_int_equal(second.n_done, 0);
    assert_true(is_killed(next));
    bury(s, next);
    box = wait_box(s); /* the pool is as it was */
    begin(s, &third, box);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(third.n_done, 1);
    free_job(&first);
    free_job(&second);
    free_job(&third);
    stop(s);
}

static void test_run_from_done(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 1);
    struct told first, second;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &first, box);
    make_job(&second, s);
    first.next = &second;
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(pool_queue_length(s->pool), 1);
    box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "2", "");
    assert_int_equal(second.n_done, 1);
    free_job(&first);
    free_job(&second);
    stop(s);
}

static void test_drain(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told running, queued, late;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &running, box);
    make_job(&queued, s);
    make_job(&late, s);
    assert_int_equal(pool_run(s->pool, &queued.job), 0);
    pool_drain(s->pool);
    assert_false(pool_is_ready(s->pool));
    assert_int_equal(pool_run(s->pool, &late.job), -ESHUTDOWN);
    assert_int_equal(pool_queue_length(s->pool), 1);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(running.n_done, 1);
    box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(queued.n_done, 1);
    assert_int_equal(late.n_done, 0);
    free_job(&running);
    free_job(&queued);
    free_job(&late);
    stop(s);
}

/* --- what goes wrong --- */

static int begin_log(void)
{
    int saved = dup(STDERR_FILENO), fd = memfd_create("log", MFD_CLOEXEC);

    dup2(fd, STDERR_FILENO);
    close(fd);
    log_init("server", LOG_JSON, LOG_INFO);
    return saved;
}

static const char *end_log(int saved)
{
    static char text[10000];
    ssize_t n = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);

    dup2(saved, STDERR_FILENO);
    close(saved);
    text[n > 0 ? n : 0] = '\0';
    log_init("server", LOG_JSON, (enum log_level)(LOG_ERROR + 1));
    return text;
}

static void test_zygote_lost(void **state)
{
    struct scene *s = start(SLOTS, 3, 3, 0);
    struct told silent, reported, asked, queued;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &silent, box);
    struct box_end *second = wait_box(s);
    begin(s, &reported, second);
    box = wait_box(s);
    begin(s, &asked, box);
    report(s, box, OUTCOME_EXCEPTION, 1, "", "why");
    uint32_t slot = slot_of(s, box);
    make_job(&queued, s);
    assert_int_equal(pool_run(s->pool, &queued.job), 0);
    struct wire_of_box order = wait_order(s); /* one is under way */
    send_box(s, &order);
    const struct wire_outcome head = { OUTCOME_OK, 0, 0, 0 }; /* has reported, and nobody has looked yet */
    char packet[TOKEN + sizeof(head)];
    memcpy(packet, second->order.token, TOKEN);
    memcpy(packet + TOKEN, &head, sizeof(head));
    assert_int_equal(send(second->control, packet, sizeof(packet), 0), sizeof(packet));
    int saved = begin_log();
    fd_close(&s->zygote);
    turn(s);
    const char *text = end_log(saved);
    assert_int_equal(silent.n_done, 1);
    assert_int_equal(silent.kind, OUTCOME_INTERNAL);
    assert_non_null(strstr(text, silent.job.id)); /* the same job_id is in the log */
    assert_non_null(strstr(text, "\"outcome\":\"internal\""));
    assert_int_equal(reported.n_done, 1);
    assert_int_equal(reported.kind, OUTCOME_OK);
    assert_false(pool_is_ready(s->pool));
    answer(s, slot, 0, 0);
    assert_int_equal(asked.n_done, 1);
    assert_int_equal(asked.kind, OUTCOME_EXCEPTION);
    assert_int_equal(queued.n_done, 0);
    assert_int_equal(pool_queue_length(s->pool), 1);
    for (unsigned i = 0; i < SLOTS; i++)
        if (s->boxes[i].open) {
            assert_true(is_killed(&s->boxes[i]));
            close_box(&s->boxes[i]);
        }
    /* with the next one life goes on */
    bring_zygote(s);
    assert_true(no_order(s));
    tell(s, WIRE_WARM, 0, 0, 0);
    box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(queued.n_done, 1);
    free_job(&silent);
    free_job(&reported);
    free_job(&asked);
    free_job(&queued);
    stop(s);
}

/* --- a zygote after the other --- */

/* What is told and ordered next is between the pool and @zygote. */
static int turn_to(struct scene *s, int zygote)
{
    int before = s->zygote;
    s->zygote = zygote;
    return before;
}

/* Has the pool let go of the zygote? */
static bool is_closed(struct scene *s, int zygote)
{
    char c;
    turn(s);
    return recv(zygote, &c, 1, MSG_DONTWAIT) == 0;
}

/* Another zygote comes, and is not warm yet.  Its predecessor is returned. */
static int bring_successor(struct scene *s)
{
    int old = s->zygote;
    bring_zygote(s);
    return old;
}

/* While the successor warms up all is as before; then each of its boxes takes the place of one of the old. */
static void test_rotation(void **state)
{
    struct scene *s = start(SLOTS, 2, 2, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *first = wait_box(s), *second = wait_box(s);
    int old = bring_successor(s), new = turn_to(s, old);
    assert_false(is_killed(first) || is_killed(second));
    begin(s, &t, second);
    report(s, second, OUTCOME_OK, 0, "", "");
    bury(s, second);
    second = wait_box(s); /* ordered from the old */
    turn_to(s, new);
    assert_true(no_order(s));
    tell(s, WIRE_WARM, 0, 0, 0);
    assert_true(pool_is_ready(s->pool));
    assert_false(is_killed(first) || is_killed(second));
    struct wire_of_box orders[2];
    assert_true(get_order(s, &orders[0]) && get_order(s, &orders[1]));
    assert_true(no_order(s));
    for (int i = 0; i < 2; i++) {
        struct box_end *box = send_box(s, &orders[i]);
        assert_int_equal(is_killed(first) + is_killed(second), i);
        say_state(s, box, BOX_READY, 0);
        assert_int_equal(is_killed(first) + is_killed(second), i + 1);
    }
    assert_true(no_order(s));
    turn_to(s, old);
    assert_true(no_order(s));
    bury(s, first);
    assert_false(is_closed(s, old));
    bury(s, second);
    assert_true(is_closed(s, old)); /* with its last box */
    turn_to(s, new);
    assert_true(pool_is_ready(s->pool));
    assert_int_equal(s->n_ready, 1);
    free_job(&t);
    close(old);
    stop(s);
}

/* Until the new boxes are there the old ones are used; what runs in them runs to its end. */
static void test_rotation_under_load(void **state)
{
    struct scene *s = start(SLOTS, 1, 2, 0);
    struct told in_old, after, in_new;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *first = wait_box(s);
    begin(s, &in_old, first);
    int old = bring_successor(s), new = turn_to(s, old);
    make_job(&after, s);
    assert_int_equal(pool_run(s->pool, &after.job), 0); /* a second at the same time, which must wait for a box */
    assert_int_equal(pool_queue_length(s->pool), 1);
    struct wire_of_box order = wait_order(s); /* of the old, and on its way when the new one is warm */
    turn_to(s, new);
    tell(s, WIRE_WARM, 0, 0, 0);
    turn_to(s, old);
    struct box_end *second = send_box(s, &order);
    say_state(s, second, BOX_READY, 0);
    take_order(second, "pass");
    report(s, second, OUTCOME_OK, 0, "2", "");
    assert_int_equal(after.n_done, 1);
    bury(s, second);
    assert_true(no_order(s));
    assert_false(is_closed(s, old));
    turn_to(s, new);
    struct box_end *box = wait_box(s);
    begin(s, &in_new, box);
    report(s, box, OUTCOME_OK, 0, "3", "");
    assert_true(is(&in_new.result, "3"));
    turn_to(s, old);
    report(s, first, OUTCOME_OK, 0, "1", "");
    assert_true(is(&in_old.result, "1"));
    bury(s, first);
    assert_true(is_closed(s, old));
    turn_to(s, new);
    free_job(&in_old);
    free_job(&after);
    free_job(&in_new);
    close(old);
    stop(s);
}

/* A box of the old zygote that is late: there are enough without it, and nothing would ever use it up. */
static void test_rotation_overtaken(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *first = wait_box(s);
    struct told t;
    begin(s, &t, first);
    report(s, first, OUTCOME_OK, 0, "", "");
    bury(s, first);
    struct wire_of_box order = wait_order(s);
    int old = bring_successor(s), new = turn_to(s, old);
    turn_to(s, new);
    tell(s, WIRE_WARM, 0, 0, 0);
    wait_box(s);
    turn_to(s, old);
    struct box_end *late = send_box(s, &order);
    say_state(s, late, BOX_READY, 0);
    assert_true(is_killed(late));
    bury(s, late);
    assert_true(is_closed(s, old));
    turn_to(s, new);
    assert_true(pool_is_ready(s->pool));
    free_job(&t);
    close(old);
    stop(s);
}

/* A successor that never gets warm changes nothing, whether it dies or yet another comes. */
static void test_successor_lost(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    int old = bring_successor(s);
    fd_close(&s->zygote); /* it dies */
    turn(s);
    assert_true(pool_is_ready(s->pool));
    bring_zygote(s);
    int replaced = bring_successor(s), last = turn_to(s, old);
    assert_true(is_closed(s, replaced));
    close(replaced);
    assert_false(is_closed(s, old) || is_closed(s, last));
    begin(s, &t, box);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    bury(s, box);
    box = wait_box(s); /* the old one makes the boxes still */
    turn_to(s, last);
    tell(s, WIRE_WARM, 0, 0, 0);
    wait_box(s);
    assert_true(is_killed(box));
    turn_to(s, old);
    bury(s, box);
    assert_true(is_closed(s, old));
    turn_to(s, last);
    free_job(&t);
    close(old);
    stop(s);
}

/* The old one dies before its last box is gone: what runs there is lost, and nothing else. */
static void test_retired_lost(void **state)
{
    struct scene *s = start(SLOTS, 2, 2, 0);
    struct told lost, t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *waiting = wait_box(s), *box = wait_box(s);
    begin(s, &lost, box);
    int old = bring_successor(s);
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *fresh = wait_box(s);
    close(old);
    turn(s);
    assert_int_equal(lost.n_done, 1);
    assert_int_equal(lost.kind, OUTCOME_INTERNAL);
    assert_true(is_killed(waiting) && is_killed(box) && !is_killed(fresh));
    close_box(waiting);
    close_box(box);
    assert_true(pool_is_ready(s->pool));
    begin(s, &t, fresh);
    report(s, fresh, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    free_job(&lost);
    free_job(&t);
    stop(s);
}

/* The zygote that makes the boxes dies while its successor warms up: who waits is served by that. */
static void test_lost_before_its_successor(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    close(bring_successor(s));
    turn(s);
    assert_true(is_killed(box));
    close_box(box);
    assert_false(pool_is_ready(s->pool));
    make_job(&t, s);
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    tell(s, WIRE_WARM, 0, 0, 0);
    box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    free_job(&t);
    stop(s);
}

/* A zygote has made its number of boxes: another is asked for, once, and meanwhile it goes on. */
static void test_rotate_runs(void **state)
{
    struct scene *s = start_with((struct wire_server_conf){
        .n_slots = SLOTS, .runtimes[0].pool_size = 1, .max_runs = 1, .rotate_runs = 3, .rotate_age_ms = LONG_MS });
    int old = -1;

    (void) state;
    for (unsigned zygote = 0; zygote < 2; zygote++) {
        tell(s, WIRE_WARM, 0, 0, 0);
        for (unsigned i = 1; i <= 5; i++) {
            struct box_end *box = wait_box(s);
            struct told t;
            assert_int_equal(s->n_zygotes_asked, zygote + (i >= 3));
            begin(s, &t, box);
            report(s, box, OUTCOME_OK, 0, "", "");
            assert_int_equal(t.n_done, 1);
            free_job(&t);
            bury(s, box);
        }
        if (zygote == 0)
            old = bring_successor(s);
    }
    close(old);
    stop(s);
}

/* It has served its time, counted for each from its own start. */
static void test_rotate_age(void **state)
{
    struct scene *s = start_with((struct wire_server_conf){
        .n_slots = SLOTS, .runtimes[0].pool_size = 1, .max_runs = 1, .rotate_runs = 2, .rotate_age_ms = 50 });

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    while (!s->n_zygotes_asked)
        uv_run(&s->loop, UV_RUN_ONCE);
    struct told t;
    begin(s, &t, box);
    report(s, box, OUTCOME_OK, 0, "", "");
    free_job(&t);
    wait_box(s);
    assert_int_equal(s->n_zygotes_asked, 1); /* not again for its number of boxes */
    int old = bring_successor(s);
    while (s->n_zygotes_asked < 2)
        uv_run(&s->loop, UV_RUN_ONCE);
    close(old);
    stop(s);
}

/* --- runtimes --- */

/* The other runtime's zygote comes, and is the one that is spoken for from here; the default's is returned. */
static int bring_other(struct scene *s)
{
    int pair[2], first = s->zygote;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    s->zygote = pair[0];
    pool_zygote(s->pool, 1, pair[1]);
    return first;
}

static struct scene *start_two(int64_t idle_ms)
{
    return start_with((struct wire_server_conf){ .n_slots = SLOTS,
                                                 .n_runtimes = 2,
                                                 .runtimes[0].pool_size = 1,
                                                 .runtimes[1] = { .pool_size = 1, .idle_ms = idle_ms },
                                                 .max_runs = 2 });
}

/* A job waits for a box of its own runtime, which is asked for once, and holds up nobody. */
static void test_two_runtimes(void **state)
{
    struct scene *s = start_two(0);
    struct told other, second, here;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    make_job(&other, s);
    make_job(&second, s);
    other.job.runtime = second.job.runtime = 1;
    assert_int_equal(pool_run(s->pool, &other.job), 0);
    assert_int_equal(pool_run(s->pool, &second.job), 0);
    assert_int_equal(s->n_zygotes_asked, 1);
    assert_int_equal(s->asked_runtime, 1);
    assert_int_equal(pool_queue_length(s->pool), 2);
    make_job(&here, s);
    assert_int_equal(pool_run(s->pool, &here.job), 0);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(here.n_done, 1);
    assert_int_equal(other.n_done, 0);
    bury(s, box);
    int first = bring_other(s);
    assert_false(pool_is_warm(s->pool, 1));
    tell(s, WIRE_WARM, 0, 0, 0);
    assert_true(pool_is_warm(s->pool, 1));
    struct box_end *others = wait_box(s);
    take_order(others, "pass");
    assert_int_equal(pool_queue_length(s->pool), 1);
    pool_cancel(s->pool, &second.job);
    report(s, others, OUTCOME_OK, 0, "", "");
    assert_int_equal(other.n_done, 1);
    assert_int_equal(s->n_zygotes_asked, 1);
    free_job(&other);
    free_job(&second);
    free_job(&here);
    close(first);
    stop(s);
}

/* Without a job for so long it lets go of its interpreter, whose boxes end; the next job asks for another. */
static void test_runtime_rests(void **state)
{
    struct scene *s = start_two(30);
    struct told t;
    char c;

    (void) state;
    make_job(&t, s);
    t.job.runtime = 1;
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    int first = bring_other(s);
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    take_order(box, "pass");
    report(s, box, OUTCOME_OK, 0, "", "");
    free_job(&t);
    bury(s, box);
    box = wait_box(s);
    while (pool_is_warm(s->pool, 1))
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_true(is_killed(box));
    bury(s, box);
    assert_int_equal(recv(s->zygote, &c, 1, MSG_DONTWAIT), 0); /* its process ends with this */
    assert_int_equal(s->n_zygotes_asked, 1);
    make_job(&t, s);
    t.job.runtime = 1;
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    assert_int_equal(s->n_zygotes_asked, 2);
    pool_cancel(s->pool, &t.job);
    free_job(&t);
    close(first);
    stop(s);
}

/* --- nothing comes --- */

/* Who waits is told after a while, and who comes then waits anew.  Jobs behind a full house wait as long as it takes. */
static void test_no_box_comes(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    unsigned before = open_fds();
    struct scene *full = start(SLOTS, 1, 1, 0);
    struct told cancelled, first, second, late, running, patient;

    (void) state;
    tell(full, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(full);
    begin(full, &running, box);
    make_job(&patient, full);
    assert_int_equal(pool_run(full->pool, &patient.job), 0);
    make_job(&cancelled, s);
    make_job(&first, s);
    make_job(&second, s);
    make_job(&late, s);
    first.next = &late;
    assert_int_equal(pool_run(s->pool, &cancelled.job), 0);
    assert_int_equal(pool_run(s->pool, &first.job), 0);
    assert_int_equal(pool_run(s->pool, &second.job), 0);
    pool_cancel(s->pool, &cancelled.job);
    while (!first.n_refused)
        uv_run(&s->loop, UV_RUN_ONCE);
    assert_true(first.job.ended_us - first.job.queued_us > 1000000);
    assert_int_equal(second.n_refused, 1);
    assert_int_equal(late.n_refused, 0);
    assert_int_equal(pool_queue_length(s->pool), 1);
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *at_last = wait_box(s);
    take_order(at_last, "pass");
    report(s, at_last, OUTCOME_OK, 0, "", "");
    assert_int_equal(late.n_done, 1);
    bury(s, at_last);
    assert_int_equal(first.n_done + second.n_done + cancelled.n_done + cancelled.n_refused, 0);
    turn(full);
    assert_int_equal(patient.n_refused, 0);
    report(full, box, OUTCOME_OK, 0, "", "");
    box = wait_box(full);
    take_order(box, "pass");
    report(full, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(patient.n_done, 1);
    struct told *all[] = { &cancelled, &first, &second, &late, &running, &patient };
    for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
        free_job(all[i]);
    stop(full);
    s->fds_before += open_fds() - before; /* its loop stays */
    stop(s);
}

/* What a zygote may not send is its end, and no descriptor of it stays. */
static void test_bad_message(void **state)
{
    static const struct {
        enum wire_type type;
        size_t size;
        unsigned n_fds;
    } bad[] = {
        { WIRE_WARM, sizeof(struct wire_plain) - 1, 3 }, { WIRE_WARM, sizeof(struct wire_exited) + 1, 3 },
        { WIRE_WARM, sizeof(struct wire_plain), 3 },     { WIRE_WARM, 0, 3 },
        { WIRE_BOX, sizeof(struct wire_of_box), 3 },     { WIRE_BOX, sizeof(struct wire_of_box), 5 },
        { WIRE_GONE, sizeof(struct wire_exited), 0 },    { WIRE_SPAWN, sizeof(struct wire_of_box), 0 },
        { WIRE_READY, sizeof(struct wire_plain), 0 },    { 77, sizeof(struct wire_of_box), 4 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct scene *s = start(SLOTS, 1, 1, 0);
        char msg[sizeof(struct wire_exited) + 1] = { 0 };
        const int fds[5] = { 0 };
        char c;
        memcpy(msg, &bad[i].type, sizeof(bad[i].type));
        assert_int_equal(fd_send(s->zygote, msg, bad[i].size, fds, bad[i].n_fds), 0);
        turn(s);
        assert_false(pool_is_ready(s->pool));
        assert_int_equal(recv(s->zygote, &c, 1, MSG_DONTWAIT), 0); /* it is let go */
        stop(s);
    }
}

/* It is warm once. */
static void test_warm_twice(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    char c;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    wait_order(s);
    tell(s, WIRE_WARM, 0, 0, 0);
    assert_int_equal(recv(s->zygote, &c, 1, MSG_DONTWAIT), 0);
    stop(s);
}

/* Messages about boxes that there are not, or not in that state. */
static void test_strange_messages(void **state)
{
    static const enum wire_type types[] = { WIRE_BOX, WIRE_EXITED, WIRE_GONE };
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    const uint32_t slot = slot_of(s, box);
    const struct wire_of_box about[] = {
        { .slot = SLOTS }, { .slot = UINT32_MAX },         { .slot = slot, .serial = box->serial - 1 },
        { .slot = slot },  { .slot = (slot + 1) % SLOTS }, { .slot = slot, .serial = box->serial + 1 },
    };
    unsigned before = open_fds();
    for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++)
        for (unsigned j = 0; j < sizeof(about) / sizeof(*about); j++)
            tell_with(s, types[i], about[j].slot, about[j].serial, types[i] == WIRE_GONE ? -ENOMEM : 0,
                      types[i] == WIRE_BOX ? 4 : 0);
    /* a second box in a slot that has one */
    tell_with(s, WIRE_BOX, slot, box->serial, 0, 4);
    assert_int_equal(open_fds(), before);
    assert_int_equal(t.n_done, 0);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    assert_int_equal(wait_order(s).type, WIRE_SPAWN);
    assert_true(no_order(s)); /* one box, as ever */
    free_job(&t);
    stop(s);
}

/* A zygote that somebody has taken over keeps the pipes that it passes on, and has the flags that they share. */
static void test_pipe_that_waits(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct wire_of_box order = wait_order(s);
    struct wire_of_box msg = { .type = WIRE_BOX, .slot = order.slot, .serial = order.serial };
    struct box_end *box = &s->boxes[order.slot];
    int control[2], out[2], err[2], life[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control), 0);
    assert_int_equal(pipe2(life, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    int fds[] = { control[0], out[0], err[0], life[1] };
    assert_int_equal(fd_send(s->zygote, &msg, sizeof(msg), fds, 4), 0);
    close(control[0]);
    close(life[1]);
    *box = (struct box_end){ true, order.serial, control[1], out[1], err[1], life[0], { { 0 }, 0, 0 } };
    say_state(s, box, BOX_READY, 0);
    begin(s, &t, box);
    alarm(60); /* SIGALRM ends a test that waits */
    assert_int_equal(fcntl(out[0], F_SETFL, 0) | fcntl(err[0], F_SETFL, 0), 0);
    write_text(box->out, "before");
    report(s, box, OUTCOME_OK, 0, "", "");
    alarm(0);
    assert_int_equal(t.n_done, 1);
    assert_true(is(&t.out, "before") && is(&t.err, ""));
    close(out[0]);
    close(err[0]);
    free_job(&t);
    bury(s, box);
    stop(s);
}

/* What is no pipe, or no socket of the kind, in each place: none of it becomes a box, and the pool goes on. */
static void test_strange_ends(void **state)
{
    struct scene *s = start(SLOTS, SLOTS, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    for (int place = 0; place < 4; place++)
        for (int kind = 0; kind < 4; kind++) {
            struct wire_of_box order = wait_order(s);
            struct wire_of_box msg = { .type = WIRE_BOX, .slot = order.slot, .serial = order.serial };
            unsigned before = open_fds();
            int control[2], other[2], ends[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other), 0);
            assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
            int strange[] = { memfd_create("file", MFD_CLOEXEC), open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                              other[0], place == 0 ? ends[0] : control[0] };
            int fds[] = { control[0], ends[0], ends[0], ends[1] };
            fds[place] = strange[kind];
            assert_true(strange[0] >= 0 && strange[1] >= 0);
            assert_int_equal(fd_send(s->zygote, &msg, sizeof(msg), fds, 4), 0);
            turn(s);
            const int all[] = { control[0], control[1], other[0], other[1], ends[0], ends[1], strange[0], strange[1] };
            for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
                close(all[i]);
            assert_int_equal(open_fds(), before);
            tell(s, WIRE_GONE, order.slot, order.serial, 0);
        }
    struct box_end *box = wait_box(s);
    begin(s, &t, box);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    free_job(&t);
    stop(s);
}

/* The ways in which a box fails to come. */
static void fail_to_come(struct scene *s, const struct wire_of_box *order, int way)
{
    struct box_end *box = way > 2 ? send_box(s, order) : NULL;

    switch (way) {
    case 0: tell(s, WIRE_GONE, order->slot, order->serial, -ENOMEM); return;
    case 1: break; /* its WIRE_BOX was lost */
    case 2: tell(s, WIRE_EXITED, order->slot, order->serial, 9); break;
    case 3: say_state(s, box, BOX_SECCOMP, ENOSYS); break;
    case 4: fd_close(&box->control); break; /* it died before its first word */
    case 5: assert_int_equal(send(box->control, "x", 1, 0), 1); break;
    case 6: tell(s, WIRE_GONE, order->slot, order->serial, -ENOMEM); break; /* it is there, all the same */
    }
    turn(s);
    if (box && box->open) {
        assert_true(is_killed(box));
        close_box(box);
    }
    if (way != 6)
        tell(s, WIRE_GONE, order->slot, order->serial, 0);
}

/* Another is ordered after a pause, never in a tight loop, and not one more or less than there should be. */
static void test_failures(void **state)
{
    (void) state;
    for (int way = 0; way < 7; way++) {
        struct scene *s = start(2, 1, 1, 0);
        struct told t;
        tell(s, WIRE_WARM, 0, 0, 0);
        struct wire_of_box order = wait_order(s);
        int64_t at = now_us();
        fail_to_come(s, &order, way);
        assert_int_equal(s->n_refused, way == 3); /* a layer that is not to be had; all else may pass */
        struct box_end *box = get_order(s, &order) ? make_box(s, &order) : wait_box(s);
        if (now_us() - at < 400000) /* not by the number of turns: this process may have stood still */
            fail_msg("way %d: ordered again at once", way);
        assert_true(no_order(s));
        begin(s, &t, box);
        report(s, box, OUTCOME_OK, 0, "", "");
        assert_int_equal(t.n_done, 1);
        bury(s, box);
        wait_box(s);
        assert_true(no_order(s));
        free_job(&t);
        stop(s);
    }
}

/* A jail that fails when others have worked is no reason to give up. */
static void test_later_failure(void **state)
{
    struct scene *s = start(2, 2, 1, 0);

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    wait_box(s);
    struct wire_of_box order = wait_order(s);
    say_state(s, send_box(s, &order), BOX_CGROUP, EIO);
    assert_int_equal(s->n_ready, 1);
    assert_int_equal(s->n_refused, 0);
    assert_true(pool_is_ready(s->pool));
    stop(s);
}

/* A waiting box that ends, is buried, or speaks: it is not given a job. */
static void test_waiting_ends(void **state)
{
    struct scene *s = start(SLOTS, 2, 2, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *good = wait_box(s);
    for (int way = 0; way < 3; way++) {
        struct box_end *box = wait_box(s);
        uint32_t slot = slot_of(s, box);
        if (way == 0)
            fd_close(&box->control);
        if (way == 1)
            assert_int_equal(send(box->control, "x", 1, 0), 1);
        if (way == 2) {
            tell(s, WIRE_EXITED, slot, box->serial, 9);
            tell(s, WIRE_GONE, slot, box->serial, 0);
        }
        turn(s);
        assert_true(is_killed(box));
        if (way < 2)
            bury(s, box);
        else
            close_box(box);
    }
    begin(s, &t, good);
    report(s, good, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    assert_int_equal(s->n_refused, 0);
    free_job(&t);
    stop(s);
}

/* The box died, and nobody has noticed when a job is handed over: another runs it. */
static void test_dead_box(void **state)
{
    struct scene *s = start(SLOTS, 1, 1, 0);
    struct told t;

    (void) state;
    tell(s, WIRE_WARM, 0, 0, 0);
    struct box_end *box = wait_box(s);
    fd_close(&box->control);
    make_job(&t, s);
    assert_int_equal(pool_run(s->pool, &t.job), 0);
    turn(s);
    assert_int_equal(t.n_done, 0);
    assert_int_equal(pool_queue_length(s->pool), 1);
    assert_true(is_killed(box));
    assert_true(no_order(s)); /* not in a tight loop */
    tell(s, WIRE_EXITED, slot_of(s, box), box->serial, SIGKILL);
    struct box_end *other = wait_box(s);
    take_order(other, "pass");
    bury(s, box);
    report(s, other, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.kind, OUTCOME_OK);
    free_job(&t);
    stop(s);
}

/* --- large sources --- */

static void test_source(void **state)
{
    static const size_t sizes[] = { 0, 1, WIRE_PIECE - 1, WIRE_PIECE, WIRE_PIECE + 1, WIRE_PIECE * 3, (1 << 20) + 7 };
    static char code[(1 << 20) + 7], packet[sizeof(struct wire_run) + WIRE_PIECE + 1];
    struct scene *s = start(SLOTS, 1, 1, 0);

    (void) state;
    for (size_t i = 0; i < sizeof(code); i++)
        code[i] = (char) (i * 7 + i / 251);
    tell(s, WIRE_WARM, 0, 0, 0);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct box_end *box = wait_box(s);
        struct told t;
        make_job(&t, s);
        t.job.code = code;
        t.job.code_len = sizes[i];
        assert_int_equal(pool_run(s->pool, &t.job), 0);
        size_t at = 0;
        bool first = true;
        while (first || at < sizes[i]) {
            ssize_t n = recv(box->control, packet, sizeof(packet), MSG_DONTWAIT);
            if (n < 0) {
                uv_run(&s->loop, UV_RUN_ONCE);
                continue;
            }
            size_t head = first ? sizeof(struct wire_run) : 0;
            assert_true((size_t) n >= head && (size_t) n - head <= WIRE_PIECE);
            if (first)
                memcpy(&box->order, packet, head);
            assert_memory_equal(packet + head, code + at, (size_t) n - head);
            at += (size_t) n - head;
            first = false;
        }
        assert_int_equal(at, sizes[i]);
        assert_int_equal(box->order.code_len, sizes[i]);
        assert_true(recv(box->control, packet, sizeof(packet), MSG_DONTWAIT) < 0);
        report(s, box, OUTCOME_OK, 0, "1", "");
        assert_int_equal(t.n_done, 1);
        bury(s, box);
        free_job(&t);
    }
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_exits),
        cmocka_unit_test(test_asks),
        cmocka_unit_test(test_wrong_token),
        cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_large_report),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_empty_packet),
        cmocka_unit_test(test_report_then_exit),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_place_for_newcomer),
        cmocka_unit_test(test_later_slots),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_runs_kept),
        cmocka_unit_test(test_words_of_lack),
        cmocka_unit_test(test_small_pool),
        cmocka_unit_test(test_unlimited_queue),
        cmocka_unit_test(test_cancel_waiting),
        cmocka_unit_test(test_cancel_running),
        cmocka_unit_test(test_run_from_done),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_zygote_lost),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_rotation_overtaken),
        cmocka_unit_test(test_rotation_under_load),
        cmocka_unit_test(test_successor_lost),
        cmocka_unit_test(test_retired_lost),
        cmocka_unit_test(test_lost_before_its_successor),
        cmocka_unit_test(test_rotate_runs),
        cmocka_unit_test(test_rotate_age),
        cmocka_unit_test(test_two_runtimes),
        cmocka_unit_test(test_runtime_rests),
        cmocka_unit_test(test_no_box_comes),
        cmocka_unit_test(test_bad_message),
        cmocka_unit_test(test_warm_twice),
        cmocka_unit_test(test_strange_messages),
        cmocka_unit_test(test_pipe_that_waits),
        cmocka_unit_test(test_strange_ends),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_later_failure),
        cmocka_unit_test(test_waiting_ends),
        cmocka_unit_test(test_dead_box),
        cmocka_unit_test(test_source),
    };
    uv_loop_t any;

    log_init("server", LOG_JSON, (enum log_level)(LOG_ERROR + 1));
    uv_loop_init(&any); /* what libuv opens once for all loops is open from here */
    uv_loop_close(&any);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
