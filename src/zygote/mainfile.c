/* SPDX-License-Identifier: Apache-2.0 */
/* main.py as a file in the working directory, made when somebody first asks for it.
 *
 * The server hands a program over in memory, and few programs ever look for their file.  But
 * multiprocessing's spawn, runpy, subprocesses and code that opens __file__ do.  This executable
 * has functions of its own in place of those of the C library by which this process could name the
 * file.  The dynamic linker finds them first (ld.so(8)).  So a program that does not ask pays
 * nothing, and neither Python nor an extension module can ask past them.  The functions also run in
 * a child of vfork(2), and without the GIL.  What must never happen here: an errno that is not the
 * call's own, or writing over a file that the program has made. */
#undef _FORTIFY_SOURCE /* its inline functions have the same names */

#include "zygote/mainfile.h"

#include "box/box.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char name[] = "main.py";

static struct {
    const char *text; /* NULL if the file is made, or if there is no program */
    size_t n;
    bool no_module, refused;
} offered;

void mainfile_offer(const char *text, size_t n)
{
    offered.text = text;
    offered.n = n;
    offered.no_module = false;
}

void mainfile_is_no_module(void)
{
    offered.no_module = true;
}

bool mainfile_has_refused(void)
{
    return offered.refused;
}

static void make(void)
{
    int saved = errno;
    int fd = (int) syscall(SYS_openat, AT_FDCWD, HOME_DIR "/main.py", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    const char *end = offered.text + offered.n;
    ssize_t n = fd < 0 ? -1 : 1;

    for (const char *p = offered.text; n > 0 && p < end; p += n)
        n = write(fd, p, (size_t) (end - p));
    if (fd >= 0)
        close(fd);
    offered.text = NULL;
    errno = saved;
}

/* @path ends in /main.py or is main.py, and @n bytes of it are the directory. Is that the directory
 * in which programs begin? */
static bool is_at_home(int dirfd, const char *path, size_t n)
{
    char directory[1024];
    struct stat home, there;
    int saved = errno;

    if (n >= sizeof(directory))
        return false;
    memcpy(directory, path, n);
    strcpy(directory + n, n ? "" : ".");
    bool same = syscall(SYS_newfstatat, dirfd, directory, &there, 0) == 0
                && syscall(SYS_newfstatat, AT_FDCWD, HOME_DIR, &home, 0) == 0 && home.st_ino == there.st_ino
                && home.st_dev == there.st_dev;
    errno = saved;
    return same;
}

static void look_at(int dirfd, const char *path)
{
    if (!offered.text || !path)
        return;
    const char *slash = strrchr(path, '/');
    if (strcmp(slash ? slash + 1 : path, name) == 0 && is_at_home(dirfd, path, slash ? (size_t) (slash + 1 - path) : 0))
        make();
}

/* False if the program must not be started. */
static bool look_at_words(char *const words[])
{
    bool spawned = false;

    if (!offered.text && !offered.no_module)
        return true;
    for (size_t i = 0; words && words[i]; i++) {
        spawned |= strcmp(words[i], "--multiprocessing-fork") == 0;
        if (offered.text && (spawned || strstr(words[i], name)))
            make();
    }
    return !spawned;
}

/* The C library's function of that name. */
static void *next(const char *function)
{
    return dlsym(RTLD_NEXT, function);
}

/* A caller passes a mode only if the call may make a file. */
static mode_t mode_of(int flags, va_list rest)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

/* If the call itself makes or empties the file, we do not make it. */
static void look_at_open(int dirfd, const char *path, int flags)
{
    if (!(flags & (O_EXCL | O_TRUNC)))
        look_at(dirfd, path);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;

    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    look_at_open(AT_FDCWD, path, flags);
    return (int) syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int openat64(int dirfd, const char *path, int flags, ...)
{
    va_list rest;

    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    look_at_open(dirfd, path, flags);
    return (int) syscall(SYS_openat, dirfd, path, flags, mode);
}

int fstatat64(int dirfd, const char *restrict path, struct stat64 *restrict st, int flags)
{
    look_at(dirfd, path);
    return (int) syscall(SYS_newfstatat, dirfd, path, st, flags);
}

int stat64(const char *restrict path, struct stat64 *restrict st)
{
    return fstatat64(AT_FDCWD, path, st, 0);
}

int lstat64(const char *restrict path, struct stat64 *restrict st)
{
    return fstatat64(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

static int refuse_child(void)
{
    /* Set in the parent's memory: this is a child of vfork(2), and multiprocessing does not see it
     * fail. */
    offered.refused = true;
    kill(getppid(), SIGINT);
    errno = ENOEXEC;
    return -1;
}

int execve(const char *path, char *const argv[], char *const envp[])
{
    return look_at_words(argv) || !offered.no_module ? (int) syscall(SYS_execve, path, argv, envp) : refuse_child();
}

int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

typedef int spawn(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],
                  char *const[]);

int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *restrict attributes, char *const argv[], char *const envp[])
{
    look_at_words(argv);
    return ((spawn *) next("posix_spawn"))(pid, path, actions, attributes, argv, envp);
}

int posix_spawnp(pid_t *restrict pid, const char *restrict file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *restrict attributes, char *const argv[], char *const envp[])
{
    look_at_words(argv);
    return ((spawn *) next("posix_spawnp"))(pid, file, actions, attributes, argv, envp);
}

int system(const char *command)
{
    if (offered.text && command && strstr(command, name))
        make();
    return ((int (*)(const char *)) next("system"))(command);
}
