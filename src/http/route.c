/* SPDX-License-Identifier: Apache-2.0 */
/* What a well-formed head is refused for: path, method, key, expectation,
 * type, size, in this order.
 *
 * Called by conn.c once the head is complete and before a byte of the body is
 * looked at.  What must never happen here: a stranger without the key learning
 * more than which paths exist, or being sent 100 Continue. */
#include "conn.h"

#include <string.h>
#include <strings.h>

/* A {part} is one or more bytes up to the next slash: what they mean is for the handler to judge. */
static bool matches(const char *path, const char *p, size_t n)
{
    for (; *path; path++) {
        if (*path == '{') {
            const char *slash = memchr(p, '/', n);
            size_t part = slash ? (size_t) (slash - p) : n;
            if (!part)
                return false;
            p += part;
            n -= part;
            path = strchr(path, '}');
        } else {
            if (!n || *path != *p)
                return false;
            p++;
            n--;
        }
    }
    return n == 0;
}

static bool has_path(const struct request *req, const struct route *route)
{
    const char *target = req->bytes.data + req->head.target;
    const char *query = memchr(target, '?', req->head.target_len);
    size_t len = query ? (size_t) (query - target) : req->head.target_len;

    return matches(route->path, target, len);
}

void request_part(const struct request *req, char *ret, size_t size)
{
    const char *open = req->route ? strchr(req->route->path, '{') : NULL;
    const char *p = req->bytes.data + req->head.target + (open ? open - req->route->path : 0);
    const char *end = req->bytes.data + req->head.target + req->head.target_len;
    size_t n = 0;

    for (; open && p < end && *p != '/' && *p != '?' && n + 1 < size; p++)
        ret[n++] = *p;
    ret[n] = '\0';
}

static bool has_method(const struct request *req, const struct route *route)
{
    if (request_is(req, route->method))
        return true;
    return request_is(req, "HEAD") && strcmp(route->method, "GET") == 0;
}

static int find_route(struct request *req)
{
    int status = 404;

    for (const struct route *r = req->conn->http->routes; r->method; r++) {
        if (!has_path(req, r))
            continue;
        if (has_method(req, r)) {
            req->route = r;
            return 0;
        }
        status = 405;
    }
    return status;
}

void route_add_allow(const struct request *req, struct buf *b)
{
    const char *separator = "Allow: ";

    for (const struct route *r = req->conn->http->routes; r->method; r++) {
        if (!has_path(req, r))
            continue;
        buf_adds(b, separator);
        buf_adds(b, r->method);
        if (strcmp(r->method, "GET") == 0)
            buf_adds(b, ", HEAD");
        separator = ", ";
    }
    buf_adds(b, "\r\n");
}

static bool is_named(const struct request *req, const struct field *f, const char *name)
{
    return f->name.len == strlen(name) && strncasecmp(req->bytes.data + f->name.at, name, f->name.len) == 0;
}

/* The key in a field of the head, or NULL. */
static const char *key_in(const struct request *req, const struct field *f)
{
    const char *value = req->bytes.data + f->value.at;

    if (is_named(req, f, "x-api-key"))
        return value;
    if (!(req->route->flags & ROUTE_BEARER) || !is_named(req, f, "authorization"))
        return NULL;
    return strncasecmp(value, "Bearer ", 7) == 0 ? value + 7 + strspn(value + 7, " ") : NULL;
}

/* Two keys are no key: a proxy in front may have looked at the other one. */
static bool has_key(struct request *req)
{
    const struct http_conf *conf = &req->conn->http->conf;
    const char *key = NULL;
    unsigned n_keys = 0;

    for (unsigned i = 0; i < req->n_fields; i++) {
        const char *found = key_in(req, &req->fields[i]);
        key = found ? found : key;
        n_keys += found != NULL;
    }
    if (n_keys != 1)
        key = NULL;
    req->holder = conf->find_key(conf->data, key, key ? strlen(key) : 0);
    return req->holder && key;
}

/* application/json, and no charset but UTF-8 (RFC 8259 section 8.1); other parameters mean nothing. */
static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    size_t len = sizeof(json) - 1;

    if (!type || strncasecmp(type, json, len) != 0)
        return false;
    type += len + strspn(type + len, " \t");
    if (*type != ';')
        return *type == '\0';
    const char *charset = strcasestr(type, "charset=");
    if (!charset)
        return true;
    charset += strlen("charset=");
    charset += *charset == '"';
    return strncasecmp(charset, "utf-8", 5) == 0 && (charset[5] == '\0' || strchr("\"; \t", charset[5]));
}

int route_check(struct request *req)
{
    const struct http_conf *conf = &req->conn->http->conf;
    int status = find_route(req);

    if (status)
        return status;
    if ((req->route->flags & ROUTE_KEY) && !has_key(req))
        return 401;
    if (req->head.expect == EXPECT_OTHER)
        return 417;
    if ((req->route->flags & ROUTE_JSON) && !is_json(request_header(req, "content-type")))
        return 415;
    return req->head.length > conf->max_body ? 413 : 0;
}
