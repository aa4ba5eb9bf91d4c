/* SPDX-License-Identifier: Apache-2.0 */
/* The [webhooks] section of the configuration.
 *
 * The command calls this when it has loaded the configuration, and the supervisor calls it.  What
 * must never happen here: a secret in a message, or a secret that is ignored because it is
 * malformed. */
#include "supervisor/webhooks.h"

#include "base/fd.h"
#include "base/guard.h"
#include "conf/conf_value.h"
#include "courier/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Copy the next word of *@text; false at the end. */
static bool next_word(const char **text, char *word, size_t size)
{
    *text += strspn(*text, " \t\r\n");
    size_t n = strcspn(*text, " \t\r\n");
    snprintf(word, size, "%.*s", (int) n, *text);
    *text += n;
    return n > 0;
}

static int take_secrets(struct courier_conf *conf, const char *text, const char *key, struct buf *error)
{
    char word[128];
    int err = 0;

    while (!err && next_word(&text, word, sizeof(word))) {
        if (conf->n_secrets == COURIER_SECRETS_MAX) {
            err = fail(error, -E2BIG, "%s: there are more than %d secrets", key, COURIER_SECRETS_MAX);
            break;
        }
        err = sign_secret(word, conf->secrets[conf->n_secrets].key, &conf->secrets[conf->n_secrets].len);
        conf->n_secrets++;
        if (err)
            buf_addf(error,
                     "%s: secret %u is not whsec_ and the base64 of 24 to 64 bytes; make one with: echo whsec_$(head "
                     "-c 32 /dev/urandom | base64)",
                     key, conf->n_secrets);
    }
    explicit_bzero(word, sizeof(word));
    return err;
}

static int read_secrets(const struct conf *c, struct courier_conf *conf, struct buf *error)
{
    char text[2048];

    int err = take_secrets(conf, c->webhooks_secret, "webhooks.secret", error);
    if (err || !*c->webhooks_secret_file)
        return err;
    ssize_t n = fd_read_file(AT_FDCWD, c->webhooks_secret_file, text, sizeof(text));
    if (n < 0)
        return fail(error, (int) n, "webhooks.secret_file: cannot read %s: %s", c->webhooks_secret_file,
                    strerror((int) -n));
    err = take_secrets(conf, text, "webhooks.secret_file", error);
    explicit_bzero(text, sizeof(text));
    if (err)
        return err;
    return conf->n_secrets
               ? 0
               : fail(error, -EINVAL, "webhooks.secret_file: %s has no secret in it", c->webhooks_secret_file);
}

static int take_retries(const char *text, struct wire_server_conf *server, struct buf *error)
{
    char word[32];

    server->n_retries = 0;
    while (next_word(&text, word, sizeof(word))) {
        int64_t ms;
        if (conf_value_number(CONF_TIME, word, &ms) < 0 || ms > 30LL * 86400000) {
            buf_adds(error, "webhooks.retries: ");
            conf_value_add_shown(error, word);
            buf_adds(error, " is no time of at most 720h (a number of seconds, or with ms, s, min or h)");
            return -EINVAL;
        }
        if (server->n_retries == WIRE_RETRIES_MAX)
            return fail(error, -E2BIG, "webhooks.retries: there are more than %d", WIRE_RETRIES_MAX);
        server->retry_ms[server->n_retries++] = ms;
    }
    return 0;
}

static int check_allow(const char *text, struct buf *error)
{
    struct guard_allow *allow = NULL;
    size_t mark = error->len;

    buf_adds(error, "webhooks.allow: ");
    int err = guard_allow_parse(text, &allow, error);
    if (err)
        return err;
    error->len = mark;
    guard_allow_free(allow);
    return 0;
}

static int check_ports(const char *text, struct buf *error)
{
    struct guard_allow *allow = NULL;
    size_t mark = error->len;

    buf_adds(error, "webhooks.ports: ");
    int err = guard_allow_new("", text, &allow, error);
    if (err)
        return err;
    error->len = mark;
    guard_allow_free(allow);
    return 0;
}

void webhooks_copy(struct wire_server_conf *server, const struct wire_server_conf *from)
{
    memcpy(server->allow, from->allow, sizeof(server->allow));
    memcpy(server->ports, from->ports, sizeof(server->ports));
    memcpy(server->retry_ms, from->retry_ms, sizeof(server->retry_ms));
    server->n_retries = from->n_retries;
    server->webhooks_per_host = from->webhooks_per_host;
    server->webhooks_in_all = from->webhooks_in_all;
}

int webhooks_fill(const struct conf *conf, struct courier_conf *ret_courier, struct wire_server_conf *ret_server,
                  struct buf *error)
{
    *ret_courier = (struct courier_conf){ .type = COURIER_CONF,
                                          .timeout_ms = (unsigned) conf->webhooks_timeout,
                                          .per_host = (unsigned) conf->webhooks_per_host,
                                          .in_all = (unsigned) conf->webhooks_in_all };
    snprintf(ret_courier->allow, sizeof(ret_courier->allow), "%s", conf->webhooks_allow);
    snprintf(ret_server->allow, sizeof(ret_server->allow), "%s", conf->webhooks_allow);
    snprintf(ret_courier->ports, sizeof(ret_courier->ports), "%s", conf->webhooks_ports);
    snprintf(ret_server->ports, sizeof(ret_server->ports), "%s", conf->webhooks_ports);
    ret_server->webhooks_per_host = ret_courier->per_host;
    ret_server->webhooks_in_all = ret_courier->in_all;
    size_t mark = error->len;
    int secrets = conf_locate(conf, read_secrets(conf, ret_courier, error), mark, error);
    mark = error->len;
    int retries = conf_locate(conf, take_retries(conf->webhooks_retries, ret_server, error), mark, error);
    mark = error->len;
    int allow = conf_locate(conf, check_allow(conf->webhooks_allow, error), mark, error);
    mark = error->len;
    int ports = conf_locate(conf, check_ports(conf->webhooks_ports, error), mark, error);
    const int found[] = { secrets, retries, allow, ports };
    for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++)
        if (found[i])
            return found[i];
    return 0;
}
