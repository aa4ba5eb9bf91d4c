/* SPDX-License-Identifier: Apache-2.0 */
/* Hints about files: one that is missing, one that may not be used or executed, a database of sqlite3.
 *
 * hint.c calls this file for an OSError, for a command of a shell, and for an error of sqlite3.
 * What must never happen here: a sentence about a file that the program itself could have made. */
#include "zygote/hint_parts.h"

#include "box/box.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

const char no_pip[] =
    "a program can't install packages: there is no network; the server's operator can: apt-get install, "
    "or hatchery env add";

static const char no_files[] = "a program sees no files of yours, and writes only to its working directory, /tmp and "
                               "/dev/shm: put the data into the code",
                  no_exec[] =
                      "nothing that a program wrote can be executed here: run a script by its interpreter, sh FILE "
                      "or python3 FILE";

static bool is_within_directory(const char *path, const char *directory)
{
    size_t n = strlen(directory);

    return strncmp(path, directory, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Is the directory of @path there? */
static bool has_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char directory[1024];

    if (!slash || slash == path)
        return true;
    snprintf(directory, sizeof(directory), "%.*s", (int) (slash - path), path);
    return access(directory, F_OK) == 0;
}

/* An absolute path in a place where people keep files, and where a program has none. */
static bool is_place_of_people(const char *path)
{
    static const char places[] =
        "Users Volumes app content data files home input kaggle media root srv upload uploads workspace ";

    return *path == '/' && is_among(path + 1, strcspn(path + 1, "/"), places);
}

static bool came_by_any(PyObject *value, PyObject *source, const char *const *words)
{
    for (; *words; words++)
        if (came_by(value, source, *words))
            return true;
    return false;
}

/* A file that was to be read or made, in a line that opens one. */
static const char *sentence_for_file(const char *path)
{
    bool absolute = *path == '/', own = is_within_directory(path, "/tmp") || is_within_directory(path, "/dev/shm");

    if (is_within_directory(path, "/mnt/data") || is_within_directory(path, HOME_DIR))
        return "no file comes with a request: /mnt/data, which is the working directory, is empty when a program "
               "begins; "
               "put the data into the code";
    if (absolute && !own && (!has_directory(path) || !strchr(path + 1, '/')))
        return no_files;
    if (!has_directory(path))
        return "the file's directory does not exist: a program begins in an empty directory and sees no files of "
               "yours; "
               "os.makedirs() makes a directory, and data goes into the code";
    return absolute ? NULL
                    : "a program begins in an empty directory and sees no files of yours: put the data into the code";
}

void hint_no_file(struct buf *out, PyObject *value, PyObject *source)
{
    static const char *const opens[] = { "open(", "read_", "load", NULL }, *const lists[] = { "listdir(", "scandir(",
                                                                                              "iterdir(", NULL };
    const char *path = bytes_of(((const PyOSErrorObject *) value)->filename);
    const char *sentence = NULL;

    if (passes(value, "/subprocess.py"))
        sentence = is_among(path, strlen(path), "pip pip3 conda ") ? no_pip : NULL;
    else if (strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0)
        sentence = "an address of the web is no file, and programs here have no network: put the data into the code";
    else if (is_place_of_people(path) || (*path == '/' && came_by_any(value, source, lists)))
        sentence = is_within_directory(path, "/tmp") ? NULL : no_files;
    else if (*path && came_by_any(value, source, opens))
        sentence = sentence_for_file(path);
    buf_adds(out, sentence ? sentence : "");
}

void hint_no_exec(struct buf *out, const char *words)
{
    char path[1024];
    struct statvfs fs;
    size_t n = strcspn(words, " \t\n;&|");

    snprintf(path, sizeof(path), "%.*s", (int) n, words);
    if (n < sizeof(path) && strchr(path, '/') && statvfs(path, &fs) == 0 && fs.f_flag & ST_NOEXEC)
        buf_adds(out, no_exec);
}

void hint_no_access(struct buf *out, PyObject *value, PyObject *source)
{
    const char *path = bytes_of(((const PyOSErrorObject *) value)->filename);

    if (passes(value, "/subprocess.py"))
        hint_no_exec(out, path);
    else if (!*path && (came_by(value, source, "os.exec") || came_by(value, source, "os.posix_spawn")))
        buf_adds(out, no_exec);
    else if (*path == '/' && !is_within_directory(path, "/tmp") && !is_within_directory(path, "/dev")
             && !is_within_directory(path, "/proc") && !is_within_directory(path, HOME_DIR))
        buf_adds(out, "a program can use only its working directory, /tmp and /dev/shm, and read what Python needs");
}

static bool text_has_any(PyObject *source, const char *const *words)
{
    for (; *words; words++)
        if (text_has(source, *words))
            return true;
    return false;
}

/* A file of the caller's is never there, so a table exists only where the program makes it. */
static bool makes_tables(PyObject *source)
{
    static const char *const words[] = { "create",      "to_sql",   "script", "attach", "backup",
                                         "deserialize", ":memory:", "open(",  NULL };

    return text_has_any(source, words);
}

static bool has_processes(PyObject *source)
{
    static const char *const words[] = { "multiprocessing", "ProcessPool", "fork", "joblib", "subprocess", NULL };

    return text_has_any(source, words);
}

void hint_sqlite(struct buf *out, PyObject *value, PyObject *source)
{
    static const char no_table[] = "no such table: ";
    PyObject *text = only_text(value);

    if (by_hand(value, source))
        return;
    if (is_text(text, "unable to open database file"))
        buf_adds(out, "sqlite3 can make a database only in a directory that exists, in the working directory, /tmp or "
                      "/dev/shm; a program sees no databases of yours");
    else if (strncmp(bytes_of(text), no_table, sizeof(no_table) - 1) == 0 && !makes_tables(source))
        buf_adds(out, "the database is new and empty, for sqlite3.connect() makes a file that does not exist, and a "
                      "program sees no files of yours: make the tables in the program");
    else if ((is_text(text, "disk I/O error") || is_text(text, "database disk image is malformed")
              || is_text(text, "file is not a database"))
             && has_processes(source))
        buf_adds(out,
                 "locks on files keep no process out here, so processes that write one sqlite3 database spoil it: let "
                 "one process write, use threads, or hold a multiprocessing.Lock() from before a transaction until "
                 "it is committed");
}
