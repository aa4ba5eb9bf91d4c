/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of one box.
 *
 * The pool calls it (pool.c, turns.c, makers.c).  It hands over the source, has the output and the
 * report read, and ends the run: by its report, by its exit status, by the clock. Everything that
 * comes from a box is hostile.
 * What must never happen here: a program that keeps the loop busy (each callback reads a bounded
 * amount), or an outcome that is told twice. */
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
/* Most programs end before this: their output is read once, at the end, without a wake-up of its
 * own. */
enum { QUIET_MS = 2 };
/* How long the supervisor may take to say what a cgroup saw. */
enum { ASK_MS = 1000 };
/* Programs that run for longer yield the processor to programs that begin; crowds yield sooner.
 * Less than the shortest timeout. */
enum { CROWD_MS = 10, LONG_MS = 50 };

void slot_init(struct slot *slot, uint32_t index, uv_loop_t *loop, const struct wire_limits *limits,
               const struct slot_hooks *hooks, void *pool)
{
    memset(slot, 0, sizeof(*slot));
    slot->index = index;
    slot->loop = loop;
    slot->limits = limits;
    slot->hooks = hooks;
    slot->pool = pool;
    slot->runtime = "";
    slot->control_fd = slot->life_fd = slot->output_fds[0] = slot->output_fds[1] = -1;
}

/* --- letting go --- */

static void free_if_over(struct slot *slot)
{
    if (slot->state != SLOT_DYING || slot->open_handles || !slot->gone)
        return;
    slot->state = SLOT_FREE;
    slot->hooks->on_free(slot);
}

static void on_closed(uv_handle_t *handle)
{
    struct slot *slot = handle->data;
    slot->open_handles--;
    free_if_over(slot);
}

static void close_channels(struct slot *slot)
{
    uv_handle_t *handles[] = { (uv_handle_t *) &slot->timer, (uv_handle_t *) &slot->rest,
                               (uv_handle_t *) &slot->control, (uv_handle_t *) &slot->outputs[0],
                               (uv_handle_t *) &slot->outputs[1] };
    if (slot->control_fd < 0)
        return;
    for (size_t i = 0; i < slot->open_handles; i++)
        uv_close(handles[i], on_closed);
    fd_close(&slot->control_fd);
    fd_close(&slot->output_fds[0]);
    fd_close(&slot->output_fds[1]);
}

void slot_release(struct slot *slot)
{
    if (slot->state == SLOT_DYING || slot->state == SLOT_FREE)
        return;
    slot->released_us = now_us();
    slot_forget_check(slot);
    fd_close(&slot->life_fd); /* hatchery-init sees it and takes all of the box along */
    close_channels(slot);
    outcome_free(&slot->outcome);
    buf_free(&slot->body);
    slot->job = NULL;
    slot->state = SLOT_DYING;
    free_if_over(slot);
}

/* --- warming --- */

/* A zygote may lie about the kind of the descriptors. On another kind read(2) or close(2) could
 * wait, and one that can't be polled would end the server. */
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

static int watch(struct slot *slot, uv_poll_t *poll, int fd)
{
    int err = uv_poll_init(slot->loop, poll, fd);
    poll->data = slot;
    slot->open_handles += !err;
    return err;
}

/* In the order in which close_channels() closes them. */
static int open_handles(struct slot *slot)
{
    uv_timer_init(slot->loop, &slot->timer);
    slot->timer.data = slot;
    uv_timer_init(slot->loop, &slot->rest);
    slot->rest.data = slot;
    slot->open_handles = 2;
    return watch(slot, &slot->control, slot->control_fd);
}

int slot_open(struct slot *slot, const int fds[static 4])
{
    if (!are_ends(fds))
        return -EPROTO;
    slot->control_fd = fds[0];
    slot->output_fds[0] = fds[1];
    slot->output_fds[1] = fds[2];
    slot->life_fd = fds[3];
    int err = open_handles(slot);
    slot->gone = slot->exited = false;
    slot->has_head = false;
    slot->resting[0] = slot->resting[1] = slot->strange = false;
    slot->record.job_id[0] = '\0';
    slot->state = SLOT_WARMING;
    slot->own_limits = *slot->limits;
    outcome_init(&slot->outcome, &slot->own_limits);
    buf_init(&slot->body,
             (size_t) slot->own_limits.result_bytes + 131072 + WIRE_NAME_MAX + WIRE_VALUE_MAX + WIRE_HINT_MAX);
    /* The kernel's limit on polled descriptors is reached: this box can't be used. */
    if (err || uv_poll_start(&slot->control, UV_READABLE, slot_on_control) != 0) {
        slot_release(slot);
        slot->hooks->on_lost(slot);
    }
    return 0;
}

static void on_first_word(struct slot *slot)
{
    struct wire_box_state state;
    ssize_t n = recv(slot->control_fd, &state, sizeof(state), MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN && !slot->exited)
        return;
    if (n == sizeof(state) && state.step == BOX_READY && !slot->exited) {
        slot->state = SLOT_WAITING;
        box_log_times(&state);
        slot_count_steps(slot, &state);
        slot->hooks->on_ready(slot);
        return;
    }
    slot_release(slot);
    if (n == sizeof(state) && state.step != BOX_READY)
        slot->hooks->on_failed(slot, &state);
    else /* the box died before it could say why */
        slot->hooks->on_lost(slot);
}

/* --- the end of a run --- */

static void end(struct slot *slot)
{
    slot_drain_outputs(slot);
    slot->job->ended_us = now_us();
    slot_note_end(slot);
    slot->hooks->on_outcome(slot);
    slot_log(slot);
}

void slot_cancel(struct slot *slot)
{
    slot->job->ended_us = now_us();
    slot_note_cancelled(slot);
    slot_release(slot);
}

static void on_no_answer(uv_timer_t *timer)
{
    end(timer->data);
}

/* A limit may have caused the failure, and only the supervisor sees the cgroup. */
void slot_end_or_ask(struct slot *slot)
{
    if (slot->outcome.kind == OUTCOME_OK || slot->outcome.kind == OUTCOME_SYNTAX
        || slot->outcome.kind == OUTCOME_RESULT) {
        end(slot);
        return;
    }
    uv_poll_stop(&slot->control);
    uv_timer_start(&slot->timer, on_no_answer, ASK_MS, 0);
    slot->state = SLOT_ASKING;
    slot->hooks->on_ask(slot);
}

void slot_usage(struct slot *slot, const struct wire_usage *usage)
{
    if (slot->state != SLOT_ASKING)
        return;
    outcome_add_usage(&slot->outcome, usage->oom_kills, usage->of_machine, usage->pid_refusals);
    end(slot);
}

/* The server, not the program, ends the run. */
static void cut_short(struct slot *slot, enum outcome_kind kind)
{
    buf_reset(&slot->outcome.result);
    buf_reset(&slot->outcome.error);
    outcome_kill(&slot->outcome, kind);
}

void slot_out_of_memory(struct slot *slot, bool of_machine)
{
    if (slot->state != SLOT_RUNNING)
        return;
    cut_short(slot, of_machine ? OUTCOME_HOST_MEMORY : OUTCOME_MEMORY);
    end(slot);
}

void slot_stop(struct slot *slot)
{
    cut_short(slot, OUTCOME_CANCELLED);
    end(slot);
}

static void on_deadline(uv_timer_t *timer)
{
    struct slot *slot = timer->data;

    cut_short(slot, OUTCOME_TIMEOUT);
    slot->outcome.timeout_ms = slot->job->timeout_ms;
    end(slot);
}

/* --- handing over --- */

static void send_source(struct slot *slot)
{
    struct job *job = slot->job;

    while (slot->sent < job->code_len) {
        size_t n = job->code_len - slot->sent < WIRE_PIECE ? job->code_len - slot->sent : WIRE_PIECE;
        if (send(slot->control_fd, job->code + slot->sent, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            if (errno == EAGAIN)
                uv_poll_start(&slot->control, UV_READABLE | UV_WRITABLE, slot_on_control);
            return; /* any other error: the box is dead, and its exit tells */
        }
        slot->sent += n;
    }
    uv_poll_start(&slot->control, UV_READABLE, slot_on_control);
}

static uint64_t left_ms(const struct slot *slot)
{
    int64_t left = slot->job->timeout_ms - (now_us() - slot->job->started_us) / 1000;
    return left > 0 ? (uint64_t) left : 0;
}

static void on_age(uv_timer_t *timer)
{
    struct slot *slot = timer->data;
    bool maybe = now_us() - slot->job->started_us < LONG_MS * 1000;

    if (slot->state == SLOT_RUNNING)
        slot->hooks->on_long(slot, maybe);
    if (maybe)
        uv_timer_start(timer, on_age, CROWD_MS, 0);
    else
        uv_timer_start(timer, on_deadline, left_ms(slot), 0);
}

/* Most programs end before it pays to watch their output.  If the kernel's limit on polled
 * descriptors is reached, the run can't go on, because nobody would read its output. */
static void on_quiet_over(uv_timer_t *timer)
{
    struct slot *slot = timer->data;

    for (int i = 0; i < 2; i++)
        if (watch(slot, &slot->outputs[i], slot->output_fds[i]) != 0
            || uv_poll_start(&slot->outputs[i], UV_READABLE, slot_on_output) != 0) {
            cut_short(slot, OUTCOME_INTERNAL);
            end(slot);
            return;
        }
    uv_timer_start(timer, on_age, CROWD_MS - QUIET_MS, 0);
}

int slot_start(struct slot *slot, struct job *job)
{
    struct wire_run order = { .code_len = (int64_t) job->code_len, .timeout_ms = job->timeout_ms };
    size_t first = job->code_len < WIRE_PIECE ? job->code_len : WIRE_PIECE;
    struct iovec iov[2] = { { &order, sizeof(order) }, { (void *) (uintptr_t) job->code, first } };
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };

    job->started_us = now_us();
    job->stamps = (struct wire_stamps){ 0 };
    randombytes_buf(slot->token, sizeof(slot->token));
    memcpy(order.token, slot->token, sizeof(order.token));
    /* The socket is empty: if the box lives, the first packet fits. */
    if (sendmsg(slot->control_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return -errno;
    /* The server decides how much output is kept: as configured now, though the box was made
     * before. */
    slot->own_limits.output_bytes = slot->limits->output_bytes;
    slot->outcome.out.kept.max = slot->outcome.err.kept.max = (size_t) slot->limits->output_bytes;
    slot->job = job;
    job->slot = slot;
    slot->state = SLOT_RUNNING;
    slot->sent = first;
    /* uv_now() is when the loop's turn began, and must stay that: it tells how long the turn takes. */
    uint64_t behind_ms = uv_hrtime() / 1000000 - uv_now(slot->loop);
    uv_timer_start(&slot->timer, on_quiet_over, behind_ms + QUIET_MS, 0);
    if (slot->sent < job->code_len)
        send_source(slot);
    return 0;
}

void slot_on_control(uv_poll_t *handle, int status, int events)
{
    struct slot *slot = handle->data;

    if (slot->state == SLOT_WARMING) {
        on_first_word(slot);
        return;
    }
    if (slot->state == SLOT_WAITING) { /* a waiting box sends nothing: this is its end */
        slot_release(slot);
        slot->hooks->on_lost(slot);
        return;
    }
    if (slot->state != SLOT_RUNNING)
        return;
    if (events & UV_WRITABLE)
        send_source(slot);
    if (status < 0 || (events & (UV_READABLE | UV_DISCONNECT))) {
        int got = slot_read_report(slot, PACKETS_A_TURN);
        if (got == 1)
            slot_end_or_ask(slot);
        else if (got < 0)
            uv_poll_stop(&slot->control); /* the exit status is under way */
        else if (got == 0 && slot->strange)
            slot_rest_control(slot);
    }
}

/* --- what the zygote says --- */

void slot_exited(struct slot *slot, const struct wire_exited *exited)
{
    if (slot->state == SLOT_RUNNING) {
        /* It may have reported before it ended. */
        int got = slot_read_report(slot, PACKETS_AT_END);
        if (got <= 0)
            outcome_from_status(&slot->outcome, exited->status);
        if (got < 2)
            slot_end_or_ask(slot);
    }
    slot->used = *exited;
    slot->exited = true;
    if (slot->state == SLOT_WARMING) /* this message may have overtaken the box's first word */
        on_first_word(slot);
    else if (slot->state == SLOT_WAITING) { /* otherwise the next job would be given to a dead box */
        slot_release(slot);
        slot->hooks->on_lost(slot);
    }
    slot_log(slot);
}

void slot_gone(struct slot *slot)
{
    slot->gone = true;
    if (slot->state == SLOT_DYING)
        metric_observe(METRIC_SANDBOX_PHASE, now_us() - slot->released_us, METRIC_BOX_EXIT, 0, 0);
    if (slot->state == SLOT_ORDERED) { /* it could not be made */
        slot->state = SLOT_DYING;
        free_if_over(slot);
    } else if (slot->state == SLOT_WARMING || slot->state == SLOT_WAITING) {
        slot_release(slot);
        slot->hooks->on_lost(slot);
    } else
        free_if_over(slot);
}

void slot_bereft(struct slot *slot)
{
    if (!slot->exited) { /* nobody tells what it used any more: the log goes without */
        slot->used = (struct wire_exited){ 0 };
        slot->exited = true;
        slot_log(slot);
    }
    if (slot->state == SLOT_RUNNING) {
        int got = slot_read_report(slot, PACKETS_AT_END);
        if (got <= 0)
            outcome_kill(&slot->outcome, OUTCOME_INTERNAL);
        if (got < 2)
            end(slot);
    }
    slot->gone = true;
    slot_log_last(slot);
    if (slot->state == SLOT_ORDERED) {
        slot->state = SLOT_DYING;
        free_if_over(slot);
    } else if (slot->state == SLOT_WARMING || slot->state == SLOT_WAITING)
        slot_release(slot);
    else if (slot->state == SLOT_DYING)
        free_if_over(slot);
}
