/* SPDX-License-Identifier: Apache-2.0 */
/* An outcome to the text of its reply, beside the loop where that takes long: each byte that a program has printed may
 * become six. */
#ifndef HATCHERY_SERVER_JOBS_WORDING_H
#define HATCHERY_SERVER_JOBS_WORDING_H

#include "server/pool/outcome.h"

#include <uv.h>

/* @body has what outcome_add_json() says of the outcome behind what it had before; it is the callee's. */
typedef void on_worded(void *data, struct buf *body);

/* Append to @body, whose memory it takes, and call @done: at once, or later from @loop where there is much to write; then it
 * takes its turn by @whose (base/beside.h).  @outcome is then empty, as its buffers have gone along. */
void wording_begin(uv_loop_t *loop, const void *whose, struct outcome *outcome, struct buf *body, on_worded *done,
                   void *data);

#endif
