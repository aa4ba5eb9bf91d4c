/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: the table, the struct that it makes, one key at a time.
 *
 * The command loads it from the sources in conf_source.c.  The supervisor sends the other processes
 * the parts that they need.  What must never happen here: a value that differs from what was
 * written, a key of the server in a message, or a default that its own bounds refuse. */
#include "conf/conf.h"

#include "conf/conf_parts.h"
#include "conf/conf_value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct conf_key conf_keys[] = {
#define CONF(section, key, type, def, min, max, check, when, doc)                                                      \
    { #section, #key, CONF_##type, CONF_##when, def, min, max, check, doc, offsetof(struct conf, section##_##key) },
#include "conf/conf.def"
    { 0 },
};

bool conf_is_text(const struct conf_key *key)
{
    return key->type == CONF_STRING || key->type == CONF_SECRET;
}

static char **text_field(struct conf *conf, const struct conf_key *key)
{
    return (char **) ((char *) conf + key->offset);
}

const struct conf_key *conf_find(const char *section, const char *key)
{
    for (const struct conf_key *k = conf_keys; k->section; k++)
        if (strcmp(k->section, section) == 0 && strcmp(k->key, key) == 0)
            return k;
    return NULL;
}

const struct conf_key *conf_find_in(struct conf *conf, const char *section, const char *key)
{
    const struct conf_runtime *rt = conf_runtime_find(conf, section);
    return rt ? conf_runtime_key(rt, key) : conf_find(section, key);
}

void conf_env_name(const struct conf_key *key, char ret_name[CONF_ENV_NAME_MAX])
{
    snprintf(ret_name, CONF_ENV_NAME_MAX, "HATCHERY_%s_%s", key->section, key->key);
    for (char *p = ret_name; *p; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char) (*p - 'a' + 'A');
}

void conf_sentence(struct buf *error)
{
    if (error->len)
        buf_addc(error, '\n');
}

static char **origin_field(const struct conf *conf, const struct conf_key *key)
{
    for (unsigned i = 0; i < conf->n_runtimes; i++)
        if (key->section == conf->runtimes[i].section)
            return (char **) (uintptr_t) &conf->runtimes[i].origins[key - conf->runtimes[i].keys];
    return (char **) (uintptr_t) &conf->origins[key - conf_keys];
}

/* The beginning of an error: a variable goes by its name alone. */
static const char *place_of(const struct conf *conf, const struct conf_key *key)
{
    static const char environment[] = "environment ";
    const char *origin = conf_origin(conf, key);

    return strncmp(origin, environment, sizeof(environment) - 1) == 0 ? origin + sizeof(environment) - 1 : origin;
}

/* If @said begins with one of @keys, add where this key's value comes from. */
static void add_place(const struct conf *conf, const struct conf_key *keys, const struct buf *said, struct buf *error)
{
    for (const struct conf_key *k = keys; k->section; k++) {
        char name[CONF_ENV_NAME_MAX + 1];
        size_t n = (size_t) snprintf(name, sizeof(name), "%s.%s:", k->section, k->key);
        if (*origin_field(conf, k) && said->len >= n && memcmp(said->data, name, n) == 0)
            buf_addf(error, "%s: ", place_of(conf, k));
    }
}

int conf_locate(const struct conf *conf, int err, size_t mark, struct buf *error)
{
    struct buf said;

    if (!err) {
        error->len = mark;
        return 0;
    }
    buf_init(&said, error->max);
    buf_add(&said, error->data ? error->data + mark : "", error->len - mark);
    error->len = mark;
    conf_sentence(error);
    add_place(conf, conf_keys, &said, error);
    for (unsigned i = 0; i < conf->n_runtimes; i++)
        add_place(conf, conf->runtimes[i].keys, &said, error);
    buf_add(error, said.data, said.len);
    buf_free(&said);
    return err;
}

/* A key in the wrong section counts as one with two slips; a key whose beginning is @key, in the
 * same section, as one with one slip. */
static unsigned distance_to(const struct conf_key *of, const char *section, const char *key)
{
    enum { BEGINNING_MIN = 3 };
    unsigned far = conf_value_distance(section, of->section), distance = conf_value_distance(key, of->key);
    size_t n = strlen(key);

    if (!far && distance && n >= BEGINNING_MIN && strncasecmp(key, of->key, n) == 0)
        return 1;
    return (far < 2 ? far : 2) + distance;
}

static int refuse_unknown(const char *section, const char *key, struct buf *error)
{
    const struct conf_key *nearest = conf_keys;
    char full[CONF_ENV_NAME_MAX];
    unsigned least = 1000;

    for (const struct conf_key *k = conf_keys; k->section; k++) {
        unsigned distance = distance_to(k, section, key);
        if (distance < least) {
            least = distance;
            nearest = k;
        }
    }
    conf_value_add_name(error, section);
    buf_addc(error, '.');
    conf_value_add_name(error, key);
    buf_adds(error, ": there is no such key; ");
    snprintf(full, sizeof(full), "%s.%s", nearest->section, nearest->key);
    conf_value_suggest(error, key, least, full);
    return -ENOENT;
}

/* Begin the sentence about @value; a secret's value is not shown. */
static void begin_refusal(const struct conf_key *key, const char *value, struct buf *error)
{
    buf_addf(error, "%s.%s: ", key->section, key->key);
    if (key->type == CONF_SECRET)
        buf_adds(error, "the value");
    else
        conf_value_add_shown(error, value);
}

static int refuse(const struct conf_key *key, const char *value, const char *rule, struct buf *error)
{
    begin_refusal(key, value, error);
    buf_adds(error, rule);
    return -EINVAL;
}

static int refuse_bounds(const struct conf_key *key, const char *value, struct buf *error)
{
    begin_refusal(key, value, error);
    buf_adds(error, " is out of bounds (");
    conf_value_add_number(error, key->type, key->min);
    buf_adds(error, " to ");
    conf_value_add_number(error, key->type, key->max);
    buf_adds(error, conf_is_text(key) ? " bytes)" : ")");
    return -EINVAL;
}

int conf_check_plain(const struct conf_key *key, const char *value, struct buf *error)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char) *p < ' ' || *p == 0x7f)
            return refuse(key, value, " has a control character", error);
    return 0;
}

int conf_check_word(const struct conf_key *key, const char *value, struct buf *error)
{
    for (const char *const *word = key->words; *word; word++)
        if (strcmp(*word, value) == 0)
            return 0;
    begin_refusal(key, value, error);
    buf_adds(error, " is none of");
    for (const char *const *word = key->words; *word; word++)
        buf_addf(error, "%s %s", word == key->words ? "" : ",", *word);
    return -EINVAL;
}

int conf_check_listen(const struct conf_key *key, const char *value, struct buf *error)
{
    int err = conf_check_plain(key, value, error);

    if (err || conf_value_is_listen(value))
        return err;
    return refuse(key, value, " is not ADDRESS:PORT, [IPV6]:PORT or unix:PATH", error);
}

int conf_check_listen_or_none(const struct conf_key *key, const char *value, struct buf *error)
{
    int err = conf_check_plain(key, value, error);

    if (err || !*value || strcmp(value, "none") == 0 || conf_value_is_listen(value))
        return err;
    return refuse(key, value, " is not ADDRESS:PORT, [IPV6]:PORT, unix:PATH or none", error);
}

static int check_characters(const struct conf_key *key, const char *value, char first, struct buf *error)
{
    for (const char *p = value; *p; p++)
        if (*p < first || *p >= 0x7f)
            return refuse(key, value, " has a character that is a space or no printable ASCII", error);
    return 0;
}

/* A key travels in a header.  A space or a control character would end it there, or would be
 * stripped. */
int conf_check_visible(const struct conf_key *key, const char *value, struct buf *error)
{
    return check_characters(key, value, '!', error);
}

int conf_check_visible_words(const struct conf_key *key, const char *value, struct buf *error)
{
    return check_characters(key, value, ' ', error);
}

int conf_check_text(const struct conf_key *key, const char *value, struct buf *error)
{
    int64_t len = (int64_t) strlen(value);

    if (!key->words && (len < key->min || len > key->max))
        return refuse_bounds(key, value, error);
    return key->check(key, value, error);
}

void conf_put_text(struct conf *conf, const struct conf_key *key, const char *value)
{
    char **field = text_field(conf, key), *old = *field;

    *field = value ? xstrdup(value) : NULL;
    if (old && key->type == CONF_SECRET)
        explicit_bzero(old, strlen(old));
    free(old);
}

static int set_text(struct conf *conf, const struct conf_key *key, const char *value, struct buf *error)
{
    const struct conf_key *api_key = conf_find("server", "api_key"),
                          *api_key_file = conf_find("server", "api_key_file");
    int err = conf_check_text(key, value, error);

    if (err)
        return err;
    conf_put_text(conf, key, value);
    const struct conf_key *other = key == api_key ? api_key_file : key == api_key_file ? api_key : NULL;
    if (other && *value) {
        conf_put_text(conf, other, "");
        conf_note_origin(conf, other, NULL);
    }
    return 0;
}

static int set_number(struct conf *conf, const struct conf_key *key, const char *value, struct buf *error)
{
    static const char *const rules[] = {
        [CONF_COUNT] = " is no number",
        [CONF_BYTES] = " is no size (a number with an optional K, M or G)",
        [CONF_TIME] = " is no time (a number of seconds, or with ms, s, min or h)",
        [CONF_BOOL] = " is neither yes nor no",
    };
    void *field = (char *) conf + key->offset;
    int64_t number;

    if (conf_value_number(key->type, value, &number) < 0)
        return refuse(key, value, rules[key->type], error);
    if (number < key->min || number > key->max)
        return refuse_bounds(key, value, error);
    if (key->type == CONF_BOOL)
        *(bool *) field = number;
    else
        *(int64_t *) field = number;
    return 0;
}

static int set_key(struct conf *conf, const struct conf_key *k, const char *value, struct buf *error)
{
    return conf_is_text(k) ? set_text(conf, k, value, error) : set_number(conf, k, value, error);
}

static void set_default(struct conf *conf, const struct conf_key *k)
{
    struct buf error;

    buf_init(&error, 256);
    if (set_key(conf, k, k->def, &error) < 0)
        abort(); /* conf.def contradicts itself */
    buf_free(&error);
}

/* The first key of a runtime makes the runtime. */
static int find_runtime(struct conf *conf, const char *section, const char *key, struct conf_runtime **ret,
                        struct buf *error)
{
    *ret = conf_runtime_find(conf, section);
    if (!conf_runtime_has_key(key))
        return conf_runtime_refuse_key(section, key, error);
    int err = *ret ? 0 : conf_runtime_add(conf, section, ret, error);
    if (!err && !(*ret)->packages)
        for (const struct conf_key *k = (*ret)->keys; k->section; k++)
            set_default(conf, k);
    return err;
}

int conf_set(struct conf *conf, const char *section, const char *key, const char *value, struct buf *error)
{
    struct conf_runtime *rt = NULL;
    int err = conf_is_runtime(section) ? find_runtime(conf, section, key, &rt, error) : 0;

    if (err)
        return err;
    const struct conf_key *k = rt ? conf_runtime_key(rt, key) : conf_find(section, key);
    if (!k)
        return refuse_unknown(section, key, error);
    err = set_key(conf, k, value, error);
    if (!rt)
        conf->refused[k - conf_keys] = err < 0;
    if (!err) /* the caller notes a better origin if it has one */
        conf_note_origin(conf, k, NULL);
    return err;
}

/* The runtime that every server has if the machine has its packages. */
static void add_data_runtime(struct conf *conf)
{
    struct buf error;

    buf_init(&error, 256);
    if (conf_set(conf, "runtime.data", "imports", "numpy pandas matplotlib.pyplot", &error) < 0)
        abort();
    buf_free(&error);
}

void conf_init(struct conf *conf)
{
    memset(conf, 0, sizeof(*conf));
    for (const struct conf_key *k = conf_keys; k->section; k++)
        set_default(conf, k);
    add_data_runtime(conf);
}

static void free_runtimes(struct conf *conf)
{
    for (unsigned i = 0; i < conf->n_runtimes; i++)
        for (const struct conf_key *k = conf->runtimes[i].keys; k->section; k++) {
            if (conf_is_text(k))
                conf_put_text(conf, k, NULL);
            conf_note_origin(conf, k, NULL);
        }
    conf->n_runtimes = 0;
}

void conf_free(struct conf *conf)
{
    if (!conf)
        return;
    for (const struct conf_key *k = conf_keys; k->section; k++)
        if (conf_is_text(k))
            conf_put_text(conf, k, NULL);
    free_runtimes(conf);
    for (int i = 0; i < CONF_KEYS; i++) {
        free(conf->origins[i]);
        conf->origins[i] = NULL;
    }
}

/* --- where values come from, and what they are --- */

const char *conf_origin(const struct conf *conf, const struct conf_key *key)
{
    const char *origin = *origin_field(conf, key);
    return origin ? origin : "default";
}

void conf_note_origin(struct conf *conf, const struct conf_key *key, const char *origin)
{
    char **place = origin_field(conf, key), *old = *place;

    *place = origin ? xstrdup(origin) : NULL;
    free(old);
}

int64_t conf_number_of(const struct conf *conf, const struct conf_key *key)
{
    const char *field = (const char *) conf + key->offset;
    return key->type == CONF_BOOL ? *(const bool *) field : *(const int64_t *) (const void *) field;
}

const char *conf_text_of(const struct conf *conf, const struct conf_key *key)
{
    const char *text = *(char *const *) ((const char *) conf + key->offset);
    return text ? text : "";
}

/* @key and @other have the same name: both in the table, or one in each configuration's
 * runtimes. */
static bool same_value(const struct conf *a, const struct conf_key *key, const struct conf *b,
                       const struct conf_key *other)
{
    return conf_is_text(key) ? strcmp(conf_text_of(a, key), conf_text_of(b, other)) == 0
                             : conf_number_of(a, key) == conf_number_of(b, other);
}

bool conf_equals(const struct conf *a, const struct conf *b, const struct conf_key *key)
{
    return same_value(a, key, b, key);
}

/* Copy the value of @other, @from's entry, into @key, @conf's entry of the same name. Both are in
 * the table, or both in runtimes. */
static void copy_value(struct conf *conf, const struct conf_key *key, const struct conf *from,
                       const struct conf_key *other)
{
    char *field = (char *) conf + key->offset;

    if (conf_is_text(key))
        conf_put_text(conf, key, conf_text_of(from, other));
    else if (key->type == CONF_BOOL)
        *(bool *) field = conf_number_of(from, other);
    else
        *(int64_t *) (void *) field = conf_number_of(from, other);
    conf_note_origin(conf, key, *origin_field(from, other));
}

void conf_copy(struct conf *conf, const struct conf *from, const struct conf_key *key)
{
    copy_value(conf, key, from, key);
    conf->refused[key - conf_keys] = false;
}

void conf_copy_runtimes(struct conf *conf, const struct conf *from)
{
    struct conf_runtime *rt;

    free_runtimes(conf);
    for (unsigned i = 0; i < from->n_runtimes; i++) {
        if (conf_runtime_add(conf, from->runtimes[i].section, &rt, NULL) < 0)
            abort(); /* @from has it */
        for (unsigned k = 0; k < CONF_RUNTIME_KEYS; k++)
            copy_value(conf, &rt->keys[k], from, &from->runtimes[i].keys[k]);
    }
}

/* The order does not matter. */
bool conf_same_runtimes(const struct conf *a, const struct conf *b)
{
    for (unsigned i = 0; i < a->n_runtimes; i++) {
        const struct conf_runtime *ours = &a->runtimes[i];
        const struct conf_runtime *theirs = conf_runtime_find((struct conf *) (uintptr_t) b, ours->section);
        for (unsigned k = 0; theirs && k < CONF_RUNTIME_KEYS; k++)
            if (!same_value(a, &ours->keys[k], b, &theirs->keys[k]))
                theirs = NULL;
        if (!theirs)
            return false;
    }
    return a->n_runtimes == b->n_runtimes;
}
