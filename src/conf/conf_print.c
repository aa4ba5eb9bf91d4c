/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration in effect, as the text of a file.
 *
 * `hatchery print-config` calls this.  What must never happen here: a secret in
 * the text, or a value whose source the text does not name. */
#include "conf/conf_parts.h"

#include "conf/conf_value.h"

#include <string.h>

/* A line has at most some 200 bytes, so a longer value continues in indented lines. */
static void add_words(struct buf *out, const char *text)
{
    enum { LINE = 100 };

    while (strlen(text) > LINE) {
        const char *space = text + LINE;
        while (space > text && *space != ' ')
            space--;
        if (space == text)
            break;
        buf_add(out, text, (size_t) (space - text));
        buf_adds(out, "\n   ");
        text = space;
    }
    buf_adds(out, text);
}

static void print_key(const struct conf *conf, const struct conf_key *key, struct buf *out)
{
    bool secret = key->type == CONF_SECRET && *conf_text_of(conf, key);

    buf_addf(out, "; %s%s\n%s%s = ", conf_origin(conf, key),
             key->when == CONF_LIVE ? "" : " (a change needs a restart)", secret ? "; " : "", key->key);
    if (secret)
        buf_adds(out, "(set, not shown)");
    else if (conf_is_text(key))
        add_words(out, conf_text_of(conf, key));
    else if (key->type == CONF_BOOL)
        buf_adds(out, conf_number_of(conf, key) ? "yes" : "no");
    else
        conf_value_add_number(out, key->type, conf_number_of(conf, key));
    buf_addc(out, '\n');
}

void conf_print(const struct conf *conf, struct buf *out)
{
    const char *section = "";

    for (const struct conf_key *k = conf_keys; k->section; k++) {
        if (strcmp(section, k->section) != 0)
            buf_addf(out, "%s[%s]\n", *section ? "\n" : "", k->section);
        section = k->section;
        print_key(conf, k, out);
    }
    for (unsigned i = 0; i < conf->n_runtimes; i++) {
        buf_addf(out, "\n[%s]\n", conf->runtimes[i].section);
        for (const struct conf_key *k = conf->runtimes[i].keys; k->section; k++)
            print_key(conf, k, out);
    }
}
