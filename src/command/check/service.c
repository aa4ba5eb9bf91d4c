/* SPDX-License-Identifier: Apache-2.0 */
/* A short-lived Hatchery of our own.
 *
 * selftest.c calls this file.  It forks the supervisor from this process and sends requests over
 * its unix socket.  What must never happen here: that something of the service is left behind, or
 * that an answer that an attacker made blocks us for ever. */
#include "command/check/service.h"

#include "base/clock.h"
#include "base/fd.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_S = 60, REPLY_MAX = 64 << 20 };

static void path_of(const struct service *service, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", service->directory, name);
}

static int set(struct conf *conf, const char *section, const char *key, const char *value, struct buf *error)
{
    return conf_set(conf, section, key, value, error);
}

_Noreturn static void become_supervisor(const struct service *service, const struct conf *conf, pid_t parent)
{
    const struct supervisor_options options = { .conf = conf, .source_fd = -1, .require = service->require };
    char path[128];

    path_of(service, "log", path, sizeof(path));
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0
        || prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0 || getppid() != parent)
        _exit(EXIT_FAILURE);
    setsid(); /* Ctrl-C is for the parent, which stops us */
    _exit(supervisor_run(&options));
}

static int connect_to(const struct service *service)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    path_of(service, "socket", address.sun_path, sizeof(address.sun_path));
    if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
        return -errno;
    return fd_steal(&fd);
}

/* The service listens before its first box is warm. A request then waits for that box. */
static int await_listener(struct service *service, struct buf *error)
{
    int64_t end = now_us() + START_S * 1000000LL;

    for (;;) {
        _cleanup_fd_ int fd = connect_to(service);
        int status;
        if (fd >= 0)
            return 0;
        if (waitpid(service->pid, &status, WNOHANG) == service->pid) {
            service->pid = 0;
            buf_adds(error, "it did not start:\n");
            service_log(service, error);
            return -EIO;
        }
        if (now_us() > end)
            return fail(error, -ETIMEDOUT, "it did not listen within %d s", START_S);
        poll(NULL, 0, 5);
    }
}

int service_start(struct service *service, struct conf *conf, struct buf *error)
{
    unsigned char bytes[24];
    char listen[128];

    *service = (struct service){ .directory = "/tmp/hatchery-check-XXXXXX", .require = require_shared() };
    if (!service->require) {
        service->directory[0] = '\0';
        return fail(error, -ENOMEM, "there is no memory for it");
    }
    if (!mkdtemp(service->directory)) {
        int err = fail(error, -errno, "%s: %s", service->directory, strerror(errno));
        service->directory[0] = '\0';
        return err;
    }
    randombytes_buf(bytes, sizeof(bytes));
    sodium_bin2base64(service->key, sizeof(service->key), bytes, sizeof(bytes),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(listen, sizeof(listen), "unix:%s/socket", service->directory);
    int err = set(conf, "server", "listen", listen, error);
    if (err)
        return err;
    err = set(conf, "server", "api_key", service->key, error);
    if (err)
        return err;
    pid_t parent = getpid();
    service->pid = fork();
    if (service->pid == 0)
        become_supervisor(service, conf, parent);
    if (service->pid < 0) {
        service->pid = 0;
        return fail(error, -errno, "fork: %s", strerror(errno));
    }
    return await_listener(service, error);
}

void service_stop(struct service *service)
{
    static const char *const names[] = { "socket", "log" };
    char path[128];

    if (service->pid > 0) {
        kill(service->pid, SIGTERM);
        kill(service->pid, SIGINT); /* the second signal: running programs are not waited for */
        while (waitpid(service->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        service->pid = 0;
    }
    if (service->require)
        munmap(service->require, sizeof(*service->require));
    service->require = NULL;
    if (!service->directory[0])
        return;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        path_of(service, names[i], path, sizeof(path));
        unlink(path);
    }
    rmdir(service->directory);
    service->directory[0] = '\0';
}

void service_log(const struct service *service, struct buf *out)
{
    char path[128], text[16384];

    path_of(service, "log", path, sizeof(path));
    ssize_t n = fd_read_file(AT_FDCWD, path, text, sizeof(text));
    buf_add(out, text, n > 0 ? (size_t) n : 0);
}

static int send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return -errno;
        p += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t) sent : 0;
    }
    return 0;
}

int service_ask(const struct service *service, const char *code, int timeout_s)
{
    json_t *body = json_pack("{s:s, s:i}", "code", code, "timeout", timeout_s);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct buf request;

    json_decref(body);
    if (!text)
        return -EINVAL;
    buf_init(&request, strlen(text) + 1024);
    buf_addf(&request,
             "POST /v1/code/execute/python HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: %s\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             service->key, strlen(text), text);
    free(text);
    _cleanup_fd_ int fd = connect_to(service);
    int err = fd < 0 ? fd : send_all(fd, request.data, request.len);
    buf_free(&request);
    return err < 0 ? err : fd_steal(&fd);
}

/* The server closes the connection after its reply. */
static int read_to_end(int fd, int64_t end_us, struct buf *out)
{
    for (;;) {
        int64_t left_ms = (end_us - now_us()) / 1000;
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (left_ms <= 0 || poll(&p, 1, (int) left_ms) == 0)
            return -ETIMEDOUT;
        char *room = buf_room(out, 65536);
        if (!room)
            return -EMSGSIZE;
        ssize_t n = read(fd, room, 65536);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        out->len += n > 0 ? (size_t) n : 0;
    }
}

char *service_tame(const char *text)
{
    size_t n = 0;
    char *out = xmalloc(2 * strlen(text) + 1);

    for (const char *p = text; *p; p++) {
        if (p[0] == '\\' && p[1] == 'u' && (p[2] == 'd' || p[2] == 'D') && p[3] && strchr("89abcdefABCDEF", p[3]))
            out[n++] = '\\';
        else if (p[0] == '\\' && p[1]) /* an escaped backslash is not the beginning of the next
                                        * escape */
            out[n++] = *p++;
        out[n++] = *p;
    }
    out[n] = '\0';
    return out;
}

int service_reply(int fd, int wait_s, json_t **ret)
{
    _cleanup_fd_ int owned = fd;
    _cleanup_buf_ struct buf text;
    int status = 0;

    buf_init(&text, REPLY_MAX);
    int err = read_to_end(owned, now_us() + wait_s * 1000000LL, &text);
    if (err)
        return err;
    const char *body = strstr(buf_text(&text), "\r\n\r\n");
    if (!body || sscanf(buf_text(&text), "HTTP/1.1 %3d ", &status) != 1)
        return -EPROTO;
    char *tame = service_tame(body + 4);
    *ret = json_loads(tame, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    free(tame);
    return *ret ? status : -EPROTO;
}
