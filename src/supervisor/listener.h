/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket, bound by the supervisor (it may be root) and served by the server. */
#ifndef HATCHERY_SUPERVISOR_LISTENER_H
#define HATCHERY_SUPERVISOR_LISTENER_H

#include "base/buf.h"

/* Bind and listen on @spec: ADDRESS:PORT, [IPV6]:PORT or unix:PATH (mode 0660; a dead socket left
 * there is replaced).  Returns the descriptor and, in @ret_url, "http://127.0.0.1:8080" with the
 * port that the kernel chose for 0.  Failure: -errno and one sentence in @error. */
int listener_open(const char *spec, struct buf *ret_url, struct buf *error);

/* Append the address of the listening socket @fd: as above, or unix:PATH. */
void listener_describe(int fd, struct buf *ret_url);

/* Does it listen on all addresses of this machine? */
bool listener_is_everywhere(int fd);

/* Can only processes of this machine reach it? */
bool listener_is_local(int fd);

#endif
