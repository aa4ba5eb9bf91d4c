/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of the jail by name (layers.def): those that an operator requires, those that this
 * kernel has.
 *
 * Sets of layers are bits, 1 << LAYER_NAME.  Nothing here changes the calling process. */
#ifndef HATCHERY_BOX_LAYERS_H
#define HATCHERY_BOX_LAYERS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum layer {
#define LAYER(name, word, kind, what, change) LAYER_##name,
#include "box/layers.def"
    LAYERS
};

#define LAYER_BIT(layer) (UINT32_C(1) << (layer))

struct layer_info {
    const char *word, *what, *change;
    bool optional;
};

/* The table, in the order of enum layer. */
extern const struct layer_info layers[LAYERS];

/* The layers that came into Linux after the running kernel's release (uname(2)). */
uint32_t layers_too_new(void);

/* Parse isolation.require: words separated by spaces or commas, read from left to right.  A word is
 * "all", "supported" (all but those that are too new for this kernel), a layer's word, or -WORD,
 * which takes a layer away again.  @ret_required always has the layers without which no box is
 * made.  Returns 0, or -EINVAL with one sentence in @error. */
int layers_parse(const char *text, uint32_t *ret_required, struct buf *error);

/* The layer of a step in box.def, by the step's word. */
enum layer layers_of_step(const char *word);

/* Ask the running kernel: 0, or -errno if it does not have the layer.  For layers that depend on
 * more than the kernel (cgroup, ids, and those that only show when a box is made) the answer is
 * 0. */
int layers_probe(enum layer layer);

/* The running kernel's version of Landlock; 0 if it has none. */
int layers_landlock_abi(void);

#endif
