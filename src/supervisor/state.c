/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory.
 *
 * The command calls this before it starts anything; its verbs that change keys and environments
 * call it too.  What must never happen here: that another user's directory is given away or closed
 * off, or two servers on one store. */
#include "supervisor/state.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 60, LOCK_WAIT_MS = 50 };

#define NEXT_STEP "; choose another directory with --state DIR, or run without asynchronous jobs: --state none"

static const char lock_name[] = "hatchery.lock"; /* also marks a directory as ours */

int state_path(const char *configured, struct buf *ret_path, struct buf *error)
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (strcmp(configured, "none") == 0)
        return 0;
    if (*configured)
        return buf_adds(ret_path, configured);
    if (geteuid() == 0)
        return buf_adds(ret_path, "/var/lib/hatchery");
    if (xdg && *xdg == '/')
        return buf_addf(ret_path, "%s/hatchery", xdg);
    if (home && *home == '/')
        return buf_addf(ret_path, "%s/.local/state/hatchery", home);
    return fail(error, -ENOENT, "there is no place for the state: neither XDG_STATE_HOME nor HOME is set" NEXT_STEP);
}

/* Make @path and the missing directories above it. */
static int make_directories(const char *path)
{
    char part[PATH_MAX];

    for (const char *p = path; (p = strchr(p + 1, '/'));) {
        snprintf(part, sizeof(part), "%.*s", (int) (p - path), path);
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return -errno;
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Is it one of the files that a backup has? The others are made anew. */
static bool is_kept(const char *name)
{
    static const char *const kept[] = {
        ".", "..", "jobs.db", "jobs.db-wal", "jobs.db-shm", "keys", "cursor.key", "envs"
    };
    size_t i = 0;

    while (i < sizeof(kept) / sizeof(*kept) && strcmp(name, kept[i]) != 0)
        i++;
    return i < sizeof(kept) / sizeof(*kept);
}

/* Does the directory have our mark, or only files that a backup has? */
static bool is_ours(int fd)
{
    struct stat st;
    bool kept = true;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);

    if (!dir)
        return false;
    for (struct dirent *e; (e = readdir(dir));)
        kept = kept && is_kept(e->d_name);
    closedir(dir);
    return kept || fstatat(fd, lock_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The former owner of the directory may still change it, so the very file that was checked is
 * given.  A file with a second name could be from elsewhere. */
static int give_file(int fd, const char *name, uid_t uid, gid_t gid)
{
    _cleanup_fd_ int file = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (file < 0 || fstat(file, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid == uid)
        return 0;
    return fchownat(file, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Give away files that a server with another id has left, or that were put back from a backup. */
static int give_files(int fd, uid_t uid, gid_t gid)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    int err = 0;

    if (!dir)
        return -errno;
    for (struct dirent *e; (e = readdir(dir));) {
        int failed = give_file(fd, e->d_name, uid, gid);
        err = err ? err : failed;
    }
    closedir(dir);
    return err;
}

/* Open for reading if the disk accepts no writes: synchronous runs need no store, and a lock needs
 * no writing. */
static int open_mark(int fd)
{
    int mark = openat(fd, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = mark < 0 ? -errno : 0;

    if (err == -EROFS)
        mark = openat(fd, lock_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return mark < 0 ? err : mark;
}

static int adopt(int fd, bool give, uid_t uid, gid_t gid)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    uid_t wanted = give ? uid : geteuid();
    if (!is_ours(fd))
        return -ENOTEMPTY;
    _cleanup_fd_ int mark = open_mark(fd);
    if (mark < 0)
        return mark;
    int err = give ? give_files(fd, uid, gid) : 0;
    if (err < 0 || (st.st_uid == wanted && (st.st_mode & 07777) == 0700))
        return err;
    if (give && fchown(fd, uid, gid) < 0)
        return -errno;
    return fchmod(fd, 0700) < 0 ? -errno : 0;
}

int state_open(const char *path, bool give, uid_t uid, gid_t gid, struct buf *error)
{
    int err = make_directories(path);
    _cleanup_fd_ int fd = err ? err : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0)
        err = adopt(fd, give, uid, gid);
    else if (err == 0)
        err = -errno;
    if (err == -ENOTEMPTY)
        return fail(error, err, "the state directory %s holds files that are not Hatchery's" NEXT_STEP, path);
    if (err)
        return fail(error, err, "the state directory %s cannot be used (%s)" NEXT_STEP, path, strerror(-err));
    return fd_steal(&fd);
}

/* The server's ids, also if it has never been started. */
static int server_user(const struct conf *conf, uid_t *ret_uid, gid_t *ret_gid, struct buf *error)
{
    *ret_uid = (uid_t) conf->isolation_id_base;
    *ret_gid = *ret_uid;
    if (!*conf->server_user)
        return 0;
    const struct passwd *entry = getpwnam(conf->server_user);
    if (!entry)
        return fail(error, -ENOENT, "server.user: '%s' is no user", conf->server_user);
    *ret_uid = entry->pw_uid;
    *ret_gid = entry->pw_gid;
    return 0;
}

static int make_configured(const struct conf *conf, const char *path, struct buf *error)
{
    uid_t uid = 0;
    gid_t gid = 0;
    int err = server_user(conf, &uid, &gid, error);

    return err ? err : state_open(path, geteuid() == 0, uid, gid, error);
}

int state_open_configured(const struct conf *conf, bool change, struct buf *error)
{
    _cleanup_buf_ struct buf path;

    buf_init(&path, 4096);
    int err = state_path(conf->server_state, &path, error);
    if (err)
        return err;
    if (!path.len)
        return fail(error, -ENOENT,
                    "server.state is none: there is no place for keys and environments; choose a directory with "
                    "--state DIR");
    _cleanup_fd_ int fd = open(buf_text(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno != ENOENT || !change))
        return fail(error, -errno, "the state directory %s cannot be opened (%s); name it with --state DIR",
                    buf_text(&path), strerror(errno));
    if (fd < 0)
        fd = make_configured(conf, buf_text(&path), error);
    if (fd < 0)
        return -ENOENT;
    return change && flock(fd, LOCK_EX) < 0 ? -errno : fd_steal(&fd);
}

static bool try_lock(int fd)
{
    const struct timespec wait = { .tv_nsec = LOCK_WAIT_MS * 1000000L };

    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        nanosleep(&wait, NULL);
    }
    return false;
}

int state_lock(int state_fd, const char *path, struct buf *error)
{
    _cleanup_fd_ int fd = open_mark(state_fd);
    char holder[32];

    if (fd < 0)
        return fail(error, fd, "the state directory %s cannot be written to (%s)" NEXT_STEP, path, strerror(-fd));
    if (!try_lock(fd)) {
        ssize_t len = pread(fd, holder, sizeof(holder) - 1, 0);
        holder[len > 0 ? len : 0] = '\0';
        holder[strspn(holder, "0123456789")] = '\0';
        return fail(error, -EBUSY,
                    "the state directory %s is in use by another Hatchery (process %s): stop that one, or give this "
                    "one a directory of its own: --state DIR, or HATCHERY_SERVER_STATE=DIR in the environment",
                    path, holder[0] ? holder : "unknown");
    }
    int n = snprintf(holder, sizeof(holder), "%d\n", (int) getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, holder, (size_t) n, 0) != n)
        errno = 0; /* a full or read-only disk: the holder's name is a courtesy, and the store
                    * reports the error */
    return fd_steal(&fd);
}
