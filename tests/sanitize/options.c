/* SPDX-License-Identifier: Apache-2.0 */
/* How a sanitized hatchery or hatchery-server behaves: their environment is empty, so it is said here. */

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    /* Leaks are the unit tests' business: at its exit the server can't be looked at, it is not dumpable. */
    return "detect_leaks=0:abort_on_error=1";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "halt_on_error=1:abort_on_error=1:print_stacktrace=1";
}
