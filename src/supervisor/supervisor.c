/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: one loop over signals and its children's sockets.
 *
 * Called by the command's verbs serve and run.  It is the process with
 * privileges, so it never reads what a client or a program wrote: its messages
 * are fixed-size numbers and descriptors (wire.h).  What must never happen
 * here: blocking on a message to a child, or ending with a child, a mount or
 * a cgroup left behind. */
#include "supervisor/supervisor.h"

#include "supervisor/cgroup.h"
#include "supervisor/convoy.h"
#include "supervisor/hostmem.h"
#include "supervisor/ids.h"
#include "supervisor/imports.h"
#include "supervisor/inherit.h"
#include "supervisor/launch.h"
#include "supervisor/listener.h"
#include "supervisor/notify.h"
#include "supervisor/require.h"
#include "supervisor/runtimes.h"
#include "supervisor/state.h"
#include "supervisor/watch.h"
#include "supervisor/webhooks.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/wire.h"
#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 10000, STEADY_MS = 10000, ASK_AGAIN_MS = 50 };
/* From one zygote's start to the next that a server may ask for: warming one takes a good part of a second. */
enum { ROTATE_LEAST_MS = 1000 };
/* To end the children once the time for requests in hand is up. */
enum { STOP_MARGIN_US = 10000000 };
enum { KEY_SHORT = 16 };     /* characters: with fewer it is a word that somebody thought of */
enum { FILES_OF_A_BOX = 4 }; /* descriptors that the server has for each */
enum { ID_SERVER = 0, ID_COURIER = 8, ID_ZYGOTE = 16, ID_SLOTS = 32 }; /* from isolation.id_base */

struct child {
    const char *name;
    pid_t pid; /* 0: not running */
    int sock;
    int64_t started_us, start_at_us;
    int64_t untold_ms;  /* that it is started again, and after how long, is said when it is */
    unsigned failures;  /* in a row */
    unsigned runtime;   /* a zygote's */
    unsigned importing; /* a zygote's: the place of the import that goes on; WIRE_IMPORTS_MAX: none */
    bool imported;      /* a zygote has all of its imports */
};

/* The zygotes of one runtime: the one that makes the boxes, and the one before it until its last box is gone. */
struct zygotes {
    struct child children[2];
    unsigned current; /* the former's index */
    bool needed;      /* there is to be one */
    bool wanted;      /* a new one, as soon as there is room */
    struct imports imports;
};

struct supervisor {
    const struct supervisor_options *options;
    const struct conf *conf; /* in effect: the command's, or our own once it was read again */
    struct conf *own_conf;
    struct launch_files files;
    struct reach reach;
    struct launch_ids ids;
    struct runtimes found;
    struct require *require;
    struct hostmem memory;
    struct cgroups *cgroups;
    struct convoy *convoy; /* where there are */
    struct watch *watch;   /* where there are none */
    int64_t look_at_us;
    struct wire_server_conf server_conf;
    struct wire_zygote_conf zygote_conf;
    struct courier_conf courier_conf;
    bool server_behind, courier_behind; /* they are still to be told of a change */
    struct child server;
    struct child courier;                       /* only where there is state */
    struct zygotes runtimes[WIRE_RUNTIMES_MAX]; /* server_conf.n_runtimes of them */
    struct buf url, more_urls, watch_url;
    int listener_fds[WIRE_LISTENERS_MAX];
    int watch_fd, signal_fd, state_fd, lock_fd;
    bool bound, watch_bound; /* by us, and not inherited: what it left in the file system is ours to remove */
    bool ready, stopping;
    struct log_pace bad_joins;
    bool refused; /* this server has said that no box can be made: once is enough */
    struct notify notify;
    bool reloading, kept; /* the manager is still to be told that it is over; the last file was wrong */
    int64_t ask_alive_at_us;
    bool alive_asked; /* and not answered yet */
    int64_t kill_at_us;
    int exit_status;
};

/* A sentence for the person who typed the command. */
static int refuse(const char *sentence)
{
    log_sentence("%s", sentence);
    return -1;
}

static int word_index(const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return 0;
}

static const char *const log_formats[] = { "auto", "json", "text", NULL };
static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };

/* The others have no environment to find it in. */
static enum log_format log_format_of(const struct conf *conf)
{
    return (enum log_format) word_index(conf->log_format, log_formats) | (log_is_journal() ? LOG_JOURNAL : 0);
}

/* The stderr of `hatchery run` is the program's: only what is wrong is told there. */
static int log_level_of(const struct conf *conf, const struct supervisor_options *options)
{
    int level = word_index(conf->log_level, log_levels);
    return options->source_fd >= 0 && level < LOG_WARN ? LOG_WARN : level;
}

static struct wire_limits limits_of(const struct conf *c)
{
    return (struct wire_limits){
        .timeout_default_ms = c->limits_timeout_default,
        .timeout_max_ms = c->limits_timeout_max,
        .memory_bytes = c->limits_memory,
        .scratch_bytes = c->limits_scratch,
        .output_bytes = c->limits_output,
        .code_bytes = c->limits_code,
        .result_bytes = c->limits_result,
        .processes = c->limits_processes,
        .cpu_percent = c->limits_cpu_percent,
        .scratch_files = c->limits_scratch_files,
        .open_files = c->limits_open_files,
    };
}

/* What is full loses its last byte. */
static const char *text_of(struct buf *b)
{
    if (b->len == b->max)
        b->len--;
    return buf_addc(b, '\0') == 0 ? b->data : "";
}

/* As they were found at the start. */
static void fill_runtimes(struct supervisor *s)
{
    struct wire_server_conf *w = &s->server_conf;

    w->n_runtimes = s->found.n;
    for (unsigned i = 0; i < s->found.n; i++)
        w->runtimes[i] = s->found.list[i].wire;
}

/* For one run the one that was asked for is the only one. */
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
    struct buf error;

    buf_init(&error, 8192);
    int err = runtimes_find(s->conf, &s->found, &error);
    if (!err && s->options->source_fd >= 0)
        err = choose_runtime(s, &error);
    if (err)
        refuse(text_of(&error));
    buf_free(&error);
    return err;
}

enum { RUNS_MAX = 128, MEMORY_OF_A_RUN = 128 << 20 };

/* Where none is configured: what most programs need of the memory and of the descriptors that there are. */
static unsigned default_max_runs(unsigned cores, int64_t memory)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    uint64_t most = (uint64_t) memory / MEMORY_OF_A_RUN;
    uint64_t by_files = files.rlim_cur / (4 * FILES_OF_A_BOX);
    most = most > 2 * cores ? most : 2 * cores;
    most = most < RUNS_MAX ? most : RUNS_MAX;
    most = most < by_files ? most : by_files;
    return (unsigned) most > cores ? (unsigned) most : cores;
}

/* How many run at once, and where. */
static void fill_slots(struct wire_server_conf *w, const struct conf *c, int64_t memory)
{
    unsigned cores = (unsigned) get_nprocs(), dying;

    w->max_runs = w->one_run ? 1 : c->pool_max_runs ? (unsigned) c->pool_max_runs : default_max_runs(cores, memory);
    w->places = w->max_runs < cores ? w->max_runs : cores;
    /* A slot is free again only when the last process of its box is gone: some are always dying. */
    dying = w->max_runs < 4 * cores ? w->max_runs : 4 * cores;
    w->n_slots = w->max_runs + dying + 4;
    w->n_first_slots = 2 * w->places + 4;
    for (unsigned i = 0; i < w->n_runtimes; i++) {
        w->n_slots += w->runtimes[i].pool_size;
        w->n_first_slots += w->runtimes[i].pool_size;
    }
    if (w->n_slots > WIRE_SLOTS_MAX)
        w->n_slots = WIRE_SLOTS_MAX;
    if (w->n_first_slots > w->n_slots)
        w->n_first_slots = w->n_slots;
}

static void fill_server_conf(struct supervisor *s)
{
    const struct conf *c = s->conf;
    struct wire_server_conf *w = &s->server_conf;

    *w = (struct wire_server_conf){
        .type = WIRE_SERVER_CONF,
        .one_run = s->options->source_fd >= 0,
        .queue_max = c->queue_max_length,
        .rotate_runs = c->python_rotate_runs,
        .rotate_age_ms = c->python_rotate_age,
        .max_connections = (unsigned) c->server_max_connections,
        .max_connections_per_address = (unsigned) c->server_max_connections_per_address,
        .head_timeout_ms = (unsigned) c->server_head_timeout,
        .body_timeout_ms = (unsigned) c->server_body_timeout,
        .idle_timeout_ms = (unsigned) c->server_idle_timeout,
        .write_timeout_ms = (unsigned) c->server_write_timeout,
        .drain_delay_ms = (unsigned) c->server_drain_delay,
        .max_body = c->server_max_body,
        .max_bodies = c->server_max_bodies > c->server_max_body ? c->server_max_bodies : c->server_max_body,
        .retention_age_us = c->jobs_retention_age * 1000,
        .retention_count = c->jobs_retention_count,
        .store_bytes = c->jobs_max_bytes,
        .memory_bytes = s->memory.limit_bytes,
        .idempotency_by_id = c->jobs_idempotency_by_id,
        .log_format = log_format_of(c),
        .log_level = log_level_of(c, s->options),
        .limits = limits_of(c),
    };
    fill_runtimes(s);
    if (w->one_run)
        w->n_runtimes = 1;
    fill_slots(w, c, s->memory.bytes);
    w->has_key = c->server_api_key && *c->server_api_key;
    if (w->has_key)
        crypto_generichash(w->key_hash, sizeof(w->key_hash), (const unsigned char *) c->server_api_key,
                           strlen(c->server_api_key), NULL, 0);
}

static bool has_layer(const struct supervisor *s, enum layer layer)
{
    return !(s->require->missing & LAYER_BIT(layer));
}

static void fill_zygote_conf(struct supervisor *s)
{
    s->zygote_conf = (struct wire_zygote_conf){
        .limits = s->server_conf.limits,
        .n_slots = s->server_conf.n_slots,
        .n_first_slots = s->server_conf.n_first_slots,
        .ids = s->ids.root,
        .cgroups = s->cgroups != NULL,
        .landlock = has_layer(s, LAYER_LANDLOCK),
        .mdwe = has_layer(s, LAYER_MDWE),
        .log_format = s->server_conf.log_format,
        .log_level = s->server_conf.log_level,
        .warm_ms = s->conf->python_warm_timeout,
    };
    snprintf(s->zygote_conf.imports, sizeof(s->zygote_conf.imports), "%s", s->conf->python_imports);
}

static int choose_ids(struct supervisor *s)
{
    const char *user = s->conf->server_user;
    uid_t base = (uid_t) s->conf->isolation_id_base;
    struct buf error;

    buf_init(&error, 512);
    int err = ids_available(base, ID_SLOTS + s->server_conf.n_slots, &error);
    if (err)
        require_missing(s->require, LAYER_IDS, err, text_of(&error));
    s->ids = (struct launch_ids){ .root = !err,
                                  .server_uid = base + ID_SERVER,
                                  .server_gid = base + ID_SERVER,
                                  .courier = base + ID_COURIER,
                                  .zygote = base + ID_ZYGOTE,
                                  .slots = base + ID_SLOTS };
    buf_reset(&error);
    err = s->ids.root && user[0] ? ids_of_user(user, &s->ids.server_uid, &s->ids.server_gid, &error) : 0;
    if (err)
        refuse(text_of(&error));
    buf_free(&error);
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
        require_missing(s->require, LAYER_CGROUP, err, text_of(&error));
    else
        s->require->cgroup_version = cgroups_version(s->cgroups);
    buf_free(&error);
}

/* The outcome socket of a box has a number above all a program can open. */
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

/* Connections must leave descriptors for the boxes: strangers without the key could otherwise starve everybody's runs. */
static int fit_connections(struct wire_server_conf *w)
{
    struct rlimit limit;
    rlim_t others = FILES_OF_A_BOX * (rlim_t) w->n_slots + 64 + 64; /* of our own, and of those who watch */

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur <= others)
        return refuse("the hard limit on open files is too low for pool.size and pool.max_runs: raise it (ulimit -Hn, "
                      "LimitNOFILE= in the unit)");
    if (limit.rlim_cur - others >= w->max_connections)
        return 0;
    w->max_connections = (unsigned) (limit.rlim_cur - others);
    log_warn("server.max_connections is lowered to what the hard limit on open files leaves",
             LOG_I("max_connections", w->max_connections) LOG_I("open_files", (int64_t) limit.rlim_cur));
    return 0;
}

/* Whoever started us may have had them ignored: an ignored SIGCHLD would lose the children's ends, and a shell ignores
 * SIGINT for what it starts with `&`.  Only SIGHUP stays so, which is what nohup(1) is for. */
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

static int make_pair(int *ret_ours, int *ret_theirs)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    *ret_ours = pair[0];
    *ret_theirs = pair[1];
    return 0;
}

/* The two know each other by a socket that lives as long as both.  One that is just dying gets a new one when it is
 * started again. */
static void connect_courier(struct supervisor *s)
{
    const struct wire_msg here = { .type = WIRE_COURIER };
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

static void add_words(struct buf *out, const char *words, const char *between)
{
    for (const char *p = words; *(p += strspn(p, " ,")); between = ", ") {
        size_t n = strcspn(p, " ,");
        buf_adds(out, between);
        json_add_string(out, p, n);
        p += n;
    }
}

/* What programs find in a runtime, for whoever asks the server, which opens no such directory. */
static int send_packages(const struct supervisor *s, unsigned runtime)
{
    const struct runtime_spec *spec = &s->found.list[runtime];
    const struct wire_msg here = { .type = WIRE_PACKAGES, .slot = runtime };
    _cleanup_fd_ int fd = memfd_create("packages", MFD_CLOEXEC);
    struct buf out;
    bool any = s->conf->python_imports[strspn(s->conf->python_imports, " ,")];

    buf_init(&out, 1 << 20);
    buf_adds(&out, "\"imports\": [");
    add_words(&out, s->conf->python_imports, "");
    add_words(&out, spec->imports, any ? ", " : "");
    buf_adds(&out, "], \"packages\": ");
    runtimes_add_packages(s->conf, spec, &out);
    bool ok = fd >= 0 && !out.full && pwrite(fd, out.data, out.len, 0) == (ssize_t) out.len;
    buf_free(&out);
    return ok ? fd_send(s->server.sock, &here, sizeof(here), &fd, 1) : -EIO;
}

/* All that a runtime imports. */
static void list_imports(const struct supervisor *s, unsigned runtime, char ret[static sizeof(s->zygote_conf.imports)])
{
    snprintf(ret, sizeof(s->zygote_conf.imports), "%s %s", s->conf->python_imports, s->found.list[runtime].imports);
}

/* What a runtime does without, and why it does not start, if it does not. */
static int send_fault(struct supervisor *s, unsigned runtime)
{
    const struct imports *imports = &s->runtimes[runtime].imports;
    struct wire_msg here = { .type = WIRE_FAULT, .slot = runtime, .status = (int32_t) imports->fault };
    char list[sizeof(s->zygote_conf.imports)];
    _cleanup_fd_ int fd = memfd_create("faults", MFD_CLOEXEC);
    struct buf out;

    list_imports(s, runtime, list);
    buf_init(&out, 1 << 17);
    here.serial = imports_add_json(imports, list, &out);
    bool ok = fd >= 0 && !out.full && pwrite(fd, out.data, out.len, 0) == (ssize_t) out.len;
    buf_free(&out);
    return ok ? fd_send(s->server.sock, &here, sizeof(here), &fd, 1) : -EIO;
}

/* By which the server sees whether there is room for one more program. */
static int send_memory(const struct supervisor *s)
{
    int err = 0;

    for (unsigned i = 0; i < WIRE_MEMORY_FILES && !err; i++) {
        const struct wire_msg here = { .type = WIRE_MEMORY, .slot = i };
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

/* What is all runtimes', and what is this one's. */
static int send_zygote_conf(const struct supervisor *s, int sock, unsigned runtime)
{
    static struct wire_zygote_conf conf;

    conf = s->zygote_conf;
    /* The watch can't see a file in memory that is written and not mapped. */
    conf.callbacks = s->found.list[runtime].callbacks && s->cgroups;
    conf.epoll = s->found.list[runtime].epoll;
    list_imports(s, runtime, conf.imports);
    imports_leave_out(&s->runtimes[runtime].imports, conf.left_out);
    return fd_send(sock, &conf, sizeof(conf), NULL, 0);
}

/* @ret->fd is the caller's; -1 where there are none. */
static int open_packages(const struct runtime_spec *spec, struct launch_packages *ret)
{
    *ret = (struct launch_packages){ spec->packages, -1 };
    if (!*spec->packages)
        return 0;
    ret->fd = runtimes_open(spec);
    if (ret->fd >= 0)
        return 0;
    log_error("the packages of a runtime are not there",
              LOG_S("directory", spec->packages) LOG_S("errno", strerrorname_np(-ret->fd)));
    return ret->fd;
}

static int start_zygote(struct supervisor *s, struct child *zygote)
{
    const struct wire_msg here = { .type = WIRE_ZYGOTE, .slot = zygote->runtime };
    _cleanup_fd_ int theirs = -1;
    _cleanup_fd_ int server_end = -1;
    _cleanup_fd_ int zygote_end = -1;
    int on = 1;
    int err = make_pair(&zygote->sock, &theirs);

    if (!err)
        err = make_pair(&server_end, &zygote_end);
    if (err)
        return err;
    /* A box that asks to join a cgroup is known by the pid the kernel tells us. */
    if (setsockopt(zygote->sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
        return -errno;
    struct launch_group group = { .fd = -1 };
    if (s->cgroups)
        group.fd = cgroups_zygote_fd(s->cgroups, &group.above);
    const struct runtime_spec *spec = &s->found.list[zygote->runtime];
    struct launch_packages packages;
    zygote->importing = WIRE_IMPORTS_MAX;
    zygote->imported = false;
    err = open_packages(spec, &packages);
    if (err) {
        s->runtimes[zygote->runtime].imports.fault = FAULT_PACKAGES;
        return err;
    }
    reach_find(&s->reach, s->files.root);
    s->files.reach = &s->reach;
    s->files.limits = &s->zygote_conf.limits;
    pid_t pid = launch_zygote(&s->files, &s->ids, s->server_conf.n_slots, theirs, zygote_end, &group,
                              packages.fd < 0 ? NULL : &packages, s->require);
    fd_close(&packages.fd);
    if (pid < 0)
        return pid;
    zygote->pid = pid;
    fcntl(zygote->sock, F_SETFL, O_NONBLOCK);
    err = send_zygote_conf(s, zygote->sock, zygote->runtime);
    return err ? err : fd_send(s->server.sock, &here, sizeof(here), &server_end, 1);
}

/* When to try again: the milliseconds until then. */
static int64_t put_off(struct child *child)
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

static void stop(struct supervisor *s, int status, int64_t grace_ms)
{
    const struct wire_msg drain = { .type = WIRE_DRAIN };

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

static void say_ready(struct supervisor *s)
{
    notify_say(&s->notify, "READY=1\nSTATUS=Listening on %.*s%s", (int) s->url.len, s->url.data,
               s->kept ? "; the configuration that was to be read again is wrong, and the one before it stays" : "");
}

/* Not one that has ended and waits to be reaped, which zygote and courier may be before it. */
static bool server_is_there(const struct supervisor *s)
{
    return s->server.pid && s->server.sock >= 0;
}

/* Told also to whoever asked for one run, or is the doctor. */
static void report_fault(struct supervisor *s, unsigned runtime, const char *import, enum fault fault)
{
    struct supervisor_report *report = s->options->report;
    size_t n = report ? strlen(report->text) : 0;

    if (import)
        log_warn("an import is left out of a runtime", LOG_S("runtime", s->found.list[runtime].wire.name)
                                                           LOG_S("import", import) LOG_S("why", imports_words(fault)));
    else
        log_error("a runtime does not start",
                  LOG_S("runtime", s->found.list[runtime].wire.name) LOG_S("why", imports_words(fault)));
    if (report && import)
        snprintf(report->text + n, sizeof(report->text) - n, "The import of %s is left out: %s.\n", import,
                 imports_words(fault));
    else if (report)
        snprintf(report->text + n, sizeof(report->text) - n, "It does not start: %s.\n", imports_words(fault));
    if (server_is_there(s))
        send_fault(s, runtime);
}

/* Nobody waits for a runtime that does not start: the next job asks for it again.  One that has boxes still needs a
 * successor. */
static void on_fault(struct supervisor *s, struct child *child)
{
    struct zygotes *z = &s->runtimes[child->runtime];
    bool has_other = z->children[0].pid || z->children[1].pid;

    if (!s->server_conf.runtimes[child->runtime].at_start && !has_other)
        z->needed = false;
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
            report_fault(s, child->runtime, NULL, s->runtimes[child->runtime].imports.fault);
            on_fault(s, child);
        }
        if (s->ready || child->runtime)
            back_off(child);
        else
            stop(s, EXIT_FAILURE, 0);
    }
    buf_free(&error);
}

static struct child *current_of(struct zygotes *z)
{
    return &z->children[z->current];
}

/* When the successor that the server has asked for is due: not before there is room, nor right after the last one. */
static int64_t rotate_at_us(const struct zygotes *z)
{
    const struct child *now = &z->children[z->current];

    if (!z->wanted || z->children[!z->current].pid || !now->pid)
        return INT64_MAX;
    return now->started_us + ROTATE_LEAST_MS * 1000LL;
}

/* The server asks for a fresh interpreter.  The one that makes the boxes goes on until the new one is warm. */
static void rotate(struct zygotes *z)
{
    struct child *other = &z->children[!z->current];

    if (rotate_at_us(z) > now_us())
        return;
    z->wanted = false;
    other->start_at_us = 0;
    other->failures = current_of(z)->failures;
    z->current = !z->current;
}

static void start_if_due(struct supervisor *s, struct child *child)
{
    if (!s->stopping && !child->pid && child->start_at_us <= now_us() && (child == &s->server || server_is_there(s)))
        start_child(s, child);
}

static void start_due(struct supervisor *s)
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

/* The server has jobs for this runtime, or wants a fresh interpreter. */
static void want_zygote(struct zygotes *z)
{
    if (z->needed && current_of(z)->pid)
        z->wanted = true;
    z->needed = true;
}

static void warn_of_readable(const char *path, const char *what)
{
    struct stat st;
    char hint[PATH_MAX + 16];

    if (!path || !*path || stat(path, &st) < 0 || !(st.st_mode & S_IROTH))
        return;
    snprintf(hint, sizeof(hint), "chmod 600 %s", path);
    log_warn("a file with a secret can be read by every user of this machine", LOG_S("what", what) LOG_S("hint", hint));
}

static void warn_of_strangers(const struct supervisor *s)
{
    const char *key = s->conf->server_api_key;
    bool everywhere = false, local = true;

    for (unsigned i = 0; i < s->server_conf.n_listeners; i++) {
        everywhere = everywhere || listener_is_everywhere(s->listener_fds[i]);
        local = local && listener_is_local(s->listener_fds[i]);
    }
    if (everywhere)
        log_warn("listening on all addresses of this machine, without TLS: whoever can reach it can send keys and "
                 "programs in the clear; put a proxy in front");
    if (!local && key && *key && strlen(key) < KEY_SHORT)
        log_warn("the API key is short enough to be guessed, and other machines can reach the server",
                 LOG_I("least", KEY_SHORT) LOG_S("hint", "openssl rand -hex 24"));
    warn_of_readable(s->conf->server_api_key_file, "server.api_key_file");
    warn_of_readable(s->conf->webhooks_secret_file, "webhooks.secret_file");
}

/* Where jobs stay: a trial's are found again, and do not surprise who starts a server on them later. */
static void print_state(const struct supervisor *s)
{
    struct buf path, error;

    buf_init(&path, 4096);
    buf_init(&error, 512);
    if (state_path(s->conf->server_state, &path, &error) == 0 && path.len)
        printf("Jobs and keys are kept in %.*s\n", (int) path.len, path.data);
    buf_free(&path);
    buf_free(&error);
}

/* The first words of a curl command that asks this server, where it is typed beside it. */
static void add_curl(struct buf *out, const char *url)
{
    static const char any4[] = "http://0.0.0.0:", any6[] = "http://[::]:";

    if (strncmp(url, "unix:", 5) == 0)
        buf_addf(out, "--unix-socket %s http://localhost", url + 5);
    else if (strncmp(url, any4, sizeof(any4) - 1) == 0)
        buf_addf(out, "http://127.0.0.1:%s", url + sizeof(any4) - 1);
    else if (strncmp(url, any6, sizeof(any6) - 1) == 0)
        buf_addf(out, "http://[::1]:%s", url + sizeof(any6) - 1);
    else
        buf_adds(out, url);
}

static void announce(const struct supervisor *s)
{
    const char *key = s->options->generated_key;
    char url[256];
    struct buf curl;

    warn_of_strangers(s);
    snprintf(url, sizeof(url), "%.*s", (int) s->url.len, s->url.data);
    if (!isatty(STDOUT_FILENO) || !isatty(STDERR_FILENO)) /* there the next line says it */
        log_info("listening", LOG_S("url", url) LOG_S("version", VERSION));
    printf("Hatchery %s is listening on %s%.*s\n", VERSION, url, (int) s->more_urls.len,
           s->more_urls.len ? s->more_urls.data : "");
    if (key)
        printf("API key (made for this start; set API_KEY to choose your own): %s\n", key);
    else
        printf("The key is the one that you have configured: put it in the place of YOUR-KEY.\n");
    print_state(s);
    if (s->watch_fd >= 0)
        printf("Metrics are at %.*s/metrics\n", (int) s->watch_url.len, s->watch_url.data);
    buf_init(&curl, 512);
    add_curl(&curl, url);
    printf("Try it from another terminal:\n\n  curl -s %.*s/v1/code/execute/python -H 'x-api-key: %s' -H "
           "'content-type: application/json' -d '{\"code\": \"print(\\\"Hello, World!\\\")\"}'\n\n",
           (int) curl.len, curl.data, key ? key : "YOUR-KEY");
    buf_free(&curl);
    fflush(stdout);
}

/* The first box could not take a step of the jail: its layer is one that only making a box can show. */
static void on_refused(struct supervisor *s, int step, int err)
{
    enum layer layer = layers_of_step(box_step_word(step));

    require_missing(s->require, layer, err, box_step_hint(step));
    require_say(s->require, layer);
}

static void on_server(struct supervisor *s)
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
            watch_usage(s->watch, msg.slot, &msg.oom_kills, &msg.pid_refusals);
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
static void on_import(struct supervisor *s, struct child *zygote, const struct wire_msg *msg)
{
    struct imports *imports = &s->runtimes[zygote->runtime].imports;
    char list[sizeof(s->zygote_conf.imports)], name[256];

    if (msg->slot >= WIRE_IMPORTS_MAX) {
        zygote->importing = WIRE_IMPORTS_MAX;
        zygote->imported = true;
        imports->fault = FAULT_NONE;
        return;
    }
    zygote->importing = msg->slot;
    if (msg->status == FAULT_NONE && imports->faults[msg->slot] == FAULT_FAILED) /* perhaps it is better now */
        imports->faults[msg->slot] = FAULT_NONE;
    if (msg->status != FAULT_FAILED)
        return;
    imports->faults[msg->slot] = FAULT_FAILED;
    list_imports(s, zygote->runtime, list);
    imports_name(list, msg->slot, name);
    report_fault(s, zygote->runtime, name, FAULT_FAILED);
}

/* What a zygote that has ended said before. */
static void hear_last(struct supervisor *s, struct child *zygote)
{
    struct wire_msg msg;
    int fd;

    while (zygote->sock >= 0) {
        ssize_t n = fd_recv(zygote->sock, &msg, sizeof(msg), &fd, 1, NULL);
        fd_close(&fd);
        if (n <= 0)
            return;
        if (n == sizeof(msg) && msg.type == WIRE_IMPORT)
            on_import(s, zygote, &msg);
    }
}

/* Where memory is short the kernel ends who has most mapped, and what a program has not mapped (scratch, a memfd) is
 * nobody's: then it shall be a box, not the zygote, with which all boxes end (proc_pid_oom_score_adj(5)).  Whose /proc is
 * read-only has them as equals. */
static void let_kill_first(pid_t box)
{
    char path[48];

    snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int) box);
    fd_write_file(AT_FDCWD, path, "1000");
}

/* A box asks for its cgroup, or to be watched, and waits for the answer. */
static void on_zygote(struct supervisor *s, struct child *zygote)
{
    struct ucred sender = { 0 };
    union {
        struct wire_join join;
        struct wire_msg msg;
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
    if (n == sizeof(in.msg) && in.msg.type == WIRE_IMPORT)
        on_import(s, zygote, &in.msg);
    if (n != sizeof(join) || box < 0)
        return;
    if (join.slot < s->server_conf.n_slots && sender.pid > 0) {
        let_kill_first(sender.pid);
        if (s->convoy)
            convoy_forget(s->convoy, join.slot);
        joined.error = -(s->cgroups ? cgroups_join(s->cgroups, join.slot, join.serial, sender.pid, tasks)
                                    : watch_join(s->watch, join.slot, sender.pid));
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

/* Processes that the kernel killed for a box's memory limit.  Returns when to look again, in ms; 0: not by itself. */
static int on_oom(struct supervisor *s)
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

/* That a zygote ends with its server, or with its last box when a new one has taken over, is in order, and so it is when
 * the server has let go of a runtime that nobody uses.  But a server that lives on and has let go of the one it always
 * needs could have another made at once, again and again.  In each case the server's own end may be told a moment
 * later, and then there was nothing to say. */
static void on_zygote_over(struct supervisor *s, struct child *child)
{
    struct zygotes *z = &s->runtimes[child->runtime];
    bool lives = server_is_there(s), is_current = child == current_of(z);

    if (lives && is_current && !s->server_conf.runtimes[child->runtime].at_start)
        z->needed = false;
    else if (lives && is_current)
        child->untold_ms = put_off(child);
    else
        child->start_at_us = now_us() + BACKOFF_FIRST_MS * 1000;
}

/* A new server asks for those that it needs.  A zygote that ended just before the old one ended with it. */
static void forget_needs(struct supervisor *s)
{
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++) {
        struct child *now = current_of(&s->runtimes[i]);
        s->runtimes[i].needed = s->server_conf.runtimes[i].at_start;
        now->failures -= now->untold_ms ? 1 : 0;
        now->untold_ms = 0;
    }
}

/* A zygote ended before it could make boxes, or said that it can't: 1 where the next may, without an import, at once; -1
 * where the runtime does not start; 0 where nothing is known. */
static int on_zygote_unable(struct supervisor *s, struct child *child, int status)
{
    struct zygotes *z = &s->runtimes[child->runtime];
    bool cannot = WIFEXITED(status) && WEXITSTATUS(status) >= WIRE_ZYGOTE_CANNOT;
    char list[sizeof(s->zygote_conf.imports)], name[256];

    if (child->imported && !cannot)
        return 0;
    enum fault fault = imports_ended(&z->imports, child->importing, status);
    if (!fault)
        return 0;
    list_imports(s, child->runtime, list);
    imports_name(list, child->importing, name);
    report_fault(s, child->runtime, child->importing < WIRE_IMPORTS_MAX ? name : NULL, fault);
    if (child->importing == WIRE_IMPORTS_MAX)
        return -1;
    child->start_at_us = 0;
    return 1;
}

static void on_child_exit(struct supervisor *s, struct child *child, int status)
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

/* --- reading the configuration again --- */

/* What can't change in a server that runs stays as it is, in the whole of it: a child that is restarted later must find
 * what its siblings have. */
static void keep_what_needs_a_restart(const struct supervisor *s, struct conf *fresh)
{
    for (const struct conf_key *k = conf_keys; k->section; k++) {
        char name[CONF_ENV_NAME_MAX];
        if (k->when == CONF_LIVE || conf_equals(s->conf, fresh, k))
            continue;
        snprintf(name, sizeof(name), "%s.%s", k->section, k->key);
        log_warn("a change of the configuration needs a restart", LOG_S("key", name));
        conf_copy(fresh, s->conf, k);
    }
    if (!conf_same_runtimes(s->conf, fresh)) {
        log_warn("a change of the configuration needs a restart", LOG_S("key", "runtime"));
        conf_copy_runtimes(fresh, s->conf);
    }
}

/* The server's slice of the new configuration; what is not in there is what was found at the start. */
static void refill_server_conf(struct supervisor *s)
{
    const struct wire_server_conf old = s->server_conf;
    struct wire_server_conf *w = &s->server_conf;

    fill_server_conf(s);
    w->n_slots = old.n_slots;
    w->n_first_slots = old.n_first_slots;
    w->n_runtimes = old.n_runtimes;
    memcpy(w->runtimes, old.runtimes, sizeof(w->runtimes));
    w->max_runs = old.max_runs;
    w->places = old.places;
    w->layers_missing = old.layers_missing;
    w->cgroup_version = old.cgroup_version;
    w->landlock_abi = old.landlock_abi;
    w->metrics_here = old.metrics_here;
    w->n_listeners = old.n_listeners;
    w->inherited = old.inherited;
    w->has_watch = old.has_watch;
    w->has_state = old.has_state;
    fit_connections(w);
}

/* Boxes have the limits that their zygote had: new ones need a new one. */
static void renew_zygotes(struct supervisor *s)
{
    const struct wire_zygote_conf old = s->zygote_conf;

    fill_zygote_conf(s);
    bool same_limits = memcmp(&old.limits, &s->zygote_conf.limits, sizeof(old.limits)) == 0;
    if (s->cgroups && !same_limits)
        cgroups_change(s->cgroups, &s->zygote_conf.limits);
    if (s->watch && !same_limits)
        watch_change(s->watch, &s->zygote_conf.limits);
    bool same_imports = strcmp(old.imports, s->zygote_conf.imports) == 0;
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++) {
        struct zygotes *z = &s->runtimes[i];
        bool leaves_out = !imports_all_well(&z->imports); /* what was wrong with it may be mended */
        imports_forget(&z->imports);
        z->wanted = z->wanted || (z->needed && (!same_limits || !same_imports || leaves_out));
    }
}

static int adopt(struct supervisor *s, struct conf *fresh, struct buf *error)
{
    static struct courier_conf courier;
    static struct wire_server_conf hooks; /* what webhooks_fill() has for the server */

    keep_what_needs_a_restart(s, fresh);
    int err = webhooks_fill(fresh, &courier, &hooks, error);
    if (err)
        return err;
    courier.log_format = s->courier_conf.log_format;
    conf_free(s->own_conf);
    free(s->own_conf);
    s->conf = s->own_conf = fresh;
    refill_server_conf(s);
    courier.log_level = s->server_conf.log_level;
    s->courier_conf = courier;
    explicit_bzero(&courier, sizeof(courier));
    webhooks_copy(&s->server_conf, &hooks);
    renew_zygotes(s);
    log_set_level((enum log_level) s->server_conf.log_level);
    s->server_behind = s->courier_behind = true;
    return 0;
}

/* The new configuration as a whole, or the old one. */
static void reload(struct supervisor *s)
{
    const struct wire_msg kept = { .type = WIRE_KEPT };
    struct conf *fresh = xcalloc(1, sizeof(*fresh));
    struct buf error;

    if (s->ready)
        notify_say(&s->notify, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long) now_us());
    buf_init(&error, 65536);
    int err = s->options->reload(s->options->reload_data, fresh, &error);
    if (!err) {
        err = adopt(s, fresh, &error);
        if (err)
            conf_free(fresh);
    }
    if (err) {
        free(fresh);
        log_error("the configuration is wrong: the one before it stays", LOG_S("error", text_of(&error)));
        if (s->server.pid)
            fd_send(s->server.sock, &kept, sizeof(kept), NULL, 0);
    } else
        log_info("configuration read again");
    buf_free(&error);
    s->kept = err;
    s->reloading = true;
}

/* They have room for a message, or are asked again soon. */
static void tell_of_change(struct supervisor *s)
{
    if (s->server_behind && s->server.pid)
        s->server_behind = fd_send(s->server.sock, &s->server_conf, sizeof(s->server_conf), NULL, 0) == -EAGAIN;
    if (s->courier_behind && s->courier.pid)
        s->courier_behind = fd_send(s->courier.sock, &s->courier_conf, sizeof(s->courier_conf), NULL, 0) == -EAGAIN;
}

static bool is_behind(const struct supervisor *s)
{
    return (s->server_behind && s->server.pid) || (s->courier_behind && s->courier.pid);
}

/* The manager hears that a reload is over when all whom it concerns have been told. */
static void tell_manager(struct supervisor *s)
{
    const struct wire_msg ask = { .type = WIRE_ALIVE };

    notify_again(&s->notify);
    if (s->reloading && s->ready && !s->stopping && !is_behind(s)) {
        s->reloading = false;
        say_ready(s);
    }
    /* Of the whole service there is one sign of life: that the server's loop answers.  One that has no room for a
     * question has not answered others. */
    if (!s->notify.watchdog_us || !s->ready || now_us() < s->ask_alive_at_us)
        return;
    s->ask_alive_at_us = now_us() + s->notify.watchdog_us / 2;
    s->alive_asked = true;
    if (s->server.sock >= 0)
        fd_send(s->server.sock, &ask, sizeof(ask), NULL, 0);
}

enum { CHILDREN_MAX = 2 + 2 * WIRE_RUNTIMES_MAX };

/* The server first, then the courier, then the zygotes. */
static unsigned list_children(struct supervisor *s, struct child *ret[static CHILDREN_MAX])
{
    unsigned n = 0;

    ret[n++] = &s->server;
    ret[n++] = &s->courier;
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++)
        for (int k = 0; k < 2; k++)
            ret[n++] = &s->runtimes[i].children[k];
    return n;
}

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

static int64_t zygote_due_us(const struct supervisor *s, const struct zygotes *z)
{
    const struct child *now = &z->children[z->current];
    return z->needed && !now->pid && server_is_there(s) ? now->start_at_us : rotate_at_us(z);
}

/* Milliseconds until something is due, for poll(2). */
static int next_due(const struct supervisor *s)
{
    int64_t due = INT64_MAX;

    if (s->stopping)
        due = s->kill_at_us;
    else {
        if (!s->server.pid)
            due = s->server.start_at_us;
        if (server_is_there(s) && s->state_fd >= 0 && !s->courier.pid)
            sooner(&due, s->courier.start_at_us);
        for (unsigned i = 0; i < s->server_conf.n_runtimes; i++)
            sooner(&due, zygote_due_us(s, &s->runtimes[i]));
    }
    if (s->notify.watchdog_us && s->ready)
        sooner(&due, s->ask_alive_at_us);
    if (s->convoy)
        sooner(&due, convoy_due_us(s->convoy));
    for (unsigned i = 0; s->watch && i < s->server_conf.n_runtimes; i++)
        if (s->runtimes[i].children[s->runtimes[i].current].pid)
            sooner(&due, s->look_at_us);
    if (due == INT64_MAX)
        return -1;
    int64_t left_ms = (due - now_us() + 999) / 1000;
    return left_ms < 0 ? 0 : left_ms > 3600000 ? 3600000 : (int) left_ms;
}

static bool any_child(struct supervisor *s)
{
    struct child *children[CHILDREN_MAX];
    unsigned n = list_children(s, children);

    while (n && !children[n - 1]->pid)
        n--;
    return n > 0;
}

/* Stopping: the server finishes what it has in hand; the courier and the zygotes, and with them every box, go when the
 * server is gone. */
static void end_children(struct supervisor *s)
{
    struct child *children[CHILDREN_MAX];
    unsigned n = list_children(s, children);

    if (s->server.pid && now_us() >= s->kill_at_us)
        kill(s->server.pid, SIGKILL);
    for (unsigned i = 1; i < n && !s->server.pid; i++)
        if (children[i]->pid)
            kill(children[i]->pid, SIGKILL);
}

static void look_if_due(struct supervisor *s)
{
    if (s->convoy)
        convoy_look(s->convoy);
    if (!s->watch || now_us() < s->look_at_us)
        return;
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++)
        for (int k = 0; k < 2; k++)
            if (s->runtimes[i].children[k].pid)
                watch_look(s->watch, s->runtimes[i].children[k].pid);
    s->look_at_us = now_us() + WATCH_INTERVAL_MS * 1000LL;
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
        for (unsigned i = 0; i < n; i++) /* the courier says nothing */
            fds[2 + i] = (struct pollfd){ .fd = i == 1 ? -1 : children[i]->sock, .events = POLLIN };
        int wait_ms = s->stopping && now_us() >= s->kill_at_us ? 1000 : next_due(s);
        if (oom_wait_ms && (wait_ms < 0 || wait_ms > oom_wait_ms))
            wait_ms = oom_wait_ms;
        if ((is_behind(s) || s->notify.unsent.len) && (wait_ms < 0 || wait_ms > ASK_AGAIN_MS))
            wait_ms = ASK_AGAIN_MS;
        if (poll(fds, 2 + n, wait_ms) < 0)
            continue;
        if (fds[2].revents && s->server.sock >= 0)
            on_server(s);
        for (unsigned i = 2; i < n; i++)
            if (fds[2 + i].revents && children[i]->sock >= 0)
                on_zygote(s, children[i]);
        if (fds[1].revents || oom_wait_ms)
            oom_wait_ms = on_oom(s);
        if (fds[0].revents)
            on_signal(s);
    }
}

/* Look for every layer of the jail before anything is started. */
static int find_layers(struct supervisor *s)
{
    struct buf error;

    buf_init(&error, 2048);
    if (require_init(s->require, s->conf, &error) < 0) {
        buf_addc(&error, '\0');
        refuse(error.data);
        buf_free(&error);
        return -1;
    }
    buf_free(&error);
    if (choose_ids(s) < 0)
        return -1;
    make_cgroups(s);
    require_probe_kernel(s->require);
    return require_settle(s->require, s->conf);
}

/* What an operator has opened stays in sight, as a layer that is missing does. */
static void tell_of_epoll(const struct supervisor *s)
{
    for (unsigned i = 0; i < s->found.n; i++)
        if (s->found.list[i].epoll)
            log_warn("the jail is weaker than it could be: programs of a runtime have epoll, which nothing counts",
                     LOG_S("runtime", s->found.list[i].wire.name));
}

/* Where jobs survive, and who tells of them. */
static int open_state(struct supervisor *s, struct buf *error)
{
    struct buf path;
    int err = webhooks_fill(s->conf, &s->courier_conf, &s->server_conf, error);

    s->courier_conf.log_format = s->server_conf.log_format;
    s->courier_conf.log_level = s->server_conf.log_level;
    buf_init(&path, 4096);
    if (!err)
        err = state_path(s->conf->server_state, &path, error);
    if (!err && path.len) {
        buf_addc(&path, '\0');
        s->state_fd = state_open(path.data, s->ids.root, s->ids.server_uid, s->ids.server_gid, error);
        if (s->state_fd >= 0)
            s->lock_fd = state_lock(s->state_fd, path.data, error);
        err = s->lock_fd < 0 ? -1 : 0;
    }
    buf_free(&path);
    return err;
}

/* Those that were given to us are served as they are; else server.listen is bound. */
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

/* The listener of those who watch, where they have one of their own. */
static int open_watch(struct supervisor *s, const struct inherited *given, struct buf *error)
{
    const char *listen = s->conf->metrics_listen;

    s->watch_fd = given->watch_fd;
    s->server_conf.metrics_here = !*listen && s->watch_fd < 0;
    if (s->watch_fd >= 0)
        listener_describe(s->watch_fd, &s->watch_url);
    else if (*listen && strcmp(listen, "none") != 0) {
        s->watch_fd = listener_open(listen, &s->watch_url, error);
        s->watch_bound = s->watch_fd >= 0;
        if (s->watch_fd < 0)
            return -1;
    }
    s->server_conf.has_watch = s->watch_fd >= 0;
    return 0;
}

/* What others gave us, and what we make for ourselves: sockets and state. */
static int open_all(struct supervisor *s, struct buf *error)
{
    struct inherited given = { .watch_fd = -1 };
    int err = s->options->managed ? notify_open(&s->notify, error) : 0;

    if (!err && s->options->managed) {
        err = inherit_listeners(&given, error);
        inherit_forget();
    }
    if (!err)
        err = launch_open(&s->files, s->conf->isolation_root, error);
    if (err || s->options->source_fd >= 0)
        return err;
    err = open_state(s, error);
    if (!err)
        err = open_listeners(s, &given, error);
    return err ? err : open_watch(s, &given, error);
}

static int prepare(struct supervisor *s)
{
    struct buf error;

    s->signal_fd = make_signal_fd(); /* before there is anything that a signal must not leave behind */
    if (s->signal_fd < 0 || raise_file_limit() < 0 || find_runtimes(s) < 0)
        return -1;
    hostmem_find(&s->memory);
    fill_server_conf(s);
    if (fit_connections(&s->server_conf) < 0 || find_layers(s) < 0)
        return -1;
    buf_init(&error, 2048);
    int err = open_all(s, &error);
    if (err && error.len) {
        buf_addc(&error, '\0');
        refuse(error.data);
    }
    buf_free(&error);
    if (err)
        return -1;
    if (!s->cgroups)
        s->watch = watch_new(s->server_conf.n_slots, &s->server_conf.limits);
    else
        s->convoy = convoy_new(s->cgroups, s->server_conf.n_slots);
    s->server_conf.layers_missing = s->require->missing;
    s->server_conf.cgroup_version = s->cgroups ? cgroups_version(s->cgroups) : 0;
    s->server_conf.landlock_abi = layers_landlock_abi();
    s->server_conf.has_state = s->state_fd >= 0;
    tell_of_epoll(s);
    forget_needs(s);
    fill_zygote_conf(s);
    return 0;
}

int supervisor_run(const struct supervisor_options *options)
{
    struct require own;
    struct supervisor s = { .options = options,
                            .conf = options->conf,
                            .require = options->require ? options->require : &own,
                            .server = { .name = "server", .sock = -1 },
                            .courier = { .name = "courier", .sock = -1 },
                            .listener_fds = { -1, -1, -1, -1 },
                            .watch_fd = -1,
                            .signal_fd = -1,
                            .notify = { .fd = -1 },
                            .state_fd = -1,
                            .lock_fd = -1,
                            .memory = { .fds = { -1, -1, -1 } },
                            .files = {
                                .server_fd = -1, .zygote_fd = -1, .init_fd = -1, .courier_fd = -1, .root = "" } };
    for (unsigned i = 0; i < WIRE_RUNTIMES_MAX; i++)
        imports_forget(&s.runtimes[i].imports);
    for (unsigned i = 0; i < WIRE_RUNTIMES_MAX; i++)
        for (int k = 0; k < 2; k++)
            s.runtimes[i].children[k] = (struct child){ .name = "zygote", .sock = -1, .runtime = i };
    buf_init(&s.url, 256);
    buf_init(&s.more_urls, 1024);
    buf_init(&s.watch_url, 256);
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
    watch_free(s.watch);
    runtimes_free(&s.found);
    hostmem_close(&s.memory);
    s.conf = options->conf;
    if (s.bound && strncmp(s.conf->server_listen, "unix:", 5) == 0)
        unlink(s.conf->server_listen + 5);
    if (s.watch_bound && strncmp(s.conf->metrics_listen, "unix:", 5) == 0)
        unlink(s.conf->metrics_listen + 5);
    fd_close(&s.watch_fd);
    notify_close(&s.notify);
    buf_free(&s.url);
    buf_free(&s.more_urls);
    buf_free(&s.watch_url);
    return s.exit_status;
}
