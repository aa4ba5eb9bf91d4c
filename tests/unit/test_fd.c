/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: closed by scope, passed in messages, and never left over from a message that was refused. */
#include "base/fd.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Do both numbers mean the same file? */
static bool is_same(int a, int b)
{
    struct stat sa, sb;

    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static void make_pair(int pair[2], int flags)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0, pair), 0);
}

static void close_pair(int pair[2])
{
    fd_close(&pair[0]);
    fd_close(&pair[1]);
}

static void test_close(void **state)
{
    int fd = dup(0), none = -1;

    (void) state;
    int number = fd;
    errno = ENOTTY;
    fd_close(&none);
    fd_close(&fd);
    assert_int_equal(fd, -1);
    assert_false(is_open(number));
    fd = 1 << 20; /* close(2) fails */
    errno = ENOTTY;
    fd_close(&fd);
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(fd, -1);
}

static int open_and_leave(void)
{
    _cleanup_fd_ int fd = dup(0);
    return fd;
}

static int open_and_steal(void)
{
    _cleanup_fd_ int fd = dup(0);
    return fd_steal(&fd);
}

static void test_scope(void **state)
{
    (void) state;
    assert_false(is_open(open_and_leave()));
    int fd = open_and_steal();
    assert_true(is_open(fd));
    int copy = fd_steal(&fd);
    assert_int_equal(fd, -1);
    close(copy);
}

static void test_pass(void **state)
{
    int pair[2], sent[FD_PASS_MAX], got[FD_PASS_MAX];
    char text[8];

    (void) state;
    make_pair(pair, 0);
    for (unsigned i = 0; i < FD_PASS_MAX; i++)
        sent[i] = i % 2 ? dup(pair[0]) : open("/dev/null", O_RDONLY);
    for (unsigned n = 0; n <= FD_PASS_MAX; n++) {
        assert_int_equal(fd_send(pair[0], "hello", 5, sent, n), 0);
        memset(got, 0, sizeof(got));
        assert_int_equal(fd_recv(pair[1], text, sizeof(text), got, FD_PASS_MAX, NULL), 5);
        assert_memory_equal(text, "hello", 5);
        for (unsigned i = 0; i < FD_PASS_MAX; i++) {
            if (i >= n) {
                assert_int_equal(got[i], -1);
                continue;
            }
            assert_true(is_open(sent[i]));
            assert_true(is_same(got[i], sent[i]));
            assert_int_equal(fcntl(got[i], F_GETFD), FD_CLOEXEC);
            close(got[i]);
        }
    }
    assert_int_equal(fd_send(pair[0], "hello", 5, sent, FD_PASS_MAX + 1), -EINVAL);
    for (unsigned i = 0; i < FD_PASS_MAX; i++)
        close(sent[i]);
    close_pair(pair);
}

/* A sender that is not our fd_send(). */
static void send_many(int sock, const char *msg, size_t size, int fd, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * 64)];
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *) (uintptr_t) msg, .iov_len = size };
    struct msghdr mh = { .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = CMSG_SPACE(sizeof(int) * n_fds) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
    for (unsigned i = 0; i < n_fds; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
    assert_int_equal(sendmsg(sock, &mh, MSG_NOSIGNAL), size);
}

/* Messages that are refused, and what must be left of their descriptors: nothing. */
static void test_refused(void **state)
{
    static const struct {
        size_t size; /* the message's; the receiver has room for 4 bytes */
        unsigned n_fds, max_fds;
        int result;
    } cases[] = {
        { 4, 1, 0, -EPROTO },      { 4, 2, 1, -EPROTO },  { 4, 8, 7, -EPROTO },   { 4, 9, 8, -EPROTO },
        { 4, 30, 8, -EPROTO },     { 4, 30, 1, -EPROTO }, { 5, 0, 8, -EMSGSIZE }, { 5, 3, 8, -EMSGSIZE },
        { 5000, 8, 8, -EMSGSIZE }, { 0, 3, 8, 0 },
    };
    static const char text[5000];

    (void) state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int pair[2], got[FD_PASS_MAX];
        char room[4];
        make_pair(pair, 0);
        unsigned before = open_fds();
        if (cases[i].n_fds)
            send_many(pair[0], text, cases[i].size, 0, cases[i].n_fds);
        else
            assert_int_equal(fd_send(pair[0], text, cases[i].size, NULL, 0), 0);
        ssize_t n = fd_recv(pair[1], room, sizeof(room), got, cases[i].max_fds, NULL);
        if (n != cases[i].result)
            fail_msg("case %u: %zd", i, n);
        for (unsigned j = 0; j < cases[i].max_fds; j++)
            assert_int_equal(got[j], -1);
        if (open_fds() != before)
            fail_msg("case %u leaves descriptors open", i);
        close_pair(pair);
    }
}

static void test_ends(void **state)
{
    int pair[2];
    char text[4];

    (void) state;
    make_pair(pair, SOCK_NONBLOCK);
    assert_int_equal(fd_recv(pair[1], text, sizeof(text), NULL, 0, NULL), -EAGAIN);
    while (fd_send(pair[0], "abc", 3, NULL, 0) == 0)
        ;
    assert_int_equal(fd_send(pair[0], "abc", 3, NULL, 0), -EAGAIN);
    fd_close(&pair[0]);
    while (fd_recv(pair[1], text, sizeof(text), NULL, 0, NULL) == 3)
        ;
    assert_int_equal(fd_recv(pair[1], text, sizeof(text), NULL, 0, NULL), 0);
    assert_int_equal(fd_send(pair[1], "abc", 3, NULL, 0), -EPIPE); /* and no signal */
    assert_int_equal(fd_recv(-1, text, sizeof(text), NULL, 0, NULL), -EBADF);
    assert_int_equal(fd_send(-1, "abc", 3, NULL, 0), -EBADF);
    close_pair(pair);
}

/* A socket whose flags another has changed does not make the sender wait. */
static void test_send_now(void **state)
{
    int pair[2];

    (void) state;
    make_pair(pair, 0);
    alarm(60); /* SIGALRM ends a test that waits */
    while (fd_send_now(pair[0], "abc", 3, NULL, 0) == 0)
        ;
    assert_int_equal(fd_send_now(pair[0], "abc", 3, NULL, 0), -EAGAIN);
    alarm(0);
    close_pair(pair);
}

static void test_credentials(void **state)
{
    int pair[2], on = 1, fd = -1;
    struct ucred cred = { 0 };
    char text[4];

    (void) state;
    make_pair(pair, 0);
    assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
    assert_int_equal(fd_send(pair[0], "abc", 3, &pair[0], 1), 0);
    assert_int_equal(fd_recv(pair[1], text, sizeof(text), &fd, 1, &cred), 3);
    assert_int_equal(cred.pid, getpid());
    assert_int_equal(cred.uid, getuid());
    assert_int_equal(cred.gid, getgid());
    assert_true(is_same(fd, pair[0]));
    fd_close(&fd);
    /* with credentials there is still room for all descriptors */
    int got[FD_PASS_MAX];
    send_many(pair[0], "abc", 3, 0, FD_PASS_MAX);
    assert_int_equal(fd_recv(pair[1], text, sizeof(text), got, FD_PASS_MAX, NULL), 3);
    for (unsigned i = 0; i < FD_PASS_MAX; i++)
        fd_close(&got[i]);
    close_pair(pair);
}

static void test_files(void **state)
{
    char dir_name[] = "/tmp/test_fd_XXXXXX", text[16];

    (void) state;
    assert_non_null(mkdtemp(dir_name));
    int dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fd_write_file(dir, "a", "x"), -ENOENT); /* it makes none */
    assert_int_equal(fd_read_file(dir, "a", text, sizeof(text)), -ENOENT);
    close(openat(dir, "a", O_CREAT | O_WRONLY, 0600));
    assert_int_equal(fd_read_file(dir, "a", text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_int_equal(fd_write_file(dir, "a", "0123456789abcdef"), 0);
    assert_int_equal(fd_read_file(dir, "a", text, sizeof(text)), 15);
    assert_string_equal(text, "0123456789abcde");
    assert_int_equal(fd_read_file(dir, "a", text, 1), 0);
    assert_string_equal(text, "");
    assert_int_equal(symlinkat("a", dir, "link"), 0);
    assert_int_equal(fd_write_file(dir, "link", "y"), -ELOOP); /* no link is followed to what it names */
    assert_int_equal(fd_read_file(dir, ".", text, sizeof(text)), -EISDIR);
    unlinkat(dir, "link", 0);
    unlinkat(dir, "a", 0);
    close(dir);
    rmdir(dir_name);
    assert_true(fd_read_file(AT_FDCWD, "/proc/self/stat", text, sizeof(text)) == 15);
    unsigned before = open_fds();
    assert_int_equal(fd_write_file(AT_FDCWD, "/proc/self/comm", "test"), 0);
    assert_int_equal(fd_write_file(AT_FDCWD, "/proc/self/oom_score_adj", "nonsense"), -EINVAL);
    assert_int_equal(open_fds(), before);
}

static void test_clock(void **state)
{
    struct timespec ts;

    (void) state;
    int64_t before = now_us();
    clock_gettime(CLOCK_MONOTONIC, &ts);
    int64_t after = now_us();
    int64_t now = (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
    assert_true(before <= now && now <= after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close),       cmocka_unit_test(test_scope), cmocka_unit_test(test_pass),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_ends),  cmocka_unit_test(test_send_now),
        cmocka_unit_test(test_credentials), cmocka_unit_test(test_files), cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
