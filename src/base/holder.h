/* SPDX-License-Identifier: Apache-2.0 */
/* A key, or an address whose clients have shown none: who holds a part of what all of them share.
 *
 * The HTTP room counts in it.  Its owner, which has it as a member, may not be freed while anything is counted. */
#ifndef HATCHERY_BASE_HOLDER_H
#define HATCHERY_BASE_HOLDER_H

#include <stdbool.h>
#include <stddef.h>

struct holder {
    bool is_key;
};

#endif
