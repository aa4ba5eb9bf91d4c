/* SPDX-License-Identifier: Apache-2.0 */
/* Telling a service manager how the service is: sd_notify(3), spoken by hand. */
#ifndef HATCHERY_SUPERVISOR_NOTIFY_H
#define HATCHERY_SUPERVISOR_NOTIFY_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    int fd; /* -1: there is no manager */
    socklen_t len;
    struct sockaddr_un to;
    int64_t watchdog_us; /* the manager acts if it hears no sign of life for this long; 0: never */
    struct buf unsent;   /* the last state, if the manager had no room for it */
};

/* Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and remove them from the environment: they
 * are for this process alone.  Failure: -errno and one sentence in @error; then @ret is as without
 * a manager. */
int notify_open(struct notify *ret, struct buf *error);
void notify_close(struct notify *notify);

/* Send a state: "READY=1\nSTATUS=...".  Never blocks.  If the manager has no room, the last state
 * is kept for notify_again(). */
__attribute__((format(printf, 2, 3))) void notify_say(struct notify *notify, const char *fmt, ...);

/* Try again to send the unsent state; false while it is still unsent. */
bool notify_again(struct notify *notify);

/* Send a sign of life for the watchdog. If one is lost, the next follows. */
void notify_alive(struct notify *notify);

#endif
