/* SPDX-License-Identifier: Apache-2.0 */
/* A key, or an address whose clients have shown no key, and how much it holds of what all share.
 *
 * The HTTP room counts in it (server/http/yield.c).  Its owner has it as a member, zeroed at first
 * but for is_key.  The owner may be freed when nothing is counted any more. */
#ifndef HATCHERY_BASE_HOLDER_H
#define HATCHERY_BASE_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct conn;

struct holder {
    bool is_key;
    unsigned n_conns;         /* places: open connections */
    size_t bodies;            /* bytes of requests, until the last copy is gone */
    size_t pinned;            /* of these, bytes that nobody can take back, because the store has
                               * them */
    size_t unsent;            /* bytes of replies that clients have not read */
    TAILQ_HEAD(, conn) conns; /* by the time of their last use; set while there are any */
    LIST_ENTRY(holder) link;  /* the same */
    uint64_t late_ms;         /* the turn of the loop, by its time, in which this holder last
                               * read */
    unsigned n_late;          /* after that time was over, and how often it did */
};

#endif
