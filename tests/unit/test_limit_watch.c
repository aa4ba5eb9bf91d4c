/* SPDX-License-Identifier: Apache-2.0 */
/* The watch that stands in for cgroups: which processes it takes in. */
#include "supervisor/limit_watch.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A box that its server has let go of ends while it asks: that is in order, and not to be told as an error. */
static void test_join(void **state)
{
    const struct wire_limits limits = { .memory_bytes = 1 << 20, .processes = 4 };
    struct limit_watch *w = limit_watch_new(1, &limits);
    siginfo_t info;
    int status;

    (void) state;
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    assert_int_equal(limit_watch_join(w, 0, pid), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(limit_watch_join(w, 0, pid), -ESRCH); /* dead, and not reaped */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(limit_watch_join(w, 0, pid), -ESRCH);
    limit_watch_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_join) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
