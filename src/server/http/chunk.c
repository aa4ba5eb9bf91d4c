/* SPDX-License-Identifier: Apache-2.0 */
/* The strict check of chunked framing, called by request.c before llhttp.
 *
 * llhttp 8.1 as Debian builds it skips whatever two bytes follow a chunk's data and whatever byte
 * follows the CR of its size line; a proxy that does not would see other requests on the connection
 * than we do.  Here every byte of the framing is looked at; data is skipped in one step.
 * What must never happen here: a byte that is neither data nor accounted for, or extensions and
 * trailers without end. */
#include "server/http/chunk.h"

#include "server/http/head.h"

enum state {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* at the beginning of a line after the last chunk */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
};

static int go(struct chunks *c, enum state state)
{
    c->state = state;
    return 0;
}

static int expect_byte(struct chunks *c, char got, char wanted, enum state next)
{
    return got == wanted ? go(c, next) : -400;
}

static int digit_value(char b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    if (b >= 'a' && b <= 'f')
        return b - 'a' + 10;
    if (b >= 'A' && b <= 'F')
        return b - 'A' + 10;
    return -1;
}

static int on_size(struct chunks *c, char b)
{
    int value = digit_value(b);

    if (value >= 0) {
        c->size = c->size * 16 + (unsigned) value;
        return ++c->digits <= CHUNK_DIGITS_MAX ? 0 : -400;
    }
    if (c->digits == 0)
        return -400;
    if (b == ';')
        return go(c, EXTENSION);
    return expect_byte(c, b, '\r', SIZE_LF);
}

/* Extensions and trailers are read and ignored (RFC 9112 section 7.1.1 and 7.1.2), within a bound:
 * without it a body of one byte could go on for ever. */
static int ignore(struct chunks *c, char b)
{
    if (!head_is_value((unsigned char) b) || ++c->extra > CHUNK_EXTRA_MAX)
        return -400;
    return 0;
}

static int on_extension(struct chunks *c, char b)
{
    return b == '\r' ? go(c, SIZE_LF) : ignore(c, b);
}

static int on_size_lf(struct chunks *c, char b)
{
    if (b != '\n')
        return -400;
    c->total += c->size;
    if (c->total > c->max)
        return -413;
    return go(c, c->size ? DATA : TRAILER);
}

static int on_data_cr(struct chunks *c, char b)
{
    return expect_byte(c, b, '\r', DATA_LF);
}

static int on_data_lf(struct chunks *c, char b)
{
    c->digits = 0;
    return expect_byte(c, b, '\n', SIZE);
}

static int on_trailer(struct chunks *c, char b)
{
    if (b == '\r')
        return go(c, END_LF);
    c->state = TRAILER_NAME;
    return head_is_token((unsigned char) b) ? ignore(c, b) : -400;
}

static int on_trailer_name(struct chunks *c, char b)
{
    if (b == ':')
        return go(c, TRAILER_VALUE);
    return head_is_token((unsigned char) b) ? ignore(c, b) : -400;
}

static int on_trailer_value(struct chunks *c, char b)
{
    return b == '\r' ? go(c, TRAILER_LF) : ignore(c, b);
}

static int on_trailer_lf(struct chunks *c, char b)
{
    return expect_byte(c, b, '\n', TRAILER);
}

static int on_end_lf(struct chunks *c, char b)
{
    return expect_byte(c, b, '\n', END);
}

static int (*const steps[END])(struct chunks *c, char b) = {
    [SIZE] = on_size,
    [EXTENSION] = on_extension,
    [SIZE_LF] = on_size_lf,
    [DATA_CR] = on_data_cr,
    [DATA_LF] = on_data_lf,
    [TRAILER] = on_trailer,
    [TRAILER_NAME] = on_trailer_name,
    [TRAILER_VALUE] = on_trailer_value,
    [TRAILER_LF] = on_trailer_lf,
    [END_LF] = on_end_lf,
};

static size_t skip_data(struct chunks *c, size_t n)
{
    if (n >= c->size) {
        n = (size_t) c->size;
        c->state = DATA_CR;
    }
    c->size -= n;
    return n;
}

int chunks_scan(struct chunks *c, const char *p, size_t n, size_t *ret_used)
{
    size_t i = 0;
    int err = 0;

    while (i < n && c->state != END && err == 0) {
        if (c->state == DATA)
            i += skip_data(c, n - i);
        else
            err = steps[c->state](c, p[i++]);
    }
    *ret_used = i;
    return err ? err : c->state == END;
}
