/* SPDX-License-Identifier: Apache-2.0 */
/* Where a webhook may go: the rules for URLs, for addresses, and the operator's list of exceptions.
 *
 * The server asks guard_url() when a request comes in.  The courier asks it again for each attempt,
 * and guard_address(), guard_port() and guard_own() for every address before it connects, because a
 * name may resolve differently each time.  Pure functions: no network, no files, no locks.  A
 * sentence that is appended to an error is complete but for the full stop.  It shows nothing that a
 * terminal would obey, and names the setting that would help, if there is one. */
#ifndef HATCHERY_BASE_GUARD_H
#define HATCHERY_BASE_GUARD_H

#include "base/buf.h"

#include <stdbool.h>
#include <sys/socket.h>

struct Curl_URL; /* libcurl's CURLU */

/* The parsed values of webhooks.allow and webhooks.ports. */
struct guard_allow;

/* Parse @text: words separated by white space or commas.
 *
 *   private          the addresses of private networks: 10/8, 172.16/12, 192.168/16, 100.64/10,
 *                    127/8, ::1, fc00::/7
 *   10.1.0.0/16      a network, IPv4 or IPv6; bits after the prefix must be zero
 *   10.1.2.3         a single address
 *   n8n              a host name, written as in the URL: it may resolve to private addresses
 *
 * Link-local addresses (where clouds keep their metadata), multicast and reserved addresses are not
 * private.  Neither `private` nor a host name allows them, only a network that lies within the
 * reserved one (169.254.0.0/16 or 169.254.169.254, not 0.0.0.0/0).
 * Returns 0 and the list, which the caller frees, or -EINVAL and a sentence in @error that begins
 * with the wrong word. */
int guard_allow_parse(const char *text, struct guard_allow **ret_allow, struct buf *error);
struct guard_allow *guard_allow_free(struct guard_allow *allow);

/* The ports of webhooks.ports if nobody sets them. */
#define GUARD_PORTS "80 443 1024-65535"

/* Replace the list's ports, at first GUARD_PORTS, by those of @text: numbers and ranges separated
 * by white space or commas.  Returns 0, or -EINVAL and a sentence in @error that begins with the
 * wrong word, or says that there is no port. */
int guard_allow_ports(struct guard_allow *allow, const char *text, struct buf *error);

/* Parse both. Each process does this with texts that the supervisor has already checked. */
int guard_allow_new(const char *text, const char *ports, struct guard_allow **ret_allow, struct buf *error);

/* May webhooks be sent to this port?  0 or -EACCES and a sentence. */
int guard_port(const struct guard_allow *allow, unsigned port, struct buf *error);

/* @address is one of this host's own.  May a webhook for @host go there?  guard_address() has
 * judged private and reserved addresses.  Others are allowed if webhooks.allow names them, by
 * address, network or host name.  0 or -EACCES and a sentence. */
int guard_own(const struct guard_allow *allow, const char *host, const struct sockaddr *address, struct buf *error);

/* May a webhook for @host (as in struct guard_url) be sent to @address?  IPv4 in IPv6, in every
 * form that carries it (mapped, compatible, NAT64, 6to4), is also judged by the IPv4 address.
 * Other address families are refused.  Returns 0 or -EACCES and a sentence. */
int guard_address(const struct guard_allow *allow, const char *host, const struct sockaddr *address, struct buf *error);

enum { GUARD_HOST_MAX = 253, GUARD_URL_MAX = 2048 };

struct guard_url {
    struct Curl_URL *handle;       /* parsed once; the courier connects to this very handle
                                    * (CURLOPT_CURLU) */
    char host[GUARD_HOST_MAX + 1]; /* lower case, without brackets and final dot; an address in its
                                    * usual form */
    bool tls;
};

/* May a webhook have @url, as far as the URL itself tells?  It must be http or https and have a
 * host, at most GUARD_URL_MAX printable ASCII bytes, and a port that guard_port() allows.  It must
 * not have a user, a password, a backslash or a zone.  Its host is a name, or an address that
 * guard_address() allows, in whatever notation (127.1, 0x7f000001).  localhost counts as an
 * address.  @ret_url may be NULL.  Returns 0; -EINVAL (no such URL) or -EACCES (its address or
 * port) and a sentence. */
int guard_url(const struct guard_allow *allow, const char *url, struct guard_url *ret_url, struct buf *error);
void guard_url_free(struct guard_url *url);

#endif
