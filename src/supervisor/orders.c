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
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* The first box could not take a step of the jail: its layer is one that only making a box can
 * show. */
static void on_refused(struct supervisor *s, int step, int err)
{
    enum layer layer = layers_of_step(box_step_word(step));

    require_missing(s->require, layer, err, box_step_hint(step));
    require_say(s->require, layer);
}

void on_server(struct supervisor *s)
{
    struct wire_msg msg;
    ssize_t n = fd_recv(s->server.sock, &msg, sizeof(msg), NULL, 0, NULL);

    if (n == 0 || n == -ECONNRESET) {
        fd_close(&s->server.sock);
        return;
    }
    if (n != sizeof(msg))
        return;
    if (msg.type == WIRE_READY && !s->ready) {
        s->ready = true;
        if (s->options->source_fd < 0) {
            announce(s);
            say_ready(s);
        }
    } else if (msg.type == WIRE_ALIVE) {
        if (s->alive_asked)
            notify_alive(&s->notify);
        s->alive_asked = false;
    } else if (msg.type == WIRE_USAGE_GET && msg.slot < s->server_conf.n_slots) {
        msg.type = WIRE_USAGE;
        msg.oom_kills = msg.pid_refusals = 0;
        msg.status = 0;
        if (s->cgroups) {
            const struct cgroups_usage usage = cgroups_usage(s->cgroups, msg.slot);
            msg.oom_kills = usage.oom_kills;
            msg.pid_refusals = usage.pid_refusals;
            msg.status = usage.oom_of_machine;
        } else
            limit_watch_usage(s->limit_watch, msg.slot, &msg.oom_kills, &msg.pid_refusals);
        fd_send(s->server.sock, &msg, sizeof(msg), NULL, 0);
    } else if (msg.type == WIRE_LONG && msg.slot < s->server_conf.n_slots) {
        if (s->cgroups && cgroups_yield(s->cgroups, msg.slot, msg.serial, msg.status == 1))
            convoy_watch(s->convoy, msg.slot);
    } else if (msg.type == WIRE_ZYGOTE_GET && msg.slot < s->server_conf.n_runtimes)
        want_zygote(&s->runtimes[msg.slot]);
    else if (msg.type == WIRE_REFUSED && !s->refused) {
        s->refused = true;
        on_refused(s, (int) msg.slot, msg.status);
    }
}

/* What a zygote says of its imports. */
static void on_import(struct supervisor *s, struct child *zygote, struct wire_import *import)
{
    const struct wire_msg *msg = &import->msg;
    struct imports *imports = &s->runtimes[zygote->runtime].imports;

    import->why[sizeof(import->why) - 1] = '\0';
    if (msg->slot >= WIRE_IMPORTS_MAX) {
        zygote->importing = WIRE_IMPORTS_MAX;
        zygote->imported = true;
        imports->fault = FAULT_NONE;
        return;
    }
    zygote->importing = msg->slot;
    if (msg->status == FAULT_NONE)
        imports_begin_one(imports, msg->slot);
    if (msg->status != FAULT_FAILED)
        return;
    imports_failed(imports, msg->slot, import->why);
    report_fault(s, zygote->runtime, msg->slot);
}

void hear_last(struct supervisor *s, struct child *zygote)
{
    struct wire_import import;
    int fd;

    while (zygote->sock >= 0) {
        ssize_t n = fd_recv(zygote->sock, &import, sizeof(import), &fd, 1, NULL);
        fd_close(&fd);
        if (n <= 0)
            return;
        if (n == sizeof(import) && import.msg.type == WIRE_IMPORT)
            on_import(s, zygote, &import);
    }
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

void on_zygote(struct supervisor *s, struct child *zygote)
{
    struct ucred sender = { 0 };
    union {
        struct wire_join join;
        struct wire_import import;
    } in;
    struct wire_joined joined = { .error = EINVAL };
    int tasks[WIRE_TASKS_MAX] = { -1, -1, -1 };
    _cleanup_fd_ int box = -1;
    ssize_t n = fd_recv(zygote->sock, &in, sizeof(in), &box, 1, &sender);
    const struct wire_join join = in.join;

    if (n == 0 || n == -ECONNRESET) {
        fd_close(&zygote->sock);
        return;
    }
    if (n == sizeof(in.import) && in.import.msg.type == WIRE_IMPORT)
        on_import(s, zygote, &in.import);
    if (n != sizeof(join) || box < 0)
        return;
    if (join.slot < s->server_conf.n_slots && sender.pid > 0) {
        let_kill_first(sender.pid);
        if (s->convoy)
            convoy_forget(s->convoy, join.slot);
        joined.error = -(s->cgroups ? cgroups_join(s->cgroups, join.slot, join.serial, sender.pid, tasks)
                                    : limit_watch_join(s->limit_watch, join.slot, sender.pid));
    }
    if (joined.error == ESRCH) /* the server has let go of it meanwhile */
        return;
    if (joined.error && log_may(&s->bad_joins))
        log_error("a box could not join its cgroup",
                  LOG_I("slot", join.slot) LOG_S("errno", strerrorname_np(joined.error)));
    unsigned n_tasks = 0;
    while (n_tasks < WIRE_TASKS_MAX && tasks[n_tasks] >= 0)
        n_tasks++;
    if (n_tasks && cgroups_version(s->cgroups) == 2)
        log_debug("a box was not born in its cgroup", LOG_I("slot", join.slot));
    int err = fd_send_now(box, &joined, sizeof(joined), tasks, n_tasks);
    while (n_tasks)
        fd_close(&tasks[--n_tasks]);
    if (err < 0)
        log_debug("a box did not wait for its cgroup", LOG_I("slot", join.slot)); /* it is dead, its reaping tells */
}

void tell_of_held(struct supervisor *s)
{
    const struct convoy_sums sums = convoy_sums(s->convoy);
    const struct wire_msg msg = { .type = WIRE_HELD,
                                  .serial = sums.boxes - s->told_held.boxes,
                                  .user_us = sums.held_us - s->told_held.held_us };

    if ((msg.serial || msg.user_us) && s->server.sock >= 0
        && fd_send_now(s->server.sock, &msg, sizeof(msg), NULL, 0) == 0)
        s->told_held = sums;
}

int on_oom(struct supervisor *s)
{
    struct wire_msg msg = { .type = WIRE_OOM };
    bool of_machine;
    int wait_ms;

    while (cgroups_next_oom(s->cgroups, &msg.slot, &msg.serial, &of_machine, &wait_ms)) {
        msg.status = of_machine;
        if (s->server.sock >= 0)
            fd_send(s->server.sock, &msg, sizeof(msg), NULL, 0);
    }
    return wait_ms;
}
