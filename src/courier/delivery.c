/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt: a POST by libcurl, and its result.
 *
 * The courier's loop calls this file.  What must never happen here: a connection to an address that
 * the guard did not see, a redirect that is followed, a proxy, credentials of any kind, more than a
 * few KiB of an answer, or a log line with a path, a query or a body.  libcurl calls on_open() to
 * make the socket, and on_open() asks the guard for the address to which this very socket will
 * connect.  So a name that changes between two look-ups gains nothing. */
#include "courier/delivery.h"

#include "courier/own.h"
#include "courier/sign.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CONNECT_MS = 5000, ANSWER_MAX = 4096, HEAD_MAX = 65536, IDLE_S = 60, RETRY_AFTER_MAX_S = 30 * 86400 };

#define USER_AGENT "Hatchery/" VERSION

/* --- the order --- */

static bool is_terminated(const char *s, size_t size)
{
    return memchr(s, '\0', size) != NULL;
}

/* Text that goes into a header must be harmless there. The id is signed with dots around it. */
static bool has_only(const char *s, const char *allowed)
{
    return s[strspn(s, allowed)] == '\0';
}

#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static bool order_is_sound(const struct courier_order *order)
{
    return is_terminated(order->webhook_id, sizeof(order->webhook_id)) && order->webhook_id[0]
           && has_only(order->webhook_id, ALPHANUMERIC "-_")
           && is_terminated(order->traceparent, sizeof(order->traceparent))
           && has_only(order->traceparent, "0123456789abcdef-") && is_terminated(order->url, sizeof(order->url))
           && order->body_len <= SSIZE_MAX;
}

/* Without the seals the sender could still shorten the file, and reading it would then raise
 * SIGBUS. */
static int map_body(struct delivery *d, int fd)
{
    const int needed = F_SEAL_SHRINK | F_SEAL_WRITE;
    struct stat st;

    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & needed) != needed || fstat(fd, &st) < 0 || (uint64_t) st.st_size < d->order.body_len)
        return -EINVAL;
    if (d->order.body_len == 0) {
        d->body = "";
        return 0;
    }
    void *pages = mmap(NULL, d->order.body_len, PROT_READ, MAP_SHARED, fd, 0);
    if (pages == MAP_FAILED)
        return -errno;
    d->body = pages;
    return 0;
}

struct delivery *delivery_new(const struct courier_conf *conf, struct guard_allow *const *allow,
                              const struct courier_order *order, int body_fd)
{
    struct delivery *d = xcalloc(1, sizeof(*d));
    _cleanup_fd_ int fd = body_fd;
    _cleanup_buf_ struct buf error;

    buf_init(&error, sizeof(d->result.error) - 1);
    d->conf = conf;
    d->allow = allow;
    d->order = *order;
    if (!order_is_sound(order)) {
        delivery_fail(d, COURIER_REFUSED, "the order is malformed");
        return d;
    }
    if (map_body(d, fd) < 0) {
        delivery_fail(d, COURIER_FAILED, "the body could not be taken over");
        return d;
    }
    if (guard_url(*allow, d->order.url, &d->url, &error) < 0)
        delivery_fail(d, COURIER_REFUSED, error.len ? buf_text(&error) : "the URL is refused");
    return d;
}

struct delivery *delivery_free(struct delivery *d, CURLM *multi)
{
    if (!d)
        return NULL;
    if (d->easy) {
        curl_multi_remove_handle(multi, d->easy);
        curl_easy_cleanup(d->easy);
    }
    curl_slist_free_all(d->headers);
    guard_url_free(&d->url);
    if (d->body && d->order.body_len)
        munmap((void *) (uintptr_t) d->body, d->order.body_len);
    free(d);
    return NULL;
}

/* --- libcurl's callbacks --- */

static unsigned port_of(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *) (const void *) address)->sin6_port);
    return ntohs(((const struct sockaddr_in *) (const void *) address)->sin_port);
}

/* May it be connected to? */
static int judge(const struct delivery *d, const struct sockaddr *address, struct buf *error)
{
    int err = guard_address(*d->allow, d->url.host, address, error);

    if (err)
        return err;
    err = guard_port(*d->allow, port_of(address), error);
    if (err)
        return err;
    int own = own_address(address);
    if (own < 0)
        return fail(error, own, "the kernel did not say whether the address is this host's own");
    return own ? guard_own(*d->allow, d->url.host, address, error) : 0;
}

/* @address is libcurl's only copy, so the address that is checked is the one that is connected
 * to. */
static curl_socket_t on_open(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct delivery *d = data;
    _cleanup_buf_ struct buf error;

    buf_init(&error, sizeof(d->result.error) - 1);
    if (purpose != CURLSOCKTYPE_IPCXN)
        return CURL_SOCKET_BAD;
    if (judge(d, &address->addr, &error) < 0) {
        if (d->banned++ == 0)
            snprintf(d->result.error, sizeof(d->result.error), "%s", buf_text(&error));
        return CURL_SOCKET_BAD;
    }
    d->opened++;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_head(char *line, size_t size, size_t n, void *data)
{
    struct delivery *d = data;
    long status = 0;

    (void) size;
    d->head_bytes += n;
    if (d->head_bytes > HEAD_MAX)
        return 0;
    if (line[0] == '\r' || line[0] == '\n') {
        curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
        d->answered = d->answered || status >= 200;
    }
    return n;
}

/* Read a little, so that the connection can be used again after a short answer. Cut off a longer
 * one. */
static size_t on_answer(char *bytes, size_t size, size_t n, void *data)
{
    struct delivery *d = data;

    (void) bytes;
    (void) size;
    d->answer_bytes += n;
    return d->answer_bytes > ANSWER_MAX ? 0 : n;
}

/* --- the request --- */

static void add_header(struct delivery *d, const char *text)
{
    struct curl_slist *longer = curl_slist_append(d->headers, text);
    if (!longer)
        abort();
    d->headers = longer;
}

static void add_line(struct delivery *d, struct buf *line)
{
    if (line->full)
        abort();
    add_header(d, buf_text(line));
    buf_reset(line);
}

static void add_headers(struct delivery *d)
{
    enum { SIGNATURES_MAX = 64 * COURIER_SECRETS_MAX };
    int64_t now = (int64_t) time(NULL);
    _cleanup_buf_ struct buf line;

    buf_init(&line, SIGNATURES_MAX);
    add_header(d, "Content-Type: application/json");
    add_header(d, "Expect:"); /* no waiting for 100 Continue: it would cost a second before a large
                               * body */
    buf_addf(&line, "webhook-id: %s", d->order.webhook_id);
    add_line(d, &line);
    buf_addf(&line, "webhook-timestamp: %" PRId64, now);
    add_line(d, &line);
    if (d->conf->n_secrets) {
        buf_adds(&line, "webhook-signature: ");
        sign_webhook(d->conf, d->order.webhook_id, now, d->body, d->order.body_len, &line);
        add_line(d, &line);
    }
    if (d->order.traceparent[0]) {
        buf_addf(&line, "traceparent: %s", d->order.traceparent);
        add_line(d, &line);
    }
}

/* Set every option that a default, a build of libcurl or the environment could turn against us. */
static void set_options(struct delivery *d)
{
    CURL *easy = d->easy;
    const char *scheme = d->url.tls ? "https" : "http";
    long timeout_ms = (long) d->conf->timeout_ms;
    CURLcode err = curl_easy_setopt(easy, CURLOPT_CURLU, d->url.handle);

#define SET(option, value) err = err ? err : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_PRIVATE, d);
    SET(CURLOPT_PROTOCOLS_STR, scheme);
    SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
    /* libcurl parses the certificate store once and keeps it, but only if the store is a single
     * file. */
    if (curl_version_info(CURLVERSION_NOW)->cainfo)
        SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_CA_CACHE_TIMEOUT, 3600L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);        /* without it the end of an attempt would wait for a
                                         * resolver that does not answer */
    SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* finds a receiver that has moved */
    SET(CURLOPT_TIMEOUT_MS, timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, timeout_ms < CONNECT_MS ? timeout_ms : (long) CONNECT_MS);
    SET(CURLOPT_MAXAGE_CONN, (long) IDLE_S);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(CURLOPT_OPENSOCKETDATA, d);
    SET(CURLOPT_HEADERFUNCTION, on_head);
    SET(CURLOPT_HEADERDATA, d);
    SET(CURLOPT_WRITEFUNCTION, on_answer);
    SET(CURLOPT_WRITEDATA, d);
    SET(CURLOPT_ERRORBUFFER, d->tls_error);
    SET(CURLOPT_USERAGENT, USER_AGENT);
    SET(CURLOPT_HTTPHEADER, d->headers);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) d->order.body_len);
    SET(CURLOPT_POSTFIELDS, d->body);
#undef SET
    if (err) /* this libcurl lacks one of these options */
        abort();
}

void delivery_start(struct delivery *d, CURLM *multi)
{
    d->start_us = now_us();
    d->easy = curl_easy_init();
    if (!d->easy)
        abort();
    add_headers(d);
    set_options(d);
    if (curl_multi_add_handle(multi, d->easy) != CURLM_OK)
        abort();
}

/* --- the result --- */

static void log_attempt(const struct delivery *d)
{
    const struct courier_result *r = &d->result;

    log_info("webhook attempt",
             LOG_I("delivery", r->delivery) LOG_S("webhook_id", d->order.webhook_id)
                 LOG_S("host", d->url.host[0] ? d->url.host : NULL) LOG_S("address", r->address[0] ? r->address : NULL)
                     LOG_I("status", r->status) LOG_US("duration", r->duration_us)
                         LOG_S("error", r->error[0] ? r->error : NULL));
}

static void set_result(struct delivery *d, enum courier_verdict verdict)
{
    d->result.type = COURIER_RESULT;
    d->result.delivery = d->order.delivery;
    d->result.verdict = verdict;
    d->result.retry_after_s = -1;
}

void delivery_fail(struct delivery *d, enum courier_verdict verdict, const char *error)
{
    set_result(d, verdict);
    snprintf(d->result.error, sizeof(d->result.error), "%s", error);
    if (!is_terminated(d->order.webhook_id, sizeof(d->order.webhook_id)))
        d->order.webhook_id[0] = '\0';
    log_attempt(d);
}

/* RFC 9110 section 10.2.3: a number of seconds or a date.  -1 for anything else. */
static int64_t read_retry_after(const char *value)
{
    size_t digits = strspn(value, "0123456789");
    int64_t seconds;

    if (digits && !value[digits])
        seconds = digits > 9 ? RETRY_AFTER_MAX_S : (int64_t) strtol(value, NULL, 10);
    else {
        time_t date = curl_getdate(value, NULL);
        if (date < 0)
            return -1;
        seconds = (int64_t) date - (int64_t) time(NULL);
    }
    if (seconds < 0)
        seconds = 0;
    return seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S;
}

static void take_answer(struct delivery *d)
{
    struct curl_header *header;
    long status = 0;

    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    set_result(d, COURIER_ANSWERED);
    d->result.status = (int) status;
    d->result.error[0] = '\0'; /* drop the sentence about an address that was passed over */
    if (curl_easy_header(d->easy, "Retry-After", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
        d->result.retry_after_s = read_retry_after(header->value);
}

static bool is_connected(const struct delivery *d)
{
    curl_off_t connect_us = 0;

    curl_easy_getinfo(d->easy, CURLINFO_CONNECT_TIME_T, &connect_us);
    return connect_us > 0 || (d->opened == 0 && d->banned == 0 && d->head_bytes);
}

/* The time to connect includes look-up and TLS. */
static void word_timeout(struct delivery *d)
{
    curl_off_t ready_us = 0;

    curl_easy_getinfo(d->easy, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
    if (ready_us > 0)
        snprintf(d->result.error, sizeof(d->result.error), "%.100s did not answer within %u ms", d->url.host,
                 d->conf->timeout_ms);
    else
        snprintf(d->result.error, sizeof(d->result.error), "no connection to %.100s within %u ms", d->url.host,
                 d->conf->timeout_ms < CONNECT_MS ? d->conf->timeout_ms : (unsigned) CONNECT_MS);
}

/* Say in a sentence about the receiver why there is no answer. */
static void word_failure(struct delivery *d, CURLcode code)
{
    const char *what = curl_easy_strerror(code);

    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: word_timeout(d); return;
    case CURLE_COULDNT_RESOLVE_HOST: what = "the name does not resolve"; break;
    case CURLE_COULDNT_CONNECT: what = "the connection was refused or there is no way to it"; break;
    case CURLE_GOT_NOTHING: what = "it closed the connection without an answer"; break;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE: what = "the connection broke before there was an answer"; break;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: what = "what it answers is not HTTP"; break;
    case CURLE_WRITE_ERROR: what = "the head of its answer is too large"; break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR: what = d->tls_error[0] ? d->tls_error : what; break;
    default: break;
    }
    snprintf(d->result.error, sizeof(d->result.error), "%.100s: %.150s", d->url.host, what);
}

void delivery_end(struct delivery *d, CURLM *multi, CURLcode code)
{
    const char *address = NULL;

    if (d->answered)
        take_answer(d);
    else if (d->banned && !d->opened)
        set_result(d, COURIER_REFUSED); /* the guard's sentence is in the result */
    else {
        word_failure(d, code);
        set_result(d, COURIER_FAILED);
    }
    d->result.duration_us = now_us() - d->start_us;
    if ((d->answered || is_connected(d)) && curl_easy_getinfo(d->easy, CURLINFO_PRIMARY_IP, &address) == CURLE_OK
        && address)
        snprintf(d->result.address, sizeof(d->result.address), "%s", address);
    curl_multi_remove_handle(multi, d->easy);
    curl_easy_cleanup(d->easy);
    d->easy = NULL;
    log_attempt(d);
}
