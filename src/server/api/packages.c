/* SPDX-License-Identifier: Apache-2.0 */
/* Which packages each runtime has, and what is wrong with a runtime: GET /v1/packages.
 *
 * Called by the route table, and by the server with what the supervisor sends.
 * What must never happen here: work that a request without a key can ask for. */
#include "server/api/api.h"

#include <unistd.h>

static void take_file(struct buf *text, int fd)
{
    enum { PIECE = 16384 };
    char *room;
    ssize_t n;

    buf_free(text);
    buf_init(text, 1 << 21);
    while ((room = buf_room(text, PIECE)) && (n = pread(fd, room, PIECE, (off_t) text->len)) > 0)
        text->len += (size_t) n;
    close(fd);
}

void api_take_packages(struct api *api, unsigned runtime, int fd)
{
    take_file(&api->packages[runtime < WIRE_RUNTIMES_MAX ? runtime : 0], fd);
}

void api_take_left_out(struct api *api, unsigned runtime, int fd, unsigned n)
{
    unsigned i = runtime < WIRE_RUNTIMES_MAX ? runtime : 0;

    take_file(&api->left_out[i], fd);
    api->n_left_out[i] = n;
}

static void add_fault(struct buf *out, const struct api *api, unsigned runtime)
{
    const char *fault = pool_fault_words(api->pool, runtime);

    if (fault)
        buf_addf(out, ", \"error\": \"it does not start: %s\"", fault);
}

void api_add_faults(const struct api *api, struct buf *out)
{
    const char *comma = "";

    buf_adds(out, "\"runtimes\": [");
    for (unsigned i = 0; i < api->conf->n_runtimes; i++) {
        if (!api->n_left_out[i] && !pool_fault_words(api->pool, i))
            continue;
        buf_addf(out, "%s{\"name\": \"%s\", \"left_out\": ", comma, pool_runtime_name(api->pool, i));
        buf_add(out, api->left_out[i].data, api->left_out[i].len);
        add_fault(out, api, i);
        buf_addc(out, '}');
        comma = ", ";
    }
    buf_addc(out, ']');
}

void api_packages(struct request *req, void *data)
{
    const struct api *api = data;
    struct buf out;

    if (!api_enter(req))
        return;
    buf_init(&out, SIZE_MAX / 2); /* its parts are bounded */
    buf_adds(&out, "{\"runtimes\": [");
    for (unsigned i = 0; i < api->conf->n_runtimes; i++) {
        buf_addf(&out, "%s{\"name\": \"%s\", \"python\": \"" PYTHON "\", \"warm\": %s, ", i ? ", " : "",
                 pool_runtime_name(api->pool, i), pool_is_warm(api->pool, i) ? "true" : "false");
        buf_add(&out, api->packages[i].data, api->packages[i].len);
        buf_adds(&out, ", \"left_out\": ");
        buf_add(&out, api->left_out[i].data, api->left_out[i].len);
        add_fault(&out, api, i);
        buf_addc(&out, '}');
    }
    buf_adds(&out, "]}");
    reply_json(req, 200, &out, 0);
    buf_free(&out);
}
