/* SPDX-License-Identifier: Apache-2.0 */
/* The courier's own walls, run into from inside: each attempt is made by a child that has confined itself. */
#include "courier/confine.h"

#include "base/kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { OPEN_FILES = 64, KILLED = 1000 };

static int error_of(long result)
{
    return result < 0 ? errno : 0;
}

static int try_socket(int family, int type, int protocol)
{
    return error_of(socket(family, type, protocol));
}

static int try_tcp(void)
{
    return try_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
}
static int try_udp6(void)
{
    return try_socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
}
static int try_unix(void)
{
    return try_socket(AF_UNIX, SOCK_STREAM, 0);
}
static int try_netlink(void)
{
    return try_socket(AF_NETLINK, SOCK_DGRAM, 0);
}
static int try_vsock(void)
{
    return try_socket(AF_VSOCK, SOCK_STREAM, 0);
}
static int try_raw(void)
{
    return try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}
static int try_ping(void)
{
    return try_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}

static int try_bind(void)
{
    const struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return error_of(bind(fd, (const struct sockaddr *) &any, sizeof(any)));
}
/* listen(2) binds by itself */
static int try_listen(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return error_of(listen(fd, 1));
}
static int try_accept(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return error_of(accept(fd, NULL, NULL));
}

static int try_read_hosts(void)
{
    return error_of(open("/etc/hosts", O_RDONLY));
}
static int try_read_proc(void)
{
    return error_of(open("/proc/self/environ", O_RDONLY));
}
static int try_read_root(void)
{
    return error_of(open("/", O_RDONLY | O_DIRECTORY));
}
static int try_write(void)
{
    return error_of(open("/tmp/hatchery-courier-test", O_WRONLY | O_CREAT, 0600));
}
static int try_append(void)
{
    return error_of(open("/dev/null", O_RDWR));
}
static int try_unlink(void)
{
    return error_of(unlink("/tmp/hatchery-courier-test"));
}
static int try_memfd(void)
{
    return error_of(memfd_create("x", 0));
}

static void *nothing(void *data)
{
    return data;
}
static int try_thread(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL);
}
static int try_fork(void)
{
    return error_of(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
}
static int try_namespace(void)
{
    return error_of(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
}
static int try_unshare(void)
{
    return error_of(unshare(CLONE_NEWUSER));
}
static int try_exec(void)
{
    char *const none[] = { NULL };
    return error_of(execve("/bin/true", none, none));
}
static int try_kill(void)
{
    return error_of(kill(getppid(), 0));
}
static int try_ptrace(void)
{
    return error_of(syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, getppid(), 0, 0));
}
static int try_prctl(void)
{
    return error_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int try_files(void)
{
    int error = 0;

    for (int i = 0; i <= OPEN_FILES && !error; i++)
        error = error_of(open("/etc/hosts", O_RDONLY));
    return error;
}
static int try_raise_limit(void)
{
    const struct rlimit limit = { 1000, 1000 };
    return error_of(setrlimit(RLIMIT_NOFILE, &limit));
}

/* The errno of @attempt made in a child with the walls, 0 for success, KILLED. */
static int inside(int (*attempt)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        const char *what;
        if (courier_confine(OPEN_FILES, &what) < 0) {
            dprintf(2, "%s: %s\n", what, strerror(errno));
            _exit(200);
        }
        _exit(attempt());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        return KILLED;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_walls(void **state)
{
    static const struct {
        const char *name;
        int (*attempt)(void);
        int wanted;
    } cases[] = {
        { "TCP", try_tcp, 0 },
        { "UDP over IPv6", try_udp6, 0 },
        { "thread", try_thread, 0 },
        { "read /etc/hosts", try_read_hosts, 0 },
        { "AF_UNIX", try_unix, EPERM },
        { "AF_NETLINK", try_netlink, EPERM },
        { "AF_VSOCK", try_vsock, EPERM },
        { "raw socket", try_raw, EPERM },
        { "ICMP socket", try_ping, EPERM },
        { "bind UDP", try_bind, 0 },
        { "listen", try_listen, EPERM },
        { "accept", try_accept, EPERM },
        { "make a file", try_write, EPERM },
        { "open to write", try_append, EPERM },
        { "unlink", try_unlink, EPERM },
        { "memfd", try_memfd, EPERM },
        { "fork", try_fork, EPERM },
        { "namespace", try_namespace, EPERM },
        { "unshare", try_unshare, EPERM },
        { "kill", try_kill, EPERM },
        { "prctl", try_prctl, EPERM },
        { "limit of files", try_files, EMFILE },
        { "raise the limit", try_raise_limit, EPERM },
        { "execve", try_exec, KILLED },
        { "ptrace", try_ptrace, KILLED },
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int got = inside(cases[i].attempt);
        if (got != cases[i].wanted)
            fail_msg("%s: %d instead of %d", cases[i].name, got, cases[i].wanted);
    }
}

static void test_files(void **state)
{
    (void) state;
    if (kernel_landlock_create(NULL, 0, KERNEL_LANDLOCK_CREATE_VERSION) < 0)
        skip();
    assert_int_equal(inside(try_read_proc), EACCES);
    assert_int_equal(inside(try_read_root), EACCES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walls),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
