/* SPDX-License-Identifier: Apache-2.0 */
/* The strict head check, run by request.c before llhttp parses the same bytes.
 *
 * Request smuggling lives on two parsers that read one head differently, so whatever RFC 9112
 * leaves to a recipient's goodwill is refused: bare CR, LF or NUL, folded lines, space before a
 * colon, any Transfer-Encoding but one "chunked" on HTTP/1.1, Content-Length beside it, twice or
 * not plain digits, not exactly one Host.
 * What must never happen here: a verdict that differs when the same bytes come in other pieces.  So
 * lines are judged whole, in order; where a line is judged before its end, the same rule comes
 * first for the whole line. */
#include "server/http/head.h"

#include <string.h>
#include <strings.h>

enum { LINE_MAX_REQUEST = HEAD_TARGET_MAX + 64 }; /* room for method and version */

static const bool token_chars[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true, ['#'] = true, ['$'] = true,
    ['%'] = true,         ['&'] = true,         ['\''] = true,        ['*'] = true, ['+'] = true, ['-'] = true,
    ['.'] = true,         ['^'] = true,         ['_'] = true,         ['`'] = true, ['|'] = true, ['~'] = true,
};

bool head_is_token(unsigned char c)
{
    return token_chars[c];
}

bool head_is_value(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static size_t span(const char *p, size_t n, bool (*accept)(unsigned char))
{
    size_t i = 0;
    while (i < n && accept((unsigned char) p[i]))
        i++;
    return i;
}

/* '#' never comes over the wire in a target; a proxy that cuts there would route another path than
 * we do. */
static bool is_target(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '#';
}

static int take_version(struct head *h, const char *p, size_t n)
{
    if (n != 8 || memcmp(p, "HTTP/", 5) != 0 || p[6] != '.')
        return -400;
    if (p[5] < '0' || p[5] > '9' || p[7] < '0' || p[7] > '9')
        return -400;
    if (p[5] != '1' || p[7] > '1')
        return -505;
    h->minor = p[7] == '1';
    return 0;
}

/* METHOD SP /target SP HTTP/1.x with exactly these spaces.  Origin-form only: the other forms are
 * for proxies, and a second authority beside Host could disagree with it. */
static int take_request_line(struct head *h, const char *p, size_t at, size_t n)
{
    size_t method_len = span(p + at, n, head_is_token);
    size_t target = at + method_len + 1, end = at + n;

    if (method_len == 0)
        return -400;
    if (method_len + 1 >= n || p[target - 1] != ' ' || p[target] != '/')
        return -400;
    if (method_len == 7 && memcmp(p + at, "CONNECT", 7) == 0) /* has no origin-form (RFC 9112 section 3.2.3) */
        return -400;
    size_t target_len = span(p + target, end - target, is_target);
    if (target_len > HEAD_TARGET_MAX)
        return -414;
    if (target + target_len == end || p[target + target_len] != ' ')
        return -400;
    h->method = at;
    h->method_len = method_len;
    h->target = target;
    h->target_len = target_len;
    size_t version = target + target_len + 1;
    return take_version(h, p + version, end - version);
}

static int take_once(struct head *h, const char *v, size_t n)
{
    (void) h, (void) v, (void) n;
    return 0;
}

/* A host and port, without a character that another reader could take for a second host or a path. */
static bool is_host(unsigned char c)
{
    return c > 0x20 && c < 0x7f && !strchr(",/?#@\\\"<>", c);
}

static int take_host(struct head *h, const char *v, size_t n)
{
    (void) h;
    return span(v, n, is_host) == n ? 0 : -400;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* Any 18 digits fit into 64 bits; other readers take "+5", "5, 5" and "0x5" for different lengths. */
static int take_length(struct head *h, const char *v, size_t n)
{
    if (n == 0 || n > 18 || span(v, n, is_digit) != n)
        return -400;
    h->has_length = true;
    for (size_t i = 0; i < n; i++)
        h->length = h->length * 10 + (uint64_t) (v[i] - '0');
    return 0;
}

static int take_coding(struct head *h, const char *v, size_t n)
{
    if (n != 7 || strncasecmp(v, "chunked", 7) != 0)
        return -400;
    h->chunked = true;
    return 0;
}

static int take_expect(struct head *h, const char *v, size_t n)
{
    bool known = n == 12 && strncasecmp(v, "100-continue", 12) == 0;
    h->expect = known ? EXPECT_CONTINUE : EXPECT_OTHER;
    return 0;
}

/* The fields that may come only once, because two readers would pick different ones. */
static const struct {
    const char *name;
    size_t len;
    int (*take)(struct head *h, const char *v, size_t n);
} singles[] = {
    { "host", 4, take_host },     { "content-length", 14, take_length }, { "transfer-encoding", 17, take_coding },
    { "expect", 6, take_expect }, { "content-type", 12, take_once },
};

enum { SEEN_HOST = 1 << 0 };

static int take_single(struct head *h, const char *name, size_t name_len, const char *v, size_t n)
{
    for (unsigned i = 0; i < sizeof(singles) / sizeof(*singles); i++) {
        if (singles[i].len != name_len || strncasecmp(singles[i].name, name, name_len) != 0)
            continue;
        if (h->seen & 1u << i)
            return -400;
        h->seen |= 1u << i;
        return singles[i].take(h, v, n);
    }
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* name ":" OWS value OWS.  A name that ends in anything but its colon covers space before the
 * colon, a folded line (it begins with a blank) and a line without a colon. */
static int take_field(struct head *h, const char *p, size_t n)
{
    size_t name_len = span(p, n, head_is_token), end = n;

    if (name_len == 0 || name_len == n || p[name_len] != ':')
        return -400;
    size_t value = name_len + 1;
    if (span(p + value, n - value, head_is_value) != n - value)
        return -400;
    if (++h->n_fields > HEAD_FIELDS_MAX)
        return -431;
    while (value < end && is_blank(p[value]))
        value++;
    while (end > value && is_blank(p[end - 1]))
        end--;
    return take_single(h, p, name_len, p + value, end - value);
}

/* The checks that need the whole head. */
static int finish(struct head *h)
{
    if (h->minor == 1 && !(h->seen & SEEN_HOST))
        return -400;
    if (h->chunked && (h->has_length || h->minor == 0))
        return -400;
    if (h->minor == 0) /* RFC 9110 section 10.1.1 */
        h->expect = EXPECT_NOTHING;
    return 1;
}

/* One line of @n bytes before its line feed. */
static int take_line(struct head *h, const char *p, size_t at, size_t n)
{
    if (h->method_len == 0 && n > LINE_MAX_REQUEST && head_is_token((unsigned char) p[at]))
        return -414;
    if (n == 0 || p[at + n - 1] != '\r')
        return -400;
    n--;
    if (n > 0)
        return h->method_len ? take_field(h, p + at, n) : take_request_line(h, p, at, n);
    if (h->method_len)
        return finish(h);
    return at == 0 ? 0 : -400; /* RFC 9112 section 2.2: one empty line before a request is forgiven */
}

/* Judge a line whose end has not come: it may be too long, or no request (otherwise TLS spoken to a
 * plain port would wait for the head's timeout). */
static int check_part(const struct head *h, const char *p, size_t len)
{
    size_t n = len - h->pos;
    if (h->method_len == 0 && n > 0) {
        unsigned char first = (unsigned char) p[h->pos];
        if (!head_is_token(first) && !(first == '\r' && n == 1))
            return -400;
        if (n > LINE_MAX_REQUEST)
            return -414;
    }
    return len < HEAD_MAX ? 0 : -431;
}

int head_scan(struct head *h, const char *p, size_t len)
{
    const char *nl;

    if (len > HEAD_MAX)
        len = HEAD_MAX;
    while (h->scanned < len && (nl = memchr(p + h->scanned, '\n', len - h->scanned))) {
        size_t at = h->pos;
        h->pos = h->scanned = (size_t) (nl - p) + 1;
        int r = take_line(h, p, at, h->pos - 1 - at);
        if (r)
            return r;
    }
    h->scanned = len;
    return check_part(h, p, len);
}
