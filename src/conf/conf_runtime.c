/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of the configuration that have names of their own: [runtime.NAME].
 *
 * conf.c and conf_source.c call this file.  Each runtime has its keys as entries of the same kind
 * as the table's, so every function for keys works for them.  What must never happen here: two
 * runtimes of one name, or a name that is a path. */
#include "conf/conf.h"
#include "conf/conf_parts.h"
#include "conf/conf_value.h"

#include "base/keyfile.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static const char prefix[] = CONF_RUNTIME_PREFIX;

static const struct conf_key templates[] = {
#define RUNTIME(key, type, def, min, max, check, doc)                                                                  \
    { "runtime.NAME", #key, CONF_##type, CONF_RESTART, def, min, max, check, doc, offsetof(struct conf_runtime, key) },
#include "conf/conf.def"
    { 0 },
};

const struct conf_key *const conf_runtime_keys = templates;

bool conf_runtime_name_ok(const char *name)
{
    return keyfile_runtime_ok(name);
}

const char *conf_runtime_name(const struct conf_runtime *runtime)
{
    return runtime->section + sizeof(prefix) - 1;
}

bool conf_is_runtime(const char *section)
{
    return strncmp(section, prefix, sizeof(prefix) - 1) == 0;
}

struct conf_runtime *conf_runtime_find(struct conf *conf, const char *section)
{
    for (unsigned i = 0; i < conf->n_runtimes; i++)
        if (strcmp(conf->runtimes[i].section, section) == 0)
            return &conf->runtimes[i];
    return NULL;
}

static int refuse_name(const char *section, const char *rule, struct buf *error)
{
    conf_value_add_name(error, section);
    return fail(error, -EINVAL, "%s", rule);
}

int conf_runtime_add(struct conf *conf, const char *section, struct conf_runtime **ret, struct buf *error)
{
    const char *name = section + sizeof(prefix) - 1;

    if (!conf_runtime_name_ok(name))
        return refuse_name(
            section, ": a runtime's name has 1 to 32 small letters, digits, '_' and '-', and begins with a letter",
            error);
    if (strcmp(name, "default") == 0)
        return refuse_name(section, ": the default runtime has its keys in [python] and [pool]", error);
    if (conf->n_runtimes == CONF_RUNTIMES_MAX)
        return refuse_name(section, ": there are 15 runtimes already, and no room for more", error);
    struct conf_runtime *rt = &conf->runtimes[conf->n_runtimes];
    size_t base = offsetof(struct conf, runtimes) + conf->n_runtimes++ * sizeof(*rt);
    memset(rt, 0, sizeof(*rt));
    snprintf(rt->section, sizeof(rt->section), "%s", section);
    for (unsigned i = 0; i < CONF_RUNTIME_KEYS; i++) {
        rt->keys[i] = templates[i];
        rt->keys[i].section = rt->section;
        rt->keys[i].offset += base;
    }
    *ret = rt;
    return 0;
}

const struct conf_key *conf_runtime_key(const struct conf_runtime *runtime, const char *key)
{
    for (const struct conf_key *k = runtime->keys; k->section; k++)
        if (strcmp(k->key, key) == 0)
            return k;
    return NULL;
}

bool conf_runtime_has_key(const char *key)
{
    for (const struct conf_key *k = templates; k->section; k++)
        if (strcmp(k->key, key) == 0)
            return true;
    return false;
}

int conf_runtime_refuse_key(const char *section, const char *key, struct buf *error)
{
    const struct conf_key *nearest = templates;
    char full[CONF_SECTION_MAX + CONF_ENV_NAME_MAX];

    for (const struct conf_key *k = templates; k->section; k++)
        if (conf_value_distance(key, k->key) < conf_value_distance(key, nearest->key))
            nearest = k;
    conf_value_add_name(error, section);
    buf_addc(error, '.');
    conf_value_add_name(error, key);
    buf_adds(error, ": there is no such key; ");
    snprintf(full, sizeof(full), "%s.%s", section, nearest->key);
    conf_value_suggest(error, key, conf_value_distance(key, nearest->key), full);
    return -ENOENT;
}

/* Names have no capitals, and variables have nothing else: HATCHERY_RUNTIME_MY_DATA_POOL_SIZE is
 * my_data's pool_size. */
bool conf_runtime_of_variable(const char *variable, char ret_section[static CONF_SECTION_MAX], const char **ret_key)
{
    static const char start[] = "HATCHERY_RUNTIME_";
    size_t n = strlen(variable);

    if (strncmp(variable, start, sizeof(start) - 1) != 0)
        return false;
    const char *name = variable + sizeof(start) - 1;
    for (const struct conf_key *k = templates; k->section; k++) {
        size_t tail = strlen(k->key) + 1;
        if (n < sizeof(start) - 1 + tail + 1 || strcasecmp(variable + n - tail + 1, k->key) != 0
            || variable[n - tail] != '_')
            continue;
        int len =
            snprintf(ret_section, CONF_SECTION_MAX, "%s%.*s", prefix, (int) (n - (sizeof(start) - 1) - tail), name);
        for (char *p = ret_section; *p; p++)
            *p = (char) tolower((unsigned char) *p);
        *ret_key = k->key;
        return len < CONF_SECTION_MAX;
    }
    return false;
}
