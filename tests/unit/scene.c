/* SPDX-License-Identifier: Apache-2.0 */
#include "scene.h"

#include "base/fd.h"
#include "base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* There is no way to end a pool, as the server never does: those of ended scenes stay reachable here. */
static void *ended[256];
static unsigned n_ended;

unsigned open_fds(void)
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

void turn(struct scene *s)
{
    for (int i = 0; i < 8; i++)
        uv_run(&s->loop, UV_RUN_NOWAIT);
}

void bring_zygote(struct scene *s)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    s->zygote = pair[0];
    pool_zygote(s->pool, 0, pair[1]);
}

struct scene *start_with(struct wire_server_conf conf)
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

struct scene *start(unsigned n_slots, unsigned pool_size, unsigned max_runs, int64_t queue_max)
{
    return start_with((struct wire_server_conf){
        .n_slots = n_slots, .runtimes[0].pool_size = pool_size, .max_runs = max_runs, .queue_max = queue_max });
}

void tell_with(struct scene *s, enum wire_type type, uint32_t slot, uint32_t serial, int status, unsigned n_fds)
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

void tell(struct scene *s, enum wire_type type, uint32_t slot, uint32_t serial, int status)
{
    tell_with(s, type, slot, serial, status, 0);
}

bool get_order(struct scene *s, struct wire_of_box *ret_order)
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

bool no_order(struct scene *s)
{
    struct wire_of_box order;
    return !get_order(s, &order);
}

struct wire_of_box wait_order(struct scene *s)
{
    struct wire_of_box order;

    while (!get_order(s, &order))
        uv_run(&s->loop, UV_RUN_ONCE);
    return order;
}

struct box_end *give_box(struct scene *s, const struct wire_of_box *order, int ret_fds[4])
{
    struct wire_of_box msg = { .type = WIRE_BOX, .slot = order->slot, .serial = order->serial };
    struct box_end *box = &s->boxes[order->slot];
    int control[2], out[2], err[2], life[2];

    assert_false(box->open);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control), 0);
    assert_int_equal(pipe2(life, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    const int fds[] = { control[0], out[0], err[0], life[1] };
    memcpy(ret_fds, fds, sizeof(fds));
    assert_int_equal(fd_send(s->zygote, &msg, sizeof(msg), fds, 4), 0);
    *box = (struct box_end){ true, order->serial, control[1], out[1], err[1], life[0], { { 0 }, 0, 0 } };
    fcntl(box->out, F_SETFL, O_NONBLOCK);
    fcntl(box->err, F_SETFL, O_NONBLOCK);
    return box;
}

struct box_end *send_box(struct scene *s, const struct wire_of_box *order)
{
    int fds[4];
    struct box_end *box = give_box(s, order, fds);

    for (int i = 0; i < 4; i++)
        close(fds[i]);
    turn(s);
    return box;
}

void close_box(struct box_end *box)
{
    fd_close(&box->control);
    fd_close(&box->out);
    fd_close(&box->err);
    fd_close(&box->life);
    box->open = false;
}

void say_state(struct scene *s, struct box_end *box, int step, int error)
{
    struct wire_box_state state = { step, error };
    assert_int_equal(send(box->control, &state, sizeof(state), 0), sizeof(state));
    turn(s);
}

struct box_end *make_box(struct scene *s, const struct wire_of_box *order)
{
    struct box_end *box = send_box(s, order);

    say_state(s, box, BOX_READY, 0);
    return box;
}

struct box_end *wait_box(struct scene *s)
{
    struct wire_of_box order = wait_order(s);
    return make_box(s, &order);
}

uint32_t slot_of(const struct scene *s, const struct box_end *box)
{
    return (uint32_t) (box - s->boxes);
}

bool is_killed(const struct box_end *box)
{
    char c;
    return read(box->life, &c, 1) == 0;
}

void bury(struct scene *s, struct box_end *box)
{
    uint32_t serial = box->serial;

    close_box(box);
    tell(s, WIRE_GONE, slot_of(s, box), serial, 0);
}

void stop(struct scene *s)
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

void on_output(struct job *job, int fd, const char *p, size_t n)
{
    struct told *t = job->owner;
    buf_addc(&t->live, (char) ('0' + fd));
    buf_add(&t->live, p, n);
}

void make_job(struct told *t, struct scene *s)
{
    *t = (struct told){ .scene = s, .job = { .code = "pass", .code_len = 4, .timeout_ms = LONG_MS } };
    t->job.on_done = on_done;
    t->job.on_refused = on_no_box;
    t->job.owner = t;
    strcpy(t->job.id, "0190a3b2-0000-7000-8000-000000000001");
    buf_init(&t->live, 1000);
}

void free_job(struct told *t)
{
    buf_free(&t->result);
    buf_free(&t->error);
    buf_free(&t->out);
    buf_free(&t->err);
    buf_free(&t->live);
}

bool is(const struct buf *b, const char *text)
{
    return b->len == strlen(text) && (!b->len || memcmp(b->data, text, b->len) == 0);
}

void take_order(struct box_end *box, const char *code)
{
    char packet[sizeof(struct wire_run) + 100];
    ssize_t n = recv(box->control, packet, sizeof(packet), MSG_DONTWAIT);

    assert_int_equal(n, sizeof(box->order) + strlen(code));
    memcpy(&box->order, packet, sizeof(box->order));
    assert_int_equal(box->order.code_len, strlen(code));
    assert_memory_equal(packet + sizeof(box->order), code, strlen(code));
}

void begin(struct scene *s, struct told *t, struct box_end *box)
{
    make_job(t, s);
    assert_int_equal(pool_run(s->pool, &t->job), 0);
    assert_int_equal(pool_queue_length(s->pool), 0);
    take_order(box, "pass");
}

void send_packet(struct scene *s, struct box_end *box, const unsigned char *token, const void *head, size_t head_len,
                 const char *body, size_t len)
{
    static char packet[TOKEN + sizeof(struct wire_outcome) + WIRE_PIECE + 1000];

    memcpy(packet, token, TOKEN);
    memcpy(packet + TOKEN, head, head_len);
    memcpy(packet + TOKEN + head_len, body, len);
    assert_int_equal(send(box->control, packet, TOKEN + head_len + len, MSG_NOSIGNAL), TOKEN + head_len + len);
    turn(s);
}

void send_head(struct scene *s, struct box_end *box, struct wire_outcome head, const char *body, size_t len)
{
    send_packet(s, box, box->order.token, &head, sizeof(head), body, len);
}

void send_piece(struct scene *s, struct box_end *box, const char *body, size_t len)
{
    send_packet(s, box, box->order.token, "", 0, body, len);
}

void report(struct scene *s, struct box_end *box, int kind, int exit_code, const char *result, const char *error)
{
    char body[1000];

    strcpy(stpcpy(body, result), error);
    send_head(s, box, (struct wire_outcome){ kind, exit_code, (int64_t) strlen(result), (int64_t) strlen(error) }, body,
              strlen(body));
}

void write_text(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

void answer_about(struct scene *s, uint32_t slot, uint32_t serial, int64_t oom_kills, int64_t pid_refusals)
{
    const struct wire_usage msg = {
        .type = WIRE_USAGE, .slot = slot, .serial = serial, .oom_kills = oom_kills, .pid_refusals = pid_refusals
    };
    pool_usage(s->pool, &msg);
    turn(s);
}

void answer(struct scene *s, uint32_t slot, int64_t oom_kills, int64_t pid_refusals)
{
    answer_about(s, slot, s->asked_serial, oom_kills, pid_refusals);
}

struct scene *start_warm(unsigned n_slots, unsigned pool_size, unsigned max_runs, int64_t queue_max)
{
    struct scene *s = start(n_slots, pool_size, max_runs, queue_max);
    tell(s, WIRE_WARM, 0, 0, 0);
    return s;
}

void run_well(struct scene *s, struct box_end *box)
{
    struct told t;

    begin(s, &t, box);
    report(s, box, OUTCOME_OK, 0, "", "");
    assert_int_equal(t.n_done, 1);
    free_job(&t);
}

void scene_prepare(void)
{
    uv_loop_t any;

    log_init("server", LOG_JSON, (enum log_level)(LOG_ERROR + 1));
    uv_loop_init(&any); /* what libuv opens once for all loops is open from here */
    uv_loop_close(&any);
}
