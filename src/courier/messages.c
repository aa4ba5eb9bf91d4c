/* SPDX-License-Identifier: Apache-2.0 */
/* The table of courier.def, for the courier and for the server. */
#include "courier/courier.h"

#include <stddef.h>

#define MESSAGE(name, from, to, members, descriptors, times)                                                           \
    _Static_assert(offsetof(members, type) == 0, "the type comes first");
#include "courier/courier.def"
#undef MESSAGE

static const struct wire_row rows[COURIER_TYPES] = {
#define MESSAGE(name, from, to, members, descriptors, times)                                                           \
    [COURIER_##name] = WIRE_ROW(#name, from, to, members, descriptors, times),
#include "courier/courier.def"
#undef MESSAGE
};

const struct wire_table courier_table = { rows, COURIER_TYPES };
