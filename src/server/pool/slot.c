/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of one box.
 *
 * The pool calls it (pool.c, turns.c, makers.c).  It hands over the source, has
 * the output and the report read, and ends the run: by its report, by its exit
 * status, by the clock.
 * Everything that comes from a box is hostile.
 * What must never happen here: a program that keeps the loop busy (each
 * callback reads a bounded amount), or an outcome that is told twice. */
#include "server/pool/slot_parts.h"

#include "base/clock.h"
#include "base/fd.h"
#include "box/box.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PACKETS_A_TURN = 8, PACKETS_AT_END = 4096 };
/* Most programs end sooner: their output is read once, at the end, without a wake-up of its own. */
enum { QUIET_MS = 2 };
/* How long the supervisor may take to say what a cgroup saw. */
enum { ASK_MS = 1000 };
/* Those that don't end soon yield the processor to those that begin; crowds do sooner.  Less than the shortest timeout. */
enum { CROWD_MS = 10, LONG_MS = 50 };

static void on_control(uv_poll_t *handle, int status, int events);

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
    run_forget_check(run);
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

static void on_first_word(struct run *run)
{
    struct wire_box_state state;
    ssize_t n = recv(run->control_fd, &state, sizeof(state), MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN && !run->exited)
        return;
    if (n == sizeof(state) && state.step == BOX_READY && !run->exited) {
        run->state = RUN_WAITING;
        box_log_times(&state);
        run_count_steps(run, &state);
        run->hooks->on_ready(run);
        return;
    }
    run_release(run);
    if (n == sizeof(state) && state.step != BOX_READY)
        run->hooks->on_failed(run, &state);
    else /* it died before it could say why */
        run->hooks->on_lost(run);
}

/* --- the end of a run --- */

static void end(struct run *run)
{
    run_drain_outputs(run);
    run->job->ended_us = now_us();
    run_note_end(run);
    run->hooks->on_outcome(run);
    run_log(run);
}

void run_cancel(struct run *run)
{
    run->job->ended_us = now_us();
    run_note_cancelled(run);
    run_release(run);
}

static void on_no_answer(uv_timer_t *timer)
{
    end(timer->data);
}

/* A failure may be a limit's doing, and only the supervisor sees the cgroup. */
void run_end_or_ask(struct run *run)
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
            || uv_poll_start(&run->outputs[i], UV_READABLE, run_on_output) != 0) {
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
        int got = run_read_report(run, PACKETS_A_TURN);
        if (got == 1)
            run_end_or_ask(run);
        else if (got < 0)
            uv_poll_stop(&run->control); /* the exit status is under way */
    }
}

/* --- what the zygote says --- */

void run_exited(struct run *run, const struct wire_msg *msg)
{
    if (run->state == RUN_RUNNING) {
        /* It may have reported and then ended. */
        int got = run_read_report(run, PACKETS_AT_END);
        if (got <= 0)
            outcome_from_status(&run->outcome, msg->status);
        if (got < 2)
            run_end_or_ask(run);
    }
    run->used = *msg;
    run->exited = true;
    if (run->state == RUN_WARMING) /* what it had to say may have been overtaken by this */
        on_first_word(run);
    else if (run->state == RUN_WAITING) { /* or the next job would wait in it for nothing */
        run_release(run);
        run->hooks->on_lost(run);
    }
    run_log(run);
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

void run_bereft(struct run *run)
{
    if (!run->exited) { /* what it used is never told: the log goes without */
        run->used = (struct wire_msg){ 0 };
        run->exited = true;
        run_log(run);
    }
    if (run->state == RUN_RUNNING) {
        int got = run_read_report(run, PACKETS_AT_END);
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
