/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: one loop over signals and its children's sockets.
 *
 * The command's verbs serve and run call it.  It is the process with privileges, so it never reads
 * what a client or a program wrote: its messages are fixed-size numbers and descriptors (wire.h).
 * process.h names the files of its parts.  What must never happen here: blocking on a message to a
 * child, or ending with a child, a mount or a cgroup left behind. */
#include "supervisor/process.h"

#include "supervisor/cgroup.h"
#include "supervisor/limit_watch.h"

#include "base/clock.h"
#include "base/fd.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASK_AGAIN_MS = 50 };

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        bool one_run = s->options->source_fd >= 0, again = info.ssi_signo == SIGHUP && !one_run;
        bool quit = info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT || (info.ssi_signo == SIGHUP && one_run);
        if (again && !s->stopping)
            reload(s);
        if (quit && !s->stopping)
            log_info("stopping", LOG_S("signal", sigabbrev_np((int) info.ssi_signo)));
        if (quit) /* the second time at once */
            stop(s, one_run ? 128 + (int) info.ssi_signo : EXIT_SUCCESS,
                 s->stopping || one_run ? 0 : s->conf->server_drain_delay + s->conf->server_drain_timeout);
    }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *children[CHILDREN_MAX];
        unsigned n = list_children(s, children);
        for (unsigned i = 0; i < n; i++)
            if (pid == children[i]->pid) {
                on_child_exit(s, children[i], status);
                break;
            }
    }
}

static void sooner(int64_t *due, int64_t at_us)
{
    if (at_us < *due)
        *due = at_us;
}

/* Milliseconds until something is due, for poll(2). */
static int next_due(const struct supervisor *s, struct child *const *children, unsigned n)
{
    int64_t due = INT64_MAX;

    if (s->stopping)
        due = s->kill_at_us;
    else {
        for (unsigned i = 0; i < n; i++)
            sooner(&due, child_due_us(s, children[i]));
        for (unsigned i = 0; i < s->server_conf.n_runtimes; i++)
            sooner(&due, rotate_at_us(&s->runtimes[i]));
    }
    if (s->notify.watchdog_us && s->ready)
        sooner(&due, s->ask_alive_at_us);
    if (s->convoy)
        sooner(&due, convoy_due_us(s->convoy));
    for (unsigned i = 0; s->limit_watch && i < s->server_conf.n_runtimes; i++)
        if (s->runtimes[i].children[s->runtimes[i].current].pid)
            sooner(&due, s->look_at_us);
    if (due == INT64_MAX)
        return -1;
    int64_t left_ms = (due - now_us() + 999) / 1000;
    return left_ms < 0 ? 0 : left_ms > 3600000 ? 3600000 : (int) left_ms;
}

static void look_if_due(struct supervisor *s)
{
    if (s->convoy) {
        convoy_look(s->convoy);
        tell_of_held(s);
    }
    if (!s->limit_watch || now_us() < s->look_at_us)
        return;
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++)
        for (int k = 0; k < 2; k++)
            if (s->runtimes[i].children[k].pid)
                limit_watch_look(s->limit_watch, s->runtimes[i].children[k].pid);
    s->look_at_us = now_us() + LIMIT_WATCH_INTERVAL_MS * 1000LL;
}

static void loop(struct supervisor *s)
{
    int oom_wait_ms = 0;

    for (;;) {
        start_due(s);
        tell_of_change(s);
        tell_manager(s);
        look_if_due(s);
        if (s->stopping)
            end_children(s);
        if (s->stopping && !any_child(s))
            return;
        struct child *children[CHILDREN_MAX];
        unsigned n = list_children(s, children);
        struct pollfd fds[2 + CHILDREN_MAX] = {
            { .fd = s->signal_fd, .events = POLLIN },
            { .fd = s->cgroups ? cgroups_oom_fd(s->cgroups) : -1, .events = POLLIN },
        };
        for (unsigned i = 0; i < n; i++)
            fds[2 + i] =
                (struct pollfd){ .fd = children[i]->process->orders ? children[i]->sock : -1, .events = POLLIN };
        int wait_ms = s->stopping && now_us() >= s->kill_at_us ? 1000 : next_due(s, children, n);
        if (oom_wait_ms && (wait_ms < 0 || wait_ms > oom_wait_ms))
            wait_ms = oom_wait_ms;
        if ((is_behind(s) || s->notify.unsent.len) && (wait_ms < 0 || wait_ms > ASK_AGAIN_MS))
            wait_ms = ASK_AGAIN_MS;
        if (poll(fds, 2 + n, wait_ms) < 0)
            continue;
        for (unsigned i = 0; i < n; i++)
            if (fds[2 + i].revents && children[i]->sock >= 0)
                hear(s, children[i]);
        if (fds[1].revents || oom_wait_ms)
            oom_wait_ms = on_oom(s);
        if (fds[0].revents)
            on_signal(s);
    }
}

int supervisor_run(const struct supervisor_options *options)
{
    struct require own;
    struct supervisor s = { .options = options,
                            .conf = options->conf,
                            .require = options->require ? options->require : &own,
                            .listener_fds = { -1, -1, -1, -1 },
                            .metrics_fd = -1,
                            .signal_fd = -1,
                            .notify = { .fd = -1 },
                            .state_fd = -1,
                            .lock_fd = -1,
                            .memory = { .fds = { -1, -1, -1 } },
                            .files = {
                                .server_fd = -1, .zygote_fd = -1, .init_fd = -1, .courier_fd = -1, .root = "" } };
    for (unsigned i = 0; i < WIRE_RUNTIMES_MAX; i++)
        imports_forget(&s.runtimes[i].imports);
    init_children(&s);
    buf_init(&s.url, 256);
    buf_init(&s.more_urls, 1024);
    buf_init(&s.metrics_url, 256);
    log_init("supervisor", log_format_of(s.conf), (enum log_level) log_level_of(s.conf, options));
    s.exit_status = EXIT_FAILURE;
    if (prepare(&s) == 0) {
        s.exit_status = EXIT_SUCCESS;
        loop(&s);
    }
    explicit_bzero(&s.courier_conf, sizeof(s.courier_conf));
    conf_free(s.own_conf);
    free(s.own_conf);
    convoy_free(s.convoy);
    cgroups_free(s.cgroups);
    limit_watch_free(s.limit_watch);
    runtimes_free(&s.found);
    hostmem_close(&s.memory);
    s.conf = options->conf;
    if (s.bound && strncmp(s.conf->server_listen, "unix:", 5) == 0)
        unlink(s.conf->server_listen + 5);
    if (s.metrics_bound && strncmp(s.conf->metrics_listen, "unix:", 5) == 0)
        unlink(s.conf->metrics_listen + 5);
    fd_close(&s.metrics_fd);
    notify_close(&s.notify);
    buf_free(&s.url);
    buf_free(&s.more_urls);
    buf_free(&s.metrics_url);
    return s.exit_status;
}
