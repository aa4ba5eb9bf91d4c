/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes with several holders.
 *
 * The server uses this for replies, from its loop and its threads.  What must never happen here:
 * bytes that change while another holder has them. */
#include "base/blob.h"

#include <stdatomic.h>
#include <stdlib.h>

struct blob {
    atomic_uint refs;
    struct buf buf;
};

struct blob *blob_new(struct buf *buf)
{
    struct blob *blob = xmalloc(sizeof(*blob));

    atomic_init(&blob->refs, 1);
    blob->buf = *buf;
    buf_init(buf, buf->max);
    return blob;
}

struct blob *blob_ref(struct blob *blob)
{
    if (blob)
        atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

struct blob *blob_unref(struct blob *blob)
{
    if (blob && atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1) {
        buf_free(&blob->buf);
        free(blob);
    }
    return NULL;
}

const char *blob_bytes(const struct blob *blob)
{
    return blob->buf.len ? blob->buf.data : "";
}

size_t blob_len(const struct blob *blob)
{
    return blob->buf.len;
}
