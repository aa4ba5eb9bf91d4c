/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a program's end: packets, and the outcome in them. */
#include "server/pool/slot_parts.h"

#include "base/beside.h"
#include "base/clock.h"
#include "server/metrics/metrics.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { TOKEN_SIZE = sizeof(((struct wire_run *) 0)->token) };

static char scratch[TOKEN_SIZE + sizeof(struct wire_outcome) + WIRE_PIECE + 1];

/* A report that a thread is checking. */
struct checking {
    struct beside beside;
    struct slot *slot; /* the slot has forgotten the check */
    struct wire_outcome head;
    struct wire_limits limits;
    struct buf body;
    struct outcome outcome;
    int err;
};

/* The box's own stamps count only if they agree with the server's clocks and their order.  A
 * program can write the report itself; all it gains is to divide its own time differently. */
static void take_stamps(struct slot *slot)
{
    const struct wire_stamps *s = &slot->head.stamps;
    struct job *job = slot->job;

    if (s->received_us < job->started_us || s->compiled_us < s->received_us || s->over_us < s->compiled_us
        || now_us() < s->over_us || s->rehearsal_us < 0 || s->rehearsal_us > s->received_us - slot->ordered_us)
        return;
    job->stamps = *s;
    if (s->rehearsal_us)
        metric_observe(METRIC_SANDBOX_PHASE, s->rehearsal_us, METRIC_BOX_REHEARSAL, 0, 0);
}

/* One packet: token, head in the first, then a piece.  A packet without the token is not from the
 * prelude's code. */
static void take_packet(struct slot *slot, const char *p, size_t n)
{
    if (n < TOKEN_SIZE || sodium_memcmp(p, slot->token, TOKEN_SIZE) != 0) {
        slot->strange = true;
        return;
    }
    p += TOKEN_SIZE;
    n -= TOKEN_SIZE;
    if (!slot->has_head) {
        if (n < sizeof(slot->head))
            return;
        memcpy(&slot->head, p, sizeof(slot->head));
        slot->has_head = true;
        p += sizeof(slot->head);
        n -= sizeof(slot->head);
    }
    buf_add(&slot->body, p, n);
}

static bool report_complete(const struct slot *slot)
{
    if (!slot->has_head)
        return false;
    int64_t len = outcome_body_len(&slot->head);
    return slot->body.full || len < 0 || len > (int64_t) slot->body.max || (int64_t) slot->body.len >= len;
}

/* recv(2) gave 0 bytes: the end, or an empty packet that the program sent to look like one. */
static bool is_closed(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    return poll(&p, 1, 0) != 0;
}

static void on_taken(struct slot *slot, int err)
{
    if (err < 0)
        metric_count(METRIC_SANDBOX_VIOLATIONS, METRIC_VIOLATION_REPORT);
    else
        take_stamps(slot);
}

static void check(void *data)
{
    struct checking *c = data;

    c->err = outcome_take(&c->outcome, &c->head, c->body.data, c->body.len);
    buf_free(&c->body);
}

/* The run's own outcome has the output; the checked one has the rest. */
static void on_checked(void *data)
{
    struct checking *c = data;
    struct slot *slot = c->slot;

    if (slot) {
        c->outcome.out = slot->outcome.out;
        c->outcome.err = slot->outcome.err;
        slot->outcome = c->outcome;
        slot->outcome.limits = &slot->own_limits;
        slot->checking = NULL;
        slot->state = SLOT_RUNNING;
        on_taken(slot, c->err);
        slot_end_or_ask(slot);
    } else
        outcome_free(&c->outcome);
    free(c);
}

/* The program is over: neither the deadline nor its exit status changes what it has reported. */
static void check_beside(struct slot *slot)
{
    struct checking *c = xcalloc(1, sizeof(*c));

    uv_poll_stop(&slot->control);
    uv_timer_stop(&slot->timer);
    c->slot = slot;
    c->head = slot->head;
    c->limits = slot->own_limits;
    c->body = slot->body;
    outcome_init(&c->outcome, &c->limits);
    buf_init(&slot->body, c->body.max);
    slot->checking = c;
    slot->state = SLOT_CHECKING;
    beside_begin(slot->loop, &c->beside, slot->job->share, check, on_checked, c);
}

/* 1: the report is taken; 2: on_checked() will take it. */
static int take_report(struct slot *slot)
{
    if (slot->body.len > BESIDE_MIN) {
        check_beside(slot);
        return 2;
    }
    on_taken(slot, outcome_take(&slot->outcome, &slot->head, slot->body.data, slot->body.len));
    return 1;
}

/* 1: the report is complete; 2: it is complete and is being checked; 0: more may come; -1: the
 * program has closed its end. */
int slot_read_report(struct slot *slot, int turns)
{
    while (turns-- > 0) {
        ssize_t n = recv(slot->control_fd, scratch, sizeof(scratch), MSG_DONTWAIT);
        if ((n == 0 && is_closed(slot->control_fd)) || (n < 0 && errno == ECONNRESET))
            return -1;
        if (n < 0)
            return 0;
        take_packet(slot, scratch, (size_t) n);
        if (report_complete(slot))
            return take_report(slot);
    }
    return 0;
}

void slot_forget_check(struct slot *slot)
{
    if (slot->checking)
        slot->checking->slot = NULL;
    slot->checking = NULL;
}
