/* SPDX-License-Identifier: Apache-2.0 */
/* The words for the person who started the service, and for the service manager.
 *
 * prepare.c says here why a start is refused; orders.c announces the address, the key and a command
 * to try them when the server is ready, with warnings about what strangers could use.  What must
 * never happen here: a configured key in a line of output.  Only a key that was made for this start
 * is shown. */
#include "supervisor/process.h"

#include "supervisor/cgroup.h"

#include "supervisor/listener.h"
#include "supervisor/state.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_SHORT = 16 }; /* characters: a shorter key is probably a word that somebody thought of */

int refuse(const char *sentence)
{
    log_sentence("%s", sentence);
    return -1;
}

void say_ready(struct supervisor *s)
{
    notify_say(&s->notify, "READY=1\nSTATUS=Listening on %.*s%s", (int) s->url.len, s->url.data,
               s->reload == RELOAD_REFUSED
                   ? "; the configuration that was to be read again is wrong, and the one before it stays"
                   : "");
}

static void warn_of_readable(const char *path, const char *what)
{
    struct stat st;
    char hint[PATH_MAX + 16];

    if (!path || !*path || stat(path, &st) < 0 || !(st.st_mode & S_IROTH))
        return;
    snprintf(hint, sizeof(hint), "chmod 600 %s", path);
    log_warn("a file with a secret can be read by every user of this machine", LOG_S("what", what) LOG_S("hint", hint));
}

static void warn_of_strangers(const struct supervisor *s)
{
    const char *key = s->conf->server_api_key;
    bool everywhere = false, local = true;

    for (unsigned i = 0; i < s->server_conf.n_listeners; i++) {
        everywhere = everywhere || listener_is_everywhere(s->listener_fds[i]);
        local = local && listener_is_local(s->listener_fds[i]);
    }
    if (everywhere)
        log_warn("listening on all addresses of this machine, without TLS: clients send keys and programs in the "
                 "clear; put a proxy in front");
    if (!local && key && *key && strlen(key) < KEY_SHORT)
        log_warn("the API key is short enough to be guessed, and other machines can reach the server",
                 LOG_I("least", KEY_SHORT) LOG_S("hint", "openssl rand -hex 24"));
    warn_of_readable(s->conf->server_api_key_file, "server.api_key_file");
    warn_of_readable(s->conf->webhooks_secret_file, "webhooks.secret_file");
}

/* Say where jobs stay, so that the operator finds a trial's jobs again, and is not surprised by
 * them when a server is later started on them. */
static void print_state(const struct supervisor *s)
{
    struct buf path, error;

    buf_init(&path, 4096);
    buf_init(&error, 512);
    if (state_path(s->conf->server_state, &path, &error) == 0 && path.len)
        printf("Jobs and keys are kept in %.*s\n", (int) path.len, path.data);
    buf_free(&path);
    buf_free(&error);
}

/* The first words of a curl command for this server, typed on this machine. */
static void add_curl(struct buf *out, const char *url)
{
    static const char any4[] = "http://0.0.0.0:", any6[] = "http://[::]:";

    if (strncmp(url, "unix:", 5) == 0)
        buf_addf(out, "--unix-socket %s http://localhost", url + 5);
    else if (strncmp(url, any4, sizeof(any4) - 1) == 0)
        buf_addf(out, "http://127.0.0.1:%s", url + sizeof(any4) - 1);
    else if (strncmp(url, any6, sizeof(any6) - 1) == 0)
        buf_addf(out, "http://[::1]:%s", url + sizeof(any6) - 1);
    else
        buf_adds(out, url);
}

void announce(const struct supervisor *s)
{
    const char *key = s->options->generated_key;
    char url[256];
    struct buf curl;

    warn_of_strangers(s);
    snprintf(url, sizeof(url), "%.*s", (int) s->url.len, s->url.data);
    if (!isatty(STDOUT_FILENO) || !isatty(STDERR_FILENO)) /* on a terminal the next line says it */
        log_info("listening", LOG_S("url", url) LOG_S("version", VERSION));
    printf("Hatchery %s is listening on %s%.*s\n", VERSION, url, (int) s->more_urls.len,
           s->more_urls.len ? s->more_urls.data : "");
    if (key)
        printf("API key (made for this start; set API_KEY to choose your own): %s\n", key);
    else
        printf("The key is the one that you have configured: put it in the place of YOUR-KEY.\n");
    print_state(s);
    if (s->metrics_fd >= 0)
        printf("Metrics are at %.*s/metrics\n", (int) s->metrics_url.len, s->metrics_url.data);
    buf_init(&curl, 512);
    add_curl(&curl, url);
    printf("Try it from another terminal:\n\n  curl -s %.*s/v1/code/execute/python -H 'x-api-key: %s' -H "
           "'content-type: application/json' -d '{\"code\": \"print(\\\"Hello, World!\\\")\"}'\n\n",
           (int) curl.len, curl.data, key ? key : "YOUR-KEY");
    buf_free(&curl);
    fflush(stdout);
}

void tell_of_epoll(const struct supervisor *s)
{
    for (unsigned i = 0; i < s->found.n; i++)
        if (s->found.list[i].epoll)
            log_warn("the jail is weaker than it could be: programs of a runtime have epoll, which nothing counts",
                     LOG_S("runtime", s->found.list[i].wire.name));
}

void tell_of_holds(const struct supervisor *s)
{
    if (s->cgroups && cgroups_hold_by(s->cgroups) == CGROUPS_HOLD_BY_NOTHING)
        log_warn("boxes whose processes queue for a kernel lock can not be held",
                 LOG_S("hint", "cgroup v2, or Linux 6.18; until then isolation.root"));
}
