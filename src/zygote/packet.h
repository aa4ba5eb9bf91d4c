/* SPDX-License-Identifier: Apache-2.0 */
/* Packets between a box and the server (wire.h, BOX_CONTROL_FD). */
#ifndef HATCHERY_ZYGOTE_PACKET_H
#define HATCHERY_ZYGOTE_PACKET_H

#include "zygote/ending.h"

#include "base/wire.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* Wait for the order, which goes into @run, and for the source. Returns the source as a new str, or
 * NULL with a Python exception set if it is not UTF-8. Blocks until the server sends them. Ends the
 * process if the server lets go of the box or sends more than @limits allow. */
PyObject *packet_receive_program(struct wire_run *run, const struct wire_limits *limits);

/* Send @end to the server, in packets that begin with @token, the order's. Blocks while the socket
 * is full. False if the program has broken the socket. Then the server has only the exit status. */
bool packet_report(const unsigned char *token, struct ending *end);

/* Blocks until the server lets go of the box. */
void packet_wait_for_end(void);

#endif
