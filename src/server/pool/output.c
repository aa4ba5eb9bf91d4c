/* SPDX-License-Identifier: Apache-2.0 */
/* What the program prints.
 *
 * slot.c has the loop call it while the program runs, and calls it once more when the program is
 * over: most programs end before that.
 * What must never happen here: a read that waits (the program has the other end of the pipe, and
 * the zygote made it), more output kept than is configured, or a wake-up for each of a program's
 * small writes. */
#include "server/pool/slot_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { READS_A_TURN = 4, READS_AT_END = 8 };
/* Output that comes byte by byte is read this often, and so is output that is only dropped: a
 * program pays for each of its writes, and the server for each of its own wake-ups. */
enum { REST_MS = 1, SHORT_PIECE = 4096 };

/* A pipe of our own that output goes through; empty between two calls of read_piece(). */
static int sluice[2] = { -1, -1 };

static char scratch[WIRE_PIECE];

static void on_rest_over(uv_timer_t *timer);

int slots_prepare(void)
{
    return sluice[0] >= 0 || pipe2(sluice, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : -errno;
}

static void take_output(struct slot *slot, int stream, const char *p, size_t n)
{
    struct stream *s = stream == 0 ? &slot->outcome.out : &slot->outcome.err;
    size_t room = s->kept.max - s->kept.len;

    s->total += (int64_t) n;
    if (slot->job->on_output)
        slot->job->on_output(slot->job, stream + 1, p, n);
    else
        buf_add(&s->kept, p, n < room ? n : room);
}

/* read(2) into scratch that never waits.  O_NONBLOCK belongs to the open pipe, which the zygote
 * made: a zygote that a program took over could keep an end, clear the flag and stop all other runs
 * with an empty pipe.  SPLICE_F_NONBLOCK belongs to the call. */
static ssize_t read_piece(int fd)
{
    size_t len = 0;
    ssize_t moved = splice(fd, NULL, sluice[1], NULL, WIRE_PIECE, SPLICE_F_NONBLOCK);
    while (moved > 0 && len < (size_t) moved) {
        ssize_t n = read(sluice[0], scratch + len, (size_t) moved - len);
        if (n <= 0) /* it is ours: there is what was moved */
            return -1;
        len += (size_t) n;
    }
    return moved;
}

/* Read what is there, at most READS_A_TURN pieces.  @ret_rest: it was little, or more than is kept,
 * so the next read can wait.  False: there is no more to come. */
static bool read_output(struct slot *slot, int stream, bool *ret_rest)
{
    const struct stream *s = stream == 0 ? &slot->outcome.out : &slot->outcome.err;
    int64_t before = s->total;
    ssize_t n = SHORT_PIECE;

    for (int turns = READS_A_TURN; turns > 0 && n >= SHORT_PIECE; turns--) {
        n = read_piece(slot->output_fds[stream]);
        if (n > 0)
            take_output(slot, stream, scratch, (size_t) n);
    }
    bool dropped = !slot->job->on_output && s->total > (int64_t) s->kept.max;
    *ret_rest = dropped || s->total - before < SHORT_PIECE;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void begin_rest(struct slot *slot)
{
    if (!uv_is_active((uv_handle_t *) &slot->rest))
        uv_timer_start(&slot->rest, on_rest_over, REST_MS, 0);
}

void slot_on_output(uv_poll_t *handle, int status, int events)
{
    struct slot *slot = handle->data;
    int stream = handle == &slot->outputs[1];
    bool rest = false;
    bool more = status >= 0 && read_output(slot, stream, &rest);

    (void) events;
    if (more && !rest)
        return;
    uv_poll_stop(handle);
    slot->resting[stream] = more;
    if (more)
        begin_rest(slot);
}

void slot_rest_control(struct slot *slot)
{
    uv_poll_stop(&slot->control);
    begin_rest(slot);
}

static void on_rest_over(uv_timer_t *timer)
{
    struct slot *slot = timer->data;

    for (int stream = 0; stream < 2; stream++) {
        if (slot->resting[stream])
            uv_poll_start(&slot->outputs[stream], UV_READABLE, slot_on_output);
        slot->resting[stream] = false;
    }
    if (slot->strange && slot->state == SLOT_RUNNING)
        uv_poll_start(&slot->control, UV_READABLE, slot_on_control);
    slot->strange = false;
}

/* Output that was written before the report is in the pipe by now. */
void slot_drain_outputs(struct slot *slot)
{
    for (int stream = 0; stream < 2; stream++)
        for (int i = 0; i < READS_AT_END; i++) {
            ssize_t n = read_piece(slot->output_fds[stream]);
            if (n <= 0)
                break;
            take_output(slot, stream, scratch, (size_t) n);
        }
}
