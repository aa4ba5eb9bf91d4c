/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of the jail by name.
 *
 * The command calls this file when it reads its configuration, the supervisor before it starts
 * anything. What must never happen here: that a word is misread, so that an operator believes a
 * layer is required and it is not. */
#include "box/layers.h"

#include "base/kernel.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

enum kind { ALWAYS, OPTIONAL };

const struct layer_info layers[LAYERS] = {
#define LAYER(name, word, kind, what, change) [LAYER_##name] = { word, what, change, (kind) == OPTIONAL },
#include "box/layers.def"
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
    buf_addf(error, "isolation.require: '%.*s' is not a layer; the words are supported, all,", (int) (n < 64 ? n : 64),
             word);
    for (int i = 0; i < LAYERS; i++)
        buf_addf(error, " %s%s", layers[i].word, i < LAYERS - 1 ? "," : "");
    return fail(error, -EINVAL, ", and each layer with a - before it");
}

/* If an older release has one of them as a backport, boxes use it, but it is not required. */
uint32_t layers_too_new(void)
{
    static const struct {
        enum layer layer;
        unsigned version, patchlevel;
    } since[] = {
        { LAYER_LANDLOCK, 5, 13 }, { LAYER_MDWE, 6, 3 }, { LAYER_LANDLOCK_NET, 6, 7 }, { LAYER_LANDLOCK_SCOPES, 6, 12 }
    };
    unsigned version = 0, patchlevel = 0;
    struct utsname host;
    uint32_t bits = 0;

    if (uname(&host) < 0 || sscanf(host.release, "%u.%u", &version, &patchlevel) != 2)
        return 0;
    for (size_t i = 0; i < sizeof(since) / sizeof(*since); i++)
        if (version < since[i].version || (version == since[i].version && patchlevel < since[i].patchlevel))
            bits |= LAYER_BIT(since[i].layer);
    return bits;
}

static bool is(const char *word, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(word, name, n) == 0;
}

static int take(const char *word, size_t n, uint32_t *required, struct buf *error)
{
    bool away = word[0] == '-';
    if (is(word, n, "all") || is(word, n, "supported")) {
        *required |= is(word, n, "all") ? all : all & ~layers_too_new();
        return 0;
    }
    int layer = find(word + away, n - away);
    if (layer < 0)
        return refuse_unknown(word, n, error);
    if (away && !layers[layer].optional)
        return fail(error, -EINVAL, "isolation.require: '%s' can't be left out, no box is made without it",
                    layers[layer].word);
    *required = away ? *required & ~LAYER_BIT(layer) : *required | LAYER_BIT(layer);
    return 0;
}

int layers_parse(const char *text, uint32_t *ret_required, struct buf *error)
{
    uint32_t required = 0;
    size_t n, words = 0;

    for (const char *p = text + strspn(text, separators); *p; p += n + strspn(p + n, separators), words++) {
        n = strcspn(p, separators);
        /* Alone, -WORD would require next to nothing, although its author meant all the rest. */
        if (!words && *p == '-')
            return fail(error, -EINVAL,
                        "isolation.require: '%.*s' takes away from nothing; put supported or all before it",
                        (int) (n < 64 ? n : 64), p);
        int err = take(p, n, &required, error);
        if (err)
            return err;
    }
    if (!words)
        return fail(error, -EINVAL, "isolation.require: it names no layer; the default is supported");
    for (int i = 0; i < LAYERS; i++)
        if (!layers[i].optional)
            required |= LAYER_BIT(i);
    *ret_required = required;
    return 0;
}

enum layer layers_of_step(const char *word)
{
    int layer = find(word, strlen(word));
    return layer < 0 ? LAYER_NAMESPACES : (enum layer) layer; /* session, hostname, descriptors:
                                                               * each box has its own */
}

int layers_landlock_abi(void)
{
    int abi = kernel_landlock_create(NULL, 0, KERNEL_LANDLOCK_CREATE_VERSION);
    return abi < 0 ? 0 : abi;
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
