/* SPDX-License-Identifier: Apache-2.0 */
/* The sources of the configuration: an INI file, the environment.
 *
 * The command calls this once, file first.  libinih splits the lines.  This file refuses what
 * libinih would skip in silence (a line cut at its limit, a NUL byte).  All errors are told at
 * once.  What must never happen here: that a line or a variable which is meant for us is
 * ignored. */
#include "conf/conf.h"
#include "conf/conf_value.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 1 << 20 };

struct reading {
    struct conf *conf;
    FILE *stream;
    const char *name;
    struct buf *error;
    unsigned line;
    size_t left;                 /* bytes that may still come */
    int err;                     /* the first error */
    bool lost;                   /* the section is not known, because its line is wrong */
    bool dropped;                /* the last value was refused, and the lines that continue it are
                                  * dropped */
    const struct conf_key *last; /* the last key and its value, which an indented line continues */
    struct buf value;
    unsigned value_line; /* where the value begins */
    bool goes_on;        /* the current line continues the value */
};

/* Begin the sentence about the current line. */
static int refuse_line(struct reading *r, const char *sentence)
{
    conf_sentence(r->error);
    buf_addf(r->error, "%s:%u: %s", r->name, r->line, sentence);
    r->err = -EINVAL;
    return -EINVAL;
}

/* Read no more than a configuration may have, because a file may have no end, for example a
 * device's. */
static int next_byte(struct reading *r)
{
    int c = r->left ? getc(r->stream) : EOF;

    r->left -= c != EOF;
    return c;
}

/* Refuse the rest of the line; the next line begins behind it. */
static int drop_line(struct reading *r, const char *sentence)
{
    int c;

    while ((c = next_byte(r)) != EOF && c != '\n')
        ;
    return refuse_line(r, sentence);
}

/* Read one line into @line, without its end. 1, 0 at the end of the file, or an error. */
static int read_line(struct reading *r, char *line, int size)
{
    int n = 0;
    int c;

    r->line++;
    while ((c = next_byte(r)) != EOF && c != '\n') {
        if (c == '\0')
            return drop_line(r, "the line has a NUL byte");
        if (n == size - 4) {
            char sentence[96];
            snprintf(sentence, sizeof(sentence), "the line is longer than %d bytes; go on in an indented line below it",
                     n);
            return drop_line(r, sentence);
        }
        line[n++] = (char) c;
    }
    line[n] = '\0';
    return c == EOF && n == 0 ? 0 : 1;
}

static const char blanks[] = " \t\r\v\f"; /* the blanks that libinih skips */

static bool is_comment(const char *p)
{
    return *p == '\0' || *p == ';' || *p == '#';
}

/* "[section]" and nothing behind it but a comment: libinih ignores the rest of the line. */
static bool is_section(const char *line)
{
    const char *end = line + strcspn(line, "];");

    return *end == ']' && is_comment(end + 1 + strspn(end + 1, blanks));
}

/* "key = value". libinih would also take a colon, and end the line where a comment begins. */
static bool is_pair(const char *line)
{
    size_t n = strcspn(line, "=:;");
    return line[n] == '=';
}

static const char no_ini[] = "the line is neither [section] nor key = value nor a comment (; or #)";

/* After a blank a semicolon begins a comment, as libinih has it for most lines. */
static void cut_comment(char *text)
{
    for (char *p = text; (p = strchr(p, ';')); p++)
        if (p > text && strchr(blanks, p[-1])) {
            *p = '\0';
            return;
        }
}

/* Decide here what libinih would read in its own way. Only an indented line that is not a pair
 * continues the value above it: libinih would take any indented line for that. */
static int check_line(struct reading *r, char *line, size_t skip)
{
    size_t indent = strspn(line + skip, blanks);
    char *text = line + skip + indent;

    cut_comment(text);
    r->goes_on = indent && !is_comment(text) && *text != '[' && !strchr(text, '=');
    if (r->goes_on && (r->dropped || r->lost)) {
        *line = '\0';
        return 0;
    }
    if (r->goes_on)
        return r->last ? 0 : refuse_line(r, "an indented line goes on with the value above it, and there is none");
    if (*text == '[') {
        r->last = NULL;
        r->dropped = false;
        r->lost = !is_section(text);
    }
    if (!is_comment(text) && !(*text == '[' ? is_section(text) : is_pair(text)))
        return refuse_line(r, no_ini);
    memmove(line, text, strlen(text) + 1);
    return 0;
}

static char *next_line(char *line, int size, void *data)
{
    static const char mark[] = "\xef\xbb\xbf"; /* some editors begin a file with this mark */
    struct reading *r = data;

    int got = read_line(r, line, size);
    if (got == 0)
        return NULL;
    size_t skip = got > 0 && r->line == 1 && strncmp(line, mark, 3) == 0 ? 3 : 0;
    if (got < 0 || check_line(r, line, skip) < 0) {
        r->dropped = true;
        *line = '\0'; /* libinih continues after it */
    }
    return line;
}

/* A value of several lines has the place of its first line. */
static void note_place(struct reading *r)
{
    char place[4200];

    if (!r->goes_on)
        r->value_line = r->line;
    snprintf(place, sizeof(place), "%s:%u", r->name, r->value_line);
    conf_note_origin(r->conf, r->last, place);
}

static int on_value(void *data, const char *section, const char *key, const char *value)
{
    struct reading *r = data;
    size_t mark = r->error->len;

    if (r->lost)
        return 1;
    r->dropped = true;
    if (!section[0]) {
        refuse_line(r, "the key stands before the first [section]");
        return 1;
    }
    if (r->goes_on)
        buf_addc(&r->value, ' ');
    else
        buf_reset(&r->value);
    buf_adds(&r->value, value);
    char *text = xstrdup(buf_text(&r->value));
    conf_sentence(r->error);
    buf_addf(r->error, "%s:%u: ", r->name, r->line);
    if (r->value.full)
        buf_addf(r->error, "%s.%s: the value is too long", section, key);
    int err = r->value.full ? -EINVAL : conf_set(r->conf, section, key, text, r->error);
    explicit_bzero(text, r->value.len);
    free(text);
    if (err) {
        r->err = r->err ? r->err : err;
        return 1;
    }
    r->last = conf_find_in(r->conf, section, key);
    note_place(r);
    r->error->len = mark;
    r->dropped = false;
    return 1;
}

int conf_read_stream(struct conf *conf, FILE *stream, const char *name, struct buf *error)
{
    struct reading r = { .conf = conf, .stream = stream, .name = name, .left = FILE_MAX, .error = error };

    buf_init(&r.value, 8192);
    int bad_line = ini_parse_stream(next_line, &r, on_value, &r);
    if (!r.err && ferror(stream)) {
        conf_sentence(error);
        buf_addf(error, "%s: cannot be read: %s", name, strerror(errno ? errno : EIO));
        r.err = -EIO;
    }
    if (!r.err && bad_line) {
        r.line = (unsigned) bad_line;
        refuse_line(&r, no_ini);
    }
    if (!r.left)
        refuse_line(&r, "the file is too long for a configuration");
    if (r.value.data)
        explicit_bzero(r.value.data, r.value.len);
    buf_free(&r.value);
    return r.err == -ENOENT ? -EINVAL : r.err;
}

/* A pipe without a writer would look like an empty file, which means: everything as by default. */
static bool is_unwritten_pipe(FILE *stream)
{
    struct stat st;
    int c;

    if (fstat(fileno(stream), &st) < 0 || !S_ISFIFO(st.st_mode))
        return false;
    c = getc(stream);
    return c == EOF || ungetc(c, stream) == EOF;
}

static int refuse_pipe(const char *path, struct buf *error)
{
    conf_sentence(error);
    return fail(error, -EINVAL, "%s: is a pipe that nobody has written to", path);
}

int conf_read(struct conf *conf, const char *path, struct buf *error)
{
    int fd = fd_open_file(AT_FDCWD, path);
    FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");

    if (!stream) {
        int err = fd < 0 ? fd : -errno;
        fd_close(&fd);
        conf_sentence(error);
        return fail(error, err, "%s: cannot be opened: %s", path, strerror(-err));
    }
    int err = is_unwritten_pipe(stream) ? refuse_pipe(path, error) : conf_read_stream(conf, stream, path, error);
    fclose(stream);
    return err;
}

/* Variables of other names for our keys; the longer name wins. */
static const struct {
    const char *name, *section, *key;
} aliases[] = {
    { "API_KEY", "server", "api_key" },
    { "API_KEY_FILE", "server", "api_key_file" },
    { "MAX_QUEUE_LENGTH", "queue", "max_length" },
};

/* Variables with our prefix that are not keys. */
static bool is_foreign(const char *name)
{
    static const char *const prefixes[] = { "HATCHERY_SERVICE_HOST", "HATCHERY_SERVICE_PORT", "HATCHERY_PORT" };

    if (strcmp(name, "HATCHERY_CONFIG") == 0)
        return true;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], n) == 0 && (!name[n] || name[n] == '_'))
            return true;
    }
    return false;
}

static const char *environment_value(char *const *envp, const char *name)
{
    size_t n = strlen(name);

    for (; *envp; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

static const char *alias_of(const struct conf_key *key)
{
    for (size_t i = 0; i < sizeof(aliases) / sizeof(*aliases); i++)
        if (strcmp(key->section, aliases[i].section) == 0 && strcmp(key->key, aliases[i].key) == 0)
            return aliases[i].name;
    return NULL;
}

/* The variable that sets @key, and its value, or NULL.  An empty variable does not count if the key
 * has an alias. */
static const char *variable_of(const struct conf_key *key, char *const *envp, char name[CONF_ENV_NAME_MAX])
{
    const char *alias = alias_of(key);

    conf_env_name(key, name);
    const char *value = environment_value(envp, name);
    if (value && (*value || !alias))
        return value;
    value = alias ? environment_value(envp, alias) : NULL;
    if (!value || !*value)
        return NULL;
    snprintf(name, CONF_ENV_NAME_MAX, "%s", alias);
    return value;
}

/* A variable without the section's name, or with a part of the key's, is near. */
static unsigned distance_of(const char *name, const char *candidate)
{
    enum { PREFIX = sizeof("HATCHERY") - 1 };
    const char *found = strlen(name) > PREFIX ? strstr(candidate, name + PREFIX) : NULL;

    return !found ? conf_value_distance(name, candidate) : found[strlen(name + PREFIX)] ? 2 : 1;
}

static int refuse_unknown(const char *name, struct buf *error)
{
    char candidate[CONF_ENV_NAME_MAX], nearest[CONF_ENV_NAME_MAX] = "";
    unsigned least = 1000;

    for (const struct conf_key *key = conf_keys; key->section; key++) {
        conf_env_name(key, candidate);
        unsigned distance = distance_of(name, candidate);
        if (distance < least) {
            least = distance;
            memcpy(nearest, candidate, sizeof(nearest));
        }
    }
    conf_sentence(error);
    conf_value_add_name(error, name);
    if (strncmp(name, "HATCHERY_RUNTIME_", 17) == 0)
        buf_adds(error, ": a runtime's variables are HATCHERY_RUNTIME_NAME_ and one of the keys of [runtime.NAME]");
    else {
        buf_adds(error, ": there is no such variable; ");
        conf_value_suggest(error, name + sizeof("HATCHERY_") - 1, least, nearest);
    }
    return -EINVAL;
}

/* Every variable with our prefix must be one that we read. */
static int check_names(char *const *envp, struct buf *error)
{
    static const char prefix[] = "HATCHERY_";
    int err = 0;

    for (; *envp; envp++) {
        char name[256], known[CONF_ENV_NAME_MAX];
        bool found = false;
        if (strncmp(*envp, prefix, sizeof(prefix) - 1) != 0)
            continue;
        snprintf(name, sizeof(name), "%.*s", (int) strcspn(*envp, "="), *envp);
        for (const struct conf_key *key = conf_keys; key->section && !found; key++) {
            conf_env_name(key, known);
            found = strcmp(known, name) == 0;
        }
        char section[CONF_SECTION_MAX];
        const char *runtime_key;
        found = found || conf_runtime_of_variable(name, section, &runtime_key);
        if (!found && !is_foreign(name))
            err = refuse_unknown(name, error);
    }
    return err;
}

static int take_variable(struct conf *conf, const char *section, const char *key, const char *name, const char *value,
                         struct buf *error)
{
    char origin[CONF_ENV_NAME_MAX + 16];
    size_t mark = error->len;

    conf_sentence(error);
    conf_value_add_name(error, name);
    buf_adds(error, ": ");
    if (conf_set(conf, section, key, value, error) < 0)
        return -EINVAL;
    error->len = mark;
    snprintf(origin, sizeof(origin), "environment %s", name);
    conf_note_origin(conf, conf_find_in(conf, section, key), origin);
    return 0;
}

static int take_runtimes(struct conf *conf, char *const *envp, struct buf *error)
{
    char name[CONF_ENV_NAME_MAX], section[CONF_SECTION_MAX];
    const char *key;
    int err = 0;

    for (; *envp; envp++) {
        size_t n = strcspn(*envp, "=");
        snprintf(name, sizeof(name), "%.*s", (int) n, *envp);
        if (n < sizeof(name) && (*envp)[n] && conf_runtime_of_variable(name, section, &key)
            && take_variable(conf, section, key, name, *envp + n + 1, error) < 0)
            err = -EINVAL;
    }
    return err;
}

int conf_environ(struct conf *conf, char *const *envp, struct buf *error)
{
    char name[CONF_ENV_NAME_MAX], other[CONF_ENV_NAME_MAX];
    int err = check_names(envp, error);
    const char *api_key = variable_of(conf_find("server", "api_key"), envp, name);
    const char *api_key_file = variable_of(conf_find("server", "api_key_file"), envp, other);
    if (api_key && api_key_file) {
        conf_sentence(error);
        buf_addf(error, "%s and %s are both set: which of the two is the key? Unset one", name, other);
        err = -EINVAL;
    }
    for (const struct conf_key *key = conf_keys; key->section; key++) {
        const char *value = variable_of(key, envp, name);
        if (value && take_variable(conf, key->section, key->key, name, value, error) < 0)
            err = -EINVAL;
    }
    return take_runtimes(conf, envp, error) < 0 ? -EINVAL : err;
}
