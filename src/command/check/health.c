/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery health: does the service that has this configuration answer, and would it run a program?
 *
 * For a caller that cannot send a request itself, as a container engine's health check in an image
 * without a shell and curl.  What must never happen here: a check that takes longer than its caller
 * waits. */
#include "command/check/check.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 4000 };

/* An address that means "all addresses" for bind(2) also works for connect(2): it reaches
 * ourselves. */
static CURLcode aim(CURL *easy, const char *listen)
{
    char url[512];
    bool is_unix = strncmp(listen, "unix:", 5) == 0;
    CURLcode err = is_unix ? curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, listen + 5) : CURLE_OK;

    snprintf(url, sizeof(url), "http://%s/readyz", is_unix ? "localhost" : listen);
    return err ? err : curl_easy_setopt(easy, CURLOPT_URL, url);
}

static CURLcode ask(CURL *easy, const char *listen, long *ret_status)
{
    CURLcode err = aim(easy, listen);

    if (err)
        return err;
    err = curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) TIMEOUT_MS);
    if (err)
        return err;
    err = curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    if (err)
        return err;
    err = curl_easy_perform(easy); /* the reply goes to stdout */
    return err ? err : curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, ret_status);
}

int health(const struct conf *conf)
{
    long status = 0;
    CURL *easy = curl_easy_init();
    CURLcode err = easy ? ask(easy, conf->server_listen, &status) : CURLE_OUT_OF_MEMORY;

    curl_easy_cleanup(easy);
    if (err) {
        fprintf(stderr, "hatchery: no answer from %s: %s\n", conf->server_listen, curl_easy_strerror(err));
        return EXIT_FAILURE;
    }
    putchar('\n');
    return status == 200 ? EXIT_SUCCESS : EXIT_FAILURE;
}
