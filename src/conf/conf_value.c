/* SPDX-License-Identifier: Apache-2.0 */
/* The text of one configuration value, to a number and back.
 *
 * Called while the configuration is loaded, and for the sentences of its errors.  What must never
 * happen here: text that is half understood (1.5G, 10x, -1, 0x10 and a blank between number and
 * unit are no values), or a number that wrapped. */
#include "conf/conf_value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* Ascending. The entry without a name stands for the field's own unit. */
static const struct unit size_units[] = {
    { "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 },
};
static const struct unit time_units[] = {
    { "ms", 1 }, { "s", 1000 }, { "min", 60000 }, { "h", 3600000 }, { NULL, 0 },
};

static int find_size(const char *name, int64_t *ret_factor)
{
    for (const struct unit *u = size_units; u->name; u++) {
        size_t n = strlen(u->name);
        if (strncasecmp(name, u->name, n) == 0 && (!name[n] || (n && strcmp(name + n, "iB") == 0))) {
            *ret_factor = u->factor;
            return 0;
        }
    }
    return -EINVAL;
}

static int find_time(const char *name, int64_t *ret_factor)
{
    const char *wanted = *name ? name : "s";

    for (const struct unit *u = time_units; u->name; u++)
        if (strcmp(wanted, u->name) == 0) {
            *ret_factor = u->factor;
            return 0;
        }
    return -EINVAL;
}

static int find_bool(const char *text, int64_t *ret_number)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcasecmp(text, words[i]) == 0) {
            *ret_number = i % 2;
            return 0;
        }
    return -EINVAL;
}

/* Take the digits at *@text, which moves behind them. */
static int take_digits(const char **text, int64_t *ret_number)
{
    int64_t n = 0;

    if (**text < '0' || **text > '9')
        return -EINVAL;
    for (; **text >= '0' && **text <= '9'; ++*text)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, **text - '0', &n))
            n = INT64_MAX;
    *ret_number = n;
    return 0;
}

/* The factor of the unit @text, which may be empty. */
static int find_unit(enum conf_type type, const char *text, int64_t *ret_factor)
{
    if (type == CONF_BYTES)
        return find_size(text, ret_factor);
    if (type == CONF_TIME)
        return find_time(text, ret_factor);
    return *text ? -EINVAL : 0;
}

int conf_value_number(enum conf_type type, const char *text, int64_t *ret_number)
{
    int64_t n, factor = 1;

    if (type == CONF_BOOL)
        return find_bool(text, ret_number);
    if (take_digits(&text, &n) < 0 || find_unit(type, text, &factor) < 0)
        return -EINVAL;
    if (__builtin_mul_overflow(n, factor, &n))
        n = INT64_MAX;
    *ret_number = n;
    return 0;
}

static bool is_port(const char *text)
{
    int64_t port;

    return strlen(text) <= 5 && conf_value_number(CONF_COUNT, text, &port) == 0 && port <= 65535;
}

/* Can the address before the port, @n bytes long, be used without a resolver? */
static bool is_host(const char *text, size_t n)
{
    char host[INET6_ADDRSTRLEN + 1], address[sizeof(struct in6_addr)];
    bool v6 = n > 2 && text[0] == '[' && text[n - 1] == ']';
    size_t len = v6 ? n - 2 : n;

    if (len >= sizeof(host))
        return false;
    snprintf(host, sizeof(host), "%.*s", (int) len, v6 ? text + 1 : text);
    return inet_pton(v6 ? AF_INET6 : AF_INET, host, address) == 1 || (!v6 && strcmp(host, "localhost") == 0);
}

bool conf_value_is_listen(const char *text)
{
    const char *colon = strrchr(text, ':');

    if (strncmp(text, "unix:", 5) == 0) /* unix(7): the path must fit with its NUL */
        return text[5] && strlen(text + 5) < sizeof(((struct sockaddr_un *) NULL)->sun_path);
    return colon && is_host(text, (size_t) (colon - text)) && is_port(colon + 1);
}

void conf_value_add_number(struct buf *b, enum conf_type type, int64_t number)
{
    const struct unit *units = type == CONF_BYTES ? size_units : time_units, *best = units;

    if (type == CONF_TIME || type == CONF_BYTES) {
        for (const struct unit *u = units; u->name; u++)
            if (number % u->factor == 0 && number)
                best = u;
        buf_addf(b, "%" PRId64 "%s", number / best->factor, best->name);
    } else
        buf_addf(b, "%" PRId64, number);
}

static void add_printable(struct buf *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_addc(b, text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?');
}

void conf_value_add_shown(struct buf *b, const char *text)
{
    size_t n = strlen(text), shown = n > 60 ? 57 : n;

    buf_addc(b, '\'');
    add_printable(b, text, shown);
    buf_adds(b, shown < n ? "...'" : "'");
}

void conf_value_add_name(struct buf *b, const char *name)
{
    size_t n = strcspn(name, " \t\r\n\v\f");
    size_t shown = n > 57 ? 57 : n;

    add_printable(b, name, shown);
    buf_adds(b, name[shown] ? "..." : "");
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}

unsigned conf_value_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    unsigned row[LONGEST + 1]; /* row[j]: from the first i bytes of @a to the first j of @b */
    size_t n = strnlen(a, LONGEST), m = strnlen(b, LONGEST);

    for (size_t j = 0; j <= m; j++)
        row[j] = (unsigned) j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned) i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            diagonal = row[j];
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (row[j] + 1 < best)
                best = row[j] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

void conf_value_suggest(struct buf *b, const char *name, unsigned distance, const char *nearest)
{
    if (distance <= 2 + strlen(name) / 3)
        buf_addf(b, "the nearest is %s", nearest);
    else
        buf_adds(b, "`hatchery help config` lists them");
}
