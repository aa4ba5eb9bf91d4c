/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of webhooks, as in the Standard Webhooks specification (symmetric, version 1).  Needs
 * sodium_init().  The courier signs; the readers of the configuration call only sign_secret(). */
#ifndef HATCHERY_COURIER_SIGN_H
#define HATCHERY_COURIER_SIGN_H

#include "courier/courier.h"

#include "base/buf.h"

enum { SIGN_KEY_MIN = 24, SIGN_KEY_MAX = 64 };

/* Decode @text, whsec_ and the base64 of SIGN_KEY_MIN to SIGN_KEY_MAX bytes, padded or not.
 * Returns 0 or -EINVAL, with @ret_key wiped. */
int sign_secret(const char *text, unsigned char ret_key[SIGN_KEY_MAX], unsigned *ret_len);

/* Append to @out the value of the header webhook-signature: one v1,... for each of the @n_secrets
 * of @conf, separated by spaces, over @id "." @timestamp "." @body.  @body is signed byte by byte
 * as given. */
void sign_webhook(const struct courier_conf *conf, const char *id, int64_t timestamp, const void *body, size_t len,
                  struct buf *out);

#endif
