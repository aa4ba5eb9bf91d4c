/* SPDX-License-Identifier: Apache-2.0 */
/* The start: everything that the processes need is found and opened before the first of them runs.
 *
 * supervisor_run() calls prepare() once.  It looks for runtimes, ids, cgroups and the other layers
 * of the jail, and opens signals, state and sockets.  A start that cannot work fails here, with a
 * sentence that says what to change.  What must never happen here: a start without a layer that the
 * configuration requires. */
#include "supervisor/process.h"

#include "supervisor/cgroup.h"
#include "supervisor/ids.h"
#include "supervisor/inherit.h"
#include "supervisor/listener.h"
#include "supervisor/state.h"
#include "supervisor/limit_watch.h"
#include "supervisor/webhooks.h"

#include "box/box.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

enum { ID_SERVER = 0, ID_COURIER = 8, ID_ZYGOTE = 16, ID_SLOTS = 32 }; /* from isolation.id_base */

/* For `hatchery run`, the runtime that was asked for becomes the only one. */
static int choose_runtime(struct supervisor *s, struct buf *error)
{
    const char *name = s->options->runtime ? s->options->runtime : "default";
    struct runtime_spec first = s->found.list[0];
    unsigned i = 0;

    while (i < s->found.n && strcmp(s->found.list[i].wire.name, name) != 0)
        i++;
    if (i == s->found.n) {
        buf_addf(error, "there is no runtime '%.64s'; there %s", name, s->found.n == 1 ? "is only" : "are");
        for (i = 0; i < s->found.n; i++)
            buf_addf(error, "%s %s", i ? "," : "", s->found.list[i].wire.name);
        if (strcmp(name, "data") == 0)
            buf_adds(error, "; data comes with apt-get install python3-numpy");
        return -ENOENT;
    }
    s->found.list[0] = s->found.list[i];
    s->found.list[i] = first;
    s->found.list[0].wire.at_start = true;
    s->found.list[0].wire.pool_size = 1;
    return 0;
}

static int find_runtimes(struct supervisor *s)
{
    _cleanup_buf_ struct buf error;

    buf_init(&error, 8192);
    int err = runtimes_find(s->conf, &s->found, &error);
    if (err == 0 && s->options->source_fd >= 0)
        err = choose_runtime(s, &error);
    if (err)
        refuse(buf_text(&error));
    return err;
}

static int choose_ids(struct supervisor *s)
{
    const char *user = s->conf->server_user;
    uid_t base = (uid_t) s->conf->isolation_id_base;
    _cleanup_buf_ struct buf error;

    buf_init(&error, 512);
    int err = ids_available(base, ID_SLOTS + s->server_conf.n_slots, &error);
    if (err)
        require_missing(s->require, LAYER_IDS, err, buf_text(&error));
    s->ids = (struct launch_ids){ .root = !err,
                                  .server_uid = base + ID_SERVER,
                                  .server_gid = base + ID_SERVER,
                                  .courier = base + ID_COURIER,
                                  .zygote = base + ID_ZYGOTE,
                                  .slots = base + ID_SLOTS };
    buf_reset(&error);
    err = s->ids.root && user[0] ? ids_of_user(user, &s->ids.server_uid, &s->ids.server_gid, &error) : 0;
    if (err)
        refuse(buf_text(&error));
    return err;
}

static void make_cgroups(struct supervisor *s)
{
    struct buf error;

    if (!has_layer(s, LAYER_CGROUP)) /* isolation.cgroup = none */
        return;
    const struct cgroups_conf conf = { .n_slots = s->server_conf.n_slots,
                                       .n_first_slots = s->server_conf.n_first_slots,
                                       .limits = s->server_conf.limits,
                                       .memory_bytes = hostmem_of_boxes(&s->memory),
                                       .zygote = s->ids.root ? s->ids.zygote : (uid_t) -1 };
    buf_init(&error, 4096);
    int err = cgroups_new(&s->cgroups, s->conf->isolation_cgroup, &conf, &error);
    if (err)
        require_missing(s->require, LAYER_CGROUP, err, buf_text(&error));
    else {
        s->require->cgroup_version = cgroups_version(s->cgroups);
        s->require->hold_by = cgroups_hold_by(s->cgroups);
    }
    buf_free(&error);
}

/* The outcome socket of a box has a number above all that a program can open. */
static int raise_file_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < BOX_CONTROL_FD + 1)
        limit.rlim_max = BOX_CONTROL_FD + 1;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return refuse("the hard limit on open files is below 1024: raise it (ulimit -Hn, LimitNOFILE= in the unit)");
    return 0;
}

/* Our parent may have ignored them: an ignored SIGCHLD would lose the children's ends, and a shell
 * ignores SIGINT for commands that it starts with `&`.  Only SIGHUP stays ignored, because that is
 * what nohup(1) is for. */
static int make_signal_fd(void)
{
    static const int ours[] = { SIGCHLD, SIGTERM, SIGINT };
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
        signal(ours[i], SIG_DFL);
        sigaddset(&set, ours[i]);
    }
    if (signal(SIGHUP, SIG_DFL) == SIG_IGN)
        signal(SIGHUP, SIG_IGN);
    else
        sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Look for every layer of the jail before anything is started. */
static int find_layers(struct supervisor *s)
{
    _cleanup_buf_ struct buf error;

    buf_init(&error, 2048);
    if (require_init(s->require, s->conf, &error) < 0)
        return refuse(buf_text(&error));
    if (choose_ids(s) < 0)
        return -1;
    make_cgroups(s);
    require_probe_kernel(s->require);
    return require_settle(s->require, s->conf);
}

/* Open the place where jobs survive, and fill the courier's slice. */
static int open_state(struct supervisor *s, struct buf *error)
{
    _cleanup_buf_ struct buf path;

    buf_init(&path, 4096);
    if (webhooks_fill(s->conf, &s->courier_conf, &s->server_conf, error) < 0)
        return -1;
    s->courier_conf.log_format = s->server_conf.log_format;
    s->courier_conf.log_level = s->server_conf.log_level;
    if (state_path(s->conf->server_state, &path, error) < 0)
        return -1;
    if (!path.len)
        return 0;
    s->state_fd = state_open(buf_text(&path), s->ids.root, s->ids.server_uid, s->ids.server_gid, error);
    if (s->state_fd < 0)
        return -1;
    s->lock_fd = state_lock(s->state_fd, buf_text(&path), error);
    return s->lock_fd < 0 ? -1 : 0;
}

/* Sockets from the service manager are served as they are; otherwise server.listen is bound. */
static int open_listeners(struct supervisor *s, const struct inherited *given, struct buf *error)
{
    int fd = given->n ? given->fds[0] : listener_open(s->conf->server_listen, &s->url, error);

    if (fd < 0)
        return -1;
    s->bound = !given->n;
    s->listener_fds[0] = fd;
    if (given->n)
        listener_describe(fd, &s->url);
    for (unsigned i = 1; i < given->n; i++) {
        s->listener_fds[i] = given->fds[i];
        buf_adds(&s->more_urls, ", ");
        listener_describe(given->fds[i], &s->more_urls);
    }
    s->server_conf.inherited = given->n;
    s->server_conf.n_listeners = given->n ? given->n : 1;
    return 0;
}

/* Open the metrics' own listener, if there is one. */
static int open_metrics(struct supervisor *s, const struct inherited *given, struct buf *error)
{
    const char *listen = s->conf->metrics_listen;

    s->metrics_fd = given->metrics_fd;
    s->server_conf.metrics_here = !*listen && s->metrics_fd < 0;
    if (s->metrics_fd >= 0)
        listener_describe(s->metrics_fd, &s->metrics_url);
    else if (*listen && strcmp(listen, "none") != 0) {
        s->metrics_fd = listener_open(listen, &s->metrics_url, error);
        s->metrics_bound = s->metrics_fd >= 0;
        if (s->metrics_fd < 0)
            return -1;
    }
    s->server_conf.has_metrics = s->metrics_fd >= 0;
    return 0;
}

/* Open what others gave us and what we make for ourselves: sockets and state. */
static int open_all(struct supervisor *s, struct buf *error)
{
    struct inherited given = { .metrics_fd = -1 };

    if (s->options->managed) {
        if (notify_open(&s->notify, error) < 0)
            return -1;
        int err = inherit_listeners(&given, error);
        inherit_forget();
        if (err)
            return err;
    }
    int err = launch_open(&s->files, s->conf->isolation_root, error);
    if (err || s->options->source_fd >= 0)
        return err;
    if (open_state(s, error) < 0 || open_listeners(s, &given, error) < 0)
        return -1;
    return open_metrics(s, &given, error);
}

int prepare(struct supervisor *s)
{
    _cleanup_buf_ struct buf error;

    buf_init(&error, 2048);
    s->signal_fd = make_signal_fd(); /* before there is anything that a signal must not leave
                                      * behind */
    if (s->signal_fd < 0 || raise_file_limit() < 0 || find_runtimes(s) < 0)
        return -1;
    hostmem_find(&s->memory);
    fill_server_conf(s);
    if (fit_connections(&s->server_conf) < 0 || find_layers(s) < 0)
        return -1;
    if (open_all(s, &error) != 0)
        return error.len ? refuse(buf_text(&error)) : -1;
    if (!s->cgroups)
        s->limit_watch = limit_watch_new(s->server_conf.n_slots, &s->server_conf.limits);
    else
        s->convoy = convoy_new(s->cgroups, s->server_conf.n_slots);
    s->server_conf.layers_missing = s->require->missing;
    s->server_conf.cgroup_version = s->cgroups ? cgroups_version(s->cgroups) : 0;
    s->server_conf.landlock_abi = layers_landlock_abi();
    s->server_conf.has_state = s->state_fd >= 0;
    tell_of_epoll(s);
    tell_of_holds(s);
    forget_needs(s);
    fill_zygote_conf(s);
    return 0;
}
