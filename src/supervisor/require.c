/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers of the jail are required and which are missing.
 *
 * The supervisor calls this before it starts anything, so that an operator hears of all missing
 * layers at once.  What must never happen here: a start with less than was asked for, or with less
 * than everything and not a word of it. */
#include "supervisor/require.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Layers that keys of their own turn off. */
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

/* The marks of containers by Docker, podman and CRI-O, and Kubernetes. */
static bool is_in_container(void)
{
    return access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 || getenv("container")
           || getenv("KUBERNETES_SERVICE_HOST");
}

/* The engines' default profile forbids the calls that every box is made with. */
static void say_profile(const struct require *r, enum layer layer)
{
    if (!layers[layer].optional && r->why[layer].err == -EPERM && is_in_container())
        log_sentence(
            "this is a container: start it with --security-opt seccomp=packaging/container/seccomp.json, which "
            "is in Hatchery's source; docs/container.md has the whole command");
}

void require_say(const struct require *r, enum layer layer)
{
    const char *change = r->why[layer].change;
    size_t n = strcspn(change, "\n");

    log_sentence("the layer '%s' (%s) is required and can't be had (%s): %.*s", layers[layer].word, layers[layer].what,
                 strerrorname_np(-r->why[layer].err), (int) n, change);
    while (change[n]) {
        change += n + 1;
        n = strcspn(change, "\n");
        log_sentence("  %.*s", (int) n, change);
    }
    say_profile(r, layer);
}

void require_probe_kernel(struct require *r)
{
    for (int i = 0; i < LAYERS; i++) {
        int err = r->missing & LAYER_BIT(i) ? 0 : layers_probe((enum layer) i);
        if (err)
            require_missing(r, (enum layer) i, err, NULL);
    }
}

/* The shortest list that asks for all layers that are here and were asked for. */
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

/* Add a word of a command line, in quotes if a shell needs them. */
static void add_word(struct buf *out, const char *word)
{
    static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,=@%+-";
    bool quoted = !*word || word[strspn(word, bare)];

    buf_adds(out, quoted ? " '" : " ");
    for (; *word; word++)
        if (*word == '\'')
            buf_adds(out, "'\\''");
        else
            buf_addc(out, *word);
    buf_adds(out, quoted ? "'" : "");
}

/* Print the command that was typed, with the weaker jail in front, for the operator to type. */
static void say_command(const struct buf *offer)
{
    static const char key[] = "isolation.require = ";
    char words[4096];
    struct buf line;
    ssize_t n = fd_read_file(AT_FDCWD, "/proc/self/cmdline", words, sizeof(words));

    buf_init(&line, OFFER_MAX);
    buf_addf(&line, "HATCHERY_ISOLATION_REQUIRE='%.*s'", (int) (offer->len - sizeof(key) + 1),
             offer->data + sizeof(key) - 1);
    for (const char *p = words; n > 0 && p < words + n; p += strlen(p) + 1)
        add_word(&line, p);
    if (n > 0)
        log_sentence("or for this start alone:\n  %.*s", (int) line.len, line.data);
    buf_free(&line);
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
    if (require_offer(r, conf, &offer)) {
        log_sentence("to run in a weaker jail, name it: %.*s", (int) offer.len, offer.data);
        if (!log_is_journal())
            say_command(&offer);
    }
    buf_free(&offer);
    return -ENOTSUP;
}
