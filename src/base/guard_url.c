/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of webhooks.
 *
 * The server calls this when a request comes in, the courier for each attempt.  libcurl's parser is
 * the only one: its handle is also what the courier connects to, so no other parser can disagree
 * about which part is the host.  What must never happen here: a second look at the text that
 * decides something the handle does not say.  The text itself is only searched for characters that
 * no URL may have, and for the two slashes that libcurl does not insist on. */
#include "base/guard.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static int refuse(struct buf *error, const char *why)
{
    return fail(error, -EINVAL, "%s", why);
}

/* The length of "http://" or "https://" at the beginning of @text, or 0. */
static size_t length_of_scheme(const char *text)
{
    if (strncasecmp(text, "http://", 7) == 0)
        return 7;
    return strncasecmp(text, "https://", 8) == 0 ? 8 : 0;
}

/* Refuse characters that no URL has in any part, and other schemes. libcurl also takes http:/a and
 * http:///a. */
static int check_text(const char *text, struct buf *error)
{
    size_t n = strnlen(text, GUARD_URL_MAX + 1);
    size_t scheme = length_of_scheme(text);

    if (n > GUARD_URL_MAX)
        return fail(error, -EINVAL, "the URL is longer than %d bytes", GUARD_URL_MAX);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\\')
            return refuse(error, "the URL has a backslash, which must be written as %5C");
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return refuse(error, "the URL has a space, a control character or one outside of ASCII: in the path they "
                                 "are written with percent signs, in a host name as xn--");
    }
    if (!scheme)
        return refuse(error, "the URL must begin with http:// or https://");
    if (!text[scheme] || strchr("/?#", text[scheme]))
        return refuse(error, "the URL has no host");
    return 0;
}

/* Does the URL have this part, even if the part is empty? */
static bool has(CURLU *handle, CURLUPart part)
{
    char *text = NULL;
    bool found = curl_url_get(handle, part, &text, 0) == CURLUE_OK && text;

    curl_free(text);
    return found;
}

static int check_parts(CURLU *handle, struct buf *error)
{
    if (has(handle, CURLUPART_USER) || has(handle, CURLUPART_PASSWORD) || has(handle, CURLUPART_OPTIONS))
        return refuse(error, "the URL has a user name or password, which webhooks can't have");
    if (has(handle, CURLUPART_ZONEID))
        return refuse(error, "the URL's address has a zone, which webhooks can't have");
    return 0;
}

static int find_port(CURLU *handle, unsigned *ret_port, struct buf *error)
{
    char *port = NULL;

    if (curl_url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        *ret_port = (unsigned) strtoul(port, NULL, 10);
    curl_free(port);
    return *ret_port ? 0 : refuse(error, "the URL's port is no number from 1 to 65535");
}

/* The host in the one form in which hosts are compared: no brackets, no final dot, lower case. */
static int copy_host(CURLU *handle, char *ret_host, struct buf *error)
{
    char *text = NULL, *p;
    size_t n;
    int err = 0;

    if (curl_url_get(handle, CURLUPART_HOST, &text, 0) != CURLUE_OK || !*text) {
        curl_free(text);
        return refuse(error, "the URL has no host");
    }
    p = text;
    n = strlen(p);
    bool v6 = p[0] == '[' && p[n - 1] == ']';
    if (v6) {
        p++;
        n -= 2;
    } else if (p[n - 1] == '.')
        n--;
    if (n == 0 || n > GUARD_HOST_MAX)
        err = refuse(error, "the URL's host is no host name");
    for (size_t i = 0; i < n && !err; i++) {
        ret_host[i] = (char) tolower((unsigned char) p[i]);
        if (!isalnum((unsigned char) p[i]) && !strchr(v6 ? ":." : "-_.", p[i]))
            err = refuse(error, "the URL's host is no host name: it has characters other than letters, digits and -._");
    }
    if (!err)
        ret_host[n] = '\0';
    curl_free(text);
    return err;
}

/* The address that @host means if it is read as inet_aton(3) and getaddrinfo(3) read numbers; @host
 * is then rewritten in the usual form.  Returns 1, 0 for a name, or -EINVAL if it ends in a number
 * and is not an address. */
static int find_address(char *host, struct sockaddr_storage *ret_address)
{
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    const char *last = strrchr(host, '.') ? strrchr(host, '.') + 1 : host;

    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        inet_ntop(AF_INET6, &v6.sin6_addr, host, GUARD_HOST_MAX + 1);
        memcpy(ret_address, &v6, sizeof(v6));
        return 1;
    }
    if (inet_aton(host, &v4.sin_addr) == 1) {
        inet_ntop(AF_INET, &v4.sin_addr, host, GUARD_HOST_MAX + 1);
        memcpy(ret_address, &v4, sizeof(v4));
        return 1;
    }
    bool number = last[strspn(last, "0123456789")] == '\0';
    bool hex = last[0] == '0' && last[1] == 'x' && last[2 + strspn(last + 2, "0123456789abcdef")] == '\0';
    return number || hex ? -EINVAL : 0;
}

/* RFC 6761: localhost and names below it need no resolver. */
static bool is_localhost(const char *host)
{
    size_t n = strlen(host);

    return n >= 9 && strcmp(host + n - 9, "localhost") == 0 && (n == 9 || host[n - 10] == '.');
}

static int check_host(const struct guard_allow *allow, char *host, struct buf *error)
{
    const struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_storage address = { 0 };
    int found = find_address(host, &address);

    if (found < 0)
        return refuse(error, "the URL's host ends in a number and is no address");
    if (is_localhost(host))
        return guard_address(allow, host, (const struct sockaddr *) &loopback, error);
    return found ? guard_address(allow, host, (const struct sockaddr *) &address, error) : 0;
}

/* The scheme as the handle has it. The text was checked before. */
static int find_scheme(CURLU *handle, bool *ret_tls, struct buf *error)
{
    char *scheme = NULL;
    bool found = curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && scheme;
    bool tls = found && strcmp(scheme, "https") == 0;
    bool plain = found && strcmp(scheme, "http") == 0;

    curl_free(scheme);
    if (!tls && !plain)
        return refuse(error, "the URL must begin with http:// or https://");
    *ret_tls = tls;
    return 0;
}

static int parse(const char *text, struct guard_url *url, unsigned *ret_port, struct buf *error)
{
    CURLUcode code = curl_url_set(url->handle, CURLUPART_URL, text, CURLU_PATH_AS_IS);

    if (code != CURLUE_OK)
        return fail(error, -EINVAL, "the URL cannot be understood (%s)", curl_url_strerror(code));
    int err = find_scheme(url->handle, &url->tls, error);
    if (err)
        return err;
    err = check_parts(url->handle, error);
    if (err)
        return err;
    err = find_port(url->handle, ret_port, error);
    return err ? err : copy_host(url->handle, url->host, error);
}

static int judge(const struct guard_allow *allow, const char *text, struct guard_url *url, struct buf *error)
{
    unsigned port = 0;
    int err = parse(text, url, &port, error);

    if (err)
        return err;
    err = check_host(allow, url->host, error);
    return err ? err : guard_port(allow, port, error);
}

int guard_url(const struct guard_allow *allow, const char *text, struct guard_url *ret_url, struct buf *error)
{
    struct guard_url url = { 0 };
    int err = check_text(text, error);

    if (err)
        return err;
    url.handle = curl_url();
    if (!url.handle)
        abort();
    err = judge(allow, text, &url, error);
    if (err || !ret_url)
        guard_url_free(&url);
    else
        *ret_url = url;
    return err;
}

void guard_url_free(struct guard_url *url)
{
    curl_url_cleanup(url->handle);
    url->handle = NULL;
}
