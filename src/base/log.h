/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one line for each event on stderr, JSON or (on a terminal) text.
 *
 * Never code, output or keys of a program or a client.  Each line is one write(2), so lines of
 * several processes do not mix.  Not for use between fork and the jail's last step. */
#ifndef HATCHERY_BASE_LOG_H
#define HATCHERY_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
/* LOG_JOURNAL is added to one of the others. */
enum log_format { LOG_AUTO, LOG_JSON, LOG_TEXT, LOG_JOURNAL = 4 };

enum log_type { LOG_T_END, LOG_T_STRING, LOG_T_INT, LOG_T_SECONDS };

struct log_field {
    const char *name; /* NULL: the field is left out */
    enum log_type type;
    const char *s; /* LOG_T_STRING; NULL is written as null */
    int64_t i;     /* LOG_T_INT, or microseconds for LOG_T_SECONDS */
};

#define LOG_S(name, value) { (name), LOG_T_STRING, (value), 0 },
/* Leaves the field out if the value is empty. */
#define LOG_SOME(name, value) { *(value) ? (name) : NULL, LOG_T_STRING, (value), 0 },
#define LOG_I(name, value) { (name), LOG_T_INT, 0, (int64_t) (value) },
#define LOG_US(name, value) { (name), LOG_T_SECONDS, 0, (int64_t) (value) },

/* log_info("run finished", LOG_S("job_id", id) LOG_I("exit_code", 0)); */
#define log_debug(msg, ...) log_write(LOG_DEBUG, msg, (const struct log_field[]){ __VA_ARGS__{ 0 } })
#define log_info(msg, ...) log_write(LOG_INFO, msg, (const struct log_field[]){ __VA_ARGS__{ 0 } })
#define log_warn(msg, ...) log_write(LOG_WARN, msg, (const struct log_field[]){ __VA_ARGS__{ 0 } })
#define log_error(msg, ...) log_write(LOG_ERROR, msg, (const struct log_field[]){ __VA_ARGS__{ 0 } })

/* @logger names the process: "supervisor", "server", "zygote".  LOG_AUTO is text on a terminal and
 * JSON elsewhere.  With LOG_JOURNAL each line begins with its priority ("<6>", sd-daemon(3)), which
 * journald removes; text then has no time. */
void log_init(const char *logger, enum log_format format, enum log_level level);

/* Does stderr go to the journal?  JOURNAL_STREAM says so (systemd.exec(5)) and must name this very
 * stream: a parent may have left the variable set and sent our stderr elsewhere.  For the first
 * process, before log_init(). */
bool log_is_journal(void);

/* Print a sentence on stderr for the user of the command, after "hatchery: ".  In the journal it
 * has the priority of an error. */
__attribute__((format(printf, 1, 2))) void log_sentence(const char *fmt, ...);

/* Are lines of @level written?  For lines that take work to make. */
bool log_has(enum log_level level);

/* From now on, lines below @level are not written. */
void log_set_level(enum log_level level);

/* For lines that a stranger can cause at will: is there room for one more?  At most LOG_PACE of
 * them in a second for each @pace, which begins as zeros and belongs to its caller. */
struct log_pace {
    int64_t since_us;
    unsigned lines;
};
enum { LOG_PACE = 5 };
bool log_may(struct log_pace *pace);

/* Members of a JSON line: ts (RFC 3339, ms, UTC), level, logger, msg, then @fields
 * up to the one of type LOG_T_END.  A line longer than 16 KiB is cut validly. */
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

#endif
