/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory, and the store in it.
 *
 * The start calls this file once, with the directory's descriptor: it becomes the working directory,
 * and the process gives up everything else before the store is opened.  What must never happen here:
 * a file opened outside of that directory. */
#include "server/server.h"

#include "server/api/wording.h"

#include "base/fd.h"
#include "base/filter.h"
#include "base/log.h"
#include "box/layers.h"
#include "server/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_store_wake(void *data)
{
    struct server *s = data;
    backlog_wake(s->backlog);
    outbox_wake(s->outbox);
}

/* Cursors stay good over a restart: their key does. */
static int load_cursor_key(struct api *api)
{
    static const char name[] = "cursor.key", fresh[] = "cursor.key.new";
    unsigned char *key = api->cursor_key;
    _cleanup_fd_ int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0 && read(fd, key, API_CURSOR_KEY) == API_CURSOR_KEY)
        return 0;
    fd_close(&fd);
    randombytes_buf(key, API_CURSOR_KEY);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, key, API_CURSOR_KEY) != API_CURSOR_KEY || rename(fresh, name) < 0)
        return errno ? -errno : -EIO;
    return 0;
}

/* Without a store synchronous runs go on, and whoever asks for more is told why not. */
static void open_store(struct server *s)
{
    const struct store_conf conf = { .path = "jobs.db",
                                     .retention_age_us = s->conf.retention_age_us,
                                     .retention_count = s->conf.retention_count,
                                     .max_bytes = s->conf.store_bytes,
                                     .on_wake = on_store_wake,
                                     .data = s };
    struct backlog_conf backlog = { .loop = s->loop,
                                    .pool = s->pool,
                                    .keys = s->keys,
                                    .self = &s->api.self,
                                    .wordings = api_wordings,
                                    .places = s->conf.places,
                                    .limits = &s->conf.limits };
    struct outbox_conf outbox = { .loop = s->loop, .conf = &s->conf, .keys = s->keys, .wordings = api_wordings };
    struct buf error;

    buf_init(&error, 1024);
    s->api.no_store = "Asynchronous jobs are not available: the store cannot be used, and the server's log says why";
    int err = load_cursor_key(&s->api);
    if (err)
        buf_adds(&error, "the state directory cannot be written to");
    if (!err)
        err = store_sqlite_open(&s->store, &conf, s->loop, &error);
    if (err)
        log_error("asynchronous jobs are not available",
                  LOG_S("error", buf_text(&error)) LOG_S("errno", strerrorname_np(-err)));
    else {
        backlog.store = outbox.store = s->store;
        s->backlog = backlog_new(&backlog);
        s->outbox = outbox_new(&outbox);
    }
    buf_free(&error);
}

static int tell_confined(int err, const char *layer)
{
    if (err)
        log_error("the server can't confine itself", LOG_S("layer", layer) LOG_S("errno", strerrorname_np(-err))
                                                         LOG_S("hint", layers[layers_of_step(layer)].change));
    return err;
}

int server_forgo_io_uring(void)
{
    return tell_confined(filter_without("io_uring_setup"), "seccomp");
}

int server_give_up_the_rest(int state_fd)
{
    const char *what = "";
    int err = server_confine(state_fd, &what);

    return tell_confined(err, what);
}

int server_open_state(struct server *s, int state_fd)
{
    struct buf error;

    buf_init(&error, 512);
    s->api.no_store = "Asynchronous jobs are switched off on this server (server.state = none)";
    int err = guard_allow_new(s->conf.allow, s->conf.ports, &s->allow, &error);
    buf_free(&error);
    if (!err && state_fd >= 0 && fchdir(state_fd) < 0)
        err = -errno;
    if (!err)
        err = server_give_up_the_rest(state_fd);
    if (err || state_fd < 0)
        return err;
    close(state_fd);
    err = keys_watch(s->keys, s->loop);
    if (err)
        log_error("changes of keys are not seen until the next start", LOG_S("errno", strerrorname_np(-err)));
    open_store(s);
    return 0;
}
