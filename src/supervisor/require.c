/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers of the jail are required and which are missing.
 *
 * Called by the supervisor before it starts anything, so that an operator hears
 * of all that is missing at once.  What must never happen here: a start with
 * less than was asked for, or with less than everything and not a word of it. */
#include "require.h"

#include "../base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Layers that a key of their own turns off. */
static uint32_t turned_off(const struct conf *conf)
{
    return (conf->isolation_mdwe ? 0 : LAYER_BIT(LAYER_MDWE))
           | (strcmp(conf->isolation_cgroup, "none") == 0 ? LAYER_BIT(LAYER_CGROUP) : 0);
}

int require_init(struct require *r, const struct conf *conf, struct buf *error)
{
    *r = (struct require){ .missing = turned_off(conf) };
    int err = layers_parse(conf->isolation_require, &r->required, error);
    r->required &= ~r->missing;
    return err;
}

struct require *require_shared(void)
{
    void *p = mmap(NULL, sizeof(struct require), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void require_missing(struct require *r, enum layer layer, int err, const char *change)
{
    r->missing |= LAYER_BIT(layer);
    r->why[layer].err = err;
    snprintf(r->why[layer].change, sizeof(r->why[layer].change), "%s",
             change && *change ? change : layers[layer].change);
}

void require_say(const struct require *r, enum layer layer)
{
    log_sentence("the layer '%s' (%s) is required and can't be had (%s): %s", layers[layer].word, layers[layer].what,
                 strerrorname_np(-r->why[layer].err), r->why[layer].change);
}

void require_probe_kernel(struct require *r)
{
    for (int i = 0; i < LAYERS; i++) {
        int err = r->missing & LAYER_BIT(i) ? 0 : layers_probe((enum layer) i);
        if (err)
            require_missing(r, (enum layer) i, err, NULL);
    }
}

/* The shortest list that asks for all that is here and was asked for. */
bool require_offer(const struct require *r, const struct conf *conf, struct buf *out)
{
    bool all = strncmp(conf->isolation_require, "all", 3) == 0 || strncmp(conf->isolation_require, "supported", 9) == 0;
    uint32_t lost = r->required & r->missing;

    for (int i = 0; i < LAYERS; i++)
        if (lost & LAYER_BIT(i) && !layers[i].optional)
            return false;
    if (!lost)
        return false;
    buf_addf(out, "isolation.require =%s%s", all ? " " : "", all ? conf->isolation_require : "");
    for (int i = 0; i < LAYERS; i++) {
        bool missing = r->missing & LAYER_BIT(i), required = r->required & LAYER_BIT(i);
        if (required && (all ? missing : !missing))
            buf_addf(out, all ? " -%s" : " %s", layers[i].word);
    }
    return true;
}

int require_settle(const struct require *r, const struct conf *conf)
{
    uint32_t lost = r->required & r->missing;
    struct buf offer;

    for (int i = 0; i < LAYERS && !lost; i++)
        if (r->missing & LAYER_BIT(i))
            log_warn("the jail is weaker than it could be: a layer is missing that is not required",
                     LOG_S("layer", layers[i].word) LOG_S("what", layers[i].what));
    if (!lost)
        return 0;
    for (int i = 0; i < LAYERS; i++)
        if (lost & LAYER_BIT(i))
            require_say(r, (enum layer) i);
    buf_init(&offer, OFFER_MAX);
    if (require_offer(r, conf, &offer))
        log_sentence("to run in a weaker jail, name it: %.*s", (int) offer.len, offer.data);
    buf_free(&offer);
    return -ENOTSUP;
}
