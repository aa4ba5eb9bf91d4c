/* SPDX-License-Identifier: Apache-2.0 */
/* `hatchery run`: one program, whose source comes from a descriptor, and whose output goes to ours.
 *
 * The pool says that a box is warm, and the program is read and run.  What must never happen here:
 * that the program's end is told before its last output. */
#include "server/server.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_TIMEOUT = 124, READ_SIZE = 65536 };

static void end(struct server *s, int status)
{
    s->exit_status = status;
    uv_stop(s->loop);
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t written = write(fd, p, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        p += written;
        n -= (size_t) written;
    }
    return 0;
}

static void on_output(struct job *job, int fd, const char *p, size_t n)
{
    struct server *s = job->owner;
    int err = s->run.unwritable ? 0 : write_all(fd, p, n);

    if (!err)
        return;
    /* As a program of its own would be ended by SIGPIPE: nobody reads what it has still to say. */
    if (err != -EPIPE)
        fprintf(stderr, "hatchery: cannot write what the program prints: %s\n", strerror(-err));
    s->run.unwritable = true;
    end(s, err == -EPIPE ? 128 + SIGPIPE : EXIT_FAILURE);
}

/* Does the program's own output leave open why it ended? */
static bool needs_words(enum outcome_kind kind)
{
    return kind == OUTCOME_TIMEOUT || kind == OUTCOME_MEMORY || kind == OUTCOME_HOST_MEMORY || kind == OUTCOME_INTERNAL
           || kind == OUTCOME_PROCESSES || kind == OUTCOME_SIGNAL || kind == OUTCOME_RESULT;
}

/* What a request would be told beside what the program itself has printed. */
static void say_end(const struct outcome *outcome)
{
    struct buf message;

    buf_init(&message, 200000);
    buf_adds(&message, "hatchery: ");
    size_t begin = message.len;
    if (needs_words(outcome->kind))
        outcome_message(outcome, outcome->limits, &message);
    else if (outcome->hint.len) {
        buf_adds(&message, "hint: ");
        buf_add(&message, outcome->hint.data, outcome->hint.len);
    }
    if (message.len > begin) {
        buf_addc(&message, '\n');
        write_all(2, message.data, message.len);
    }
    buf_free(&message);
}

/* A returned value that is no JSON is a failure, as for a request. */
static int exit_status_of(const struct outcome *outcome)
{
    if (outcome->kind == OUTCOME_TIMEOUT)
        return EXIT_TIMEOUT;
    return outcome->kind == OUTCOME_RESULT ? EXIT_FAILURE : outcome->exit_code;
}

static void on_done(struct job *job, struct outcome *outcome)
{
    struct server *s = job->owner;

    if (s->run.unwritable)
        return;
    say_end(outcome);
    end(s, exit_status_of(outcome));
}

static void on_refused(struct job *job)
{
    fprintf(stderr, "hatchery: no box could be made, and nothing was run; the lines above say why\n");
    end(job->owner, EXIT_FAILURE);
}

/* Read all of @fd into @source, at most @max bytes of it. */
static int read_source(int fd, struct buf *source, size_t max)
{
    buf_init(source, max + 1);
    for (;;) {
        size_t size = READ_SIZE < source->max - source->len ? READ_SIZE : source->max - source->len;
        char *room = buf_room(source, size);
        ssize_t n = room ? read(fd, room, size) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        source->len += (size_t) n;
        if (source->len > max)
            return -EFBIG;
    }
}

static int take_program(struct server *s)
{
    struct buf *source = &s->run.source;
    int err = read_source(s->run.source_fd, source, (size_t) s->conf.limits.code_bytes);

    return !err && source->len && memchr(source->data, '\0', source->len) ? -EILSEQ : err;
}

void server_start_one_run(struct server *s)
{
    struct one_run *run = &s->run;
    int err = take_program(s);

    if (err) {
        fprintf(stderr, "hatchery: cannot take the program: %s\n",
                err == -EFBIG    ? "it is larger than limits.code"
                : err == -EILSEQ ? "it contains NUL"
                                 : strerror(-err));
        end(s, EXIT_FAILURE);
        return;
    }
    run->job = (struct job){ .code = run->source.data ? run->source.data : "",
                             .code_len = run->source.len,
                             .timeout_ms = s->conf.limits.timeout_default_ms,
                             .on_done = on_done,
                             .on_refused = on_refused,
                             .on_output = on_output,
                             .owner = s };
    uuid_make(run->job.id);
    pool_run(s->pool, &run->job);
}
