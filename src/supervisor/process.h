/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's state and its processes: what the files of its loop share.
 *
 * supervisor.c has the loop, prepare.c the start, children.c the processes, zygotes.c those of the
 * runtimes, orders.c their messages, slices.c what each process is told, reload.c the configuration
 * read again, announce.c the words for people.  Only these files include this header.  All of it
 * runs in one thread.  After prepare() nothing here may wait for a child; only the start of a
 * zygote waits, until its jail's root stands. */
#ifndef HATCHERY_SUPERVISOR_PROCESS_H
#define HATCHERY_SUPERVISOR_PROCESS_H

#include "supervisor/convoy.h"
#include "supervisor/hostmem.h"
#include "supervisor/imports.h"
#include "supervisor/launch.h"
#include "supervisor/notify.h"
#include "supervisor/reach.h"
#include "supervisor/require.h"
#include "supervisor/runtimes.h"
#include "supervisor/supervisor.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/wire.h"
#include "courier/courier.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { BACKOFF_FIRST_MS = 100 };

struct supervisor;
struct child;

/* The kinds of processes; those before SINGLES run once. */
enum { PROCESS_SERVER, PROCESS_COURIER, SINGLES, PROCESS_ZYGOTE = SINGLES, PROCESSES };

/* All that tells one kind from another: a row of the table in children.c. */
struct process {
    const char *name;
    enum wire_peer peer;
    wire_handler *const *orders;      /* what it may say to us (orders.c); NULL: nothing */
    wire_handler *const *last_orders; /* what of it is still heard when it has ended; NULL: nothing */
    /* Start @child: ->sock, ->pid and its first message.  0 or -errno, in @error a sentence if there
     * is more to say. */
    int (*start)(struct supervisor *s, struct child *child, struct buf *error);
    /* Must it run?  The server runs first, whatever this says of others.  NULL: always. */
    bool (*is_wanted)(const struct supervisor *s, const struct child *child);
    /* Send it its slice of a configuration that was read again.  0 or -errno.  NULL: it has none
     * that changes. */
    int (*tell)(struct supervisor *s, struct child *child);
    /* It could not be started.  NULL: the next attempt is all that there is to do. */
    void (*on_unable)(struct supervisor *s, struct child *child);
    /* It ended with @status, of waitpid(2).  True: no failure, and all is done.  NULL: a failure. */
    bool (*on_end)(struct supervisor *s, struct child *child, int status);
    /* Does another have its place, so that it is not started again?  NULL: never. */
    bool (*is_replaced)(const struct supervisor *s, const struct child *child);
};

struct child {
    const struct process *process;
    pid_t pid; /* 0: not running */
    int sock;
    struct wire_link heard;
    bool behind; /* it must still be told of a change of its configuration */
    int64_t started_us, start_at_us;
    int64_t unlogged_ms; /* the pause before its next start, which is logged only then; 0: nothing to log */
    unsigned failures;   /* in a row */
    unsigned runtime;    /* a zygote's */
    unsigned importing;  /* a zygote's: the place of its current import; WIRE_IMPORTS_MAX: none */
    bool imported;       /* a zygote has all of its imports */
};

/* The zygotes of one runtime: the one that makes the boxes, and the one before it until its last
 * box is gone. */
struct zygotes {
    struct child children[2];
    unsigned current; /* the index of the one that makes the boxes */
    bool needed;      /* the runtime must have a zygote */
    bool wanted;      /* the server wants a new one, as soon as there is room */
    struct imports imports;
};

/* What the service manager does not know yet of the configuration that was read again. */
enum reload {
    RELOAD_SETTLED, /* nothing */
    RELOAD_TELLING, /* it is in effect once every process has been told */
    RELOAD_REFUSED, /* it is wrong, and the one before it stays */
};

struct supervisor {
    const struct supervisor_options *options;
    const struct conf *conf; /* in effect: the command's, or own_conf once it was read again */
    struct conf *own_conf;
    struct launch_files files;
    struct reach reach;
    struct launch_ids ids;
    struct runtimes found;
    struct require *require;
    struct hostmem memory;
    struct cgroups *cgroups;
    struct convoy *convoy;           /* NULL without cgroups */
    struct convoy_sums told_held;    /* of it, to the server */
    struct limit_watch *limit_watch; /* NULL with cgroups */
    int64_t look_at_us;
    struct wire_server_conf server_conf;
    struct wire_zygote_conf zygote_conf;
    struct courier_conf courier_conf;
    struct child singles[SINGLES];
    struct child *server;                       /* the first of them */
    struct zygotes runtimes[WIRE_RUNTIMES_MAX]; /* server_conf.n_runtimes of them */
    struct buf url, more_urls, metrics_url;
    int listener_fds[WIRE_LISTENERS_MAX];
    int metrics_fd, signal_fd, state_fd, lock_fd;
    bool bound, metrics_bound; /* by us, not inherited: we remove its socket from the file system */
    bool ready, stopping;
    struct log_pace bad_joins;
    bool refused; /* this server has said that no box can be made; later words are ignored */
    struct notify notify;
    enum reload reload;
    int64_t ask_alive_at_us;
    bool alive_asked; /* the server has not answered yet */
    int64_t kill_at_us;
    int exit_status;
};

enum { CHILDREN_MAX = SINGLES + 2 * WIRE_RUNTIMES_MAX };

/* --- announce.c: the words for people --- */

/* Say @sentence on stderr to the person who typed the command.  Returns -1. */
int refuse(const char *sentence);

/* Warn of each runtime whose programs have epoll: an opened layer stays in sight, as a missing one
 * does. */
void tell_of_epoll(const struct supervisor *s);

/* Warn if nothing holds boxes whose processes queue for a kernel lock.  Without cgroups the missing
 * layer is told instead. */
void tell_of_holds(const struct supervisor *s);

/* The server listens: print where, with which key, and a command to try it; warn of what strangers
 * could use. */
void announce(const struct supervisor *s);

/* Tell the service manager that the service is ready, and whether the last configuration was
 * refused. */
void say_ready(struct supervisor *s);

/* --- slices.c: what each process is told --- */

/* How all processes write their log; only the supervisor has the environment that shows a
 * journal. */
enum log_format log_format_of(const struct conf *conf);

/* From which enum log_level on a line is written.  The stderr of `hatchery run` is the program's:
 * there it is at least LOG_WARN. */
int log_level_of(const struct conf *conf, const struct supervisor_options *options);

/* Fill s->server_conf from s->conf, s->memory and s->found.  Values that prepare() finds
 * later are 0 in it. */
void fill_server_conf(struct supervisor *s);

/* Fill s->zygote_conf from s->server_conf and s->conf, once the layers are known. */
void fill_zygote_conf(struct supervisor *s);

/* Is @layer here?  Only after it was looked for. */
bool has_layer(const struct supervisor *s, enum layer layer);

/* Lower w->max_connections so that the boxes keep the descriptors they need: otherwise strangers
 * without a key could starve all runs.  0, or -1 with a sentence on stderr where the limit is too
 * low for the boxes alone. */
int fit_connections(struct wire_server_conf *w);

/* --- prepare.c: the start --- */

/* Find and open all that the processes need, and fill their slices.  May block.  0, or a negative
 * number with the sentences on stderr.  supervisor_run() releases what is in @s in both cases. */
int prepare(struct supervisor *s);

/* --- reload.c: the configuration read again --- */

/* Take the whole new configuration, or log what is wrong with it and keep the old one. */
void reload(struct supervisor *s);

/* Send a changed slice to the server and the courier.  A process without room
 * for it stays behind, and gets it soon. */
void tell_of_change(struct supervisor *s);

/* Must a process that runs still be told of a change? */
bool is_behind(const struct supervisor *s);

/* Tell the service manager what is due: what it had no room for, that a reload is over (once every
 * process has been told), and, for the watchdog, that the server's loop answers. */
void tell_manager(struct supervisor *s);

/* --- children.c: processes --- */

/* A pair of SOCK_SEQPACKET sockets, close-on-exec, both the caller's.  0 or -errno. */
int make_pair(int *ret_ours, int *ret_theirs);

/* Set when @child is started again, later after each failure in a row.  Returns the milliseconds
 * until then. */
int64_t put_off(struct child *child);

/* Begin to stop: no new connection, @grace_ms for what is in hand, then SIGKILL.  The first @status
 * becomes the command's exit status.  A second call can only change the time. */
void stop(struct supervisor *s, int status, int64_t grace_ms);

/* Does the server run?  A server that has ended and waits to be reaped does not; zygotes and
 * courier may be reaped before it. */
bool server_is_there(const struct supervisor *s);

/* Is a failure of @child tried again?  Before the service is ready it ends the service, except that
 * of a runtime beside the default one. */
bool may_fail(const struct supervisor *s, const struct child *child);

/* Empty places for all processes. */
void init_children(struct supervisor *s);

/* When @child is to be started, in now_us() time; INT64_MAX: it runs, or must not run now. */
int64_t child_due_us(const struct supervisor *s, const struct child *child);

/* Start every process whose time has come. */
void start_due(struct supervisor *s);

/* @child has been reaped with @status, of waitpid(2): decide whether it is started again, and
 * when. */
void on_child_exit(struct supervisor *s, struct child *child, int status);

/* All places for processes, whether they run or not, in the order in which they are started: the
 * server's, the zygotes', then the others'.  Returns how many. */
unsigned list_children(struct supervisor *s, struct child *ret[static CHILDREN_MAX]);

/* Does any process still run? */
bool any_child(struct supervisor *s);

/* While stopping, in each turn of the loop: kill the server once its time is up.  When the server
 * is gone, kill the courier and the zygotes; every box ends with its zygote. */
void end_children(struct supervisor *s);

/* --- zygotes.c: the processes of runtimes --- */

/* The zygote that makes the boxes, or its empty place. */
struct child *current_of(struct zygotes *z);

/* For the row of the table (struct process).  start_zygote() sends one end of its new socket to the
 * server and waits until the jail's root stands (launch.h); imports.fault is set where the runtime
 * itself is the cause. */
int start_zygote(struct supervisor *s, struct child *zygote, struct buf *error);
bool zygote_is_wanted(const struct supervisor *s, const struct child *zygote);
bool zygote_is_replaced(const struct supervisor *s, const struct child *zygote);
void on_zygote_not_started(struct supervisor *s, struct child *zygote);
bool on_zygote_end(struct supervisor *s, struct child *zygote, int status);

/* Tell the server, which opens no such directory, what programs find in a runtime.  0 or -errno. */
int send_packages(const struct supervisor *s, unsigned runtime);

/* The names of all imports of a runtime, separated by spaces and commas. */
void list_imports(const struct supervisor *s, unsigned runtime,
                  char ret[static sizeof(((struct wire_zygote_conf *) 0)->imports)]);

/* Tell the server which imports a runtime does without, and why it does not start, if it does not.
 * 0 or -errno. */
int send_fault(struct supervisor *s, unsigned runtime);

/* Log that the import at the place @at is left out, or, for WIRE_IMPORTS_MAX, that the runtime does
 * not start, and why.  The server hears of it, and so does the caller of supervisor_run() who has
 * asked for a report. */
void report_fault(struct supervisor *s, unsigned runtime, unsigned at);

/* If the server has asked for a fresh interpreter and it is time, make its place the current one.
 * The old zygote goes on until the new one is warm. */
void rotate(struct zygotes *z);

/* The server has jobs for this runtime, or wants a fresh interpreter. */
void want_zygote(struct zygotes *z);

/* The server is new: only the runtimes that are there from the start need a zygote until it asks
 * for more. */
void forget_needs(struct supervisor *s);

/* When the successor that the server has asked for is due, in now_us() time; INT64_MAX: none is
 * asked for, or there is no room. */
int64_t rotate_at_us(const struct zygotes *z);

/* --- orders.c: messages --- */

/* By type of message: what the server may say, a zygote, and a zygote that has ended. */
extern wire_handler *const orders_of_server[WIRE_TYPES], *const orders_of_zygote[WIRE_TYPES],
                                                             *const last_orders_of_zygote[WIRE_TYPES];

/* Read one message of @child, or of a box of it, or close our end where it is gone.  A child that
 * sends what it may not send (wire.def) is killed. */
void hear(struct supervisor *s, struct child *child);

/* Read what @child said before it ended, as far as that is still of use. */
void hear_last(struct supervisor *s, struct child *child);

/* Tell the server what has been held since it was last told.  Only with cgroups. */
void tell_of_held(struct supervisor *s);

/* Tell the server which boxes lost a process to their memory limit.  Returns the milliseconds until
 * we must look again, 0 where the kernel wakes us.  Only with cgroups. */
int on_oom(struct supervisor *s);

#endif
