/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own walls, run into from inside: each attempt is made by a child that has confined itself. */
#include "server/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { KILLED = 1000, FAILED = 1001 };

static char directory[] = "/tmp/hatchery-confine-XXXXXX";
static int listener;

static int error_of(long result)
{
    return result < 0 ? errno : 0;
}

static void *nothing(void *data)
{
    return data;
}

#define TRY(name, expression)                                                                                          \
    static int try_##name(void)                                                                                        \
    {                                                                                                                  \
        return error_of((long) (expression));                                                                          \
    }

/* what it needs */
TRY(state_write, open("jobs.db", O_RDWR | O_CREAT | O_CLOEXEC, 0600))
TRY(state_rename, rename("there", "there.new"))
TRY(accept, accept4(listener, NULL, NULL, SOCK_NONBLOCK))
TRY(memfd, memfd_create("body", MFD_CLOEXEC))
static int try_splice(void)
{
    int from[2], to[2];
    return pipe(from) || pipe(to) || write(from[1], "x", 1) != 1
               ? errno
               : error_of(splice(from[0], NULL, to[1], NULL, 1, SPLICE_F_NONBLOCK));
}
TRY(map, mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0)
static int try_thread(void)
{
    pthread_t thread;
    int err = pthread_create(&thread, NULL, nothing, NULL);
    return err ? err : pthread_join(thread, NULL);
}

TRY(nicer, setpriority(PRIO_PROCESS, 0, 1))
TRY(lock_record, fcntl(open("jobs.db", O_RDWR | O_CREAT, 0600), F_SETLK, &(struct flock){ .l_type = F_WRLCK }))

/* what it must not have */
TRY(lock, flock(open(".", O_RDONLY), LOCK_EX | LOCK_NB))
TRY(lease, fcntl(open("leased", O_RDONLY | O_CREAT, 0600), F_SETLEASE, F_RDLCK))
TRY(lease_wide, syscall(SYS_fcntl, open("leased", O_RDONLY | O_CREAT, 0600), 0x100000000 | F_SETLEASE, F_RDLCK))
TRY(read_passwd, open("/etc/passwd", O_RDONLY))
TRY(read_environ, open("/proc/self/environ", O_RDONLY))
TRY(list_root, open("/", O_RDONLY | O_DIRECTORY))
TRY(write_tmp, open("/tmp/hatchery-confine-out", O_WRONLY | O_CREAT, 0600))
TRY(climb, open("../hatchery-confine-out", O_WRONLY | O_CREAT, 0600))
TRY(tcp, socket(AF_INET, SOCK_STREAM, 0))
TRY(unix_socket, socket(AF_UNIX, SOCK_STREAM, 0))
TRY(connect, connect(listener, NULL, 0))
TRY(bind, bind(listener, NULL, 0))
TRY(listen, listen(listener, 1))
TRY(fork, syscall(SYS_fork))
TRY(vfork_like, syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))
TRY(namespace, syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */))
TRY(kill_others, kill(getppid(), 0))
TRY(nice_others, setpriority(PRIO_PROCESS, (id_t) getppid(), 1))
TRY(nice_group, setpriority(PRIO_PGRP, 0, 1))
TRY(nice_user, setpriority(PRIO_USER, 0, 1))
TRY(mount, mount("x", "/", "tmpfs", 0, NULL))
TRY(setuid, setuid(0))
TRY(prctl, syscall(SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0))
TRY(keyring, syscall(SYS_keyctl, 0, -3, 0, 0, 0))
TRY(bpf, syscall(SYS_bpf, 0, NULL, 0))
TRY(io_uring, syscall(SYS_io_uring_setup, 1, NULL))
static int try_exec(void)
{
    char *const argv[] = { NULL };
    return error_of(execve("/bin/true", argv, argv));
}
TRY(ptrace, syscall(SYS_ptrace, 0, 0, 0, 0))

static int confined(int (*attempt)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        const char *what;
        int state = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (state < 0 || server_confine(state, &what) < 0)
            _exit(255);
        _exit(attempt());
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? KILLED : FAILED;
    return WEXITSTATUS(status) == 255 ? FAILED : WEXITSTATUS(status);
}

static void test_attempts(void **state)
{
    static const struct {
        const char *name;
        int (*attempt)(void);
        int expected, unconfined; /* the latter: -1 where it is not to be tried */
    } attempts[] = {
        { "write the state", try_state_write, 0, 0 },
        { "rename in the state", try_state_rename, 0, -1 },
        { "accept", try_accept, EAGAIN, EAGAIN },
        { "memfd", try_memfd, 0, 0 },
        { "splice", try_splice, 0, 0 },
        { "memory", try_map, 0, 0 },
        { "thread", try_thread, 0, 0 },
        { "be nicer", try_nicer, 0, -1 },
        { "lock a record", try_lock_record, 0, 0 },
        { "lock the state directory", try_lock, EPERM, 0 },
        { "lease a file", try_lease, EPERM, 0 },
        { "lease a file, in 64 bits", try_lease_wide, EPERM, 0 },
        { "read /etc/passwd", try_read_passwd, EACCES, 0 },
        { "read /proc", try_read_environ, EACCES, 0 },
        { "list the root", try_list_root, EACCES, 0 },
        { "write elsewhere", try_write_tmp, EACCES, -1 },
        { "climb out of the state", try_climb, EACCES, -1 },
        { "tcp", try_tcp, EPERM, 0 },
        { "unix", try_unix_socket, EPERM, 0 },
        { "connect", try_connect, EPERM, -1 },
        { "bind", try_bind, EPERM, -1 },
        { "listen", try_listen, EPERM, 0 },
        { "fork", try_fork, EPERM, -1 },
        { "clone a process", try_vfork_like, EPERM, -1 },
        { "namespace", try_namespace, EPERM, -1 },
        { "signal others", try_kill_others, EPERM, 0 },
        { "nicer others", try_nice_others, EPERM, -1 },
        { "a nicer group", try_nice_group, EPERM, -1 },
        { "a nicer user", try_nice_user, EPERM, -1 },
        { "mount", try_mount, EPERM, -1 },
        { "setuid", try_setuid, EPERM, -1 },
        { "prctl", try_prctl, EPERM, 0 },
        { "keyring", try_keyring, EPERM, -1 },
        { "bpf", try_bpf, EPERM, -1 },
        { "io_uring", try_io_uring, EPERM, -1 },
        { "exec", try_exec, KILLED, -1 },
        { "ptrace", try_ptrace, KILLED, -1 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof(attempts) / sizeof(*attempts); i++) {
        int got = confined(attempts[i].attempt);
        if (got != attempts[i].expected)
            fail_msg("%s: %d instead of %d", attempts[i].name, got, attempts[i].expected);
        if (attempts[i].unconfined >= 0)
            assert_int_equal(attempts[i].attempt(), attempts[i].unconfined);
    }
}

static int set_up(void **state)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    (void) state;
    if (!mkdtemp(directory) || chdir(directory) < 0 || creat("there", 0600) < 0)
        return -1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return bind(listener, (struct sockaddr *) &any, sizeof(any)) < 0 || listen(listener, 1) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void) state;
    unlink("there");
    unlink("there.new");
    unlink("jobs.db");
    unlink("leased");
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_attempts) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
