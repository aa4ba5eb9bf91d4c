/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration is read again while the service runs.
 *
 * The loop calls reload() for SIGHUP, and in each of its turns tells the processes and the service
 * manager what they do not know yet.  A new configuration is taken as a whole or not at all.  What
 * must never happen here: that a process that starts later works with other values than its
 * siblings, or that the loop waits for a process that does not read. */
#include "supervisor/process.h"

#include "supervisor/cgroup.h"
#include "supervisor/limit_watch.h"
#include "supervisor/webhooks.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Settings that can't change while a server runs stay as they are, for all processes: a child that
 * is restarted later must find the same values as its siblings. */
static void keep_what_needs_a_restart(const struct supervisor *s, struct conf *fresh)
{
    for (const struct conf_key *k = conf_keys; k->section; k++) {
        char name[CONF_ENV_NAME_MAX];
        if (k->when == CONF_LIVE || conf_equals(s->conf, fresh, k))
            continue;
        snprintf(name, sizeof(name), "%s.%s", k->section, k->key);
        log_warn("a change of the configuration needs a restart", LOG_S("key", name));
        conf_copy(fresh, s->conf, k);
    }
    if (!conf_same_runtimes(s->conf, fresh)) {
        log_warn("a change of the configuration needs a restart", LOG_S("key", "runtime"));
        conf_copy_runtimes(fresh, s->conf);
    }
}

/* Fill the server's slice anew. Values that were found at the start stay. */
static void refill_server_conf(struct supervisor *s)
{
    const struct wire_server_conf old = s->server_conf;
    struct wire_server_conf *w = &s->server_conf;

    fill_server_conf(s);
    w->n_slots = old.n_slots;
    w->n_first_slots = old.n_first_slots;
    w->n_runtimes = old.n_runtimes;
    memcpy(w->runtimes, old.runtimes, sizeof(w->runtimes));
    w->max_runs = old.max_runs;
    w->places = old.places;
    w->layers_missing = old.layers_missing;
    w->cgroup_version = old.cgroup_version;
    w->landlock_abi = old.landlock_abi;
    w->metrics_here = old.metrics_here;
    w->n_listeners = old.n_listeners;
    w->inherited = old.inherited;
    w->has_metrics = old.has_metrics;
    w->has_state = old.has_state;
    fit_connections(w);
}

/* Boxes have the limits of their zygote, so new limits need a new zygote. */
static void renew_zygotes(struct supervisor *s)
{
    const struct wire_zygote_conf old = s->zygote_conf;

    fill_zygote_conf(s);
    bool same_limits = memcmp(&old.limits, &s->zygote_conf.limits, sizeof(old.limits)) == 0;
    if (s->cgroups && !same_limits)
        cgroups_change(s->cgroups, &s->zygote_conf.limits);
    if (s->limit_watch && !same_limits)
        limit_watch_change(s->limit_watch, &s->zygote_conf.limits);
    bool same_imports = strcmp(old.imports, s->zygote_conf.imports) == 0;
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++) {
        struct zygotes *z = &s->runtimes[i];
        bool leaves_out = !imports_all_well(&z->imports); /* its imports may be mended now */
        imports_forget(&z->imports);
        z->wanted = z->wanted || (z->needed && (!same_limits || !same_imports || leaves_out));
    }
}

static int adopt(struct supervisor *s, struct conf *fresh, struct buf *error)
{
    static struct courier_conf courier;
    static struct wire_server_conf hooks; /* webhooks_fill()'s part for the server */

    keep_what_needs_a_restart(s, fresh);
    int err = webhooks_fill(fresh, &courier, &hooks, error);
    if (err)
        return err;
    courier.log_format = s->courier_conf.log_format;
    conf_free(s->own_conf);
    free(s->own_conf);
    s->conf = s->own_conf = fresh;
    refill_server_conf(s);
    courier.log_level = s->server_conf.log_level;
    s->courier_conf = courier;
    explicit_bzero(&courier, sizeof(courier));
    webhooks_copy(&s->server_conf, &hooks);
    renew_zygotes(s);
    log_set_level((enum log_level) s->server_conf.log_level);
    for (unsigned i = 0; i < SINGLES; i++)
        s->singles[i].behind = s->singles[i].process->tell != NULL;
    return 0;
}

void reload(struct supervisor *s)
{
    const struct wire_plain kept = { .type = WIRE_KEPT };
    struct conf *fresh = xcalloc(1, sizeof(*fresh));
    struct buf error;

    if (s->ready)
        notify_say(&s->notify, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long) now_us());
    buf_init(&error, 65536);
    int err = s->options->reload(s->options->reload_data, fresh, &error);
    if (!err) {
        err = adopt(s, fresh, &error);
        if (err)
            conf_free(fresh);
    }
    if (err) {
        free(fresh);
        log_error("the configuration is wrong: the one before it stays", LOG_S("error", buf_text(&error)));
        if (s->server->pid)
            fd_send(s->server->sock, &kept, sizeof(kept), NULL, 0);
    } else
        log_info("configuration read again");
    buf_free(&error);
    s->reload = err ? RELOAD_REFUSED : RELOAD_TELLING;
}

void tell_of_change(struct supervisor *s)
{
    for (struct child *child = s->singles; child < s->singles + SINGLES; child++)
        if (child->behind && child->pid)
            child->behind = child->process->tell(s, child) == -EAGAIN;
}

bool is_behind(const struct supervisor *s)
{
    for (const struct child *child = s->singles; child < s->singles + SINGLES; child++)
        if (child->behind && child->pid)
            return true;
    return false;
}

void tell_manager(struct supervisor *s)
{
    const struct wire_plain ask = { .type = WIRE_ALIVE_GET };

    notify_again(&s->notify);
    if (s->reload != RELOAD_SETTLED && s->ready && !s->stopping && !is_behind(s)) {
        say_ready(s);
        s->reload = RELOAD_SETTLED;
    }
    /* The whole service has one sign of life: the server's loop answers.  A server without room for
     * a question has not answered earlier ones. */
    if (!s->notify.watchdog_us || !s->ready || now_us() < s->ask_alive_at_us)
        return;
    s->ask_alive_at_us = now_us() + s->notify.watchdog_us / 2;
    s->alive_asked = true;
    if (s->server->sock >= 0)
        fd_send(s->server->sock, &ask, sizeof(ask), NULL, 0);
}
