/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes with several holders, which nobody changes: a long reply that many clients wait for is not
 * copied for each of them.
 *
 * References may be given back in any thread. */
#ifndef HATCHERY_BASE_BLOB_H
#define HATCHERY_BASE_BLOB_H

#include "base/buf.h"

struct blob;

/* Make a blob of @buf's bytes and take over their memory: @buf is empty afterwards.  The caller has
 * the only reference. */
struct blob *blob_new(struct buf *buf);

/* Add a reference; drop one, which may be the last.  NULL is fine for both. */
struct blob *blob_ref(struct blob *blob);
struct blob *blob_unref(struct blob *blob);

const char *blob_bytes(const struct blob *blob);
size_t blob_len(const struct blob *blob);

#endif
