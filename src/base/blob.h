/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that several hold and nobody changes: a long reply that many wait for is not copied for each of them.
 *
 * References may be given back in any thread. */
#ifndef HATCHERY_BASE_BLOB_H
#define HATCHERY_BASE_BLOB_H

#include "base/buf.h"

struct blob;

/* Of @buf's bytes, whose memory it takes: @buf is empty afterwards.  The caller has the only reference. */
struct blob *blob_new(struct buf *buf);

/* One more reference; one less, which may be the last.  NULL is fine for both. */
struct blob *blob_ref(struct blob *blob);
struct blob *blob_unref(struct blob *blob);

const char *blob_bytes(const struct blob *blob);
size_t blob_len(const struct blob *blob);

#endif
