/* SPDX-License-Identifier: Apache-2.0 */
/* A short-lived Hatchery of our own: the same start and the same path of a request as for
 * everybody. */
#ifndef HATCHERY_COMMAND_CHECK_SERVICE_H
#define HATCHERY_COMMAND_CHECK_SERVICE_H

#include "conf/conf.h"
#include "supervisor/require.h"

#include <jansson.h>
#include <sys/types.h>

struct service {
    pid_t pid;
    char directory[64]; /* its unix socket and its log */
    char key[44];
    struct require *require; /* the layers that it found; valid once it listens */
};

/* Fork `hatchery serve` with @conf, on a unix socket in a new directory, with a key of its own.
 * Changes @conf's listener and key for it.  0, or -errno with a sentence in @error.  Call
 * service_stop() in either case; it waits until nothing of the service is left. */
int service_start(struct service *service, struct conf *conf, struct buf *error);
void service_stop(struct service *service);

/* Append the service's log. */
void service_log(const struct service *service, struct buf *out);

/* Connect and send a request to run @code; a descriptor or -errno. */
int service_ask(const struct service *service, const char *code, int timeout_s);

/* The JSON text with the escapes of surrogates, \uD800 to \uDFFF, turned into literal text: jansson
 * takes no lone surrogates.  The caller frees it. */
char *service_tame(const char *text);

/* Wait at most @wait_s for the reply, and close @fd.  Returns the HTTP status with the reply's JSON
 * (tamed), whose reference is the caller's, or -errno (-ETIMEDOUT, -EPROTO). */
int service_reply(int fd, int wait_s, json_t **ret);

#endif
