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
    const struct child *courier = &s->singles[PROCESS_COURIER];
    const struct wire_plain here = { .type = WIRE_COURIER };
    const struct courier_server there = { .type = COURIER_SERVER };
    _cleanup_fd_ int server_end = -1;
    _cleanup_fd_ int courier_end = -1;

    if (!s->server->pid || !courier->pid)
        return;
    int err = make_pair(&server_end, &courier_end);
    if (!err)
        err = fd_send(courier->sock, &there, sizeof(there), &courier_end, 1);
    if (!err)
        err = fd_send(s->server->sock, &here, sizeof(here), &server_end, 1);
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
            err = fd_send(s->server->sock, &here, sizeof(here), &s->memory.fds[i], 1);
    }
    return err;
}

static int start_server(struct supervisor *s, struct child *server, struct buf *error)
{
    _cleanup_fd_ int theirs = -1;
    bool one_run = s->options->source_fd >= 0;
    int fds[FD_PASS_MAX] = { s->options->source_fd };
    unsigned n_fds = one_run ? 1 : s->server_conf.n_listeners;
    int err = make_pair(&server->sock, &theirs);

    if (err)
        return err;
    pid_t pid = launch_server(&s->files, &s->ids, theirs, error);
    if (pid < 0)
        return pid;
    server->pid = pid;
    s->refused = false;
    s->server_conf.type = WIRE_SERVER_CONF;
    fcntl(server->sock, F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; i < n_fds && !one_run; i++)
        fds[i] = s->listener_fds[i];
    if (s->server_conf.has_metrics)
        fds[n_fds++] = s->metrics_fd;
    if (s->server_conf.has_state) {
        fds[n_fds++] = s->state_fd;
        fds[n_fds++] = s->lock_fd;
    }
    err = fd_send(server->sock, &s->server_conf, sizeof(s->server_conf), fds, n_fds);
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

static bool courier_is_wanted(const struct supervisor *s, const struct child *courier)
{
    (void) courier;
    return s->state_fd >= 0; /* it has deliveries only of what is stored */
}

static int start_courier(struct supervisor *s, struct child *courier, struct buf *error)
{
    _cleanup_fd_ int theirs = -1;
    int err = make_pair(&courier->sock, &theirs);

    if (err)
        return err;
    pid_t pid = launch_courier(&s->files, &s->ids, theirs, error);
    if (pid < 0)
        return pid;
    courier->pid = pid;
    fcntl(courier->sock, F_SETFL, O_NONBLOCK);
    err = fd_send(courier->sock, &s->courier_conf, sizeof(s->courier_conf), NULL, 0);
    if (!err)
        connect_courier(s);
    return err;
}

/* --- a configuration that was read again --- */

static int tell_server(struct supervisor *s, struct child *server)
{
    s->server_conf.type = WIRE_SERVER_CONF_AGAIN;
    return fd_send(server->sock, &s->server_conf, sizeof(s->server_conf), NULL, 0);
}

static int tell_courier(struct supervisor *s, struct child *courier)
{
    return fd_send(courier->sock, &s->courier_conf, sizeof(s->courier_conf), NULL, 0);
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
    log_warn("restarting",
             LOG_S("process", child->process->name) LOG_I("in_ms", wait_ms) LOG_I("failures", child->failures));
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
    if (grace_ms && s->server->pid)
        fd_send(s->server->sock, &drain, sizeof(drain), NULL, 0);
}

bool server_is_there(const struct supervisor *s)
{
    return s->server->pid && s->server->sock >= 0;
}

bool may_fail(const struct supervisor *s, const struct child *child)
{
    return s->ready || child->runtime;
}

static void start_child(struct supervisor *s, struct child *child)
{
    struct buf error;

    buf_init(&error, 2048);
    if (child->unlogged_ms)
        say_restarting(child, child->unlogged_ms);
    child->unlogged_ms = 0;
    child->started_us = now_us();
    child->behind = false;
    child->heard = (struct wire_link){ .table = &wire_table, .from = child->process->peer, .to = PEER_SUPERVISOR };
    int err = child->process->start(s, child, &error);
    if (err) {
        log_error("cannot start", LOG_S("process", child->process->name) LOG_S("errno", strerrorname_np(-err)));
        if (error.len)
            log_sentence("%.*s", (int) error.len, error.data);
        fd_close(&child->sock);
        if (child->process->on_unable)
            child->process->on_unable(s, child);
        if (may_fail(s, child))
            back_off(child);
        else
            stop(s, EXIT_FAILURE, 0);
    }
    buf_free(&error);
}

int64_t child_due_us(const struct supervisor *s, const struct child *child)
{
    const struct process *process = child->process;

    if (child->pid || (child != s->server && !server_is_there(s)))
        return INT64_MAX;
    return !process->is_wanted || process->is_wanted(s, child) ? child->start_at_us : INT64_MAX;
}

void start_due(struct supervisor *s)
{
    struct child *children[CHILDREN_MAX];
    unsigned n = list_children(s, children);

    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++)
        rotate(&s->runtimes[i]);
    for (unsigned i = 0; i < n; i++)
        if (!s->stopping && child_due_us(s, children[i]) <= now_us())
            start_child(s, children[i]);
}

static bool on_server_end(struct supervisor *s, struct child *server, int status)
{
    (void) server;
    forget_needs(s);
    if (s->options->source_fd >= 0 && s->ready) /* `hatchery run` is over */
        stop(s, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), 0);
    return false;
}

void on_child_exit(struct supervisor *s, struct child *child, int status)
{
    const struct process *process = child->process;

    child->pid = 0;
    hear_last(s, child);
    fd_close(&child->sock);
    bool over = process->on_end && process->on_end(s, child, status);
    if (over || s->stopping)
        return;
    bool told = s->refused && !s->ready; /* the layer has been named; that the server then ended is no news */
    if (!told)
        log_error("process ended",
                  LOG_S("process", process->name) LOG_I("exit_code", WIFEXITED(status) ? WEXITSTATUS(status) : -1)
                      LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
    if (process->is_replaced && process->is_replaced(s, child))
        return;
    if (may_fail(s, child))
        back_off(child);
    else {
        log_sentence("the %s could not start; the lines above say why", process->name);
        stop(s, EXIT_FAILURE, 0);
    }
}

/* --- all of them --- */

static const struct process processes[PROCESSES] = {
    [PROCESS_SERVER] = { .name = "server",
                         .peer = PEER_SERVER,
                         .orders = orders_of_server,
                         .start = start_server,
                         .tell = tell_server,
                         .on_end = on_server_end },
    [PROCESS_COURIER] = { .name = "courier",
                          .peer = PEER_COURIER,
                          .start = start_courier,
                          .is_wanted = courier_is_wanted,
                          .tell = tell_courier },
    [PROCESS_ZYGOTE] = { .name = "zygote",
                         .peer = PEER_ZYGOTE,
                         .orders = orders_of_zygote,
                         .last_orders = last_orders_of_zygote,
                         .start = start_zygote,
                         .is_wanted = zygote_is_wanted,
                         .on_unable = on_zygote_not_started,
                         .on_end = on_zygote_end,
                         .is_replaced = zygote_is_replaced },
};

void init_children(struct supervisor *s)
{
    for (unsigned i = 0; i < SINGLES; i++)
        s->singles[i] = (struct child){ .process = &processes[i], .sock = -1 };
    s->server = &s->singles[PROCESS_SERVER];
    for (unsigned i = 0; i < WIRE_RUNTIMES_MAX; i++)
        for (int k = 0; k < 2; k++)
            s->runtimes[i].children[k] =
                (struct child){ .process = &processes[PROCESS_ZYGOTE], .sock = -1, .runtime = i };
}

unsigned list_children(struct supervisor *s, struct child *ret[static CHILDREN_MAX])
{
    unsigned n = 0;

    ret[n++] = s->server;
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++)
        for (int k = 0; k < 2; k++)
            ret[n++] = &s->runtimes[i].children[k];
    for (unsigned i = PROCESS_SERVER + 1; i < SINGLES; i++)
        ret[n++] = &s->singles[i];
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

    if (s->server->pid && now_us() >= s->kill_at_us)
        kill(s->server->pid, SIGKILL);
    for (unsigned i = 1; i < n && !s->server->pid; i++)
        if (children[i]->pid)
            kill(children[i]->pid, SIGKILL);
}
