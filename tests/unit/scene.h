/* SPDX-License-Identifier: Apache-2.0 */
/* A pool on a stage: the test plays the zygote, the boxes, the supervisor and the clients.
 *
 * All sockets are local and both ends are in one process: what was sent has
 * arrived, so a few turns of the loop bring the pool to rest.  A test waits
 * only for the clocks of the pool's own: a deadline, the pause after a failure.
 * Each function fails the test that calls it where the kernel or the pool does
 * not do as it must. */
#ifndef HATCHERY_TESTS_UNIT_SCENE_H
#define HATCHERY_TESTS_UNIT_SCENE_H

#include "box/box.h"
#include "server/pool/pool.h"
#include "server/pool/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SLOTS = 16, OUTPUT_MAX = 1000, RESULT_MAX = 200000, TOKEN = 16, LONG_MS = 60000 };

/* The other end of one box. */
struct box_end {
    bool open;
    uint32_t serial;
    int control, out, err, life;
    struct wire_run order;
};

/* One pool, its zygote and its boxes by slot, and what the pool has asked for and told. */
struct scene {
    uv_loop_t loop;
    struct wire_server_conf conf;
    struct pool *pool;
    int zygote;
    unsigned n_ready, n_refused, n_asked, n_zygotes_asked, n_long, n_maybe, fds_before;
    uint32_t asked_slot, asked_serial;
    unsigned asked_runtime;
    int64_t memory; /* of 1000 bytes, those that are free */
    bool two_keys;
    struct box_end boxes[SLOTS];
};

/* A job, and what its client was told. */
struct told {
    struct job job;
    struct scene *scene;
    struct told *next; /* run it from on_done() */
    unsigned n_done, n_refused;
    enum outcome_kind kind;
    int exit_code;
    struct buf result, error, out, err, live;
    int64_t out_total;
};

/* Before the first scene of a process: a quiet log, and what libuv opens once. */
void scene_prepare(void);

/* A scene whose zygote is not warm yet.  It lasts until stop(), and its pool for ever, as no server ends one. */
struct scene *start_with(struct wire_server_conf conf);
struct scene *start(unsigned n_slots, unsigned pool_size, unsigned max_runs, int64_t queue_max);

/* The same with a warm zygote, which has got its first orders. */
struct scene *start_warm(unsigned n_slots, unsigned pool_size, unsigned max_runs, int64_t queue_max);

/* End the scene: nothing of it may stay open. */
void stop(struct scene *s);

unsigned open_fds(void);

/* Let the pool do what it can do now. */
void turn(struct scene *s);

/* --- the zygote --- */

/* Another zygote, not warm yet: s->zygote is its end. */
void bring_zygote(struct scene *s);

/* What the zygote says of a slot: @status is what its program ended with (WIRE_EXITED), or -errno (WIRE_GONE).  With
 * @n_fds descriptors where it may have them or not. */
void tell(struct scene *s, enum wire_type type, uint32_t slot, uint32_t serial, int status);
void tell_with(struct scene *s, enum wire_type type, uint32_t slot, uint32_t serial, int status, unsigned n_fds);

/* The next order to the zygote, if there is one. */
bool get_order(struct scene *s, struct wire_of_box *ret_order);
bool no_order(struct scene *s);
struct wire_of_box wait_order(struct scene *s);

/* --- boxes --- */

/* Send the ends of a new box, and keep the others.  give_box() leaves open what it has sent, in @ret_fds. */
struct box_end *send_box(struct scene *s, const struct wire_of_box *order);
struct box_end *give_box(struct scene *s, const struct wire_of_box *order, int ret_fds[4]);

/* A box says how far it is: BOX_READY, or the step that failed. */
void say_state(struct scene *s, struct box_end *box, int step, int error);

/* This order, or the next one, becomes a waiting box. */
struct box_end *make_box(struct scene *s, const struct wire_of_box *order);
struct box_end *wait_box(struct scene *s);

uint32_t slot_of(const struct scene *s, const struct box_end *box);

/* Has the server let go of it? */
bool is_killed(const struct box_end *box);

void close_box(struct box_end *box);

/* The zygote has seen all of it end. */
void bury(struct scene *s, struct box_end *box);

/* --- jobs --- */

/* A program that is "pass".  What it is told is the caller's, until free_job(). */
void make_job(struct told *t, struct scene *s);
void free_job(struct told *t);

/* For job.on_output: the descriptor and the bytes go to told.live. */
void on_output(struct job *job, int fd, const char *p, size_t n);

/* The box takes its order; its source has to be @code. */
void take_order(struct box_end *box, const char *code);

/* Run @t in a box that waits: it has its order when this returns. */
void begin(struct scene *s, struct told *t, struct box_end *box);

/* A program in a box that waits, from its order to a good end.  The box is not buried. */
void run_well(struct scene *s, struct box_end *box);

bool is(const struct buf *b, const char *text);

/* --- what a box reports --- */

void send_packet(struct scene *s, struct box_end *box, const unsigned char *token, const void *head, size_t head_len,
                 const char *body, size_t len);
void send_head(struct scene *s, struct box_end *box, struct wire_outcome head, const char *body, size_t len);
void send_piece(struct scene *s, struct box_end *box, const char *body, size_t len);

/* A whole report in one packet. */
void report(struct scene *s, struct box_end *box, int kind, int exit_code, const char *result, const char *error);

/* To a pipe of the box. */
void write_text(int fd, const char *text);

/* --- what the supervisor answers --- */

/* How often the cgroup of a box refused memory and processes: to the last question, or about any box. */
void answer(struct scene *s, uint32_t slot, int64_t oom_kills, int64_t pid_refusals);
void answer_about(struct scene *s, uint32_t slot, uint32_t serial, int64_t oom_kills, int64_t pid_refusals);

#endif
