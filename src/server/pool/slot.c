/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of one box.
 *
 * Called by pool.c.  Hands over the source, collects what the program writes,
 * reads its report, and ends it: by its report, by its exit status, by the
 * clock.  Everything that is read here is hostile.  What must never happen: a
 * program that keeps the loop busy (each callback reads a bounded amount), or
 * an outcome that is told twice. */
#include "server/pool/slot.h"

#include "base/beside.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "box/box.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOKEN_SIZE = sizeof(((struct wire_run *) 0)->token) };
enum { PACKETS_A_TURN = 8, PACKETS_AT_END = 4096, READS_A_TURN = 4, READS_AT_END = 8 };
/* Most programs end sooner: their output is read once, at the end, without a wake-up of its own. */
enum { QUIET_MS = 2 };
/* What comes byte by byte is read this often, and so is what is read only to be dropped: a program pays for each of its
 * writes, and the server for each of its own wake-ups. */
enum { REST_MS = 1, SHORT_PIECE = 4096 };
/* A longer report is checked beside the loop. */
enum { AT_ONCE_MAX = 65536 };
/* How long the supervisor may take to say what a cgroup saw. */
enum { ASK_MS = 1000 };
/* Those that don't end soon yield the processor to those that begin; crowds do sooner.  Less than the shortest timeout. */
enum { CROWD_MS = 10, LONG_MS = 50 };

/* A pipe of our own that output goes through; empty between two calls of read_piece(). */
static int sluice[2] = { -1, -1 };

static char scratch[TOKEN_SIZE + sizeof(struct wire_outcome) + WIRE_PIECE + 1];

static void on_control(uv_poll_t *handle, int status, int events);
static void on_rest_over(uv_timer_t *timer);

int run_prepare(void)
{
    return sluice[0] >= 0 || pipe2(sluice, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : -errno;
}

void run_init(struct run *run, uint32_t slot, uv_loop_t *loop, const struct wire_limits *limits,
              const struct run_hooks *hooks, void *pool)
{
    memset(run, 0, sizeof(*run));
    run->slot = slot;
    run->loop = loop;
    run->limits = limits;
    run->hooks = hooks;
    run->pool = pool;
    run->runtime = "";
    run->control_fd = run->life_fd = run->output_fds[0] = run->output_fds[1] = -1;
}

/* A report in a thread's hands. */
struct checking {
    struct beside beside;
    struct run *run; /* NULL: nobody wants to know any more */
    struct wire_outcome head;
    struct wire_limits limits;
    struct buf body;
    struct outcome outcome;
    int err;
};

/* --- letting go --- */

static void free_if_over(struct run *run)
{
    if (run->state != RUN_DYING || run->open_handles || !run->gone)
        return;
    run->state = RUN_FREE;
    run->hooks->on_free(run);
}

static void on_closed(uv_handle_t *handle)
{
    struct run *run = handle->data;
    run->open_handles--;
    free_if_over(run);
}

static void close_channels(struct run *run)
{
    uv_handle_t *handles[] = { (uv_handle_t *) &run->timer, (uv_handle_t *) &run->rest, (uv_handle_t *) &run->control,
                               (uv_handle_t *) &run->outputs[0], (uv_handle_t *) &run->outputs[1] };
    if (run->control_fd < 0)
        return;
    for (size_t i = 0; i < run->open_handles; i++)
        uv_close(handles[i], on_closed);
    fd_close(&run->control_fd);
    fd_close(&run->output_fds[0]);
    fd_close(&run->output_fds[1]);
}

void run_release(struct run *run)
{
    if (run->state == RUN_DYING || run->state == RUN_FREE)
        return;
    run->released_us = now_us();
    if (run->checking)
        run->checking->run = NULL;
    run->checking = NULL;
    fd_close(&run->life_fd); /* hatchery-init sees it and takes all of the box along */
    close_channels(run);
    outcome_free(&run->outcome);
    buf_free(&run->body);
    run->job = NULL;
    run->state = RUN_DYING;
    free_if_over(run);
}

/* --- warming --- */

/* The zygote's word on what it sent is not enough: of anything else a read could wait, a close too, and what can't be
 * polled would end us. */
static bool are_ends(const int fds[static 4])
{
    int domain = 0, type = 0;
    socklen_t size = sizeof(int);

    for (int i = 1; i < 4; i++) {
        struct stat st;
        if (fstat(fds[i], &st) < 0 || !S_ISFIFO(st.st_mode))
            return false;
    }
    return getsockopt(fds[0], SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX
           && getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

static int watch(struct run *run, uv_poll_t *poll, int fd)
{
    int err = uv_poll_init(run->loop, poll, fd);
    poll->data = run;
    run->open_handles += !err;
    return err;
}

/* In the order in which close_channels() closes them. */
static int open_handles(struct run *run)
{
    uv_timer_init(run->loop, &run->timer);
    run->timer.data = run;
    uv_timer_init(run->loop, &run->rest);
    run->rest.data = run;
    run->open_handles = 2;
    return watch(run, &run->control, run->control_fd);
}

int run_open(struct run *run, const int fds[static 4])
{
    if (!are_ends(fds))
        return -EPROTO;
    run->control_fd = fds[0];
    run->output_fds[0] = fds[1];
    run->output_fds[1] = fds[2];
    run->life_fd = fds[3];
    int err = open_handles(run);
    run->gone = run->exited = false;
    run->has_head = false;
    run->resting[0] = run->resting[1] = false;
    run->record.job_id[0] = '\0';
    run->state = RUN_WARMING;
    run->own_limits = *run->limits;
    outcome_init(&run->outcome, &run->own_limits);
    buf_init(&run->body,
             (size_t) run->own_limits.result_bytes + 131072 + WIRE_NAME_MAX + WIRE_VALUE_MAX + WIRE_HINT_MAX);
    if (!err)
        err = uv_poll_start(&run->control, UV_READABLE, on_control);
    if (err) { /* the kernel's limit on what may be polled: this box is not to be had */
        run_release(run);
        run->hooks->on_lost(run);
    }
    return 0;
}

/* A step's time as a metric: no more than the server has waited for the box in all. */
static void count_step(enum metric_label_BOX_PHASE phase, int32_t ns, int64_t most_us)
{
    int64_t us = ns > 0 ? (ns + 500) / 1000 : 0;
    metric_observe(METRIC_SANDBOX_PHASE, us < most_us ? us : most_us, phase, 0, 0);
}

static void count_steps(const struct run *run, const struct wire_box_state *state)
{
    int64_t most_us = now_us() - run->ordered_us;

    count_step(METRIC_BOX_INIT, state->init_ns, most_us);
    count_step(METRIC_BOX_FORK, state->fork_ns, most_us);
    count_step(METRIC_BOX_HOOKS, state->hooks_ns, most_us);
    count_step(METRIC_BOX_RENEWAL, state->renewal_ns, most_us);
#define STEP(name, word, hint) count_step(METRIC_BOX_##name, state->step_ns[BOX_##name], most_us);
#include "box/box.def"
#undef STEP
}

static void on_first_word(struct run *run)
{
    struct wire_box_state state;
    ssize_t n = recv(run->control_fd, &state, sizeof(state), MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN && !run->exited)
        return;
    if (n == sizeof(state) && state.step == BOX_READY && !run->exited) {
        run->state = RUN_WAITING;
        box_log_times(&state);
        count_steps(run, &state);
        run->hooks->on_ready(run);
        return;
    }
    run_release(run);
    if (n == sizeof(state) && state.step != BOX_READY)
        run->hooks->on_failed(run, &state);
    else /* it died before it could say why */
        run->hooks->on_lost(run);
}

/* --- the program's output --- */

static void take_output(struct run *run, int stream, const char *p, size_t n)
{
    struct stream *s = stream == 0 ? &run->outcome.out : &run->outcome.err;
    size_t room = s->kept.max - s->kept.len;

    s->total += (int64_t) n;
    if (run->job->on_output)
        run->job->on_output(run->job, stream + 1, p, n);
    else
        buf_add(&s->kept, p, n < room ? n : room);
}

/* read(2) into scratch that never waits.  O_NONBLOCK belongs to the open pipe, which the zygote has made: it could keep
 * an end, clear the flag and stop all other runs with an empty pipe.  SPLICE_F_NONBLOCK belongs to the call. */
static ssize_t read_piece(int fd)
{
    size_t len = 0;
    ssize_t moved = splice(fd, NULL, sluice[1], NULL, WIRE_PIECE, SPLICE_F_NONBLOCK);
    while (moved > 0 && len < (size_t) moved) {
        ssize_t n = read(sluice[0], scratch + len, (size_t) moved - len);
        if (n <= 0) /* it is ours: there is what was moved */
            return -1;
        len += (size_t) n;
    }
    return moved;
}

/* Read what is there, at most READS_A_TURN pieces.  @ret_rest: it was little, or more than is kept, so the rest can wait.
 * False when there is no more to come. */
static bool read_output(struct run *run, int stream, bool *ret_rest)
{
    const struct stream *s = stream == 0 ? &run->outcome.out : &run->outcome.err;
    int64_t before = s->total;
    ssize_t n = SHORT_PIECE;

    for (int turns = READS_A_TURN; turns > 0 && n >= SHORT_PIECE; turns--) {
        n = read_piece(run->output_fds[stream]);
        if (n > 0)
            take_output(run, stream, scratch, (size_t) n);
    }
    bool dropped = !run->job->on_output && s->total > (int64_t) s->kept.max;
    *ret_rest = dropped || s->total - before < SHORT_PIECE;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_output(uv_poll_t *handle, int status, int events)
{
    struct run *run = handle->data;
    int stream = handle == &run->outputs[1];
    bool rest = false;
    bool more = status >= 0 && read_output(run, stream, &rest);

    (void) events;
    if (more && !rest)
        return;
    uv_poll_stop(handle);
    run->resting[stream] = more;
    if (more && !uv_is_active((uv_handle_t *) &run->rest))
        uv_timer_start(&run->rest, on_rest_over, REST_MS, 0);
}

static void on_rest_over(uv_timer_t *timer)
{
    struct run *run = timer->data;

    for (int stream = 0; stream < 2; stream++) {
        if (run->resting[stream])
            uv_poll_start(&run->outputs[stream], UV_READABLE, on_output);
        run->resting[stream] = false;
    }
}

/* What was written before the report is in the pipe by now. */
static void drain_outputs(struct run *run)
{
    for (int stream = 0; stream < 2; stream++)
        for (int i = 0; i < READS_AT_END; i++) {
            ssize_t n = read_piece(run->output_fds[stream]);
            if (n <= 0)
                break;
            take_output(run, stream, scratch, (size_t) n);
        }
}

/* --- the end of a run --- */

static const unsigned words[] = {
    [OUTCOME_NONE] = METRIC_ENDED_INTERNAL,
#define OUTCOME(name, status, reason, word) [OUTCOME_##name] = METRIC_ENDED_##word,
#include "base/outcome.def"
#undef OUTCOME
};

static void count_violation(const struct outcome *outcome)
{
    if (outcome->kind == OUTCOME_MEMORY)
        metric_count(METRIC_SANDBOX_VIOLATIONS, METRIC_VIOLATION_MEMORY);
    if (outcome->kind == OUTCOME_PROCESSES)
        metric_count(METRIC_SANDBOX_VIOLATIONS, METRIC_VIOLATION_PROCESSES);
    if (outcome->kind == OUTCOME_SIGNAL && outcome->signal == SIGSYS)
        metric_count(METRIC_SANDBOX_VIOLATIONS, METRIC_VIOLATION_SYSCALL);
}

static void count(const struct run *run, unsigned word)
{
    const struct job *job = run->job;
    unsigned mode = job->leased ? METRIC_ASYNC : METRIC_SYNC;

    metric_add(METRIC_RUNS, 1, mode, word, 0);
    metric_observe(METRIC_RUN_DURATION, job->ended_us - job->started_us, mode, 0, 0);
    metric_observe(METRIC_QUEUE_WAIT, job->started_us - job->queued_us, 0, 0, 0);
    if (job->waited_for)
        metric_add(METRIC_WAITED, job->started_us - job->queued_us, job->waited_for - 1, 0, 0);
    metric_add(METRIC_RUN_OUTPUT, run->outcome.out.total, METRIC_STDOUT, 0, 0);
    metric_add(METRIC_RUN_OUTPUT, run->outcome.err.total, METRIC_STDERR, 0, 0);
}

static void record(struct run *run, const char *outcome)
{
    const struct job *job = run->job;

    run->record = (struct run_record){ .trace = trace_ids(job->trace),
                                       .outcome = outcome,
                                       .exit_code = run->outcome.exit_code,
                                       .queue_us = job->started_us - job->queued_us,
                                       .waited_for = job->waited_for,
                                       .run_us = job->ended_us - job->started_us,
                                       .stdout_bytes = run->outcome.out.total,
                                       .stderr_bytes = run->outcome.err.total };
    memcpy(run->record.job_id, job->id, sizeof(job->id));
}

/* Once both are known: how it ended for its client, and what it used. */
static void log_run(struct run *run)
{
    const struct run_record *r = &run->record;
    const struct wire_msg *used = &run->used;

    if (!r->job_id[0] || !run->exited)
        return;
    metric_add(METRIC_RUN_CPU, used->user_us + used->system_us, 0, 0, 0);
    if (used->peak_bytes > 0)
        metric_observe(METRIC_RUN_MEMORY, used->peak_bytes, 0, 0, 0);
    log_info("run finished",
             LOG_S("job_id", r->job_id) LOG_S("outcome", r->outcome) LOG_I("exit_code", r->exit_code)
                 LOG_US("queue_time", r->queue_us) LOG_US("run_time", r->run_us) LOG_US("cpu_user", used->user_us)
                     LOG_US("cpu_system", used->system_us) LOG_I("peak_memory_bytes", used->peak_bytes)
                         LOG_I("stdout_bytes", r->stdout_bytes) LOG_I("stderr_bytes", r->stderr_bytes)
                             LOG_I("slot", run->slot) LOG_SOME("runtime", run->runtime)
                                 LOG_SOME("waited_for", lack_word(r->waited_for)) LOG_SOME("trace_id", r->trace.trace)
                                     LOG_SOME("span_id", r->trace.span));
    run->record.job_id[0] = '\0';
}

static void end(struct run *run)
{
    drain_outputs(run);
    run->job->ended_us = now_us();
    record(run, run->outcome.kind == OUTCOME_OK ? "success" : outcome_reason(&run->outcome));
    count(run, words[run->outcome.kind]);
    count_violation(&run->outcome);
    run->hooks->on_outcome(run);
    log_run(run);
}

void run_cancel(struct run *run)
{
    run->job->ended_us = now_us();
    record(run, "cancelled");
    count(run, METRIC_ENDED_CANCELLED);
    run_release(run);
}

static void on_no_answer(uv_timer_t *timer)
{
    end(timer->data);
}

/* A failure may be a limit's doing, and only the supervisor sees the cgroup. */
static void end_or_ask(struct run *run)
{
    if (run->outcome.kind == OUTCOME_OK || run->outcome.kind == OUTCOME_SYNTAX || run->outcome.kind == OUTCOME_RESULT) {
        end(run);
        return;
    }
    uv_poll_stop(&run->control);
    uv_timer_start(&run->timer, on_no_answer, ASK_MS, 0);
    run->state = RUN_ASKING;
    run->hooks->on_ask(run);
}

void run_usage(struct run *run, const struct wire_msg *msg)
{
    if (run->state != RUN_ASKING)
        return;
    outcome_add_usage(&run->outcome, msg->oom_kills, msg->status == 1, msg->pid_refusals);
    end(run);
}

/* Not the program's end: ours. */
static void cut_short(struct run *run, enum outcome_kind kind)
{
    buf_reset(&run->outcome.result);
    buf_reset(&run->outcome.error);
    run->outcome.kind = kind;
    run->outcome.exit_code = 128 + SIGKILL;
}

void run_out_of_memory(struct run *run, bool of_machine)
{
    if (run->state != RUN_RUNNING)
        return;
    cut_short(run, of_machine ? OUTCOME_HOST_MEMORY : OUTCOME_MEMORY);
    end(run);
}

void run_stop(struct run *run)
{
    cut_short(run, OUTCOME_CANCELLED);
    end(run);
}

static void on_deadline(uv_timer_t *timer)
{
    struct run *run = timer->data;

    cut_short(run, OUTCOME_TIMEOUT);
    run->outcome.timeout_ms = run->job->timeout_ms;
    end(run);
}

/* --- the report --- */

/* The box's own stamps count where our clocks and their order allow them; a program can write the report itself, and then
 * gains no more than to divide its own time otherwise. */
static void take_stamps(struct run *run)
{
    const struct wire_stamps *s = &run->head.stamps;
    struct job *job = run->job;

    if (s->received_us < job->started_us || s->compiled_us < s->received_us || s->over_us < s->compiled_us
        || now_us() < s->over_us || s->rehearsal_us < 0 || s->rehearsal_us > s->received_us - run->ordered_us)
        return;
    job->stamps = *s;
    if (s->rehearsal_us)
        metric_observe(METRIC_SANDBOX_PHASE, s->rehearsal_us, METRIC_BOX_REHEARSAL, 0, 0);
}

/* One packet: token, head in the first, then a piece.  Without the token it is not from our code. */
static void take_packet(struct run *run, const char *p, size_t n)
{
    if (n < TOKEN_SIZE || sodium_memcmp(p, run->token, TOKEN_SIZE) != 0)
        return;
    p += TOKEN_SIZE;
    n -= TOKEN_SIZE;
    if (!run->has_head) {
        if (n < sizeof(run->head))
            return;
        memcpy(&run->head, p, sizeof(run->head));
        run->has_head = true;
        p += sizeof(run->head);
        n -= sizeof(run->head);
    }
    buf_add(&run->body, p, n);
}

static bool report_complete(const struct run *run)
{
    if (!run->has_head)
        return false;
    int64_t len = outcome_body_len(&run->head);
    return run->body.full || len < 0 || len > (int64_t) run->body.max || (int64_t) run->body.len >= len;
}

/* recv(2) gave 0 bytes: the end, or an empty packet that the program sent to look like one. */
static bool is_closed(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    return poll(&p, 1, 0) != 0;
}

static void end_or_ask(struct run *run);

static void on_taken(struct run *run, int err)
{
    if (err < 0)
        metric_count(METRIC_SANDBOX_VIOLATIONS, METRIC_VIOLATION_REPORT);
    else
        take_stamps(run);
}

static void check(void *data)
{
    struct checking *c = data;

    c->err = outcome_take(&c->outcome, &c->head, c->body.data, c->body.len);
    buf_free(&c->body);
}

/* What the program has printed is in the run's own. */
static void on_checked(void *data)
{
    struct checking *c = data;
    struct run *run = c->run;

    if (run) {
        c->outcome.out = run->outcome.out;
        c->outcome.err = run->outcome.err;
        run->outcome = c->outcome;
        run->outcome.limits = &run->own_limits;
        run->checking = NULL;
        run->state = RUN_RUNNING;
        on_taken(run, c->err);
        end_or_ask(run);
    } else
        outcome_free(&c->outcome);
    free(c);
}

/* The program is over: neither the clock nor its exit changes what it has reported. */
static void check_beside(struct run *run)
{
    struct checking *c = xcalloc(1, sizeof(*c));

    uv_poll_stop(&run->control);
    uv_timer_stop(&run->timer);
    c->run = run;
    c->head = run->head;
    c->limits = run->own_limits;
    c->body = run->body;
    outcome_init(&c->outcome, &c->limits);
    buf_init(&run->body, c->body.max);
    run->checking = c;
    run->state = RUN_CHECKING;
    beside_begin(run->loop, &c->beside, check, on_checked, c);
}

/* 1: it is taken; 2: that will be told. */
static int take_report(struct run *run)
{
    if (run->body.len > AT_ONCE_MAX) {
        check_beside(run);
        return 2;
    }
    on_taken(run, outcome_take(&run->outcome, &run->head, run->body.data, run->body.len));
    return 1;
}

/* Read packets.  1: the report is complete, 2: it is, and is being checked; 0: more may come; -1: the program has closed
 * its end. */
static int read_report(struct run *run, int turns)
{
    while (turns-- > 0) {
        ssize_t n = recv(run->control_fd, scratch, sizeof(scratch), MSG_DONTWAIT);
        if ((n == 0 && is_closed(run->control_fd)) || (n < 0 && errno == ECONNRESET))
            return -1;
        if (n < 0)
            return 0;
        take_packet(run, scratch, (size_t) n);
        if (report_complete(run))
            return take_report(run);
    }
    return 0;
}

/* --- handing over --- */

static void send_source(struct run *run)
{
    struct job *job = run->job;

    while (run->sent < job->code_len) {
        size_t n = job->code_len - run->sent < WIRE_PIECE ? job->code_len - run->sent : WIRE_PIECE;
        if (send(run->control_fd, job->code + run->sent, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            if (errno == EAGAIN)
                uv_poll_start(&run->control, UV_READABLE | UV_WRITABLE, on_control);
            return; /* any other error: the box is dead, and its exit tells */
        }
        run->sent += n;
    }
    uv_poll_start(&run->control, UV_READABLE, on_control);
}

static uint64_t left_ms(const struct run *run)
{
    int64_t left = run->job->timeout_ms - (now_us() - run->job->started_us) / 1000;
    return left > 0 ? (uint64_t) left : 0;
}

static void on_age(uv_timer_t *timer)
{
    struct run *run = timer->data;
    bool maybe = now_us() - run->job->started_us < LONG_MS * 1000;

    if (run->state == RUN_RUNNING)
        run->hooks->on_long(run, maybe);
    if (maybe)
        uv_timer_start(timer, on_age, CROWD_MS, 0);
    else
        uv_timer_start(timer, on_deadline, left_ms(run), 0);
}

/* Most programs are over before it pays to watch what they print.  Where the kernel's limit on what may be polled is
 * reached the run can't go on: nobody would read. */
static void on_quiet_over(uv_timer_t *timer)
{
    struct run *run = timer->data;

    for (int i = 0; i < 2; i++)
        if (watch(run, &run->outputs[i], run->output_fds[i]) != 0
            || uv_poll_start(&run->outputs[i], UV_READABLE, on_output) != 0) {
            cut_short(run, OUTCOME_INTERNAL);
            end(run);
            return;
        }
    uv_timer_start(timer, on_age, CROWD_MS - QUIET_MS, 0);
}

int run_start(struct run *run, struct job *job)
{
    struct wire_run order = { .code_len = (int64_t) job->code_len, .timeout_ms = job->timeout_ms };
    size_t first = job->code_len < WIRE_PIECE ? job->code_len : WIRE_PIECE;
    struct iovec iov[2] = { { &order, sizeof(order) }, { (void *) (uintptr_t) job->code, first } };
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };

    job->started_us = now_us();
    job->stamps = (struct wire_stamps){ 0 };
    randombytes_buf(run->token, sizeof(run->token));
    memcpy(order.token, run->token, sizeof(order.token));
    /* The socket is empty: the first packet always fits where there is somebody to read it. */
    if (sendmsg(run->control_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return -errno;
    /* How much is kept is ours alone to say: it is what is configured now, though the box was made before. */
    run->own_limits.output_bytes = run->limits->output_bytes;
    run->outcome.out.kept.max = run->outcome.err.kept.max = (size_t) run->limits->output_bytes;
    run->job = job;
    job->run = run;
    run->state = RUN_RUNNING;
    run->sent = first;
    /* Of the loop's time, which is that of the begin of its turn, and must stay that: it says how long the turn takes. */
    uint64_t behind_ms = uv_hrtime() / 1000000 - uv_now(run->loop);
    uv_timer_start(&run->timer, on_quiet_over, behind_ms + QUIET_MS, 0);
    if (run->sent < job->code_len)
        send_source(run);
    return 0;
}

static void on_control(uv_poll_t *handle, int status, int events)
{
    struct run *run = handle->data;

    if (run->state == RUN_WARMING) {
        on_first_word(run);
        return;
    }
    if (run->state == RUN_WAITING) { /* nothing is to be read from a waiting box but its end */
        run_release(run);
        run->hooks->on_lost(run);
        return;
    }
    if (run->state != RUN_RUNNING)
        return;
    if (events & UV_WRITABLE)
        send_source(run);
    if (status < 0 || (events & (UV_READABLE | UV_DISCONNECT))) {
        int got = read_report(run, PACKETS_A_TURN);
        if (got == 1)
            end_or_ask(run);
        else if (got < 0)
            uv_poll_stop(&run->control); /* the exit status is under way */
    }
}

/* --- what the zygote says --- */

void run_exited(struct run *run, const struct wire_msg *msg)
{
    if (run->state == RUN_RUNNING) {
        /* It may have reported and then ended. */
        int got = read_report(run, PACKETS_AT_END);
        if (got <= 0)
            outcome_from_status(&run->outcome, msg->status);
        if (got < 2)
            end_or_ask(run);
    }
    run->used = *msg;
    run->exited = true;
    if (run->state == RUN_WARMING) /* what it had to say may have been overtaken by this */
        on_first_word(run);
    else if (run->state == RUN_WAITING) { /* or the next job would wait in it for nothing */
        run_release(run);
        run->hooks->on_lost(run);
    }
    log_run(run);
}

void run_gone(struct run *run)
{
    run->gone = true;
    if (run->state == RUN_DYING)
        metric_observe(METRIC_SANDBOX_PHASE, now_us() - run->released_us, METRIC_BOX_EXIT, 0, 0);
    if (run->state == RUN_ORDERED) { /* it could not be made */
        run->state = RUN_DYING;
        free_if_over(run);
    } else if (run->state == RUN_WARMING || run->state == RUN_WAITING) {
        run_release(run);
        run->hooks->on_lost(run);
    } else
        free_if_over(run);
}

void run_log_last(struct run *run)
{
    if (run->exited)
        return;
    run->used = (struct wire_msg){ 0 };
    run->exited = true;
    log_run(run);
}

void run_bereft(struct run *run)
{
    if (!run->exited) { /* what it used is never told: the log goes without */
        run->used = (struct wire_msg){ 0 };
        run->exited = true;
        log_run(run);
    }
    if (run->state == RUN_RUNNING) {
        int got = read_report(run, PACKETS_AT_END);
        if (got <= 0) {
            run->outcome.kind = OUTCOME_INTERNAL;
            run->outcome.exit_code = 128 + SIGKILL;
        }
        if (got < 2)
            end(run);
    }
    run->gone = true;
    run_log_last(run);
    if (run->state == RUN_ORDERED) {
        run->state = RUN_DYING;
        free_if_over(run);
    } else if (run->state == RUN_WARMING || run->state == RUN_WAITING)
        run_release(run);
    else if (run->state == RUN_DYING)
        free_if_over(run);
}
