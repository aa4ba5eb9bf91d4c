/* SPDX-License-Identifier: Apache-2.0 */
/* The query of a request's target: its parameters, decoded.
 *
 * Handlers call it through http.h, once the head is complete.
 * What must never happen here: a byte written behind the caller's buffer, or a value that ends
 * early because it has a NUL. */
#include "server/http/conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool take_hex(const char *p, const char *end, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    unsigned value = 0;

    for (int i = 0; i < 2; i++, p++) {
        const char *digit = p < end && *p ? strchr(digits, *p | 0x20) : NULL;
        if (!digit || (*p < 'A' && *p > '9'))
            return false;
        value = value * 16 + (unsigned) (digit - digits);
    }
    *ret = (char) value;
    return value != 0;
}

/* application/x-www-form-urlencoded, one value. */
static int decode(const char *p, const char *end, char *ret, size_t size)
{
    size_t n = 0;

    for (; p < end; p++) {
        char c = *p == '+' ? ' ' : *p;
        if (*p == '%') {
            if (!take_hex(p + 1, end, &c))
                return -EINVAL;
            p += 2;
        }
        if (n + 1 >= size)
            return -EINVAL;
        ret[n++] = c;
    }
    ret[n] = '\0';
    return 0;
}

/* One parameter of the query; a part that it lacks is empty. */
struct parameter {
    const char *name, *value, *end;
    size_t name_len;
};

/* The parameter behind @p, which is NULL at first and then the end of the parameter before. */
static const char *next_parameter(const struct request *req, const char *p, struct parameter *ret)
{
    const char *target = req->bytes.data + req->head.target, *end = target + req->head.target_len;

    p = p ? p : memchr(target, '?', req->head.target_len);
    if (!p || p == end)
        return NULL;
    ret->name = p + 1;
    ret->end = memchr(ret->name, '&', (size_t) (end - ret->name));
    ret->end = ret->end ? ret->end : end;
    const char *sign = memchr(ret->name, '=', (size_t) (ret->end - ret->name));
    ret->name_len = (size_t) ((sign ? sign : ret->end) - ret->name);
    ret->value = sign ? sign + 1 : ret->end;
    return ret->end;
}

int request_query(const struct request *req, const char *name, char *ret, size_t size)
{
    size_t len = strlen(name);
    struct parameter found;
    int err = -ENOENT;

    for (const char *p = NULL; (p = next_parameter(req, p, &found));) {
        if (found.name_len != len || memcmp(found.name, name, len) != 0)
            continue;
        if (err != -ENOENT)
            return -EINVAL;
        err = decode(found.value, found.end, ret, size);
        if (err)
            return err;
    }
    return err;
}

static bool takes(const struct route *route, const char *name, size_t len)
{
    const char *word = route->flags & ROUTE_QUERY ? route->query : "";

    for (size_t n; *word; word += n + (word[n] == ' ')) {
        n = strcspn(word, " ");
        if (n == len && memcmp(word, name, n) == 0)
            return true;
    }
    return false;
}

bool request_unknown_query(const struct request *req, char *ret, size_t size)
{
    struct parameter found;

    for (const char *p = NULL; (p = next_parameter(req, p, &found));) {
        if (found.value == found.name || takes(req->route, found.name, found.name_len))
            continue; /* two signs without anything between them */
        snprintf(ret, size, "%.*s", (int) found.name_len, found.name);
        return true;
    }
    return false;
}
