/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a box: packets as a hostile program could send them.
 *
 * The input is cut into packets (two bytes of length each) that are sent over
 * a real socketpair to the server's reader, with the right token in front of
 * those whose first byte is even.  Whatever arrives, the reply that comes of
 * it must be one JSON object that jansson can read. */
#include "base/log.h"
#include "base/fd.h"
#include "base/json.h"
#include "server/api/wording.h"
#include "server/pool/slot.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct wire_limits limits = { .timeout_default_ms = 1000,
                                           .timeout_max_ms = 1000,
                                           .memory_bytes = 1 << 20,
                                           .output_bytes = 1000,
                                           .code_bytes = 1000,
                                           .result_bytes = 1000,
                                           .processes = 4 };

struct scene {
    bool done;
};

static void on_nothing(struct slot *slot)
{
    (void) slot;
}

static void on_failed(struct slot *slot, const struct wire_box_state *state)
{
    (void) slot;
    (void) state;
}

static void check_reply(const struct outcome *outcome)
{
    struct buf text;
    json_error_t why;

    buf_init(&text, 1 << 24);
    buf_addc(&text, '{');
    wording_add_outcome(&text, outcome);
    buf_addc(&text, '}');
    assert(json_check(text.data, text.len, 600) == 0);
    /* jansson has neither numbers as large as Python's nor lone surrogates. */
    json_t *tree = json_loadb(text.data, text.len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
    assert(tree || json_error_code(&why) == json_error_numeric_overflow || memmem(text.data, text.len, "\\u", 2));
    json_decref(tree);
    buf_free(&text);
}

static void on_outcome(struct slot *slot)
{
    struct scene *scene = slot->pool;
    scene->done = true;
    check_reply(&slot->outcome);
}

static const struct slot_hooks hooks = { .on_ready = on_nothing,
                                         .on_failed = on_failed,
                                         .on_outcome = on_outcome,
                                         .on_ask = on_nothing,
                                         .on_free = on_nothing,
                                         .on_lost = on_nothing };

static void send_packets(const struct slot *slot, int fd, const uint8_t *data, size_t size)
{
    char packet[65536 + 16];

    while (size > 3) {
        size_t n = (size_t) data[1] << 8 | data[2];
        bool trusted = data[0] % 2 == 0;
        data += 3;
        size -= 3;
        n = n < size ? n : size;
        memcpy(packet, slot->token, 16);
        memcpy(packet + (trusted ? 16 : 0), data, n);
        if (send(fd, packet, n + (trusted ? 16 : 0), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return;
        data += n;
        size -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct wire_box_state ready = { 0 };
    struct scene scene = { false };
    struct job job = { .code = "pass", .code_len = 4, .timeout_ms = 1000 };
    struct slot slot;
    uv_loop_t loop;
    int control[2], out[2], err[2], life[2];

    log_init("server", LOG_JSON, (enum log_level)(LOG_ERROR + 1)); /* not a line for each run */
    uv_loop_init(&loop);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, control) || pipe2(out, 0) || pipe2(err, 0)
        || pipe2(life, 0))
        abort();
    if (slots_prepare() < 0)
        abort();
    slot_init(&slot, 0, &loop, &limits, &hooks, &scene);
    const int fds[] = { control[0], out[0], err[0], life[1] };
    slot_open(&slot, fds);
    send(control[1], &ready, sizeof(ready), 0);
    uv_run(&loop, UV_RUN_ONCE);
    assert(slot.state == SLOT_WAITING);
    slot_start(&slot, &job);
    send_packets(&slot, control[1], data, size);
    const struct wire_usage usage = { .type = WIRE_USAGE };
    const struct wire_exited exited = { .type = WIRE_EXITED, .status = size ? data[0] << 8 : 9 };
    uv_run(&loop, UV_RUN_NOWAIT);
    if (!scene.done && slot.state == SLOT_RUNNING)
        slot_exited(&slot, &exited);
    if (slot.state == SLOT_ASKING)
        slot_usage(&slot, &usage);
    assert(scene.done);
    slot_release(&slot);
    slot_gone(&slot);
    while (uv_run(&loop, UV_RUN_DEFAULT))
        ;
    uv_loop_close(&loop);
    close(control[1]);
    close(out[1]);
    close(err[1]);
    close(life[0]);
    return 0;
}
