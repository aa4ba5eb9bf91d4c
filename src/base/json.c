/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text: the strict check of what a box returned, and the writing of strings.
 *
 * The checker reads bytes that a hostile program chose, before they are copied into a reply.  The
 * writers quote text that a program printed.  The server calls this file, and every process does
 * for log lines. What must never happen here: recursion (depth is the attacker's), a read past the
 * end, or accepting text that another parser would read differently. */
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What may come next, after white space. */
enum expect { VALUE, VALUE_OR_END, NAME, NAME_OR_END, AFTER };

struct check {
    const unsigned char *p, *end;
    enum expect expect;
    unsigned char *is_object; /* a bit for each open array or object, outermost first */
    size_t depth, max_depth;
};

/* The length of the UTF-8 sequence at @p (Unicode 15, table 3-7: no overlong forms, no surrogates,
 * nothing above U+10FFFF), or minus the length of the maximal invalid subpart. */
static int utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xbf;
    int need = 1 + (p[0] >= 0xe0) + (p[0] >= 0xf0);

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return -1;
    if (p[0] == 0xe0)
        low = 0xa0;
    if (p[0] == 0xed)
        high = 0x9f;
    if (p[0] == 0xf0)
        low = 0x90;
    if (p[0] == 0xf4)
        high = 0x8f;
    for (int i = 1; i <= need; i++) {
        if ((size_t) i >= n || p[i] < low || p[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return need + 1;
}

static bool is_digit(const struct check *c)
{
    return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool take(struct check *c, char wanted)
{
    if (c->p == c->end || *c->p != (unsigned char) wanted)
        return false;
    c->p++;
    return true;
}

static int take_word(struct check *c, const char *word)
{
    size_t n = strlen(word);

    if ((size_t) (c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return -EINVAL;
    c->p += n;
    return 0;
}

static int take_digits(struct check *c)
{
    if (!is_digit(c))
        return -EINVAL;
    while (is_digit(c))
        c->p++;
    return 0;
}

/* Leaves a second digit after a leading zero for the caller, who expects no digit there. */
static int take_number(struct check *c)
{
    take(c, '-');
    if (!take(c, '0') && take_digits(c) < 0)
        return -EINVAL;
    if (take(c, '.') && take_digits(c) < 0)
        return -EINVAL;
    if (!take(c, 'e') && !take(c, 'E'))
        return 0;
    if (!take(c, '+'))
        take(c, '-');
    return take_digits(c);
}

static bool is_hex(unsigned char ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f') || (ch >= 'A' && ch <= 'F');
}

/* The rest of an escape, after its backslash. */
static int take_escape(struct check *c)
{
    if (c->p == c->end)
        return -EINVAL;
    unsigned char ch = *c->p++;
    if (ch != 'u')
        return ch && strchr("\"\\/bfnrt", ch) ? 0 : -EINVAL;
    for (int i = 0; i < 4; i++)
        if (c->p == c->end || !is_hex(*c->p++))
            return -EINVAL;
    return 0;
}

static int take_string(struct check *c)
{
    if (!take(c, '"'))
        return -EINVAL;
    while (c->p < c->end) {
        if (take(c, '"'))
            return 0;
        if (take(c, '\\')) {
            if (take_escape(c) < 0)
                return -EINVAL;
            continue;
        }
        int n = *c->p < 0x20 ? -1 : utf8_sequence(c->p, (size_t) (c->end - c->p));
        if (n < 0)
            return -EINVAL;
        c->p += n;
    }
    return -EINVAL;
}

static void skip_space(struct check *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
        c->p++;
}

static bool in_object(const struct check *c)
{
    return c->is_object[(c->depth - 1) / 8] >> ((c->depth - 1) % 8) & 1;
}

static int open_container(struct check *c, bool object)
{
    unsigned char bit = (unsigned char) (1u << (c->depth % 8));

    if (c->depth == c->max_depth)
        return -E2BIG;
    unsigned char *bits = &c->is_object[c->depth++ / 8];
    *bits = object ? *bits | bit : *bits & (unsigned char) ~bit;
    c->expect = object ? NAME_OR_END : VALUE_OR_END;
    c->p++;
    return 0;
}

static int take_value(struct check *c)
{
    c->expect = AFTER;
    switch (*c->p) {
    case '{': return open_container(c, true);
    case '[': return open_container(c, false);
    case '"': return take_string(c);
    case 't': return take_word(c, "true");
    case 'f': return take_word(c, "false");
    case 'n': return take_word(c, "null");
    default: return take_number(c);
    }
}

static int take_name(struct check *c)
{
    if (take_string(c) < 0)
        return -EINVAL;
    skip_space(c);
    c->expect = VALUE;
    return take(c, ':') ? 0 : -EINVAL;
}

/* Take the end of the innermost array or object, if it may end here. */
static bool take_end(struct check *c)
{
    if (!c->depth || c->expect == VALUE || c->expect == NAME || !take(c, in_object(c) ? '}' : ']'))
        return false;
    c->depth--;
    c->expect = AFTER;
    return true;
}

static int take_next(struct check *c)
{
    if (take_end(c))
        return 0;
    if (c->expect == NAME || c->expect == NAME_OR_END)
        return take_name(c);
    if (c->expect == VALUE || c->expect == VALUE_OR_END)
        return take_value(c);
    c->expect = c->depth && in_object(c) ? NAME : VALUE;
    return c->depth && take(c, ',') ? 0 : -EINVAL;
}

int json_check(const char *p, size_t n, unsigned max_depth)
{
    const unsigned char *bytes = (const unsigned char *) p;
    struct check c = { .p = bytes, .end = n ? bytes + n : bytes, .max_depth = max_depth };
    int err = 0;

    /* No text of n bytes is nested deeper than n. */
    c.is_object = xcalloc((max_depth < n ? max_depth : n) / 8 + 1, 1);
    for (skip_space(&c); !err && c.p < c.end; skip_space(&c))
        err = take_next(&c);
    free(c.is_object);
    if (err)
        return err;
    return c.depth == 0 && c.expect == AFTER ? 0 : -EINVAL;
}

size_t json_count(const char *p, size_t n)
{
    size_t count = 1;
    bool quoted = false;

    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '"')
            quoted = !quoted;
        else if (quoted)
            i += c == '\\';
        else
            count += c == ',' || c == ':' || c == '[' || c == '{';
    }
    return count;
}

/* --- an object without a tree --- */

struct flat {
    struct check text;
    char *room;
    const struct json_field *fields;
    unsigned n_fields;
    struct json_member *found;   /* by the order of @fields */
    const unsigned char *read;   /* behind the value that was read last */
    const unsigned char *string; /* in the value that is read: behind its quote; NULL: it is none */
    const unsigned char *piece;  /* of that: the characters without an escape, or the escape, that
                                  * are read */
};

static unsigned hex_value(unsigned char ch)
{
    return ch <= '9' ? ch - (unsigned) '0' : (ch | 0x20u) - 'a' + 10;
}

/* The four digits after \u. */
static int take_unit(struct check *c, unsigned *ret)
{
    unsigned unit = 0;

    if (c->end - c->p < 4)
        return -EINVAL;
    for (int i = 0; i < 4; i++, c->p++) {
        if (!is_hex(*c->p))
            return -EINVAL;
        unit = unit << 4 | hex_value(*c->p);
    }
    *ret = unit;
    return 0;
}

/* The second half of a surrogate pair whose first half is @first (RFC 8259 section 7).  One half
 * alone is not text. */
static int take_second_half(struct check *c, unsigned first, unsigned *ret)
{
    unsigned second = 0;

    if (first >= 0xdc00 || !take(c, '\\') || !take(c, 'u') || take_unit(c, &second) < 0)
        return -EINVAL;
    if (second < 0xdc00 || second >= 0xe000)
        return -EINVAL;
    *ret = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    return 0;
}

static char *add_utf8(char *to, unsigned point)
{
    static const unsigned char firsts[] = { 0, 0xc0, 0xe0, 0xf0 };
    unsigned more = (point >= 0x80) + (point >= 0x800) + (point >= 0x10000);

    *to++ = (char) (firsts[more] | point >> 6 * more);
    while (more-- > 0)
        *to++ = (char) (0x80 | (point >> 6 * more & 0x3f));
    return to;
}

/* The result is never longer than the escape. */
static int decode_unicode(struct flat *f)
{
    unsigned point = 0;

    if (take_unit(&f->text, &point) < 0)
        return -EINVAL;
    if (point >= 0xd800 && point < 0xe000 && take_second_half(&f->text, point, &point) < 0)
        return -EINVAL;
    f->room = add_utf8(f->room, point);
    return 0;
}

static int decode_escape(struct flat *f)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    struct check *c = &f->text;
    const char *at = c->p < c->end && *c->p ? strchr(letters, *c->p) : NULL;

    if (at) {
        c->p++;
        *f->room++ = meant[at - letters];
        return 0;
    }
    return take(c, 'u') ? decode_unicode(f) : -EINVAL;
}

/* Skip to a quote, a backslash or a byte that may not stand in a string, but only a little more
 * than @most bytes. */
static void skip_plain(struct check *c, size_t most)
{
    const unsigned char *stop = (size_t) (c->end - c->p) > most ? c->p + most : c->end;
    int len = 1;

    while (c->p < stop && len > 0) {
        if (*c->p < 0x20 || *c->p == '"' || *c->p == '\\')
            return;
        len = *c->p < 0x80 ? 1 : utf8_sequence(c->p, (size_t) (c->end - c->p));
        c->p += len > 0 ? len : 0;
    }
}

static int decode_string(struct flat *f, size_t max, struct json_member *ret)
{
    struct check *c = &f->text;

    if (!take(c, '"'))
        return -EINVAL;
    ret->string = f->room;
    f->string = c->p;
    for (;;) {
        const unsigned char *plain = c->p;
        f->piece = plain;
        skip_plain(c, max - ret->len + 1);
        memcpy(f->room, plain, (size_t) (c->p - plain));
        f->room += c->p - plain;
        bool over = take(c, '"');
        if (!over && c->p == plain && (!take(c, '\\') || decode_escape(f) < 0))
            return -EINVAL;
        ret->len = (size_t) (f->room - ret->string);
        if (ret->len > max) {
            *f->room = '\0';
            return -E2BIG;
        }
        if (over)
            break;
    }
    *f->room++ = '\0';
    return 0;
}

static int take_small_integer(struct check *c, double *ret)
{
    const unsigned char *start = c->p;
    unsigned value = 0;

    while (is_digit(c) && c->p - start < 9)
        value = value * 10 + (unsigned) (*c->p++ - '0');
    if (c->p == start || (*start == '0' && c->p - start > 1))
        return -EINVAL;
    /* it goes on, but not as a small integer */
    if (c->p == c->end || !*c->p || !strchr(",} \t\r\n", *c->p))
        return -EINVAL;
    *ret = value;
    return 0;
}

/* Take the name of a field that has not come yet.  It must have no escapes, because it is compared
 * as it stands. */
static int take_field_name(struct flat *f, unsigned *ret)
{
    struct check *c = &f->text;

    if (!take(c, '"'))
        return -EINVAL;
    for (unsigned i = 0; i < f->n_fields; i++) {
        size_t n = strlen(f->fields[i].name);
        if ((size_t) (c->end - c->p) <= n || c->p[n] != '"' || memcmp(c->p, f->fields[i].name, n) != 0)
            continue;
        c->p += n + 1;
        *ret = i;
        return f->found[i].found ? -EINVAL : 0;
    }
    return -EINVAL;
}

static int take_member(struct flat *f)
{
    struct check *c = &f->text;
    unsigned i = 0;

    skip_space(c);
    if (take_field_name(f, &i) < 0)
        return -EINVAL;
    skip_space(c);
    if (!take(c, ':'))
        return -EINVAL;
    skip_space(c);
    struct json_member *member = &f->found[i];
    *member = (struct json_member){ .found = true, .is_number = is_digit(c) };
    int err = member->is_number ? take_small_integer(c, &member->number) : decode_string(f, f->fields[i].max, member);
    if (err) {
        member->found = err == -E2BIG;
        return err;
    }
    f->read = c->p;
    f->string = NULL;
    skip_space(c); /* a comma or the end must follow: the caller checks */
    return 0;
}

static int read_object(struct flat *f)
{
    struct check *c = &f->text;

    skip_space(c);
    if (!take(c, '{'))
        return -EINVAL;
    do {
        int err = take_member(f);
        if (err)
            return err;
    } while (take(c, ','));
    if (!take(c, '}'))
        return -EINVAL;
    skip_space(c);
    return c->p == c->end ? 0 : -EINVAL;
}

int json_read_flat(const char *p, size_t n, const struct json_field *fields, unsigned n_fields, struct json_member *ret,
                   char *room, struct json_stop *ret_stop)
{
    const unsigned char *bytes = (const unsigned char *) p;
    struct flat f = { .text = { .p = bytes, .end = n ? bytes + n : bytes },
                      .room = room,
                      .fields = fields,
                      .n_fields = n_fields,
                      .found = ret };

    memset(ret, 0, n_fields * sizeof(*ret));
    int err = read_object(&f);
    *ret_stop = (struct json_stop){ .read = f.read ? (size_t) (f.read - bytes) : 0,
                                    .string = f.string ? (size_t) (f.string - bytes) : 0,
                                    .at = (size_t) ((f.string ? f.piece : f.text.p) - bytes) };
    return err;
}

/* DEL and U+0080 to U+009F are also control characters: some terminals obey them. */
static bool is_control(const unsigned char *p, int len)
{
    return (len == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

static int add_escape(struct buf *b, const unsigned char *p, int len)
{
    static const char letters[] = "btnfr", named[] = "\b\t\n\f\r", digits[] = "0123456789abcdef";
    unsigned char ch = p[len - 1];
    const char *at = len == 1 && ch ? strchr(named, ch) : NULL;

    char text[6] = { '\\', (char) ch, '0', '0' };

    /* By hand: printf(3) takes ten times as long, and a program may print nothing else. */
    if (len == 1 && (ch == '"' || ch == '\\'))
        return buf_add(b, text, 2);
    if (at) {
        text[1] = letters[at - named];
        return buf_add(b, text, 2);
    }
    text[1] = 'u';
    text[2] = '0';
    text[4] = digits[ch >> 4];
    text[5] = digits[ch & 15];
    return buf_add(b, text, sizeof(text));
}

void json_add_string(struct buf *b, const char *p, size_t n)
{
    const unsigned char *at = (const unsigned char *) p, *end = n ? at + n : at, *copied = at;

    buf_addc(b, '"');
    while (at < end && !b->full) {
        int len = utf8_sequence(at, (size_t) (end - at));
        if (len > 0 && *at != '"' && *at != '\\' && !is_control(at, len)) {
            at += len;
            continue;
        }
        buf_add(b, copied, (size_t) (at - copied));
        if (len < 0)
            buf_adds(b, "\xef\xbf\xbd"); /* U+FFFD */
        else
            add_escape(b, at, len);
        at += len < 0 ? -len : len;
        copied = at;
    }
    buf_add(b, copied, (size_t) (at - copied));
    buf_addc(b, '"');
}

size_t json_longest(const char *p, size_t n)
{
    size_t sum = 2;

    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char) p[i];
        bool is_control = ch < 0x20 || ch == 0x7f;
        sum += ch >= 0x80 ? 3 : is_control ? 6 : ch == '"' || ch == '\\' ? 2 : 1;
    }
    return sum;
}

void json_add_cstring(struct buf *b, const char *s)
{
    if (s)
        json_add_string(b, s, strlen(s));
    else
        buf_adds(b, "null");
}

void json_add_seconds(struct buf *b, int64_t us)
{
    uint64_t magnitude = us < 0 ? 0 - (uint64_t) us : (uint64_t) us;

    buf_addf(b, "%s%" PRIu64 ".%06" PRIu64, us < 0 ? "-" : "", magnitude / 1000000, magnitude % 1000000);
}
