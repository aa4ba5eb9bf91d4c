/* SPDX-License-Identifier: Apache-2.0 */
/* The server's state, and what the files of its process share.
 *
 * main.c starts the process, state.c opens the state directory and the store, orders.c speaks with
 * the supervisor, drain.c stops, one_run.c is `hatchery run`, loop_turns.c measures how long others
 * wait.  Only these files include this header: the rooms below know a struct api, a struct pool or
 * their own configuration.  All of it runs in the loop's thread, and nothing here may block. */
#ifndef HATCHERY_SERVER_SERVER_H
#define HATCHERY_SERVER_SERVER_H

#include "base/buf.h"
#include "base/fd.h"
#include "base/wire.h"
#include "server/api/api.h"
#include "server/jobs/outbox.h"
#include "server/pool/headroom.h"
#include "server/pool/pool.h"

enum { SUPERVISOR_FD = 3 };

/* `hatchery run`: its one program. */
struct one_run {
    int source_fd;
    struct buf source;
    struct job job;
    bool unwritable; /* its output could not be passed on, which has ended it */
};

/* How long a turn of the loop takes: the events that it was woken for, then what is due. */
struct loop_turns {
    uv_check_t events_over;
    uv_prepare_t turn_over;
    uint64_t events_ns, events_over_ns;
};

/* All of it lives as long as the process. */
struct server {
    uv_loop_t *loop;
    struct wire_server_conf conf;
    struct pool *pool;
    struct keys *keys;
    struct guard_allow *allow; /* webhooks.allow and webhooks.ports */
    /* NULL where there is no store */
    struct store *store;
    struct backlog *backlog;
    struct outbox *outbox;
    struct http *clients, *metrics; /* the listeners; NULL: none */
    struct api api;                 /* what handlers see of these */
    struct headroom headroom;
    int lock_fd;       /* holds the state directory's lock as long as this process lives */
    unsigned draining; /* parts that are not at rest yet: requests in hand, the backlog */
    uv_timer_t delay;  /* active: /readyz says no, and everything is served yet */
    uv_poll_t supervisor;
    struct wire_link heard; /* from the supervisor */
    struct loop_turns turns;
    struct one_run run;
    int exit_status;
};

/* --- main.c --- */

/* For http_new() and http_configure(): the limits of the clients' listener. */
struct http_conf server_http_conf(struct server *s);

/* Give handlers what the server has now: call it when one of the pointers has changed. */
void server_lend(struct server *s);

/* --- state.c --- */

/* Go to the directory @state_fd (-1: none; taken), give up everything else that this process could
 * open or do, and open the store.  Without a store synchronous runs go on.  0 or -errno. */
int server_open_state(struct server *s, int state_fd);

/* Before the loop is made: no io_uring (io_uring_setup(2) fails with ENOSYS).  libuv from 1.45 on would make a ring with
 * its loop, and could not use it once server_give_up_the_rest() has closed the way to it.  0, or -errno after a line in
 * the log. */
int server_forgo_io_uring(void);

/* From here on nothing is opened but the directory @state_fd (-1: not even that), and nothing is
 * started or connected.  0, or -errno after a line in the log. */
int server_give_up_the_rest(int state_fd);

/* --- orders.c --- */

/* Wait for the supervisor's first message: s->conf, and the descriptors that it names.  0, or -errno where whoever
 * started us is no supervisor. */
int server_hear_conf(struct server *s, int fds[static FD_PASS_MAX]);

/* Read the supervisor's messages whenever there are some. */
void server_hear_supervisor(struct server *s);

/* For struct pool_hooks; @data is the struct server. */
void server_on_ready(void *data);
void server_on_refused(void *data, const struct wire_box_state *state);
void server_ask_usage(void *data, uint32_t slot, uint32_t serial);
void server_tell_long(void *data, uint32_t slot, uint32_t serial, bool maybe);
void server_ask_zygote(void *data, unsigned runtime);

/* --- drain.c --- */

/* Told to stop.  First /readyz says so; after server.drain_delay nothing new is accepted, and the
 * loop ends once all that is in hand is answered, or on disk.  A second call changes nothing. */
void server_drain(struct server *s);

/* --- one_run.c --- */

/* Read the program and run it.  The loop ends with it; its status is s->exit_status. */
void server_start_one_run(struct server *s);

/* --- loop_turns.c --- */

/* Count each turn of the loop that is a long one. */
void loop_turns_watch(struct loop_turns *turns, uv_loop_t *loop);

#endif
