/* SPDX-License-Identifier: Apache-2.0 */
/* The reasons to refuse a well-formed head: path, method, key, expectation, headers that change the
 * body's meaning, type, size, in this order.
 *
 * Called by conn.c once the head is complete and before a byte of the body is looked at.
 * What must never happen here: a stranger without the key learning more than which paths exist, or
 * being sent 100 Continue. */
#include "server/http/conn.h"

#include <string.h>
#include <strings.h>

/* A {part} is one or more bytes up to the next slash: its handler judges them. */
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

static size_t path_len(const struct request *req)
{
    const char *target = req->bytes.data + req->head.target;
    const char *query = memchr(target, '?', req->head.target_len);

    return query ? (size_t) (query - target) : req->head.target_len;
}

static bool has_path(const struct request *req, const struct route *route)
{
    return matches(route->path, req->bytes.data + req->head.target, path_len(req));
}

/* The route's path that the target has if the slashes at its end are cut, or NULL. */
static const char *without_slash(const struct request *req)
{
    const char *path = req->bytes.data + req->head.target;
    size_t len = path_len(req), n = len;

    while (n > 1 && path[n - 1] == '/')
        n--;
    for (const struct route *r = req->conn->http->routes; r->method && n < len; r++)
        if (matches(r->path, path, n))
            return r->path;
    return NULL;
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

void route_add_methods(const struct request *req, struct buf *b)
{
    const char *separator = "";

    for (const struct route *r = req->conn->http->routes; r->method; r++) {
        if (!has_path(req, r))
            continue;
        buf_adds(b, separator);
        buf_adds(b, r->method);
        if (strcmp(r->method, "GET") == 0)
            buf_adds(b, ", HEAD");
        separator = ", ";
    }
}

void route_add_sentence(const struct request *req, int status, const char *usual, struct buf *b)
{
    const char *path = status == 404 ? without_slash(req) : NULL;

    if (req->why)
        buf_adds(b, req->why);
    else if (path)
        buf_addf(b, "Not found; the path is %s, without a slash at its end", path);
    else
        buf_adds(b, usual);
    if (status == 405)
        route_add_methods(req, b);
}

static bool is_named(const struct request *req, const struct field *f, const char *name)
{
    return f->name.len == strlen(name) && strncasecmp(req->bytes.data + f->name.at, name, f->name.len) == 0;
}

/* The key in a field of the head, or NULL.  Other schemes of Authorization are for a proxy in front
 * of us. */
static const char *key_in(const struct request *req, const struct field *f)
{
    const char *value = req->bytes.data + f->value.at;

    if (is_named(req, f, "x-api-key"))
        return value;
    if (!is_named(req, f, "authorization"))
        return NULL;
    return strncasecmp(value, "Bearer ", 7) == 0 ? value + 7 + strspn(value + 7, " ") : NULL;
}

/* Two different keys count as none: a proxy in front may have looked at the other one. */
static bool has_key(struct request *req)
{
    static const char two_keys[] =
        "Unauthorized: the request has two different keys; send one, in the header x-api-key "
        "or as Authorization: Bearer KEY";
    const struct http_conf *conf = &req->conn->http->conf;
    const char *key = NULL;

    for (unsigned i = 0; i < req->n_fields; i++) {
        const char *found = key_in(req, &req->fields[i]);
        if (found && key && strcmp(found, key) != 0)
            req->why = two_keys;
        key = found ? found : key;
    }
    if (req->why)
        key = NULL;
    req->holder = conf->find_key(conf->data, key, key ? strlen(key) : 0);
    return req->holder && key;
}

enum scope { BODIES = ROUTE_JSON | ROUTE_BODY, ALL = ~0 };

static const struct rule {
    const char *name, *values, *sentence;
    unsigned scope; /* flags of a route: any of them; every bit: any route */
    int status;
} rules[] = {
#define REFUSED(name, scope, values, status, sentence) { name, values, sentence, (unsigned) (scope), status },
#include "server/http/body_fields.def"
};

/* Is @value one of the words in @values?  An empty one says nothing. */
static bool may_say(const struct request *req, const char *values, const char *value)
{
    size_t len = strlen(value);

    if (len == 0)
        return true;
    if (strcmp(values, "METHOD") == 0)
        return request_is(req, value);
    for (size_t n; *values; values += n + (values[n] == ' ')) {
        n = strcspn(values, " ");
        if (n == len && strncasecmp(values, value, n) == 0)
            return true;
    }
    return false;
}

/* What the body or the method would mean is not ignored where it is not what we read. */
static int check_fields(struct request *req)
{
    for (unsigned i = 0; i < req->n_fields; i++)
        for (size_t j = 0; j < sizeof(rules) / sizeof(*rules); j++) {
            const struct rule *rule = &rules[j];
            const char *value = req->bytes.data + req->fields[i].value.at;
            bool applies = rule->scope == (unsigned) ALL || req->route->flags & rule->scope;
            if (!applies || !is_named(req, &req->fields[i], rule->name) || may_say(req, rule->values, value))
                continue;
            req->why = rule->sentence;
            return rule->status;
        }
    return 0;
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

/* The longest body that the route takes, also where its length is not told. */
static int check_length(struct request *req)
{
    size_t max = req->conn->http->conf.max_body;

    if ((req->route->flags & ROUTE_SMALL) && max > SMALL_BODY_MAX)
        max = SMALL_BODY_MAX;
    req->chunks.max = req->body.max = max;
    return req->head.length > max ? 413 : 0;
}

int route_check(struct request *req)
{
    int status = find_route(req);

    if (status)
        return status;
    if ((req->route->flags & ROUTE_KEY) && !has_key(req))
        return 401;
    if (req->head.expect == EXPECT_OTHER)
        return 417;
    status = check_fields(req);
    if (status)
        return status;
    if ((req->route->flags & ROUTE_JSON) && !is_json(request_header(req, "content-type")))
        return 415;
    return check_length(req);
}
