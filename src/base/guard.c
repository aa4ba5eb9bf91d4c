/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to which a webhook may go, and those that the operator allows beyond.
 *
 * The courier calls this for every address before libcurl connects to it, and guard_url.c for an
 * address in a URL.  What must never happen here: that an address which a table entry should stop
 * gets through in another notation.  Therefore addresses are compared as bytes, and IPv4 inside of
 * IPv6 is taken out and judged by itself.  IPv6 addresses that no entry knows are refused outside
 * of 2000::/3, the only global unicast there is. */
#include "base/guard.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 60, PORT_MAX = 65535 };

/* An address or a network: only the first @bits count. */
struct net {
    sa_family_t family;
    unsigned bits;
    unsigned char bytes[16];
};

struct ports {
    unsigned first, last;
};

struct guard_allow {
    bool private;
    size_t n_nets, n_hosts, n_ports;
    struct net *nets;
    char **hosts; /* lower case */
    struct ports *ports;
};

/* Which exception does it need: a network of the list within this block (STRICT), or is `private`
 * enough (PRIVATE)? */
enum kind { PRIVATE, STRICT };

/* IANA's special-purpose registries (RFC 6890 and successors), and metadata services of clouds at
 * other addresses.  The first match counts. */
static const struct {
    const char *net;
    unsigned bits;
    enum kind kind;
    int inner; /* the byte where an IPv4 address begins inside, 0: none */
    const char *what;
} blocks[] = {
    { "100.100.100.200", 32, STRICT, 0, "a cloud's metadata service" },
    { "168.63.129.16", 32, STRICT, 0, "a cloud's metadata service" },
    { "169.254.0.0", 16, STRICT, 0, "a link-local address, where clouds keep their metadata" },
    { "0.0.0.0", 8, STRICT, 0, "an address of this host itself" },
    { "10.0.0.0", 8, PRIVATE, 0, "a private address" },
    { "100.64.0.0", 10, PRIVATE, 0, "a private address (shared by a provider)" },
    { "127.0.0.0", 8, PRIVATE, 0, "a loopback address" },
    { "172.16.0.0", 12, PRIVATE, 0, "a private address" },
    { "192.168.0.0", 16, PRIVATE, 0, "a private address" },
    { "192.0.0.0", 24, STRICT, 0, "a reserved address" },
    { "192.0.2.0", 24, STRICT, 0, "an address for documentation" },
    { "192.88.99.0", 24, STRICT, 0, "a reserved address (6to4 relay)" },
    { "198.18.0.0", 15, STRICT, 0, "an address for benchmarks" },
    { "198.51.100.0", 24, STRICT, 0, "an address for documentation" },
    { "203.0.113.0", 24, STRICT, 0, "an address for documentation" },
    { "224.0.0.0", 4, STRICT, 0, "a multicast address" },
    { "240.0.0.0", 4, STRICT, 0, "a reserved address" },
    { "::1", 128, PRIVATE, 0, "a loopback address" },
    { "::", 96, STRICT, 12, "an IPv4-compatible IPv6 address" },
    { "64:ff9b::", 96, STRICT, 12, "a NAT64 address" },
    { "64:ff9b:1::", 48, STRICT, 0, "a NAT64 address" },
    { "100::", 64, STRICT, 0, "a discard-only address" },
    { "2001::", 23, STRICT, 0, "a reserved address" },
    { "2001:db8::", 32, STRICT, 0, "an address for documentation" },
    { "2002::", 16, STRICT, 2, "a 6to4 address" },
    { "3fff::", 20, STRICT, 0, "an address for documentation" },
    { "fd00:ec2::", 32, STRICT, 0, "a cloud's metadata service" },
    { "fd20:ce::254", 128, STRICT, 0, "a cloud's metadata service" },
    { "fc00::", 7, PRIVATE, 0, "a private address" },
    { "fe80::", 10, STRICT, 0, "a link-local address" },
    { "fec0::", 10, STRICT, 0, "a site-local address" },
    { "ff00::", 8, STRICT, 0, "a multicast address" },
    { "::", 3, STRICT, 0, "a reserved address" },
    { "4000::", 2, STRICT, 0, "a reserved address" },
    { "8000::", 1, STRICT, 0, "a reserved address" },
};

/* --- networks --- */

static bool bits_equal(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned rest = bits % 8;
    unsigned char mask = (unsigned char) (0xff00 >> rest);

    return memcmp(a, b, bits / 8) == 0 && (!rest || ((a[bits / 8] ^ b[bits / 8]) & mask) == 0);
}

static bool net_has(const struct net *net, const struct net *address)
{
    return net->family == address->family && bits_equal(net->bytes, address->bytes, net->bits);
}

/* Parse @text, an address in its canonical form. */
static int net_parse(const char *text, struct net *ret_net)
{
    struct net net = { 0 };

    if (inet_pton(AF_INET, text, net.bytes) == 1) {
        net.family = AF_INET;
        net.bits = 32;
    } else if (inet_pton(AF_INET6, text, net.bytes) == 1) {
        net.family = AF_INET6;
        net.bits = 128;
    } else
        return -EINVAL;
    *ret_net = net;
    return 0;
}

static struct net ipv4_inside(const struct net *address, int at)
{
    struct net inner = { .family = AF_INET, .bits = 32 };

    memcpy(inner.bytes, address->bytes + at, 4);
    return inner;
}

/* ::ffff:a.b.c.d is the kernel's other notation of a.b.c.d, not a network of its own. */
static bool is_mapped(const struct net *address)
{
    static const unsigned char prefix[12] = { [10] = 0xff, [11] = 0xff };

    return address->family == AF_INET6 && memcmp(address->bytes, prefix, sizeof(prefix)) == 0;
}

/* --- the list --- */

static void add_shown(struct buf *b, const char *text, size_t n)
{
    size_t shown = n > SHOWN_MAX ? SHOWN_MAX - 3 : n;

    for (size_t i = 0; i < shown; i++)
        buf_addc(b, text[i] > ' ' && text[i] < 0x7f ? text[i] : '?');
    buf_adds(b, shown < n ? "..." : "");
}

static int add_net(struct guard_allow *allow, const struct net *net)
{
    allow->nets = xrealloc(allow->nets, (allow->n_nets + 1) * sizeof(*net));
    allow->nets[allow->n_nets++] = *net;
    return 0;
}

/* Each of these parsers returns NULL, or what is wrong with the word. */
static const char *parse_net(struct guard_allow *allow, char *word, char *slash)
{
    struct net net;
    unsigned prefix = 0;
    char *p = slash + 1;

    *slash = '\0';
    int err = net_parse(word, &net);
    *slash = '/';
    if (err)
        return "is no network: it must be written like 10.1.0.0/16 or fd00:1::/32";
    for (; isdigit((unsigned char) *p) && prefix <= 128; p++)
        prefix = prefix * 10 + (unsigned) (*p - '0');
    if (p == slash + 1 || *p || prefix > net.bits)
        return "has no prefix length after the slash: 0 to 32 for IPv4, to 128 for IPv6";
    if (is_mapped(&net))
        return "is IPv4 written as IPv6: write the IPv4 network";
    net.bits = prefix;
    for (unsigned bit = prefix; bit < (net.family == AF_INET ? 32 : 128); bit++)
        if (net.bytes[bit / 8] & (0x80 >> bit % 8))
            return "has bits after its prefix: write the first address of the network";
    add_net(allow, &net);
    return NULL;
}

static const char *parse_host(struct guard_allow *allow, char *word)
{
    size_t n = strlen(word);

    if (strstr(word, "://"))
        return "is a URL: write its host name alone";
    if (*word == '[' || (strchr(word, ':') != strrchr(word, ':')))
        return "is no address: IPv6 is written like fd00::1, without brackets and port";
    if (strchr(word, ':'))
        return "has a port: write the host name or address alone";
    if (strchr(word, '*'))
        return "has a wildcard, of which there are none: name each host, or their network";
    for (char *p = word; *p; p++) {
        if (!isalnum((unsigned char) *p) && !strchr("-_.", *p))
            return "is no host name, address, network nor the word private";
        *p = (char) tolower((unsigned char) *p);
    }
    if (n && word[n - 1] == '.')
        word[--n] = '\0';
    const char *last = strrchr(word, '.') ? strrchr(word, '.') + 1 : word;
    if (n == 0 || n > GUARD_HOST_MAX || !last[strspn(last, "0123456789")])
        return "is no host name nor an address: IPv4 is written like 10.1.2.3";
    allow->hosts = xrealloc(allow->hosts, (allow->n_hosts + 1) * sizeof(*allow->hosts));
    allow->hosts[allow->n_hosts++] = xstrdup(word);
    return NULL;
}

static const char *parse_word(struct guard_allow *allow, char *word)
{
    char *slash = strchr(word, '/');
    struct net net;

    if (strcasecmp(word, "private") == 0) {
        allow->private = true;
        return NULL;
    }
    if (slash && !strstr(word, "://"))
        return parse_net(allow, word, slash);
    if (net_parse(word, &net) < 0)
        return parse_host(allow, word);
    if (is_mapped(&net))
        return "is IPv4 written as IPv6: write the IPv4 address";
    add_net(allow, &net);
    return NULL;
}

int guard_allow_parse(const char *text, struct guard_allow **ret_allow, struct buf *error)
{
    struct guard_allow *allow = xcalloc(1, sizeof(*allow));
    char *copy = xstrdup(text), *rest = NULL;
    const char *wrong = NULL;

    for (char *word = strtok_r(copy, " \t\r\n,", &rest); word && !wrong; word = strtok_r(NULL, " \t\r\n,", &rest)) {
        wrong = parse_word(allow, word);
        if (wrong) {
            buf_addc(error, '\'');
            add_shown(error, word, strlen(word));
            buf_addf(error, "' %s", wrong);
        }
    }
    free(copy);
    if (wrong) {
        guard_allow_free(allow);
        return -EINVAL;
    }
    *ret_allow = allow;
    return guard_allow_ports(allow, GUARD_PORTS, error);
}

struct guard_allow *guard_allow_free(struct guard_allow *allow)
{
    if (allow) {
        for (size_t i = 0; i < allow->n_hosts; i++)
            free(allow->hosts[i]);
        free(allow->hosts);
        free(allow->nets);
        free(allow->ports);
        free(allow);
    }
    return NULL;
}

/* --- ports --- */

/* The number at **@text, which moves behind it; 0 if there is none from 1 to PORT_MAX. */
static unsigned parse_port(const char **text)
{
    unsigned port = 0;

    for (; isdigit((unsigned char) **text) && port <= PORT_MAX; ++*text)
        port = port * 10 + (unsigned) (**text - '0');
    return port <= PORT_MAX ? port : 0;
}

static bool parse_ports(const char *word, struct ports *ret)
{
    const char *p = word;
    struct ports ports = { .first = parse_port(&p) };

    ports.last = ports.first;
    if (*p == '-') {
        p++;
        ports.last = parse_port(&p);
    }
    *ret = ports;
    return ports.first && ports.first <= ports.last && !*p;
}

int guard_allow_ports(struct guard_allow *allow, const char *text, struct buf *error)
{
    char *copy = xstrdup(text), *rest = NULL;
    struct ports *list = NULL, ports;
    size_t n = 0;
    int err = 0;

    for (char *word = strtok_r(copy, " \t\r\n,", &rest); word && !err; word = strtok_r(NULL, " \t\r\n,", &rest)) {
        if (parse_ports(word, &ports)) {
            list = xrealloc(list, (n + 1) * sizeof(*list));
            list[n++] = ports;
            continue;
        }
        buf_addc(error, '\'');
        add_shown(error, word, strlen(word));
        buf_addf(error, "' is no port from 1 to %d, nor a range of ports like 8000-8999", PORT_MAX);
        err = -EINVAL;
    }
    free(copy);
    if (err == 0 && n == 0)
        err = fail(error, -EINVAL, "it has no port: the default is " GUARD_PORTS);
    if (err) {
        free(list);
        return err;
    }
    free(allow->ports);
    allow->ports = list;
    allow->n_ports = n;
    return 0;
}

int guard_allow_new(const char *text, const char *ports, struct guard_allow **ret_allow, struct buf *error)
{
    struct guard_allow *allow = NULL;
    int err = guard_allow_parse(text, &allow, error);

    if (err)
        return err;
    err = guard_allow_ports(allow, ports, error);
    if (err)
        guard_allow_free(allow);
    else
        *ret_allow = allow;
    return err;
}

int guard_port(const struct guard_allow *allow, unsigned port, struct buf *error)
{
    for (size_t i = 0; i < allow->n_ports; i++)
        if (port >= allow->ports[i].first && port <= allow->ports[i].last)
            return 0;
    return fail(error, -EACCES,
                "port %u is closed to webhooks: to allow it, the operator adds it to webhooks.ports "
                "(HATCHERY_WEBHOOKS_PORTS), which is " GUARD_PORTS " by default",
                port);
}

/* --- the verdict --- */

/* Is @address in a network of the list whose prefix is at least @bits long? */
static bool is_listed(const struct guard_allow *allow, const struct net *address, unsigned bits)
{
    for (size_t i = 0; i < allow->n_nets; i++)
        if (allow->nets[i].bits >= bits && net_has(&allow->nets[i], address))
            return true;
    return false;
}

static bool host_is_listed(const struct guard_allow *allow, const char *host)
{
    for (size_t i = 0; i < allow->n_hosts; i++)
        if (strcmp(allow->hosts[i], host) == 0)
            return true;
    return false;
}

/* The block of the table that has @address, or -1 if the address is public. */
static int find_block(const struct net *address)
{
    for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++) {
        struct net net;
        if (net_parse(blocks[i].net, &net) < 0)
            abort();
        net.bits = blocks[i].bits;
        if (net_has(&net, address))
            return (int) i;
    }
    return -1;
}

/* The block that forbids @address for @host, or -1.  An inner IPv4 address is judged once more, by
 * itself. */
static int forbidden(const struct guard_allow *allow, const char *host, const struct net *address)
{
    struct net inner;
    int i;

    if (is_mapped(address)) {
        inner = ipv4_inside(address, 12);
        return forbidden(allow, host, &inner);
    }
    i = find_block(address);
    if (i < 0)
        return -1;
    if (blocks[i].kind == PRIVATE && (allow->private || host_is_listed(allow, host) || is_listed(allow, address, 0)))
        return -1;
    if (!is_listed(allow, address, blocks[i].bits))
        return i;
    if (!blocks[i].inner)
        return -1;
    inner = ipv4_inside(address, blocks[i].inner);
    return forbidden(allow, host, &inner);
}

/* Does not tell a name's address: a sender of webhooks need not learn what this host's resolver
 * knows. */
static void explain(struct buf *error, const char *host, const char *what)
{
    struct in6_addr ignored;
    bool literal = strchr(host, ':') || inet_pton(AF_INET, host, &ignored) == 1;

    add_shown(error, host, strlen(host));
    buf_addf(error, " %s %s, which webhooks may not be sent to: ", literal ? "is" : "resolves to", what);
}

static void explain_remedy(struct buf *error, const char *host)
{
    buf_adds(error, "to allow it, the operator sets HATCHERY_WEBHOOKS_ALLOW=");
    add_shown(error, host, strlen(host));
}

static int net_from(const struct sockaddr *address, struct net *ret_net)
{
    struct net net = { .family = address->sa_family };

    if (address->sa_family == AF_INET) {
        net.bits = 32;
        memcpy(net.bytes, &((const struct sockaddr_in *) (const void *) address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        net.bits = 128;
        memcpy(net.bytes, &((const struct sockaddr_in6 *) (const void *) address)->sin6_addr, 16);
    } else
        return -EAFNOSUPPORT;
    *ret_net = net;
    return 0;
}

int guard_address(const struct guard_allow *allow, const char *host, const struct sockaddr *address, struct buf *error)
{
    struct net net;

    if (net_from(address, &net) < 0)
        return fail(error, -EACCES, "the host has an address that is neither IPv4 nor IPv6");
    int block = forbidden(allow, host, &net);
    if (block < 0)
        return 0;
    explain(error, host, blocks[block].what);
    if (blocks[block].kind == PRIVATE)
        explain_remedy(error, host);
    else
        buf_addf(error, "only HATCHERY_WEBHOOKS_ALLOW=%s/%u would allow it", blocks[block].net, blocks[block].bits);
    return -EACCES;
}

int guard_own(const struct guard_allow *allow, const char *host, const struct sockaddr *address, struct buf *error)
{
    struct net net = { 0 };

    if (net_from(address, &net) == 0) {
        if (is_mapped(&net))
            net = ipv4_inside(&net, 12);
        if (find_block(&net) >= 0 || host_is_listed(allow, host) || is_listed(allow, &net, 0))
            return 0;
    }
    explain(error, host, "an address of this host itself");
    explain_remedy(error, host);
    return -EACCES;
}
