/* SPDX-License-Identifier: Apache-2.0 */
/* The attempts to escape, from their files.
 *
 * selftest.c calls this file.  What must never happen here: that an attempt is skipped in silence,
 * so that a wall seems to have been tried. */
#include "command/check/attempt.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

static const char marker[] = "# attempt: ";

static const struct {
    const char *name;
    size_t offset;
} keys[] = {
#define KEY(name)                                                                                                      \
    {                                                                                                                  \
#name, offsetof(struct attempt, name)                                                                          \
    }
    KEY(wall), KEY(expect), KEY(server),    KEY(timeout), KEY(within), KEY(twice),
    KEY(runs), KEY(gone),   KEY(truncated), KEY(needs),   KEY(arch),   KEY(instead),
#undef KEY
};

static char *cut(const char *p, size_t n)
{
    char *text = xmalloc(n + 1);
    memcpy(text, p, n);
    text[n] = '\0';
    return text;
}

/* Take a header's line "# key: value" into @a. False for any other line. */
static bool take_line(struct attempt *a, const char *line, size_t n)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        size_t len = strlen(keys[i].name);
        char **field = (char **) ((char *) a + keys[i].offset);
        if (n > len + 4 && memcmp(line, "# ", 2) == 0 && memcmp(line + 2, keys[i].name, len) == 0
            && memcmp(line + 2 + len, ": ", 2) == 0 && !*field) {
            *field = cut(line + len + 4, n - len - 4);
            return true;
        }
    }
    return false;
}

/* One block, from its marker to the next marker or the end of the file. */
static int take_block(struct attempts *attempts, const char *group, const char *prologue, const char *p, size_t n,
                      struct buf *error)
{
    struct attempt a = { 0 };
    const char *end = p + n;
    const char *line = memchr(p, '\n', n);
    struct buf text;

    if (!line)
        line = end;
    buf_init(&text, 4 * FILE_MAX);
    buf_addf(&text, "%s/%.*s", group, (int) (line - p - (ptrdiff_t) strlen(marker)), p + strlen(marker));
    a.title = cut(text.data, text.len);
    while (line < end) {
        const char *next = memchr(line + 1, '\n', (size_t) (end - line - 1));
        size_t len = (size_t) ((next ? next : end) - line - 1);
        if (!take_line(&a, line + 1, len))
            break;
        line = next ? next : end;
    }
    buf_reset(&text);
    buf_addf(&text, "%s\n", prologue);
    buf_add(&text, p, n);
    a.source = cut(text.data, text.len);
    buf_free(&text);
    attempts->list = xrealloc(attempts->list, (attempts->n + 1) * sizeof(a));
    attempts->list[attempts->n++] = a;
    if (a.wall && a.expect)
        return 0;
    return fail(error, -EINVAL, "%s: an attempt needs the lines '# wall:' and '# expect:'", a.title);
}

/* The next line with the marker, where a block begins. */
static const char *find_block(const char *p)
{
    while (p && strncmp(p, marker, strlen(marker)) != 0) {
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    return p;
}

static char *read_text(int dir, const char *name, struct buf *error)
{
    char *text = xmalloc(FILE_MAX);
    ssize_t n = fd_read_file(dir, name, text, FILE_MAX);

    if (n >= 0 && n < FILE_MAX - 1)
        return text;
    buf_addf(error, "%s: %s", name, n < 0 ? strerror((int) -n) : "the file is larger than 1 MiB");
    free(text);
    return NULL;
}

static int take_file(struct attempts *attempts, int dir, const char *name, const char *prologue, struct buf *error)
{
    char group[64];
    char *text = read_text(dir, name, error);
    int err = 0;

    if (!text)
        return -EIO;
    snprintf(group, sizeof(group), "%.*s", (int) strlen(name) - 3, name);
    const char *next;
    for (const char *p = find_block(text); p && !err; p = next) {
        next = find_block(strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL);
        err = take_block(attempts, group, prologue, p, next ? (size_t) (next - p) : strlen(p), error);
    }
    free(text);
    return err;
}

static int is_program(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 3 && strcmp(entry->d_name + n - 3, ".py") == 0 && strcmp(entry->d_name, "prologue.py") != 0;
}

static int take_files(struct attempts *attempts, int dir, struct dirent **names, int n, struct buf *error)
{
    char *prologue = read_text(dir, "prologue.py", error);
    int err = prologue ? 0 : -EIO;

    for (int i = 0; i < n && !err; i++)
        err = take_file(attempts, dir, names[i]->d_name, prologue, error);
    free(prologue);
    return err;
}

int attempts_read(struct attempts *attempts, const char *directory, struct buf *error)
{
    struct dirent **names;
    _cleanup_fd_ int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int n = dir < 0 ? -1 : scandir(directory, &names, is_program, alphasort);

    if (n < 0)
        return fail(error, -errno, "%s: %s", directory, strerror(errno));
    int err = take_files(attempts, dir, names, n, error);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return err;
}

void attempts_free(struct attempts *attempts)
{
    for (size_t i = 0; i < attempts->n; i++) {
        struct attempt *a = &attempts->list[i];
        free(a->title);
        free(a->source);
        for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            free(*(char **) ((char *) a + keys[k].offset));
    }
    free(attempts->list);
    *attempts = (struct attempts){ 0 };
}
