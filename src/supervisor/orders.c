/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the server, the zygotes and the boxes, and what the kernel tells of their cgroups.
 *
 * The loop calls this file when a socket is readable.  Each message is of a fixed size, and its
 * slot or runtime is checked before it is used, because a taken-over process could send anything.
 * What must never happen here: reading what a client or a program wrote, or a wait for a process
 * that does not read its answers. */
#include "supervisor/process.h"

#include "supervisor/cgroup.h"
#include "supervisor/limit_watch.h"

#include "base/fd.h"
#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* For the handlers: who has sent the message. */
struct speaker {
    struct supervisor *s;
    struct child *child;
};

static const struct speaker *speaker_of(void *data)
{
    return data;
}

/* --- from the server --- */

static void on_ready(void *data, struct wire_in *in)
{
    struct supervisor *s = speaker_of(data)->s;

    (void) in;
    if (s->ready)
        return;
    s->ready = true;
    if (s->options->source_fd < 0) {
        announce(s);
        say_ready(s);
    }
}

/* The first box could not take a step of the jail: its layer is one that only making a box can
 * show. */
static void on_refused(void *data, struct wire_in *in)
{
    const struct wire_refused *refused = in->msg;
    struct supervisor *s = speaker_of(data)->s;
    enum layer layer = layers_of_step(box_step_word(refused->step));

    s->refused = true;
    require_missing(s->require, layer, -refused->error, box_step_hint(refused->step));
    require_say(s->require, layer);
}

static void on_usage_get(void *data, struct wire_in *in)
{
    const struct wire_of_box *of = in->msg;
    struct supervisor *s = speaker_of(data)->s;
    struct wire_usage answer = { .type = WIRE_USAGE, .slot = of->slot, .serial = of->serial };

    if (of->slot >= s->server_conf.n_slots)
        return;
    if (s->cgroups) {
        const struct cgroups_usage usage = cgroups_usage(s->cgroups, of->slot);
        answer.oom_kills = usage.oom_kills;
        answer.pid_refusals = usage.pid_refusals;
        answer.of_machine = usage.oom_of_machine;
    } else
        limit_watch_usage(s->limit_watch, of->slot, &answer.oom_kills, &answer.pid_refusals);
    fd_send(s->server->sock, &answer, sizeof(answer), NULL, 0);
}

static void on_zygote_get(void *data, struct wire_in *in)
{
    const struct wire_of_runtime *of = in->msg;
    struct supervisor *s = speaker_of(data)->s;

    if (of->runtime < s->server_conf.n_runtimes)
        want_zygote(&s->runtimes[of->runtime]);
}

static void on_long(void *data, struct wire_in *in)
{
    const struct wire_long *is = in->msg;
    struct supervisor *s = speaker_of(data)->s;

    if (is->slot < s->server_conf.n_slots && s->cgroups
        && cgroups_yield(s->cgroups, is->slot, is->serial, is->if_crowd))
        convoy_watch(s->convoy, is->slot);
}

static void on_alive(void *data, struct wire_in *in)
{
    struct supervisor *s = speaker_of(data)->s;

    (void) in;
    if (s->alive_asked)
        notify_alive(&s->notify);
    s->alive_asked = false;
}

wire_handler *const orders_of_server[WIRE_TYPES] = {
    [WIRE_READY] = on_ready,           [WIRE_REFUSED] = on_refused, [WIRE_USAGE_GET] = on_usage_get,
    [WIRE_ZYGOTE_GET] = on_zygote_get, [WIRE_LONG] = on_long,       [WIRE_ALIVE] = on_alive,
};

/* --- from zygotes and their boxes --- */

static void on_import(void *data, struct wire_in *in)
{
    struct wire_import *msg = in->msg;
    const struct speaker *from = speaker_of(data);
    struct supervisor *s = from->s;
    struct child *zygote = from->child;
    struct imports *imports = &s->runtimes[zygote->runtime].imports;

    msg->why[sizeof(msg->why) - 1] = '\0';
    if (msg->import >= WIRE_IMPORTS_MAX) {
        zygote->importing = WIRE_IMPORTS_MAX;
        zygote->imported = true;
        imports->fault = FAULT_NONE;
        return;
    }
    zygote->importing = msg->import;
    if (msg->fault == FAULT_NONE)
        imports_begin_one(imports, msg->import);
    if (msg->fault != FAULT_FAILED)
        return;
    imports_failed(imports, msg->import, msg->why);
    report_fault(s, zygote->runtime, msg->import);
}

/* Where memory is short the kernel ends who has most mapped, and what a program has not mapped
 * (scratch, a memfd) is nobody's: then it shall be a box, not the zygote, with which all boxes end
 * (proc_pid_oom_score_adj(5)).  Whose /proc is read-only has them as equals. */
static void let_kill_first(pid_t box)
{
    char path[48];

    snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int) box);
    fd_write_file(AT_FDCWD, path, "1000");
}

/* Put the box into its cgroup, or have it watched.  Returns 0 or an errno; @tasks are the files by
 * which it must move there itself. */
static int join(struct supervisor *s, const struct wire_of_box *of, pid_t box, int tasks[static WIRE_TASKS_MAX])
{
    if (of->slot >= s->server_conf.n_slots || box <= 0)
        return EINVAL;
    let_kill_first(box);
    if (s->convoy)
        convoy_forget(s->convoy, of->slot);
    return -(s->cgroups ? cgroups_join(s->cgroups, of->slot, of->serial, box, tasks)
                        : limit_watch_join(s->limit_watch, of->slot, box));
}

/* The box waits for the answer. */
static void on_join(void *data, struct wire_in *in)
{
    const struct wire_of_box *of = in->msg;
    struct supervisor *s = speaker_of(data)->s;
    int tasks[WIRE_TASKS_MAX] = { -1, -1, -1 };
    const struct wire_joined joined = { .error = join(s, of, in->sender.pid, tasks) };

    if (joined.error == ESRCH) /* the server has let go of it meanwhile */
        return;
    if (joined.error && log_may(&s->bad_joins))
        log_error("a box could not join its cgroup",
                  LOG_I("slot", of->slot) LOG_S("errno", strerrorname_np(joined.error)));
    unsigned n_tasks = 0;
    while (n_tasks < WIRE_TASKS_MAX && tasks[n_tasks] >= 0)
        n_tasks++;
    if (n_tasks && cgroups_version(s->cgroups) == 2)
        log_debug("a box was not born in its cgroup", LOG_I("slot", of->slot));
    int err = fd_send_now(in->fds[0], &joined, sizeof(joined), tasks, n_tasks);
    while (n_tasks)
        fd_close(&tasks[--n_tasks]);
    if (err < 0)
        log_debug("a box did not wait for its cgroup", LOG_I("slot", of->slot)); /* it is dead, its reaping tells */
}

wire_handler *const orders_of_zygote[WIRE_TYPES] = { [WIRE_IMPORT] = on_import, [WIRE_JOIN] = on_join };
wire_handler *const last_orders_of_zygote[WIRE_TYPES] = { [WIRE_IMPORT] = on_import };

/* --- reading --- */

static int hear_one(struct supervisor *s, struct child *child, wire_handler *const *handlers)
{
    union {
        struct wire_of_box of_box;
        struct wire_long is_long;
        struct wire_import import;
    } room;
    struct wire_in in = { .msg = &room, .size = sizeof(room) };
    struct speaker from = { s, child };

    return wire_hear(&child->heard, child->sock, &in, handlers, &from);
}

void hear(struct supervisor *s, struct child *child)
{
    int heard = hear_one(s, child, child->process->orders);

    if (heard > 0 || heard == -EAGAIN)
        return;
    fd_close(&child->sock);
    if (heard < 0 && child->pid) /* nothing that it does can be relied on */
        kill(child->pid, SIGKILL);
}

void hear_last(struct supervisor *s, struct child *child)
{
    while (child->process->last_orders && child->sock >= 0 && hear_one(s, child, child->process->last_orders) > 0)
        ;
}

void tell_of_held(struct supervisor *s)
{
    const struct convoy_sums sums = convoy_sums(s->convoy);
    const struct wire_held msg = { .type = WIRE_HELD,
                                   .boxes = sums.boxes - s->told_held.boxes,
                                   .boxes_us = sums.held_us - s->told_held.held_us };

    if ((msg.boxes || msg.boxes_us) && s->server->sock >= 0
        && fd_send_now(s->server->sock, &msg, sizeof(msg), NULL, 0) == 0)
        s->told_held = sums;
}

int on_oom(struct supervisor *s)
{
    struct wire_oom msg = { .type = WIRE_OOM };
    bool of_machine;
    int wait_ms;

    while (cgroups_next_oom(s->cgroups, &msg.slot, &msg.serial, &of_machine, &wait_ms)) {
        msg.of_machine = of_machine;
        if (s->server->sock >= 0)
            fd_send(s->server->sock, &msg, sizeof(msg), NULL, 0);
    }
    return wait_ms;
}
