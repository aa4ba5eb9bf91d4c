/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of a webhook, as a client could write it, webhooks.allow, and webhooks.ports where it is there:
 * "LIST\nURL\nPORTS".
 *
 * A URL that is accepted is printable, has no user, is accepted again as libcurl writes it, with the same host; and
 * if the C library takes its host for an address, the guard has judged that address.  Its port is one of the list's. */
#include "base/guard.h"

#include <assert.h>
#include <curl/curl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* No list may open what is reserved, unless it names a network in there. */
static void check_literal(const struct guard_allow *allow, const char *host)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    struct buf error;

    buf_init(&error, 1000);
    if (getaddrinfo(host, NULL, &hints, &found) == 0) {
        assert(guard_address(allow, host, found->ai_addr, &error) == 0);
        freeaddrinfo(found);
    }
    buf_free(&error);
}

static void check_again(const struct guard_allow *allow, const struct guard_url *url)
{
    struct guard_url again = { 0 };
    struct buf error;
    char *text = NULL;

    buf_init(&error, 1000);
    assert(curl_url_get(url->handle, CURLUPART_URL, &text, 0) == CURLUE_OK);
    assert(strncmp(text, url->tls ? "https://" : "http://", url->tls ? 8 : 7) == 0);
    for (const char *p = text; *p; p++)
        assert(*p > ' ' && *p < 0x7f && *p != '\\');
    if (strlen(text) <= GUARD_URL_MAX) { /* a slash may have been added */
        assert(guard_url(allow, text, &again, &error) == 0);
        assert(strcmp(again.host, url->host) == 0 && again.tls == url->tls);
        guard_url_free(&again);
    }
    curl_free(text);
    buf_free(&error);
}

static void check_port(const struct guard_allow *allow, const struct guard_url *url)
{
    struct buf error;
    char *text = NULL;

    buf_init(&error, 1000);
    assert(curl_url_get(url->handle, CURLUPART_PORT, &text, CURLU_DEFAULT_PORT) == CURLUE_OK);
    assert(guard_port(allow, (unsigned) atoi(text), &error) == 0);
    assert(guard_port(allow, 0, &error) < 0 && guard_port(allow, 65536, &error) < 0);
    curl_free(text);
    buf_free(&error);
}

static void check_sentence(struct buf *error)
{
    assert(error->len);
    for (size_t i = 0; i < error->len; i++)
        assert(error->data[i] >= ' ' && error->data[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *) data, size), *url = strchr(text, '\n');
    struct guard_allow *allow = NULL;
    struct guard_url parsed = { 0 };
    struct buf error;

    buf_init(&error, 1000);
    char *ports = url ? strchr(url + 1, '\n') : NULL;
    if (ports)
        *ports++ = '\0';
    if (url)
        *url++ = '\0';
    if (guard_allow_parse(text, &allow, &error) < 0) {
        check_sentence(&error);
        assert(!allow && guard_allow_parse("", &allow, &error) == 0);
        buf_reset(&error);
    }
    if (ports && guard_allow_ports(allow, ports, &error) < 0) {
        check_sentence(&error);
        buf_reset(&error);
    }
    if (url && guard_url(allow, url, &parsed, &error) == 0) {
        check_literal(allow, parsed.host);
        check_again(allow, &parsed);
        check_port(allow, &parsed);
        guard_url_free(&parsed);
    } else if (url)
        check_sentence(&error);
    guard_allow_free(allow);
    buf_free(&error);
    free(text);
    return 0;
}
