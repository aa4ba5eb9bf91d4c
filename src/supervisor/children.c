/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's processes: they are started, started again after a pause, and ended.
 *
 * The loop calls this file when a start is due, when a process has ended and while the service
 * stops.  The server comes first, because every other process gets a socket to it.  zygotes.c
 * decides what is particular to a runtime.  What must never happen here: that a process is
 * restarted without a pause again and again, or outlives the supervisor. */
#include "supervisor/process.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { BACKOFF_MAX_MS = 10000, STEADY_MS = 10000 };
/* To end the children once the time for requests in hand is up. */
enum { STOP_MARGIN_US = 10000000 };

int make_pair(int *ret_ours, int *ret_theirs)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    *ret_ours = pair[0];
    *ret_theirs = pair[1];
    return 0;
}

/* The two know each other by a socket that lives as long as both.  One that is just dying gets a
 * new one when it is started again. */
static void connect_courier(struct supervisor *s)
{
    const struct wire_plain here = { .type = WIRE_COURIER };
    const enum courier_type type = COURIER_SERVER;
    _cleanup_fd_ int server_end = -1;
    _cleanup_fd_ int courier_end = -1;

    if (!s->server.pid || !s->courier.pid)
        return;
    int err = make_pair(&server_end, &courier_end);
    if (!err)
        err = fd_send(s->courier.sock, &type, sizeof(type), &courier_end, 1);
    if (!err)
        err = fd_send(s->server.sock, &here, sizeof(here), &server_end, 1);
    if (err)
        log_warn("server and courier are not connected", LOG_S("errno", strerrorname_np(-err)));
}

/* By which the server sees whether there is room for one more program. */
static int send_memory(const struct supervisor *s)
{
    int err = 0;

    for (unsigned i = 0; i < WIRE_MEMORY_FILES && !err; i++) {
        const struct wire_memory_file here = { .type = WIRE_MEMORY, .which = i };
        if (s->memory.fds[i] >= 0)
            err = fd_send(s->server.sock, &here, sizeof(here), &s->memory.fds[i], 1);
    }
    return err;
}

static int start_server(struct supervisor *s, struct buf *error)
{
    _cleanup_fd_ int theirs = -1;
    bool one_run = s->options->source_fd >= 0;
    int fds[FD_PASS_MAX] = { s->options->source_fd };
    unsigned n_fds = one_run ? 1 : s->server_conf.n_listeners;
    int err = make_pair(&s->server.sock, &theirs);

    if (err)
        return err;
    pid_t pid = launch_server(&s->files, &s->ids, theirs, error);
    if (pid < 0)
        return pid;
    s->server.pid = pid;
    s->refused = s->server_behind = false;
    s->server.heard = (struct wire_link){ .table = &wire_table, .from = PEER_SERVER, .to = PEER_SUPERVISOR };
    s->server_conf.type = WIRE_SERVER_CONF;
    fcntl(s->server.sock, F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; i < n_fds && !one_run; i++)
        fds[i] = s->listener_fds[i];
    if (s->server_conf.has_watch)
        fds[n_fds++] = s->watch_fd;
    if (s->server_conf.has_state) {
        fds[n_fds++] = s->state_fd;
        fds[n_fds++] = s->lock_fd;
    }
    err = fd_send(s->server.sock, &s->server_conf, sizeof(s->server_conf), fds, n_fds);
    if (!err && !one_run)
        err = send_memory(s);
    for (unsigned i = 0; !err && i < s->server_conf.n_runtimes && !one_run; i++)
        err = send_packages(s, i);
    for (unsigned i = 0; !err && i < s->server_conf.n_runtimes && !one_run; i++)
        err = send_fault(s, i);
    if (!err)
        connect_courier(s);
    return err;
}

static int start_courier(struct supervisor *s, struct buf *error)
{
    _cleanup_fd_ int theirs = -1;
    int err = make_pair(&s->courier.sock, &theirs);

    if (err)
        return err;
    pid_t pid = launch_courier(&s->files, &s->ids, theirs, error);
    if (pid < 0)
        return pid;
    s->courier.pid = pid;
    s->courier_behind = false;
    fcntl(s->courier.sock, F_SETFL, O_NONBLOCK);
    err = fd_send(s->courier.sock, &s->courier_conf, sizeof(s->courier_conf), NULL, 0);
    if (!err)
        connect_courier(s);
    return err;
}

int64_t put_off(struct child *child)
{
    int64_t now = now_us();
    int64_t wait_ms = BACKOFF_FIRST_MS;

    if (now - child->started_us > STEADY_MS * 1000LL)
        child->failures = 0;
    for (unsigned i = 0; i < child->failures && wait_ms < BACKOFF_MAX_MS; i++)
        wait_ms *= 2;
    child->failures++;
    child->start_at_us = now + wait_ms * 1000;
    return wait_ms;
}

static void say_restarting(const struct child *child, int64_t wait_ms)
{
    log_warn("restarting", LOG_S("process", child->name) LOG_I("in_ms", wait_ms) LOG_I("failures", child->failures));
}

/* A child is gone, or could not be started. */
static void back_off(struct child *child)
{
    int64_t wait_ms = put_off(child);
    say_restarting(child, wait_ms);
}

void stop(struct supervisor *s, int status, int64_t grace_ms)
{
    const struct wire_plain drain = { .type = WIRE_DRAIN };

    if (!s->stopping) {
        s->exit_status = status;
        notify_say(&s->notify, "STOPPING=1\nSTATUS=Finishing what is in hand\nEXTEND_TIMEOUT_USEC=%lld",
                   (long long) grace_ms * 1000 + STOP_MARGIN_US);
    }
    s->stopping = true;
    s->kill_at_us = now_us() + grace_ms * 1000;
    /* The server's are the last copies, or somebody else's: it answers who comes until it has nothing in hand, or leaves
     * them to the next one. */
    for (unsigned i = 0; i < s->server_conf.n_listeners; i++)
        fd_close(&s->listener_fds[i]);
    if (grace_ms && s->server.pid)
        fd_send(s->server.sock, &drain, sizeof(drain), NULL, 0);
}

bool server_is_there(const struct supervisor *s)
{
    return s->server.pid && s->server.sock >= 0;
}

static void start_child(struct supervisor *s, struct child *child)
{
    struct buf error;

    buf_init(&error, 2048);
    if (child->untold_ms)
        say_restarting(child, child->untold_ms);
    child->untold_ms = 0;
    child->started_us = now_us();
    int err = child == &s->server    ? start_server(s, &error)
              : child == &s->courier ? start_courier(s, &error)
                                     : start_zygote(s, child);
    if (err) {
        log_error("cannot start", LOG_S("process", child->name) LOG_S("errno", strerrorname_np(-err)));
        if (error.len)
            log_sentence("%.*s", (int) error.len, error.data);
        fd_close(&child->sock);
        if (child != &s->server && child != &s->courier && s->runtimes[child->runtime].imports.fault) {
            report_fault(s, child->runtime, WIRE_IMPORTS_MAX);
            on_fault(s, child);
        }
        if (s->ready || child->runtime)
            back_off(child);
        else
            stop(s, EXIT_FAILURE, 0);
    }
    buf_free(&error);
}

static void start_if_due(struct supervisor *s, struct child *child)
{
    if (!s->stopping && !child->pid && child->start_at_us <= now_us() && (child == &s->server || server_is_there(s)))
        start_child(s, child);
}

void start_due(struct supervisor *s)
{
    start_if_due(s, &s->server);
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++) {
        rotate(&s->runtimes[i]);
        if (s->runtimes[i].needed)
            start_if_due(s, current_of(&s->runtimes[i]));
    }
    if (s->state_fd >= 0)
        start_if_due(s, &s->courier);
}

void on_child_exit(struct supervisor *s, struct child *child, int status)
{
    bool is_zygote = child != &s->server && child != &s->courier;
    bool one_run_over = child == &s->server && s->options->source_fd >= 0 && s->ready;

    child->pid = 0;
    if (is_zygote)
        hear_last(s, child);
    fd_close(&child->sock);
    if (child == &s->server)
        forget_needs(s);
    if (one_run_over)
        stop(s, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), 0);
    if (s->stopping)
        return;
    int again = is_zygote ? on_zygote_unable(s, child, status) : 0;
    if (again > 0)
        return;
    if (again < 0)
        on_fault(s, child);
    if (is_zygote && WIFEXITED(status) && WEXITSTATUS(status) == 0 && (s->ready || child->runtime)) {
        on_zygote_over(s, child);
        return;
    }
    bool told = s->refused && !s->ready; /* the layer has been named; that the server then ended is no news */
    if (!told)
        log_error("process ended",
                  LOG_S("process", child->name) LOG_I("exit_code", WIFEXITED(status) ? WEXITSTATUS(status) : -1)
                      LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
    if (is_zygote && child != current_of(&s->runtimes[child->runtime]))
        return;
    if (s->ready || child->runtime)
        back_off(child);
    else {
        log_sentence("the %s could not start; the lines above say why", child->name);
        stop(s, EXIT_FAILURE, 0);
    }
}

unsigned list_children(struct supervisor *s, struct child *ret[static CHILDREN_MAX])
{
    unsigned n = 0;

    ret[n++] = &s->server;
    ret[n++] = &s->courier;
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++)
        for (int k = 0; k < 2; k++)
            ret[n++] = &s->runtimes[i].children[k];
    return n;
}

bool any_child(struct supervisor *s)
{
    struct child *children[CHILDREN_MAX];
    unsigned n = list_children(s, children);

    while (n && !children[n - 1]->pid)
        n--;
    return n > 0;
}

void end_children(struct supervisor *s)
{
    struct child *children[CHILDREN_MAX];
    unsigned n = list_children(s, children);

    if (s->server.pid && now_us() >= s->kill_at_us)
        kill(s->server.pid, SIGKILL);
    for (unsigned i = 1; i < n && !s->server.pid; i++)
        if (children[i]->pid)
            kill(children[i]->pid, SIGKILL);
}
