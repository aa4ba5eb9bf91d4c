/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: starts the other processes, owns ids and cgroups, restarts what dies. */
#ifndef HATCHERY_SUPERVISOR_SUPERVISOR_H
#define HATCHERY_SUPERVISOR_SUPERVISOR_H

#include "supervisor/require.h"

#include "conf/conf.h"

/* Faults of the imports of the requested runtime, one sentence a line; shared with the process that
 * started us. */
struct supervisor_report {
    char text[8192];
};

struct supervisor_options {
    const struct conf *conf;
    const char *generated_key; /* shown when the server is ready; NULL: the operator knows it */
    int source_fd;             /* `hatchery run`: the program; -1: serve */
    const char *runtime;       /* `hatchery run`: in which; NULL: the default */
    bool managed;              /* serve: a service manager's variables in the environment are for
                                * us */
    /* serve: read the configuration again, for SIGHUP.  0 and @ret is the caller's, or -errno with
     * a sentence in @error. */
    int (*reload)(void *data, struct conf *ret, struct buf *error);
    void *reload_data;
    struct require *require;          /* NULL, or filled with the layers that were found, also if the start
                              * is refused */
    struct supervisor_report *report; /* or NULL */
};

/* Run until told to stop by SIGTERM or SIGINT, or until the one run is over; blocks all that time.
 * Sentences about a start that failed go to stderr.  Returns the exit status of the command. */
int supervisor_run(const struct supervisor_options *options);

#endif
