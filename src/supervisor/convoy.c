/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes whose processes stand in line for a lock of the kernel.
 *
 * Called by the supervisor's loop, which is to answer others meanwhile: a look
 * takes in so many tasks and no more.  What must never happen here: a box that
 * stays held: whatever is seen, each has its turns, and after a while all are let go. */
#include "supervisor/convoy.h"

#include "supervisor/cgroup.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS_A_LOOK = 32, SHARE_OF_TIME = 20 }; /* how long a look takes: at most, and of the time */
enum { FEW = 8, LOOK_FEW_MS = 200, LOOK_MS = 50, LOOK_AGAIN_MS = 10 };
/* A line: more than so many have waited for so long.  After a pause it need not be one yet, only begin. */
enum { LINE = 4, LONG_US = 100000, AGAIN = 2, LONG_AGAIN_US = 10000 };
/* So long they go on in turns; again, twice as long, where a line is back before it was calm for so long. */
enum { TURNS_FIRST_MS = 500, TURNS_MAX_MS = 8000, CALM_US = 2000000 };
/* Each one of them in its turn runs for so long, then nobody does. */
enum { RUN_MS = 5, PAUSE_MS = 45 };

struct slot {
    bool watched, caught, told; /* @caught: it goes on in turns */
    unsigned waiting;           /* tasks that have waited for long, at this look */
};

struct waiter {
    long task;
    int64_t since_us; /* when a look first saw it wait */
};

struct waiters {
    unsigned n;
    struct waiter list[TASKS_A_LOOK];
};

struct convoy {
    struct cgroups *groups;
    unsigned n_slots;
    int64_t turns_ms; /* how long they went on in turns the last time; 0: not, or all was calm since */
    int64_t look_at_us, turns_until_us, calm_at_us;
    bool in_turns;
    uint32_t turn;       /* whose turn it was last */
    bool running;        /* and it still is */
    struct waiters last; /* as the last look saw them */
    struct slot slots[];
};

struct convoy *convoy_new(struct cgroups *groups, unsigned n_slots)
{
    struct convoy *c = xcalloc(1, sizeof(*c) + n_slots * sizeof(*c->slots));

    c->groups = groups;
    c->n_slots = n_slots;
    c->look_at_us = INT64_MAX;
    if (!cgroups_can_hold(groups))
        log_warn("boxes whose processes queue for a kernel lock can not be held",
                 LOG_S("hint", "cgroup v2, or Linux 6.18"));
    return c;
}

void convoy_free(struct convoy *c)
{
    free(c);
}

void convoy_watch(struct convoy *c, uint32_t slot)
{
    if (!cgroups_can_hold(c->groups) || c->slots[slot].watched)
        return;
    c->slots[slot] = (struct slot){ .watched = true };
    if (c->look_at_us == INT64_MAX)
        c->look_at_us = now_us();
}

void convoy_forget(struct convoy *c, uint32_t slot)
{
    c->slots[slot] = (struct slot){ .watched = false };
}

int64_t convoy_due_us(const struct convoy *c)
{
    return c->look_at_us;
}

/* Who has a child by vfork(2) waits for it to execute, which is nobody's lock: proc_pid_wchan(5). */
static bool is_parent(long task)
{
    char path[64], text[64];

    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/wchan", task, task);
    return fd_read_file(AT_FDCWD, path, text, sizeof(text)) > 0 && strcmp(text, "kernel_clone") == 0;
}

/* Does it wait for what no signal ends?  What has ended meanwhile does not. */
static bool is_waiting(long task)
{
    char path[64], text[128];

    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/stat", task, task);
    const char *name_end = fd_read_file(AT_FDCWD, path, text, sizeof(text)) > 0 ? strrchr(text, ')') : NULL;
    return name_end && name_end[1] == ' ' && name_end[2] == 'D' && !is_parent(task);
}

static int64_t waits_since(const struct convoy *c, long task, int64_t now)
{
    for (unsigned i = 0; i < c->last.n; i++)
        if (c->last.list[i].task == task)
            return c->last.list[i].since_us;
    return now;
}

/* Of the tasks of a box, of which one in @stride is looked at, always the same: how many have waited for long. */
static unsigned look_at(const struct convoy *c, uint32_t slot, unsigned stride, struct waiters *seen)
{
    int64_t now = now_us(), least_us = c->turns_ms ? LONG_AGAIN_US : LONG_US;
    char text[16384], *end;
    unsigned n = 0;

    if (cgroups_list_tasks(c->groups, slot, text, sizeof(text)) < 0)
        return 0;
    for (char *p = text;; p = end) {
        long task = strtol(p, &end, 10);
        if (end == p || seen->n == TASKS_A_LOOK)
            return n * stride;
        if (task % stride != 0 || !is_waiting(task))
            continue;
        int64_t since_us = waits_since(c, task, now);
        seen->list[seen->n++] = (struct waiter){ task, since_us };
        n += now - since_us >= least_us;
    }
}

/* How many tasks there are.  A box without any is over, and the next one may be born in its group. */
static unsigned count_tasks(struct convoy *c)
{
    unsigned all = 0;

    for (uint32_t slot = 0; slot < c->n_slots; slot++) {
        struct slot *s = &c->slots[slot];
        unsigned n = s->watched ? cgroups_count_tasks(c->groups, slot) : 0;
        if (s->watched && n == 0) {
            cgroups_hold(c->groups, slot, false);
            *s = (struct slot){ .watched = false };
        }
        all += n;
    }
    return all;
}

/* How many have waited for long, of so many tasks; and by slot. */
static unsigned look(struct convoy *c, unsigned tasks)
{
    struct waiters seen = { .n = 0 };
    unsigned all = 0, stride = 1;

    while (tasks / stride > TASKS_A_LOOK)
        stride *= 2;
    for (uint32_t slot = 0; slot < c->n_slots; slot++) {
        struct slot *s = &c->slots[slot];
        s->waiting = s->watched ? look_at(c, slot, stride, &seen) : 0;
        all += s->waiting;
    }
    c->last = seen;
    return all;
}

static void hold_all(struct convoy *c, bool held)
{
    for (uint32_t slot = 0; slot < c->n_slots; slot++)
        if (c->slots[slot].caught)
            cgroups_hold(c->groups, slot, held);
}

static void tell(struct convoy *c, uint32_t slot)
{
    struct slot *s = &c->slots[slot];

    if (!s->told)
        log_info("a box is held", LOG_I("slot", slot) LOG_I("waiting", s->waiting));
    s->told = true;
}

/* Not one that is in the line of others: those with half of what is one's share, or more. */
static void catch_most(struct convoy *c, unsigned waiting)
{
    unsigned boxes = 0;

    for (uint32_t slot = 0; slot < c->n_slots; slot++)
        boxes += c->slots[slot].waiting > 0;
    for (uint32_t slot = 0; slot < c->n_slots; slot++) {
        struct slot *s = &c->slots[slot];
        s->caught = s->waiting && s->waiting * 2 * boxes >= waiting;
        if (s->caught)
            tell(c, slot);
    }
}

static int64_t on_line(struct convoy *c, unsigned waiting, int64_t now)
{
    int64_t ms = c->turns_ms ? c->turns_ms * 2 : TURNS_FIRST_MS;

    c->turns_ms = ms < TURNS_MAX_MS ? ms : TURNS_MAX_MS;
    c->turns_until_us = now + c->turns_ms * 1000;
    c->calm_at_us = c->turns_until_us + CALM_US;
    c->in_turns = true;
    c->running = false;
    catch_most(c, waiting);
    hold_all(c, true);
    return 2 * PAUSE_MS;
}

static int64_t on_none(struct convoy *c, unsigned tasks, int64_t now)
{
    if (now > c->calm_at_us)
        c->turns_ms = 0;
    return tasks <= FEW ? LOOK_FEW_MS : c->turns_ms ? LOOK_AGAIN_MS : LOOK_MS;
}

/* Of those that were caught the next one. */
static void next_turn(struct convoy *c)
{
    for (unsigned i = 0; i < c->n_slots; i++) {
        c->turn = (c->turn + 1) % c->n_slots;
        if (c->slots[c->turn].caught)
            return;
    }
}

static int64_t take_turns(struct convoy *c, int64_t now)
{
    if (now >= c->turns_until_us) {
        hold_all(c, false);
        for (uint32_t slot = 0; slot < c->n_slots; slot++)
            c->slots[slot].caught = false;
        c->in_turns = false;
        c->last.n = 0;
        return LOOK_AGAIN_MS;
    }
    if (!c->running)
        next_turn(c);
    c->running = !c->running;
    if (c->slots[c->turn].caught) /* it may be over since its turn began */
        cgroups_hold(c->groups, c->turn, !c->running);
    return c->running ? RUN_MS : PAUSE_MS;
}

/* When to look again, in ms; -1: there is nothing left to look at. */
static int64_t look_once(struct convoy *c, int64_t now)
{
    unsigned tasks = count_tasks(c);

    if (c->in_turns && tasks)
        return take_turns(c, now);
    c->in_turns = false;
    if (!tasks)
        return -1;
    unsigned waiting = tasks > FEW ? look(c, tasks) : 0;
    return waiting > (c->turns_ms ? AGAIN : LINE) ? on_line(c, waiting, now) : on_none(c, tasks, now);
}

void convoy_look(struct convoy *c)
{
    int64_t begin = now_us();

    if (begin < c->look_at_us)
        return;
    int64_t wait_us = look_once(c, begin) * 1000, end = now_us();
    int64_t rest_us = (end - begin) * SHARE_OF_TIME;
    c->look_at_us = wait_us < 0 ? INT64_MAX : end + (rest_us > wait_us ? rest_us : wait_us);
}
