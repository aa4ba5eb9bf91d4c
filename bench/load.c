/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-load: a closed loop over HTTP/1.1 keep-alive. Each connection sends POST /v1/code/execute/python, waits for
 * the whole reply, checks it, and sends the next; one thread serves them all, as it takes its time from the same cores
 * as the server. bench.py calls it.
 * A request counts only if its reply is a 200 (with --webhook, a 202) whose body holds the expected text; everything
 * else is an error, the first of which is shown. What the clock sees is what a client sees: from before the first byte out (and the
 * connect, where the server closes after each reply) to the last byte in. The request is built once; nothing is
 * allocated in the loop but room for a longer reply or more latencies.
 */
#include "measure.h"

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
#include <unistd.h>

#define DEFAULT_PATH "/v1/code/execute/python"
#define DEFAULT_CODE "print(\"Hello, World!\")"
#define DEFAULT_EXPECT "Hello, World!"
#define HEAD_MAX ((size_t) 16 * 1024)
#define BODY_MAX ((size_t) 64 * 1024 * 1024)
#define CONNECTIONS_MAX 1024
#define STALL_SECONDS 330 /* a silent server ends the bench; above the longest run the API allows */

struct options {
    const char *url, *key, *code, *expect, *webhook;
    long connections;
    struct plan plan;
};

/* What all connections share. */
struct load {
    const char *expect, *status; /* how a right reply begins, and what its body holds */
    char *request;
    size_t request_len;
    struct sockaddr_storage address;
    socklen_t address_len;
    int epoll_fd;
    long tickets;         /* requests still to be started, where deadline_ns is 0 */
    uint64_t deadline_ns; /* no request is started after this */
    long active;          /* connections with a request under way */
    bool error_shown;
};

/* One connection. buf holds the reply being read and is always NUL-terminated. */
struct conn {
    struct load *load;
    int fd;
    char *buf;
    size_t len, room;
    size_t head_len, reply_len; /* 0: not known yet */
    uint64_t start_ns;
    struct latencies latencies;
    long errors;
};

static void die(const char *what)
{
    fprintf(stderr, "bench-load: %s\n", what);
    exit(2);
}

/* Setting up: the address and the request */

static void write_json_string(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char) *text;

        if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static char *make_body(const char *code, const char *webhook, size_t *ret_len)
{
    char *body = NULL;
    FILE *out = open_memstream(&body, ret_len);

    if (out == NULL)
        die("out of memory");
    fputs("{\"code\": ", out);
    write_json_string(out, code);
    if (webhook != NULL) {
        fputs(", \"webhook_url\": ", out);
        write_json_string(out, webhook);
    }
    fputs("}", out);
    if (fclose(out) != 0)
        die("out of memory");
    return body;
}

static void make_request(struct load *load, const char *host, const char *path, const struct options *options)
{
    size_t body_len;
    char *body = make_body(options->code, options->webhook, &body_len);
    FILE *out = open_memstream(&load->request, &load->request_len);

    if (out == NULL)
        die("out of memory");
    fprintf(out, "POST %s HTTP/1.1\r\nHost: %s\r\nx-api-key: %s\r\n", path, host, options->key);
    fprintf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body_len);
    fwrite(body, 1, body_len, out);
    if (fclose(out) != 0)
        die("out of memory");
    free(body);
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
    make_request(load, host, path, options);
    colon = strrchr(host, ':');
    if (colon != NULL)
        *colon = '\0';
    resolve(load, host, colon != NULL ? colon + 1 : "80");
    load->expect = options->expect;
    load->status = options->webhook != NULL ? "HTTP/1.1 202 " : "HTTP/1.1 200 ";
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
    const char *at = conn->load->request;
    size_t left = conn->load->request_len;

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
static const char *check_reply(const struct conn *conn, size_t head_len)
{
    const char *expect = conn->load->expect;

    if (strncmp(conn->buf, conn->load->status, strlen(conn->load->status)) != 0)
        return "a status other than 200 (or 202)";
    if (memmem(conn->buf + head_len, conn->len - head_len, expect, strlen(expect)) == NULL)
        return "a body without the expected text";
    return NULL;
}

static bool wants_close(const struct conn *conn)
{
    const char *value = find_header(conn->buf, conn->buf + conn->head_len - 4, "Connection");
    return value != NULL && strncasecmp(value, "close", 5) == 0;
}

/* The loop */

static void show_first_error(struct conn *conn, const char *wrong)
{
    conn->errors++;
    if (conn->load->error_shown)
        return;
    conn->load->error_shown = true;
    fprintf(stderr, "bench-load: first error: %s\n", wrong);
    if (conn->len > 0)
        fprintf(stderr, "%.1000s\n", conn->buf);
}

static bool may_start(struct load *load)
{
    if (load->deadline_ns != 0)
        return measure_now_ns() < load->deadline_ns;
    return load->tickets-- > 0;
}

/* Send the next request, if there is one. A connection that can't be had ends. */
static void conn_start(struct conn *conn)
{
    const char *wrong = NULL;

    conn->load->active--;
    do {
        if (!may_start(conn->load))
            return;
        conn->start_ns = measure_now_ns();
        conn->len = conn->head_len = conn->reply_len = 0;
        wrong = conn->fd < 0 ? conn_open(conn) : NULL;
        if (wrong != NULL) {
            show_first_error(conn, wrong);
            return;
        }
        wrong = send_request(conn);
        if (wrong != NULL) {
            show_first_error(conn, wrong);
            conn_close(conn);
        }
    } while (wrong != NULL);
    conn->load->active++;
}

static void on_readable(struct conn *conn)
{
    const char *wrong = read_reply(conn);
    bool broken = wrong != NULL;

    if (!broken && (conn->reply_len == 0 || conn->len < conn->reply_len))
        return;
    uint64_t took_ns = measure_now_ns() - conn->start_ns;
    if (!broken)
        wrong = check_reply(conn, conn->head_len);
    if (wrong != NULL)
        show_first_error(conn, wrong);
    else
        latencies_add(&conn->latencies, took_ns);
    if (broken || wants_close(conn))
        conn_close(conn);
    conn_start(conn);
}

/* Let all connections work until the tickets or the seconds are used up. Returns the time that took. */
static uint64_t run_phase(struct load *load, struct conn *conns, long count, long requests, long seconds)
{
    struct epoll_event events[64];
    uint64_t start_ns = measure_now_ns();

    load->tickets = requests;
    load->deadline_ns = seconds > 0 ? start_ns + (uint64_t) seconds * 1000000000u : 0;
    load->active = count;
    for (long i = 0; i < count; i++)
        conn_start(&conns[i]);
    while (load->active > 0) {
        int n = epoll_wait(load->epoll_fd, events, 64, STALL_SECONDS * 1000);
        if (n <= 0)
            die(n == 0 ? "the server fell silent" : strerrordesc_np(errno));
        for (int i = 0; i < n; i++)
            on_readable(events[i].data.ptr);
    }
    return measure_now_ns() - start_ns;
}

/* Forget what the warm-up measured; its errors stay. */
static void forget(struct conn *conns, long count)
{
    for (long i = 0; i < count; i++)
        conns[i].latencies.count = 0;
}

/* Gather the latencies and end the connections. Returns the number of errors. */
static long gather(struct conn *conns, long count, struct latencies *all)
{
    long errors = 0;

    for (long i = 0; i < count; i++) {
        latencies_append(all, &conns[i].latencies);
        latencies_free(&conns[i].latencies);
        errors += conns[i].errors;
        conn_close(&conns[i]);
        free(conns[i].buf);
    }
    return errors;
}

static int run(struct load *load, long count, const struct plan *plan)
{
    struct conn *conns = calloc((size_t) count, sizeof(conns[0]));
    struct latencies all = { 0 };
    uint64_t elapsed_ns;
    long errors;
    int status;

    if (conns == NULL)
        die("out of memory");
    for (long i = 0; i < count; i++)
        conns[i] = (struct conn){ .load = load, .fd = -1 };
    run_phase(load, conns, count, plan->warmup, 0);
    forget(conns, count);
    elapsed_ns = run_phase(load, conns, count, plan->requests, plan->seconds);
    errors = gather(conns, count, &all);
    status = measure_print(&all, errors, elapsed_ns);
    latencies_free(&all);
    free(conns);
    return status;
}

/* The command line */

static const struct option option_table[] = {
    { "url", required_argument, NULL, 'u' },         { "key", required_argument, NULL, 'k' },
    { "code", required_argument, NULL, 'p' },        { "webhook", required_argument, NULL, 'h' },
    { "expect", required_argument, NULL, 'e' },      { "requests", required_argument, NULL, 'n' },
    { "seconds", required_argument, NULL, 's' },     { "warmup", required_argument, NULL, 'w' },
    { "connections", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 },
};

static const char usage[] = "usage: bench-load --url http://ADDR:PORT --key KEY [--connections N]\n"
                            "                  [--requests N | --seconds S] [--warmup N]\n"
                            "                  [--code CODE] [--expect TEXT] [--webhook URL]\n";

static void take_option(struct options *options, int option)
{
    switch (option) {
    case 'u': options->url = optarg; break;
    case 'k': options->key = optarg; break;
    case 'p': options->code = optarg; break;
    case 'h': options->webhook = optarg; break;
    case 'e': options->expect = optarg; break;
    case 'n': options->plan.requests = measure_number("requests", optarg, 1); break;
    case 's': options->plan.seconds = measure_number("seconds", optarg, 1); break;
    case 'w': options->plan.warmup = measure_number("warmup", optarg, 0); break;
    case 'c': options->connections = measure_number("connections", optarg, 1); break;
    default: fputs(usage, stderr); exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options options = { .code = DEFAULT_CODE, .expect = DEFAULT_EXPECT, .connections = 1 };
    struct load load = { .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
    int option, status;

    options.plan.requests = 1000;
    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1)
        take_option(&options, option);
    if (options.url == NULL || options.key == NULL || optind != argc || options.connections > CONNECTIONS_MAX) {
        fputs(usage, stderr);
        return 2;
    }
    prepare(&load, &options);
    status = run(&load, options.connections, &options.plan);
    free(load.request);
    return status;
}
