/* SPDX-License-Identifier: Apache-2.0 */
/* The cursor of a list of jobs: where its next page begins, as a text that only this server makes, and for one key only. */
#ifndef HATCHERY_SERVER_API_CURSOR_H
#define HATCHERY_SERVER_API_CURSOR_H

#include "server/api/api.h"

enum { CURSOR_TEXT = 64 };

/* Append the cursor of @seq for the key named @tenant, in quotes. */
void cursor_add(struct buf *out, const struct api *api, const char *tenant, int64_t seq);

/* 0 with the number in @ret_seq; -EINVAL: cursor_add() did not make @text for @tenant. */
int cursor_take(const struct api *api, const char *tenant, const char *text, int64_t *ret_seq);

#endif
