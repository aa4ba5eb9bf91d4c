/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes whose processes stand in line for a lock of the kernel: looked for, and held.
 *
 * Called by the supervisor's loop, which is to answer others meanwhile: a look asks so many tasks
 * of each box and no more. convoy_judge.c judges what a look has seen.  What must never happen
 * here: a box that stays held: whatever is seen, each has its turns, and after a while all are let
 * go. */
#include "supervisor/convoy.h"

#include "supervisor/cgroup.h"
#include "supervisor/convoy_judge.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* While there is no line: the next look comes after so long, or after so many times of what the
 * last one took. */
enum { FEW = 4, COUNT_MS = 200, LOOK_MS = 50, LOOK_AGAIN_MS = 10, SHARE_OF_TIME = 20 };
/* After a look that may have seen a line: a quarter of the time at most. */
enum { LOOK_SOON_MS = 25, LOOK_SOON_AGAIN_MS = 10, SHARE_OF_TIME_SOON = 3 };
/* So long they go on in turns; again, twice as long, where a line is back before it was calm for so
 * long. */
enum { TURNS_FIRST_MS = 500, TURNS_MAX_MS = 8000, CALM_US = 2000000 };
/* Each one of them in its turn runs for so long, then nobody does for so many pauses, with a look
 * at the others after each. */
enum { RUN_MS = 5, PAUSE_MS = 22, PAUSES = 2 };

struct slot {
    bool watched, caught, told; /* @caught: it goes on in turns */
    unsigned tasks;             /* when they were last counted */
    int64_t held_since_us;      /* 0: it is not held */
};

struct convoy {
    struct cgroups *groups;
    struct judge *judge;
    unsigned n_slots;
    int64_t turns_ms; /* how long they went on in turns the last time; 0: not, or all was calm
                       * since */
    int64_t look_at_us, count_at_us, turns_until_us, calm_at_us;
    bool few; /* there were too few tasks for a line */
    bool in_turns;
    uint32_t turn;        /* whose turn it was last */
    bool running;         /* and it still is */
    unsigned pauses;      /* since then */
    int64_t others_at_us; /* those that are not caught are not looked at before */
    bool resting;         /* nothing was seen that must be looked at soon */
    struct convoy_sums sums;
    char tasks[32768]; /* of one box, as the kernel lists them */
    struct slot slots[];
};

struct convoy *convoy_new(struct cgroups *groups, unsigned n_slots)
{
    struct convoy *c = xcalloc(1, sizeof(*c) + n_slots * sizeof(*c->slots));
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        seed = (uint64_t) now_ns();
    c->groups = groups;
    c->judge = judge_new(n_slots, seed);
    c->n_slots = n_slots;
    c->look_at_us = INT64_MAX;
    return c;
}

void convoy_free(struct convoy *c)
{
    if (c)
        judge_free(c->judge);
    free(c);
}

void convoy_watch(struct convoy *c, uint32_t slot)
{
    if (cgroups_hold_by(c->groups) == CGROUPS_HOLD_BY_NOTHING || c->slots[slot].watched)
        return;
    c->slots[slot] = (struct slot){ .watched = true };
    c->count_at_us = 0;
    if (c->look_at_us == INT64_MAX || c->few)
        c->look_at_us = now_us();
}

static void set_held(struct convoy *c, uint32_t slot, bool held)
{
    struct slot *s = &c->slots[slot];

    cgroups_hold(c->groups, slot, held);
    if (held && !s->held_since_us)
        s->held_since_us = now_us();
    if (!held && s->held_since_us) {
        c->sums.held_us += now_us() - s->held_since_us;
        s->held_since_us = 0;
    }
}

void convoy_forget(struct convoy *c, uint32_t slot)
{
    set_held(c, slot, false);
    judge_forget(c->judge, slot);
    c->slots[slot] = (struct slot){ .watched = false };
}

int64_t convoy_due_us(const struct convoy *c)
{
    return c->look_at_us;
}

struct convoy_sums convoy_sums(const struct convoy *c)
{
    return c->sums;
}

/* Does it wait for what no signal ends?  What has ended meanwhile does not.  To read stat or wchan (proc(5)) is to wait
 * for a task that is executing a file (exec_update_lock, Linux 6.18), for seconds where its box is out of memory; the
 * supervisor has to answer meanwhile.  status needs no such lock.  It does not tell who only waits for a child by
 * vfork(2) to execute. */
static bool is_waiting(long task)
{
    static const char state[] = "\nState:\t";
    char path[64], text[256];

    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/status", task, task);
    const char *found = fd_read_file(AT_FDCWD, path, text, sizeof(text)) > 0 ? strstr(text, state) : NULL;
    return found && found[sizeof(state) - 1] == 'D';
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;

    for (const char *p = strchr(text, '\n'); p; p = strchr(p + 1, '\n'))
        n++;
    return n;
}

/* Where a box has more tasks than there is room for their numbers, only those with room are
 * asked. */
static void look_at(struct convoy *c, uint32_t slot, unsigned boxes)
{
    unsigned places[JUDGE_ASKED_MAX], waiting = 0, line = 0;

    if (cgroups_list_tasks(c->groups, slot, c->tasks, sizeof(c->tasks)) < 0)
        return;
    unsigned tasks = count_lines(c->tasks), n = judge_choose(c->judge, slot, tasks, boxes, places);
    const char *p = c->tasks;
    for (unsigned i = 0; i < n; i++) {
        for (; line < places[i]; line++)
            p = strchr(p, '\n') + 1;
        waiting += is_waiting(strtol(p, NULL, 10));
    }
    judge_see(c->judge, slot, tasks, n, waiting);
}

/* At those that are not caught. */
static enum judge_verdict look(struct convoy *c)
{
    unsigned boxes = 0;

    for (uint32_t slot = 0; slot < c->n_slots; slot++)
        boxes += c->slots[slot].watched && !c->slots[slot].caught;
    for (uint32_t slot = 0; slot < c->n_slots; slot++)
        if (c->slots[slot].watched && !c->slots[slot].caught)
            look_at(c, slot, boxes);
    return judge_end_look(c->judge, c->turns_ms > 0);
}

/* How many tasks there are: those of the boxes that are caught are counted each time, the others
 * now and then.  A box without any is over, and the next one may be born in its group. */
static unsigned count_tasks(struct convoy *c, int64_t now)
{
    bool every = now >= c->count_at_us;
    unsigned all = 0;

    if (every)
        c->count_at_us = now + COUNT_MS * 1000;
    for (uint32_t slot = 0; slot < c->n_slots; slot++) {
        struct slot *s = &c->slots[slot];
        if (s->watched && (every || s->caught))
            s->tasks = cgroups_count_tasks(c->groups, slot);
        if (s->watched && s->tasks == 0)
            convoy_forget(c, slot);
        all += s->tasks;
    }
    return all;
}

/* Does anything of the machine run or wait for a processor, but us?  If not, nobody hands a lock
 * on: proc_loadavg(5). */
static bool anything_runs(void)
{
    char text[128];
    unsigned running;

    return fd_read_file(AT_FDCWD, "/proc/loadavg", text, sizeof(text)) <= 0
           || sscanf(text, "%*s %*s %*s %u/", &running) != 1 || running > 1;
}

static void tell(struct convoy *c, uint32_t slot, unsigned waiting)
{
    struct slot *s = &c->slots[slot];

    if (s->told)
        return;
    log_info("a box is held", LOG_I("slot", slot) LOG_I("waiting", waiting));
    s->told = true;
    c->sums.boxes++;
}

/* From here on the boxes whose line it is go on in turns, with those that do already. */
static void catch_most(struct convoy *c)
{
    unsigned waiting;

    for (uint32_t slot = 0; slot < c->n_slots; slot++) {
        if (!judge_is_of(c->judge, slot, &waiting))
            continue;
        c->slots[slot].caught = true;
        set_held(c, slot, true);
        tell(c, slot, waiting);
    }
}

static int64_t begin_turns(struct convoy *c, int64_t now)
{
    int64_t ms = c->turns_ms ? c->turns_ms * 2 : TURNS_FIRST_MS;

    c->turns_ms = ms < TURNS_MAX_MS ? ms : TURNS_MAX_MS;
    c->turns_until_us = now + c->turns_ms * 1000;
    c->calm_at_us = c->turns_until_us + CALM_US;
    c->in_turns = true;
    c->running = false;
    c->pauses = 0;
    catch_most(c);
    return PAUSE_MS;
}

static int64_t end_turns(struct convoy *c)
{
    for (uint32_t slot = 0; slot < c->n_slots; slot++)
        if (c->slots[slot].caught) {
            set_held(c, slot, false);
            c->slots[slot].caught = false;
        }
    c->in_turns = false;
    judge_forget_all(c->judge);
    return LOOK_AGAIN_MS;
}

/* The next one of those that were caught, if any is left. */
static bool next_turn(struct convoy *c)
{
    for (unsigned i = 0; i < c->n_slots; i++) {
        c->turn = (c->turn + 1) % c->n_slots;
        if (c->slots[c->turn].caught)
            return true;
    }
    return false;
}

/* What this thread has had of a processor: who waits for one while the machine is busy must look
 * the sooner. */
static int64_t spent_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* When a pause is over: those who only stood behind a box that is held have gone on by then. */
static void look_at_others(struct convoy *c, int64_t now)
{
    int64_t spent = spent_us();

    if (now < c->others_at_us)
        return;
    enum judge_verdict verdict = look(c);
    c->others_at_us = verdict == JUDGE_NONE ? now + (spent_us() - spent) * SHARE_OF_TIME : 0;
    if (verdict == JUDGE_LINE)
        catch_most(c);
}

static int64_t take_turns(struct convoy *c, int64_t now)
{
    if (now >= c->turns_until_us)
        return end_turns(c);
    if (c->running) {
        if (c->slots[c->turn].caught) /* it may be over since its turn began */
            set_held(c, c->turn, true);
        c->running = false;
        c->pauses = 0;
        return PAUSE_MS;
    }
    look_at_others(c, now);
    if (++c->pauses < PAUSES)
        return PAUSE_MS;
    if (!next_turn(c))
        return end_turns(c);
    set_held(c, c->turn, false);
    c->running = true;
    return RUN_MS;
}

static int64_t look_for_line(struct convoy *c, int64_t now)
{
    enum judge_verdict verdict = look(c);
    bool again = c->turns_ms > 0;

    if (verdict == JUDGE_LINE)
        return begin_turns(c, now);
    if (verdict == JUDGE_PERHAPS)
        return again ? LOOK_SOON_AGAIN_MS : LOOK_SOON_MS;
    c->resting = true;
    return again ? LOOK_AGAIN_MS : LOOK_MS;
}

/* When to look again, in ms; -1: there is nothing left to look at. */
static int64_t look_once(struct convoy *c, int64_t now)
{
    unsigned tasks = count_tasks(c, now);

    c->resting = false;
    c->few = tasks <= FEW;
    if (c->in_turns)
        return take_turns(c, now);
    if (now > c->calm_at_us)
        c->turns_ms = 0;
    if (!c->few && anything_runs())
        return look_for_line(c, now);
    judge_forget_all(c->judge);
    return !tasks ? -1 : c->few ? COUNT_MS : LOOK_MS;
}

void convoy_look(struct convoy *c)
{
    int64_t begin = now_us();

    if (begin < c->look_at_us)
        return;
    int64_t spent = spent_us(), wait_us = look_once(c, begin) * 1000;
    int64_t rest_us = (spent_us() - spent) * (c->resting ? SHARE_OF_TIME : SHARE_OF_TIME_SOON);
    c->look_at_us = wait_us < 0 ? INT64_MAX : now_us() + (rest_us > wait_us ? rest_us : wait_us);
}
