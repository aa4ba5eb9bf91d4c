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
    int fd; /* -1: nobody wants to know */
    socklen_t len;
    struct sockaddr_un to;
    int64_t watchdog_us; /* the manager acts when it has heard no sign of life for so long; 0: it never does */
    struct buf unsent;   /* the state that it had no room for */
};

/* Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and take them from the environment: they are for this process
 * alone.  Failure: -errno and one sentence in @error; @ret is as without a manager then. */
int notify_open(struct notify *ret, struct buf *error);
void notify_close(struct notify *notify);

/* Say a state: "READY=1\nSTATUS=...".  Never blocks.  What the manager has no room for is kept for notify_again(), but
 * only the last. */
__attribute__((format(printf, 2, 3))) void notify_say(struct notify *notify, const char *fmt, ...);

/* Try again to say what is unsent; false while it is. */
bool notify_again(struct notify *notify);

/* A sign of life, for the watchdog; one that is lost is followed by the next. */
void notify_alive(struct notify *notify);

#endif
