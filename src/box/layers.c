/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of the jail by name.
 *
 * Called by the command when it reads its configuration and by the supervisor
 * before it starts anything.  What must never happen here: a word that is
 * misread, so that a layer is thought required and is not. */
#include "layers.h"

#include "kernel.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>

enum kind { ALWAYS, OPTIONAL };

const struct layer_info layers[LAYERS] = {
#define LAYER(name, word, kind, what, change) [LAYER_##name] = { word, what, change, (kind) == OPTIONAL },
#include "layers.def"
#undef LAYER
};

static const uint32_t all = LAYER_BIT(LAYERS) - 1;

static const char separators[] = " \t,";

static int find(const char *word, size_t n)
{
    for (int i = 0; i < LAYERS; i++)
        if (strlen(layers[i].word) == n && memcmp(layers[i].word, word, n) == 0)
            return i;
    return -1;
}

static int refuse_unknown(const char *word, size_t n, struct buf *error)
{
    buf_addf(error, "isolation.require: '%.*s' is no layer; there are all,", (int) (n < 64 ? n : 64), word);
    for (int i = 0; i < LAYERS; i++)
        buf_addf(error, " %s%s", layers[i].word, i < LAYERS - 1 ? "," : "");
    buf_adds(error, ", and each with a - before it");
    return -EINVAL;
}

static int take(const char *word, size_t n, uint32_t *required, struct buf *error)
{
    bool away = word[0] == '-';
    if (n == 3 && memcmp(word, "all", 3) == 0) {
        *required |= all;
        return 0;
    }
    int layer = find(word + away, n - away);
    if (layer < 0)
        return refuse_unknown(word, n, error);
    if (away && !layers[layer].optional) {
        buf_addf(error, "isolation.require: '%s' can't be left out, no box is made without it", layers[layer].word);
        return -EINVAL;
    }
    *required = away ? *required & ~LAYER_BIT(layer) : *required | LAYER_BIT(layer);
    return 0;
}

int layers_parse(const char *text, uint32_t *ret_required, struct buf *error)
{
    uint32_t required = 0;
    size_t n, words = 0;

    for (const char *p = text + strspn(text, separators); *p; p += n + strspn(p + n, separators), words++) {
        n = strcspn(p, separators);
        /* Alone it would ask for next to nothing, and whoever wrote it meant the rest. */
        if (!words && *p == '-') {
            buf_addf(error, "isolation.require: '%.*s' takes away from nothing; put all before it",
                     (int) (n < 64 ? n : 64), p);
            return -EINVAL;
        }
        int err = take(p, n, &required, error);
        if (err)
            return err;
    }
    if (!words) {
        buf_adds(error, "isolation.require: it names no layer; the default is all");
        return -EINVAL;
    }
    for (int i = 0; i < LAYERS; i++)
        if (!layers[i].optional)
            required |= LAYER_BIT(i);
    *ret_required = required;
    return 0;
}

static int has_landlock(int needed)
{
    int abi = kernel_landlock_create(NULL, 0, KERNEL_LANDLOCK_CREATE_VERSION);
    if (abi < 0)
        return -errno;
    return abi < needed ? -EOPNOTSUPP : 0;
}

static int has_seccomp(void)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ? -errno : 0;
}

int layers_probe(enum layer layer)
{
    switch (layer) {
    case LAYER_LANDLOCK: return has_landlock(1);
    case LAYER_LANDLOCK_NET: return has_landlock(4);
    case LAYER_LANDLOCK_SCOPES: return has_landlock(6);
    case LAYER_MDWE: return prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0 ? -errno : 0;
    case LAYER_SECCOMP: return has_seccomp();
    default: return 0;
    }
}
