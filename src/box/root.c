/* SPDX-License-Identifier: Apache-2.0 */
/* The root file system of the jail: a read-only tmpfs with read-only binds of the files that Python
 * needs, five device nodes, and an empty place for each box's scratch space.
 *
 * Built once for each zygote, in the namespaces that its boxes inherit.  Each box's own mount
 * namespace is then a cheap copy with one more tmpfs.
 *
 * The files are the host's, or those of a directory of the service's own.  With such a directory
 * the jail shares no page of the page cache with a program outside of it.  No procfs, no /sys, no
 * cgroupfs: a procfs would bring /proc/self/mem, which ignores page protections, and every
 * process's memory maps.  /proc has a few files that tell the box's limits. */
#include "box/box.h"

#include "base/fd.h"
#include "base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Every kernel can mount here, and nothing below it is needed any more. */
#define STAGE "/tmp"

enum { KERNEL_MOVE_MOUNT_F_EMPTY_PATH = 4 }; /* move_mount(2), Linux 5.2 */

static const char *const binds[] = {
    "/usr/lib",
    "/usr/lib64",
    "/usr/bin",
    "/usr/share/zoneinfo",
    "/usr/share/python3",
    "/usr/share/matplotlib",
    "/usr/share/fonts",
    "/usr/share/tcltk",
    "/usr/share/nltk_data",
    "/etc/fonts",
    "/etc/alternatives", /* libblas.so.3 and liblapack.so.3 go through it */
    "/etc/ld.so.cache",
    "/etc/matplotlibrc",
    "/etc/mime.types",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
};

static const char *const copies[] = { "/etc/ssl/certs/ca-certificates.crt" };

static const struct {
    const char *target, *path;
} links[] = {
    { "usr/bin", "/bin" },     { "usr/lib", "/lib" },          { "usr/lib64", "/lib64" },
    { "run/box/tmp", "/tmp" }, { "/run/box/shm", "/dev/shm" }, { HOME_DIR, "/mnt/data" },
};

static const struct {
    const char *path, *text;
} files[] = {
    { "/etc/passwd", "root:x:0:0:root:/:/usr/sbin/nologin\n" },
    { "/etc/group", "root:x:0:\n" },
    { "/etc/hosts", "127.0.0.1 localhost box\n" },
    { "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n" },
};

static int in_stage(char *buf, size_t size, const char *path)
{
    int n = snprintf(buf, size, STAGE "%s", path);
    return n > 0 && (size_t) n < size ? 0 : -ENAMETOOLONG;
}

/* mkdir -p for the directories above @path, which is below STAGE. */
static int make_parents(char *path)
{
    for (char *p = path + strlen(STAGE) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        int failed = mkdir(path, 0755) < 0 && errno != EEXIST;
        *p = '/';
        if (failed)
            return -errno;
    }
    return 0;
}

/* The path of @path in the stage, in @buf; makes the directories above it. */
static int make_place(char *buf, size_t size, const char *path)
{
    int err = in_stage(buf, size, path);
    return err ? err : make_parents(buf);
}

/* Show @from, or the mount @tree, at @path. */
static int bind_at(const char *from, int tree, const char *path, const struct stat *st)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
    char target[256];

    int err = make_place(target, sizeof(target), path);
    if (err < 0)
        return err;
    if (S_ISDIR(st->st_mode) ? mkdir(target, 0755) < 0 : mknod(target, S_IFREG | 0644, 0) < 0)
        return -errno;
    bool moved = tree >= 0 && syscall(SYS_move_mount, tree, "", AT_FDCWD, target, KERNEL_MOVE_MOUNT_F_EMPTY_PATH) == 0;
    if (!moved && mount(from, target, NULL, MS_BIND | MS_REC, NULL) < 0)
        return -errno;
    /* The node is the host's own. A read-only mount lets programs write to the device but not
     * change its times. */
    if (S_ISCHR(st->st_mode))
        attr.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    return kernel_mount_setattr(AT_FDCWD, target, AT_RECURSIVE, &attr) < 0 ? -errno : 0;
}

/* @source takes the place of "/". For the host's root it is "". */
static int bind_one(const char *source, const char *path)
{
    char from[PATH_MAX];
    struct stat st;

    bool device = strncmp(path, "/dev/", 5) == 0;
    if (snprintf(from, sizeof(from), "%s%s", device ? "" : source, path) >= (int) sizeof(from))
        return -ENAMETOOLONG;
    if (lstat(from, &st) < 0 || S_ISLNK(st.st_mode))
        return 0; /* not on this host: nothing to show */
    return bind_at(from, -1, path, &st);
}

/* @fd is a mount that is not attached anywhere yet, or a directory. */
static int bind_packages(int fd)
{
    char from[64];
    struct stat st;

    if (fd < 0)
        return 0;
    snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
    return fstat(fd, &st) < 0 ? -errno : bind_at(from, fd, PACKAGES_DIR, &st);
}

/* Public data that programs look for. A copy costs each box nothing; a mount would cost
 * something. */
static int copy_one(const char *source, const char *path)
{
    enum { COPY_MAX = 2 << 20 };
    char from[PATH_MAX], target[256];
    struct stat st;

    if (snprintf(from, sizeof(from), "%s%s", source, path) >= (int) sizeof(from))
        return -ENAMETOOLONG;
    _cleanup_fd_ int in = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > COPY_MAX)
        return 0; /* not on this host: nothing to show */
    int err = make_place(target, sizeof(target), path);
    if (err < 0)
        return err;
    _cleanup_fd_ int out = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    for (off_t at = 0; out >= 0 && at < st.st_size;)
        if (sendfile(out, in, &at, (size_t) (st.st_size - at)) <= 0)
            break;
    return out < 0 ? -errno : 0;
}

static int write_one(const char *path, const char *text)
{
    char target[256];
    int err = make_place(target, sizeof(target), path);
    if (err < 0)
        return err;
    int fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t) strlen(text) ? 0 : -EIO;
}

/* Give a program in any slot a user name: getpass, pathlib and many others ask getpwuid(3) for
 * it. */
static int add_ids(const char *path, bool users)
{
    char target[256];
    int err = in_stage(target, sizeof(target), path);
    if (err < 0)
        return err;
    FILE *f = fopen(target, "ae");
    if (!f)
        return -errno;
    for (unsigned id = BOX_ID_BASE; id < BOX_ID_BASE + WIRE_SLOTS_MAX; id++)
        if (users)
            fprintf(f, "box:x:%u:%u:box:" HOME_DIR ":/bin/sh\n", id, id);
        else
            fprintf(f, "box:x:%u:\n", id);
    bool failed = ferror(f);
    return fclose(f) != 0 || failed ? -EIO : 0;
}

/* A program that reads /proc for memory and processors finds the box's limits, and no load. */
static int write_proc(const struct wire_limits *limits)
{
    enum { TEXT = 16384 };
    static char text[TEXT];
    cpu_set_t set;
    int64_t cores = (limits->cpu_percent + 99) / 100, kb = limits->memory_bytes / 1024;
    int n = 0;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) < cores)
        cores = CPU_COUNT(&set);
    cores = cores > 64 ? 64 : cores;
    for (int64_t i = 0; i < cores; i++)
        n += snprintf(text + n, (size_t) (TEXT - n),
                      "processor\t: %lld\nphysical id\t: 0\nsiblings\t: %lld\ncore id\t\t: %lld\ncpu cores\t: %lld\n\n",
                      (long long) i, (long long) cores, (long long) i, (long long) cores);
    int err = write_one("/proc/cpuinfo", text);
    n = snprintf(text, TEXT, "cpu  0 0 0 0 0 0 0 0 0 0\n");
    for (int64_t i = 0; i < cores; i++)
        n += snprintf(text + n, (size_t) (TEXT - n), "cpu%lld 0 0 0 0 0 0 0 0 0 0\n", (long long) i);
    snprintf(text + n, (size_t) (TEXT - n),
             "intr 0\nctxt 0\nbtime %lld\nprocesses 1\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n",
             (long long) time(NULL));
    err = err ? err : write_one("/proc/stat", text);
    snprintf(
        text, TEXT,
        "MemTotal:       %8lld kB\nMemFree:        %8lld kB\nMemAvailable:   %8lld kB\nBuffers:               0 kB\n"
        "Cached:                0 kB\nSwapCached:            0 kB\nActive:                0 kB\n"
        "Inactive:              0 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n"
        "Shmem:                 0 kB\nSlab:                  0 kB\nSReclaimable:          0 kB\n",
        (long long) kb, (long long) kb, (long long) kb);
    return err ? err : write_one("/proc/meminfo", text);
}

static int link_one(const char *target, const char *path)
{
    char place[256];
    int err = make_place(place, sizeof(place), path);

    if (err)
        return err;
    return symlink(target, place) < 0 ? -errno : 0;
}

static int bind_all(const char *source, const struct box_root *root, const char **ret_what)
{
    char path[256];
    int err = 0;

    for (size_t i = 0; i < sizeof(binds) / sizeof(*binds) && !err; i++) {
        *ret_what = binds[i];
        err = bind_one(source, binds[i]);
    }
    if (err)
        return err;
    *ret_what = PACKAGES_DIR;
    err = bind_packages(root->packages_fd);
    for (unsigned i = 0; i < root->n_shares && !err; i++) {
        *ret_what = "/usr/share";
        snprintf(path, sizeof(path), "/usr/share/%s", root->shares[i]);
        err = bind_one(source, path);
    }
    return err;
}

static int copy_all(const char *source, const struct box_root *root, const char **ret_what)
{
    int err = 0;

    for (size_t i = 0; i < sizeof(copies) / sizeof(*copies) && !err; i++) {
        *ret_what = copies[i];
        err = copy_one(source, copies[i]);
    }
    if (err || !root->limits)
        return err;
    *ret_what = "/proc";
    return write_proc(root->limits);
}

static int link_all(const char **ret_what)
{
    int err = 0;

    for (size_t i = 0; i < sizeof(links) / sizeof(*links) && !err; i++) {
        *ret_what = links[i].path;
        err = link_one(links[i].target, links[i].path);
    }
    return err;
}

static int write_all(const char **ret_what)
{
    int err = 0;

    for (size_t i = 0; i < sizeof(files) / sizeof(*files) && !err; i++) {
        *ret_what = files[i].path;
        err = write_one(files[i].path, files[i].text);
    }
    if (err)
        return err;
    err = add_ids("/etc/passwd", true);
    return err ? err : add_ids("/etc/group", false);
}

static int make_scratch_place(const char **ret_what)
{
    *ret_what = "/run/box";
    return mkdir(STAGE "/run", 0755) < 0 || mkdir(STAGE "/run/box", 0755) < 0 ? -errno : 0;
}

static int fill_stage(const char *source, const struct box_root *root, const char **ret_what)
{
    int err = bind_all(source, root, ret_what);

    if (err)
        return err;
    err = copy_all(source, root, ret_what);
    if (err)
        return err;
    err = link_all(ret_what);
    if (err)
        return err;
    err = write_all(ret_what);
    return err ? err : make_scratch_place(ret_what);
}

/* pivot_root(2), "pivot_root(".", ".")": the old root is stacked on the new one and detached. */
static int enter_stage(const char **ret_what)
{
    *ret_what = "pivot_root";
    if (chdir(STAGE) < 0 || kernel_pivot_root(".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return -errno;
    *ret_what = "read-only root";
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        return -errno;
    return 0;
}

int box_root_build(const struct box_root *root, const char **ret_what)
{
    char source[64] = ""; /* by descriptor, because its path may be below a directory that the stage
                           * covers */

    umask(022);
    if (root->root_fd >= 0)
        snprintf(source, sizeof(source), "/proc/self/fd/%d", root->root_fd);
    *ret_what = "private mounts";
    if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
        return -errno;
    *ret_what = "tmpfs for the root";
    if (mount("root", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4m") < 0)
        return -errno;
    int err = fill_stage(source, root, ret_what);
    return err < 0 ? err : enter_stage(ret_what);
}
