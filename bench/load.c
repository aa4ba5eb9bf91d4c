/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-load: requests over HTTP/1.1, POST /v1/code/execute/python, from one thread, as it takes its time from the same
 * cores as the server; what it takes itself is printed. bench.py and the soak call it.
 * Without --pace-us the loop is closed: each connection sends, waits for the whole reply, checks it, and sends the next.
 * With it one request is due each so many microseconds, whichever connection is free; where none is, the time is counted
 * from when the request was due. With --burst each connection sends once, all at the same moment, from which all of the
 * times are counted.
 * With --restarts the server may be away for a while: who is refused a connection or answered 503 is counted by itself.
 * A request counts only if its reply has the right status and says exactly what the program prints (workload.c);
 * everything else is an error, the first of which is shown. What the clock sees is what a client sees: from before the
 * first byte out (with --close, before the connect) to the last byte in. Requests are built once; nothing is allocated
 * in the loop but room for a longer reply or more latencies.
 */
#include "measure.h"
#include "workload.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PATH "/v1/code/execute/python"
#define DEFAULT_MIX "W1"
#define HEAD_MAX ((size_t) 16 * 1024)
#define BODY_MAX ((size_t) 64 * 1024 * 1024)
#define CONNECTIONS_MAX 1024
#define KINDS_MAX 16
#define STALL_SECONDS 330 /* a silent server ends the bench; above the longest run the API allows */
#define HANG_UP_NS 50000000u

struct options {
    const char *url, *key, *code, *expect, *webhook, *runtime, *mix;
    long connections, pace_us, pause_ms, every_ms;
    bool close, burst, restarts;
    struct plan plan;
};

/* One program of the mix: its request, how often it is sent among the others, and what came of it. */
struct kind {
    struct workload workload;
    unsigned weight;
    char *request;
    size_t request_len;
    char status[sizeof("HTTP/1.1 200 ")]; /* how a right reply begins */
    struct latencies latencies;
    size_t said; /* of them, in lines of --every */
    long errors, hung_up, away;
};

/* What all connections share. */
struct load {
    struct kind kinds[KINDS_MAX];
    unsigned n_kinds, weights;
    uint64_t random;
    struct sockaddr_storage address;
    socklen_t address_len;
    int epoll_fd;
    bool close, restarts;
    struct conn *idle;        /* connections with no request under way, where requests are paced */
    uint64_t phase_ns;        /* when the phase began */
    long tickets;             /* requests still to be started, where deadline_ns is 0 */
    uint64_t deadline_ns;     /* no request is started after this */
    uint64_t pace_ns, due_ns; /* pace_ns 0: the loop is closed */
    uint64_t burst_ns;        /* not 0: every request is counted from then */
    uint64_t every_ns, told_ns;
    long active;  /* connections with a request under way */
    long leaving; /* those of them that will hang up */
    bool error_shown;
};

/* One connection. buf holds the reply being read and is always NUL-terminated. */
struct conn {
    struct load *load;
    struct kind *kind; /* of the request under way */
    struct conn *next_idle;
    int fd;
    bool busy; /* with a request under way */
    char *buf;
    size_t len, room;
    size_t head_len, reply_len; /* 0: not known yet */
    uint64_t start_ns;
    uint64_t leave_ns; /* when it hangs up; 0: it doesn't */
};

static void die(const char *what)
{
    fprintf(stderr, "bench-load: %s\n", what);
    exit(2);
}

/* Setting up: the address and the requests */

static char *make_body(const struct workload *workload, const char *webhook, size_t *ret_len)
{
    char *body = NULL, *code = workload_json(workload->code);
    FILE *out = open_memstream(&body, ret_len);

    if (out == NULL)
        die("out of memory");
    fprintf(out, "{\"code\": %s", code);
    free(code);
    if (workload->timeout_s != 0)
        fprintf(out, ", \"timeout\": %ld", workload->timeout_s);
    if (webhook != NULL) {
        char *url = workload_json(webhook);

        fprintf(out, ", \"webhook_url\": %s", url);
        free(url);
    }
    fputs("}", out);
    if (fclose(out) != 0)
        die("out of memory");
    return body;
}

static void make_request(struct kind *kind, const char *host, const char *path, const struct options *options)
{
    const struct workload *workload = &kind->workload;
    size_t body_len;
    char *body = make_body(workload, options->webhook, &body_len);
    FILE *out = open_memstream(&kind->request, &kind->request_len);

    if (out == NULL)
        die("out of memory");
    fprintf(out, "POST %s HTTP/1.1\r\nHost: %s\r\nx-api-key: %s\r\n", path, host, options->key);
    if (workload->numpy && options->runtime != NULL)
        fprintf(out, "X-Runtime: %s\r\n", options->runtime);
    if (options->close)
        fputs("Connection: close\r\n", out);
    fprintf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body_len);
    fwrite(body, 1, body_len, out);
    if (fclose(out) != 0)
        die("out of memory");
    free(body);
    snprintf(kind->status, sizeof(kind->status), "HTTP/1.1 %3d ", options->webhook != NULL ? 202 : workload->status);
}

/* Only addresses: a look-up has no place in a bench. */
static void resolve(struct load *load, const char *host, const char *port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        die("--url: an IPv4 address and a port are needed, as in http://127.0.0.1:8080");
    memcpy(&load->address, found->ai_addr, found->ai_addrlen);
    load->address_len = found->ai_addrlen;
    freeaddrinfo(found);
}

/* --code: one program that the caller has made, whose reply holds what the caller says. */
static void add_own(struct load *load, const struct options *options)
{
    struct kind *kind = &load->kinds[load->n_kinds++];

    kind->workload =
        (struct workload){ .name = "own", .code = strdup(options->code), .contains = options->expect, .status = 200 };
    load->weights = kind->weight = 1;
}

/* "W1", or "W1:40,W2:6,cancel:1": names and how often each among the others. */
static void add_mix(struct load *load, const char *mix)
{
    char *copy = strdup(mix), *rest = copy;

    for (char *entry; (entry = strsep(&rest, ",")) != NULL;) {
        struct kind *kind = &load->kinds[load->n_kinds];
        char *weight = strchr(entry, ':');

        if (weight != NULL)
            *weight++ = '\0';
        if (load->n_kinds == KINDS_MAX || !workload_make(entry, &kind->workload))
            die("--mix: W1 to W6, timeout, crash, memory and cancel are known, each with :WEIGHT or without");
        kind->weight = weight != NULL ? (unsigned) measure_number("mix", weight, 1) : 1;
        load->weights += kind->weight;
        load->n_kinds++;
    }
    free(copy);
}

static void prepare(struct load *load, const struct options *options)
{
    char host[128] = "", *colon;
    const char *authority, *path;
    size_t len;

    if (strncmp(options->url, "http://", 7) != 0)
        die("--url: must begin with http://");
    authority = options->url + 7;
    len = strcspn(authority, "/");
    if (len >= sizeof(host))
        die("--url: the host is too long");
    path = authority[len] == '\0' || authority[len + 1] == '\0' ? DEFAULT_PATH : authority + len;
    memcpy(host, authority, len);
    if (options->code != NULL)
        add_own(load, options);
    else
        add_mix(load, options->mix);
    for (unsigned i = 0; i < load->n_kinds; i++)
        make_request(&load->kinds[i], host, path, options);
    colon = strrchr(host, ':');
    if (colon != NULL)
        *colon = '\0';
    resolve(load, host, colon != NULL ? colon + 1 : "80");
    load->close = options->close;
    load->restarts = options->restarts;
    load->random = 1;
}

/* One exchange. These return NULL, or in words what went wrong. */

static void conn_close(struct conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
}

static const char *conn_open(struct conn *conn)
{
    const struct load *load = conn->load;
    struct timeval stall = { .tv_sec = STALL_SECONDS };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = conn };
    int on = 1;

    conn->fd = socket(load->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        return strerrordesc_np(errno);
    if (setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0
        || setsockopt(conn->fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall)) < 0
        || connect(conn->fd, (const struct sockaddr *) &load->address, load->address_len) < 0
        || epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
        const char *wrong = strerrordesc_np(errno);

        conn_close(conn);
        return wrong;
    }
    return NULL;
}

static const char *send_request(const struct conn *conn)
{
    const char *at = conn->kind->request;
    size_t left = conn->kind->request_len;

    while (left > 0) {
        ssize_t sent = send(conn->fd, at, left, MSG_NOSIGNAL);

        if (sent < 0)
            return strerrordesc_np(errno);
        at += sent;
        left -= (size_t) sent;
    }
    return NULL;
}

static const char *make_room(struct conn *conn, size_t room)
{
    char *larger;

    if (room <= conn->room)
        return NULL;
    larger = realloc(conn->buf, room + 1);
    if (larger == NULL)
        return "out of memory";
    conn->buf = larger;
    conn->room = room;
    return NULL;
}

/* Read what has come, at most to the end of the buffer. */
static const char *receive(struct conn *conn)
{
    ssize_t got = recv(conn->fd, conn->buf + conn->len, conn->room - conn->len, 0);

    if (got < 0)
        return strerrordesc_np(errno);
    if (got == 0)
        return "the server closed the connection before the end of its reply";
    conn->len += (size_t) got;
    conn->buf[conn->len] = '\0';
    return NULL;
}

/* The value of the header @name between @head and @end, or NULL. */
static const char *find_header(const char *head, const char *end, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = strstr(head, "\r\n"); line != NULL && line < end; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':')
            return line + 2 + len + 1 + strspn(line + 2 + len + 1, " \t");
    return NULL;
}

static const char *read_content_length(const struct conn *conn, size_t head_len, size_t *ret_body_len)
{
    const char *text = find_header(conn->buf, conn->buf + head_len - 4, "Content-Length");
    unsigned long long length;
    char *end;

    if (text == NULL || *text < '0' || *text > '9')
        return "a reply without Content-Length";
    length = strtoull(text, &end, 10);
    if (end[strspn(end, " \t")] != '\r' || length > BODY_MAX)
        return "a Content-Length that is no number of at most 64 MiB";
    *ret_body_len = (size_t) length;
    return NULL;
}

/* Once the head is complete it is known how long the reply is. */
static const char *look_at_head(struct conn *conn)
{
    const char *end = memmem(conn->buf, conn->len, "\r\n\r\n", 4), *wrong;
    size_t body_len = 0;

    if (end == NULL)
        return conn->len < HEAD_MAX ? NULL : "a head of more than 16 KiB";
    conn->head_len = (size_t) (end - conn->buf) + 4;
    wrong = read_content_length(conn, conn->head_len, &body_len);
    conn->reply_len = conn->head_len + body_len;
    return wrong != NULL ? wrong : make_room(conn, conn->reply_len);
}

/* Read what has come of the reply. */
static const char *read_reply(struct conn *conn)
{
    const char *wrong = make_room(conn, HEAD_MAX);

    if (wrong == NULL)
        wrong = receive(conn);
    if (wrong == NULL && conn->reply_len == 0)
        wrong = look_at_head(conn);
    if (wrong == NULL && conn->reply_len != 0 && conn->len > conn->reply_len)
        wrong = "bytes after the end of the reply";
    return wrong;
}

/* Whether the reply just read is the right one. */
static const char *check_reply(const struct conn *conn)
{
    const struct workload *workload = &conn->kind->workload;
    const char *body = conn->buf + conn->head_len;
    size_t len = conn->len - conn->head_len;

    if (strncmp(conn->buf, conn->kind->status, strlen(conn->kind->status)) != 0)
        return "not the expected status";
    if (workload->contains != NULL && memmem(body, len, workload->contains, strlen(workload->contains)) == NULL)
        return "a body without the expected text";
    if (workload->stdout_json != NULL && !workload_stdout_is(body, len, workload->stdout_json))
        return "not the expected stdout";
    return NULL;
}

static bool wants_close(const struct conn *conn)
{
    const char *value = find_header(conn->buf, conn->buf + conn->head_len - 4, "Connection");
    return conn->load->close || (value != NULL && strncasecmp(value, "close", 5) == 0);
}

/* The loop */

static void show_first_error(struct conn *conn, const char *wrong)
{
    conn->kind->errors++;
    if (conn->load->error_shown)
        return;
    conn->load->error_shown = true;
    fprintf(stderr, "bench-load: first error (%s): %s\n", conn->kind->workload.name, wrong);
    if (conn->len > 0)
        fprintf(stderr, "%.1000s\n", conn->buf);
}

static bool may_start(const struct load *load, uint64_t now_ns)
{
    if (load->deadline_ns != 0)
        return (load->pace_ns != 0 ? load->due_ns : now_ns) < load->deadline_ns;
    return load->tickets > 0;
}

/* By weight, in an order that is the same each time (Knuth's MMIX generator). */
static struct kind *choose(struct load *load)
{
    unsigned at;

    if (load->n_kinds == 1)
        return &load->kinds[0];
    load->random = load->random * 6364136223846793005u + 1442695040888963407u;
    at = (unsigned) (load->random >> 33) % load->weights;
    for (struct kind *kind = load->kinds;; kind++) {
        if (at < kind->weight)
            return kind;
        at -= kind->weight;
    }
}

/* From when the request's time is counted: where it is late because no connection was free, from when it was due. */
static uint64_t time_of_start(struct load *load, uint64_t now_ns, bool waited)
{
    uint64_t due_ns = load->due_ns;

    if (load->burst_ns != 0)
        return load->burst_ns;
    if (load->pace_ns == 0)
        return now_ns;
    load->due_ns += load->pace_ns;
    return waited ? due_ns : now_ns;
}

/* The server may have closed a connection while nothing was asked of it, as any client finds out before it sends. */
static void drop_if_closed(struct conn *conn)
{
    char byte;

    if (conn->load->pace_ns != 0 && conn->fd >= 0 && recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        conn_close(conn);
}

static bool is_refused(const struct conn *conn, const char *wrong)
{
    return conn->load->restarts && conn->fd < 0 && strcmp(wrong, strerrordesc_np(ECONNREFUSED)) == 0;
}

/* Send a request. A connection that can't be had is that request's end. @waited: it was due before. */
static bool send_next(struct conn *conn, uint64_t now_ns, bool waited)
{
    struct load *load = conn->load;
    const char *wrong = NULL;

    load->tickets--;
    conn->kind = choose(load);
    conn->start_ns = time_of_start(load, now_ns, waited);
    conn->len = conn->head_len = conn->reply_len = 0;
    drop_if_closed(conn);
    if (conn->fd < 0)
        wrong = conn_open(conn);
    if (wrong == NULL) {
        wrong = send_request(conn);
        if (wrong != NULL)
            conn_close(conn);
    }
    if (wrong != NULL && is_refused(conn, wrong)) {
        conn->kind->away++;
        return false;
    }
    if (wrong != NULL) {
        show_first_error(conn, wrong);
        return false;
    }
    conn->busy = true;
    load->active++;
    if (conn->kind->workload.hangs_up) {
        conn->leave_ns = now_ns + HANG_UP_NS;
        load->leaving++;
    }
    return true;
}

/* The connection is free: it takes what is due, or waits for it. Errors of a server that is gone end the loop by the
 * tickets and the deadline alone, as each counts. */
static void conn_go_on(struct conn *conn)
{
    struct load *load = conn->load;

    for (;;) {
        uint64_t now_ns = measure_now_ns();

        if (load->pace_ns != 0 && (load->due_ns > now_ns || !may_start(load, now_ns))) {
            conn->next_idle = load->idle;
            load->idle = conn;
            return;
        }
        if (!may_start(load, now_ns) || send_next(conn, now_ns, true))
            return;
    }
}

static void on_due(struct load *load)
{
    uint64_t now_ns;

    while (load->idle != NULL && load->due_ns <= (now_ns = measure_now_ns()) && may_start(load, now_ns)) {
        struct conn *conn = load->idle;

        load->idle = conn->next_idle;
        if (!send_next(conn, now_ns, false))
            conn_go_on(conn);
    }
}

static bool says_away(const struct conn *conn)
{
    return conn->load->restarts && strncmp(conn->buf, "HTTP/1.1 503 ", 13) == 0;
}

static void on_readable(struct conn *conn)
{
    const char *wrong;
    bool broken;

    if (!conn->busy) {
        conn_close(conn);
        return;
    }
    wrong = read_reply(conn);
    broken = wrong != NULL;
    if (!broken && (conn->reply_len == 0 || conn->len < conn->reply_len))
        return;
    uint64_t took_ns = measure_now_ns() - conn->start_ns;
    if (!broken)
        wrong = conn->leave_ns != 0 ? "a reply to a program that sleeps" : check_reply(conn);
    if (wrong != NULL && !broken && says_away(conn))
        conn->kind->away++;
    else if (wrong != NULL)
        show_first_error(conn, wrong);
    else
        latencies_add(&conn->kind->latencies, took_ns);
    if (broken || wants_close(conn))
        conn_close(conn);
    conn->busy = false;
    conn->load->active--;
    conn->load->leaving -= conn->leave_ns != 0;
    conn->leave_ns = 0;
    conn_go_on(conn);
}

/* Clients that hang up do so now, where it is time. */
static void hang_up(struct load *load, struct conn *conns, long count)
{
    uint64_t now_ns = measure_now_ns();

    for (long i = 0; i < count && load->leaving > 0; i++) {
        struct conn *conn = &conns[i];

        if (conn->leave_ns == 0 || conn->leave_ns > now_ns)
            continue;
        conn->leave_ns = 0;
        conn->kind->hung_up++;
        conn_close(conn);
        conn->busy = false;
        load->leaving--;
        load->active--;
        conn_go_on(conn);
    }
}

/* How long nothing is to be done but read: -1: for ever. */
static int64_t time_left_ns(const struct load *load)
{
    uint64_t now_ns = measure_now_ns();
    int64_t left_ns = load->leaving > 0 ? 2000000 : (int64_t) STALL_SECONDS * 1000000000;

    if (load->idle != NULL && load->pace_ns != 0 && may_start(load, now_ns)) {
        int64_t due_ns = (int64_t) (load->due_ns - now_ns);
        left_ns = due_ns < left_ns ? due_ns : left_ns;
    }
    return left_ns > 0 ? left_ns : 0;
}

/* A line for each program, of what has come since the last ones. */
static void tell(struct load *load)
{
    uint64_t now_ns = measure_now_ns();

    if (load->every_ns == 0 || now_ns - load->told_ns < load->every_ns)
        return;
    for (unsigned i = 0; i < load->n_kinds; i++) {
        struct kind *kind = &load->kinds[i];
        struct latencies part = { .ns = kind->latencies.ns + kind->said, .count = kind->latencies.count - kind->said };

        kind->said = kind->latencies.count;
        measure_print(kind->workload.name, &part, kind->errors, now_ns - load->told_ns, 0);
    }
    fflush(stdout);
    load->told_ns = now_ns;
}

static bool is_over(const struct load *load)
{
    return load->active == 0 && (load->pace_ns == 0 || !may_start(load, measure_now_ns()));
}

/* Let all connections work until the tickets or the seconds are used up. Returns the time that took. */
static uint64_t run_phase(struct load *load, struct conn *conns, long count, long requests, long ms)
{
    struct epoll_event events[64];

    load->phase_ns = load->told_ns = load->due_ns = measure_now_ns();
    load->tickets = requests;
    load->deadline_ns = ms > 0 ? load->phase_ns + (uint64_t) ms * 1000000u : 0;
    load->idle = NULL;
    for (long i = 0; i < count; i++)
        conn_go_on(&conns[i]);
    while (!is_over(load)) {
        int64_t left_ns = time_left_ns(load);
        struct timespec timeout = { .tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000 };
        int n = epoll_pwait2(load->epoll_fd, events, 64, &timeout, NULL);

        if (n < 0 && errno == EINTR) /* it was stopped and goes on */
            continue;
        if (n < 0 || (n == 0 && timeout.tv_sec >= STALL_SECONDS))
            die(n == 0 ? "the server fell silent" : strerrordesc_np(errno));
        for (int i = 0; i < n; i++)
            on_readable(events[i].data.ptr);
        hang_up(load, conns, count);
        on_due(load);
        tell(load);
    }
    return measure_now_ns() - load->phase_ns;
}

/* Forget what the warm-up measured; its errors stay. */
static void forget(struct load *load)
{
    for (unsigned i = 0; i < load->n_kinds; i++)
        load->kinds[i].latencies.count = load->kinds[i].said = 0;
}

static void open_all(struct conn *conns, long count)
{
    for (long i = 0; i < count; i++)
        if (conns[i].fd < 0 && conn_open(&conns[i]) != NULL)
            die("a connection can't be had");
}

/* Warm up, rest, and measure. */
static uint64_t work(struct load *load, struct conn *conns, long count, const struct options *options)
{
    run_phase(load, conns, count, options->plan.warmup, 0);
    forget(load);
    if (options->burst)
        open_all(conns, count);
    if (options->pause_ms > 0)
        usleep((useconds_t) options->pause_ms * 1000);
    load->pace_ns = (uint64_t) options->pace_us * 1000;
    load->every_ns = (uint64_t) options->every_ms * 1000000u;
    load->burst_ns = options->burst ? measure_now_ns() : 0;
    return run_phase(load, conns, count, options->burst ? count : options->plan.requests,
                     options->burst ? 0 : options->plan.ms);
}

/* A line for each program where there are several, and one for all. */
static int report(struct load *load, uint64_t elapsed_ns, uint64_t cpu_ns)
{
    struct latencies all = { 0 };
    long errors = 0, hung_up = 0, away = 0;
    int status;

    for (unsigned i = 0; i < load->n_kinds; i++) {
        struct kind *kind = &load->kinds[i];

        latencies_append(&all, &kind->latencies);
        errors += kind->errors;
        hung_up += kind->hung_up;
        away += kind->away;
        if (load->n_kinds > 1)
            measure_print(kind->workload.name, &kind->latencies, kind->errors, elapsed_ns, 0);
        latencies_free(&kind->latencies);
        free(kind->request);
    }
    if (hung_up > 0)
        printf("{\"hung_up\": %ld}\n", hung_up);
    if (load->restarts)
        printf("{\"away\": %ld}\n", away);
    status = measure_print(NULL, &all, errors, elapsed_ns, cpu_ns);
    latencies_free(&all);
    return status;
}

static int run(struct load *load, const struct options *options)
{
    long count = options->connections;
    struct conn *conns = calloc((size_t) count, sizeof(conns[0]));
    uint64_t elapsed_ns, cpu_ns;

    if (conns == NULL)
        die("out of memory");
    for (long i = 0; i < count; i++)
        conns[i] = (struct conn){ .load = load, .fd = -1, .kind = load->kinds };
    cpu_ns = measure_cpu_ns();
    elapsed_ns = work(load, conns, count, options);
    cpu_ns = measure_cpu_ns() - cpu_ns;
    for (long i = 0; i < count; i++) {
        conn_close(&conns[i]);
        free(conns[i].buf);
    }
    free(conns);
    return report(load, elapsed_ns, cpu_ns);
}

/* The command line */

static const struct option option_table[] = {
    { "url", required_argument, NULL, 'u' },
    { "key", required_argument, NULL, 'k' },
    { "mix", required_argument, NULL, 'm' },
    { "runtime", required_argument, NULL, 'r' },
    { "code", required_argument, NULL, 'p' },
    { "webhook", required_argument, NULL, 'h' },
    { "expect", required_argument, NULL, 'e' },
    { "requests", required_argument, NULL, 'n' },
    { "seconds", required_argument, NULL, 's' },
    { "warmup", required_argument, NULL, 'w' },
    { "connections", required_argument, NULL, 'c' },
    { "pace-us", required_argument, NULL, 'a' },
    { "pause-ms", required_argument, NULL, 'i' },
    { "every", required_argument, NULL, 'v' },
    { "close", no_argument, NULL, 'C' },
    { "burst", no_argument, NULL, 'B' },
    { "restarts", no_argument, NULL, 'R' },
    { NULL, 0, NULL, 0 },
};

static const char usage[] =
    "usage: bench-load --url http://ADDR:PORT --key KEY [--connections N] [--close] [--restarts]\n"
    "                  [--mix NAME[:WEIGHT],...] [--runtime NAME] [--pace-us N | --burst]\n"
    "                  [--requests N | --seconds S] [--warmup N] [--pause-ms N] [--every S]\n"
    "                  [--code CODE --expect TEXT [--webhook URL]]\n";

static void take_option(struct options *options, int option)
{
    switch (option) {
    case 'u': options->url = optarg; break;
    case 'k': options->key = optarg; break;
    case 'm': options->mix = optarg; break;
    case 'r': options->runtime = optarg; break;
    case 'p': options->code = optarg; break;
    case 'h': options->webhook = optarg; break;
    case 'e': options->expect = optarg; break;
    case 'n': options->plan.requests = measure_number("requests", optarg, 1); break;
    case 's': options->plan.ms = measure_seconds_ms("seconds", optarg); break;
    case 'w': options->plan.warmup = measure_number("warmup", optarg, 0); break;
    case 'c': options->connections = measure_number("connections", optarg, 1); break;
    case 'a': options->pace_us = measure_number("pace-us", optarg, 1); break;
    case 'i': options->pause_ms = measure_number("pause-ms", optarg, 0); break;
    case 'v': options->every_ms = measure_seconds_ms("every", optarg); break;
    case 'C': options->close = true; break;
    case 'B': options->burst = true; break;
    case 'R': options->restarts = true; break;
    default: fputs(usage, stderr); exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options options = { .connections = 1, .mix = DEFAULT_MIX };
    static struct load load;
    int option;

    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    options.plan.requests = 1000;
    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1)
        take_option(&options, option);
    if (options.url == NULL || options.key == NULL || optind != argc || options.connections > CONNECTIONS_MAX
        || (options.code == NULL) != (options.expect == NULL)) {
        fputs(usage, stderr);
        return 2;
    }
    prepare(&load, &options);
    return run(&load, &options);
}
