/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one event, one line, one write(2).
 *
 * Every process calls this from its event loop, never between a fork and the jail's last step.
 * What must never happen here: that a value breaks a line in two or fills it with a terminal's
 * control characters, a half line of JSON, an allocation (a line is built on the stack), or a
 * caller that loses its errno or waits because nobody reads the log. */
#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16384 };

struct style {
    const char *cut; /* ends a line that lost something */
    const char *end;
    void (*begin)(struct buf *line, enum log_level level);
    void (*add_name)(struct buf *line, const char *name);
    void (*add_message)(struct buf *line, const char *s, size_t n);
    void (*add_string)(struct buf *line, const char *s, size_t n);
};

static struct {
    char logger[32];
    enum log_level level;
    const struct style *style;
    bool journal;
} state;

static const char *const level_words[] = { "debug", "info", "warn", "error" };
static const int journal_priorities[] = { 7, 6, 4, 3 }; /* sd-daemon(3) */

static void add_time(struct buf *line)
{
    struct timespec now;
    struct tm tm;
    char date[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    buf_addf(line, "%s.%03ldZ", date, now.tv_nsec / 1000000);
}

static void add_priority(struct buf *line, enum log_level level)
{
    if (state.journal)
        buf_addf(line, "<%d>", journal_priorities[level]);
}

static void begin_json(struct buf *line, enum log_level level)
{
    add_priority(line, level);
    buf_adds(line, "{\"ts\":\"");
    add_time(line);
    buf_addf(line, "\",\"level\":\"%s\",\"logger\":", level_words[level]);
    json_add_cstring(line, state.logger);
    buf_adds(line, ",\"msg\":");
}

static void add_json_name(struct buf *line, const char *name)
{
    buf_addc(line, ',');
    json_add_cstring(line, name);
    buf_addc(line, ':');
}

/* journald itself stores the time and the process. */
static void begin_text(struct buf *line, enum log_level level)
{
    add_priority(line, level);
    if (!state.journal) {
        add_time(line);
        buf_addf(line, " %-5s ", level_words[level]);
    }
    buf_addf(line, "%s: ", state.logger);
}

static void add_text_name(struct buf *line, const char *name)
{
    buf_addf(line, " %s=", name);
}

/* Bare if no reader can mistake it for anything else, otherwise quoted as JSON. */
static void add_text_value(struct buf *line, const char *s, size_t n)
{
    bool bare = n > 0;

    for (size_t i = 0; i < n; i++)
        bare = bare && s[i] > ' ' && s[i] < 0x7f && !strchr("\"'=\\", s[i]);
    if (bare)
        buf_add(line, s, n);
    else
        json_add_string(line, s, n);
}

/* The message is ours, so text shows it as it is. But a caller may have put a file's name in. */
static void add_text_message(struct buf *line, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char) s[i] < ' ' || s[i] == 0x7f || (unsigned char) s[i] >= 0x80) {
            json_add_string(line, s, n);
            return;
        }
    buf_add(line, s, n);
}

static const struct style json_style = {
    .cut = ",\"cut\":true",
    .end = "}\n",
    .begin = begin_json,
    .add_name = add_json_name,
    .add_message = json_add_string,
    .add_string = json_add_string,
};
static const struct style text_style = {
    .cut = " (cut)",
    .end = "\n",
    .begin = begin_text,
    .add_name = add_text_name,
    .add_message = add_text_message,
    .add_string = add_text_value,
};

/* Append @s, or as much of its beginning as there is room for. */
static bool add_cut(struct buf *line, const char *s, void (*add)(struct buf *line, const char *s, size_t n))
{
    size_t mark = line->len, all = strlen(s), n = all < LINE_MAX_BYTES ? all : LINE_MAX_BYTES;

    for (add(line, s, n); line->full && n; add(line, s, n)) {
        line->len = mark;
        line->full = false;
        n /= 2;
    }
    return n == all;
}

static bool add_value(struct buf *line, const struct style *style, const struct log_field *f)
{
    switch (f->type) {
    case LOG_T_STRING:
        if (f->s)
            return add_cut(line, f->s, style->add_string);
        return buf_adds(line, "null") == 0;
    case LOG_T_INT: return buf_addf(line, "%" PRId64, f->i) == 0;
    case LOG_T_SECONDS: json_add_seconds(line, f->i); return !line->full;
    case LOG_T_END: break;
    }
    return false;
}

/* Append the whole field, or the field with a shortened value, or nothing. False if something was
 * lost. */
static bool add_field(struct buf *line, const struct style *style, const struct log_field *f)
{
    size_t mark = line->len;

    style->add_name(line, f->name);
    bool whole = !line->full && add_value(line, style, f);
    if (line->full) {
        line->len = mark;
        line->full = false;
    }
    return whole;
}

/* A reader that went away (callers ignore SIGPIPE) or is too slow costs the line, not the service.
 * We share the descriptor with the process that started us, so we ask it and do not make it
 * non-blocking. */
static void write_line(const struct buf *line)
{
    struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
    ssize_t n;

    if (poll(&out, 1, 0) == 0)
        return;
    do
        n = write(STDERR_FILENO, line->data, line->len);
    while (n < 0 && errno == EINTR);
}

void log_init(const char *logger, enum log_format format, enum log_level level)
{
    enum log_format form = format & ~LOG_JOURNAL;
    bool json = form == LOG_JSON || (form == LOG_AUTO && !isatty(STDERR_FILENO));

    snprintf(state.logger, sizeof(state.logger), "%s", logger);
    state.level = level;
    state.style = json ? &json_style : &text_style;
    state.journal = format & LOG_JOURNAL;
    tzset(); /* gmtime_r(3) opens /etc/localtime the first time: now, while this process still
              * may */
}

bool log_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat stat;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &stat) == 0
           && stat.st_dev == device && stat.st_ino == inode;
}

void log_sentence(const char *fmt, ...)
{
    char text[LINE_MAX_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (log_is_journal())
        fprintf(stderr, "<%d>hatchery: %s\n", journal_priorities[LOG_ERROR], text);
    else
        fprintf(stderr, "hatchery: %s\n", text);
}

void log_set_level(enum log_level level)
{
    state.level = level;
}

bool log_may(struct log_pace *pace)
{
    int64_t now = now_us();

    if (!pace->lines || now - pace->since_us >= 1000000)
        *pace = (struct log_pace){ .since_us = now };
    return pace->lines < LOG_PACE && ++pace->lines;
}

bool log_has(enum log_level level)
{
    return level >= state.level;
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    const struct style *style = state.style ? state.style : &json_style;
    int saved = errno;
    char space[LINE_MAX_BYTES + 1];
    size_t tail = strlen(style->cut) + strlen(style->end);
    /* A buffer whose memory is as large as its maximum never asks for more. */
    struct buf line = { .data = space, .cap = LINE_MAX_BYTES, .max = LINE_MAX_BYTES - tail };

    if (level < state.level)
        return;
    style->begin(&line, level);
    bool whole = add_cut(&line, msg, style->add_message);
    for (const struct log_field *f = fields; f->type != LOG_T_END; f++)
        whole = (!f->name || add_field(&line, style, f)) && whole;
    line.max = LINE_MAX_BYTES;
    buf_adds(&line, whole ? "" : style->cut);
    buf_adds(&line, style->end);
    write_line(&line);
    errno = saved;
}
