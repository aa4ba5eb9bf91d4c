/* SPDX-License-Identifier: Apache-2.0 */
/* Packets between a box and the server: the order and the program, and then the report.
 *
 * run.c calls this file in a box.  The socket is BOX_CONTROL_FD.  The program can write to it too,
 * so each packet of a report begins with the order's token, which the program does not know.  What
 * must never happen here: that a program begins with only a part of its source, or that a program's
 * own write is taken for a piece of the report. */
#include "zygote/packet.h"

#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* The program may have made the socket non-blocking. poll(2) is no help: it fails if RLIMIT_NOFILE
 * is 0. */
static void make_blocking(void)
{
    int flags = fcntl(BOX_CONTROL_FD, F_GETFL);
    if (flags >= 0)
        fcntl(BOX_CONTROL_FD, F_SETFL, flags & ~O_NONBLOCK);
}

static ssize_t send_packet(const struct iovec *iov, int n)
{
    static char packet[WIRE_PIECE + 256]; /* not on the stack: the compiler would touch each of its
                                           * pages there */
    size_t size = 0;
    ssize_t sent;

    for (int i = 0; i < n; i++) {
        memcpy(packet + size, iov[i].iov_base, iov[i].iov_len);
        size += iov[i].iov_len;
    }
    while ((sent = send(BOX_CONTROL_FD, packet, size, MSG_NOSIGNAL)) < 0 && (errno == EINTR || errno == EAGAIN))
        make_blocking();
    return sent;
}

bool packet_report(const unsigned char *token, struct ending *end)
{
    struct wire_outcome head = { .kind = end->kind,
                                 .exit_code = end->exit_code,
                                 .result_len = (int64_t) end->result.len,
                                 .error_len = (int64_t) end->error.len,
                                 .stamps = end->stamps,
                                 .name_len = (int64_t) end->failure.name.len,
                                 .value_len = (int64_t) end->failure.value.len,
                                 .hint_len = (int64_t) end->failure.hint.len,
                                 .line = end->failure.line };
    const struct buf *parts[] = { &end->result, &end->error, &end->failure.name, &end->failure.value,
                                  &end->failure.hint };
    struct buf body;
    size_t at = 0, size = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        size += parts[i]->len;
    buf_init(&body, size);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        buf_add(&body, parts[i]->data, parts[i]->len);
    do {
        size_t n = body.len - at < WIRE_PIECE ? body.len - at : WIRE_PIECE;
        struct iovec iov[3] = { { (void *) (uintptr_t) token, sizeof(((struct wire_run *) 0)->token) },
                                { &head, at ? 0 : sizeof(head) },
                                { body.data + at, n } };
        if (send_packet(iov, 3) < 0)
            return false;
        at += n;
    } while (at < body.len);
    return true;
}

static ssize_t receive(void *p, size_t size)
{
    ssize_t n;
    do
        n = recv(BOX_CONTROL_FD, p, size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

PyObject *packet_receive_program(struct wire_run *run, const struct wire_limits *limits)
{
    static char packet[sizeof(*run) + WIRE_PIECE];
    ssize_t n = receive(packet, sizeof(packet));
    struct buf code;

    if (n < (ssize_t) sizeof(*run))
        _exit(0);
    memcpy(run, packet, sizeof(*run));
    if (run->code_len < 0 || run->code_len > limits->code_bytes)
        _exit(0);
    buf_init(&code, (size_t) run->code_len);
    n -= (ssize_t) sizeof(*run);
    const char *piece = packet + sizeof(*run);
    for (;;) {
        if (buf_add(&code, piece, (size_t) n) < 0)
            _exit(0);
        if (code.len == (size_t) run->code_len)
            break;
        n = receive(packet, WIRE_PIECE);
        if (n <= 0)
            _exit(0);
        piece = packet;
    }
    PyObject *source = PyUnicode_DecodeUTF8(code.data ? code.data : "", (Py_ssize_t) code.len, "strict");
    buf_free(&code);
    return source;
}

void packet_wait_for_end(void)
{
    char byte;

    while (receive(&byte, 1) > 0)
        ;
}
