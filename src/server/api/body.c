/* SPDX-License-Identifier: Apache-2.0 */
/* What a body of POST /v1/code/execute/python says.
 *
 * Called by execute.c, for a long body in a thread.  Nearly all bodies are read
 * without a tree; jansson reads what is left, and words what is wrong.
 * What must never happen here: a member that is not understood being ignored,
 * or a long text being read by jansson for no more than its error. */
#include "server/api/body.h"

#include "server/api/api.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An id is in each reply, on disk as long as its job, and in the list of a thousand of them. */
enum { ID_MAX = 16384 };

/* What a request has beside its strings: names, a number, signs, spaces. */
enum { FRAME_MAX = 4096 };

enum { ERROR_MAX = 1024 };

/* Where members are taken to, and by which rules. */
struct taking {
    const struct wire_limits *limits;
    const struct guard_allow *allow;
    struct program *program;
    struct buf *error;
};

/* Checks one member, present in the body; says what is wrong in t->error or takes it into the program. */
typedef int take_member(const struct taking *t, const struct json_member *value);

static int take_code(const struct taking *t, const struct json_member *value)
{
    size_t max = (size_t) t->limits->code_bytes;

    if (!value->string)
        return fail(t->error, -EINVAL, "code: must be a string, the Python source");
    if (value->len > max)
        return fail(t->error, -E2BIG, "code: is longer than the %zu bytes that are allowed (limits.code)", max);
    const char *nul = memchr(value->string, '\0', value->len);
    if (nul)
        return fail(t->error, -EINVAL, "code: must not contain NUL (at byte %zu): Python source can't",
                    (size_t) (nul - value->string));
    t->program->job.code = value->string;
    t->program->job.code_len = value->len;
    return 0;
}

static int refuse_timeout(const struct wire_limits *limits, struct buf *error)
{
    long long max = limits->timeout_max_ms / 1000;
    return fail(error, -EINVAL, "timeout: must be an integer from 1 to %lld (seconds)", max);
}

static int take_timeout(const struct taking *t, const struct json_member *value)
{
    double max = (double) t->limits->timeout_max_ms / 1000;
    double seconds = value->number;

    if (!value->is_number || seconds != floor(seconds) || seconds < 1 || seconds > max)
        return refuse_timeout(t->limits, t->error);
    t->program->job.timeout_ms = (int64_t) seconds * 1000;
    return 0;
}

static int take_webhook_url(const struct taking *t, const struct json_member *value)
{
    struct program *p = t->program;
    struct guard_url url;

    if (!value->string || strlen(value->string) != value->len)
        return fail(t->error, -EINVAL, "webhook_url: must be an absolute http or https URL");
    buf_adds(t->error, "webhook_url: ");
    if (guard_url(t->allow, value->string, &url, t->error) < 0)
        return -EINVAL;
    buf_reset(t->error);
    p->webhook_url = value->string;
    snprintf(p->host, sizeof(p->host), "%s", url.host);
    guard_url_free(&url);
    return 0;
}

static int take_id(const struct taking *t, const struct json_member *value)
{
    if (!value->string)
        return fail(t->error, -EINVAL, "id: must be a string");
    if (value->len > ID_MAX)
        return fail(t->error, -EINVAL, "id: is longer than the %d bytes that are allowed", ID_MAX);
    t->program->client_id = (struct store_bytes){ value->string, value->len };
    return 0;
}

static const struct {
    const char *name;
    take_member *take;
} members[] = {
    { "code", take_code },
    { "timeout", take_timeout },
    { "id", take_id },
    { "webhook_url", take_webhook_url },
};

static_assert(sizeof(members) / sizeof(*members) == BODY_MEMBERS, "fields of struct body");

static void add_fields(const struct wire_limits *limits, struct json_field ret[static BODY_MEMBERS])
{
    const size_t max[] = { (size_t) limits->code_bytes, 0, ID_MAX, GUARD_URL_MAX };

    static_assert(sizeof(max) / sizeof(*max) == BODY_MEMBERS, "one for each member");
    for (size_t i = 0; i < BODY_MEMBERS; i++)
        ret[i] = (struct json_field){ members[i].name, max[i] };
}

size_t api_body_max(const struct wire_server_conf *conf)
{
    struct json_field fields[BODY_MEMBERS];
    size_t needed = FRAME_MAX;

    add_fields(&conf->limits, fields);
    for (size_t i = 0; i < BODY_MEMBERS; i++)
        needed += 6 * fields[i].max; /* JSON may write each byte as six: \u0041 */
    return needed < (size_t) conf->max_body ? needed : (size_t) conf->max_body;
}

static bool is_blank(const char *text, size_t len)
{
    size_t i = 0;

    while (i < len && text[i] && strchr(" \t\r\n", text[i]))
        i++;
    return i == len;
}

/* What helps where jansson's text begins like this (its load.c, up to 2.14). */
static const struct {
    const char *text, *help;
} json_help[] = {
    { "unable to decode byte", ": send UTF-8" },
    { "unexpected newline", ": write it as \\n (in n8n: {{ JSON.stringify(...) }})" },
    { "control character 0xd", ": write it as \\r (in n8n: {{ JSON.stringify(...) }})" },
    { "control character 0x9", ": write it as \\t (in n8n: {{ JSON.stringify(...) }})" },
    { "'}' expected near '",
      ": a quote within a text is \\\" (in n8n: {{ JSON.stringify(...) }}, with no quotes around it)" },
    { "string or '}' expected near '{'",
      ": in n8n, switch the field to Expression; then {{ JSON.stringify(...) }} becomes a text" },
    { "string or '}' expected near '''", ": JSON has its texts and names in double quotes" },
    { "invalid token near '", ": JSON has texts in double quotes, numbers, true, false and null (in n8n: {{ "
                              "JSON.stringify(...) }} writes them)" },
};

static const char *help_with(const char *text)
{
    for (size_t i = 0; i < sizeof(json_help) / sizeof(*json_help); i++)
        if (strncmp(text, json_help[i].text, strlen(json_help[i].text)) == 0)
            return json_help[i].help;
    return "";
}

void api_add_json_error(struct buf *error, const char *text, size_t len, const char *member, const json_error_t *why)
{
    if (is_blank(text, len))
        buf_addf(error, "The body is empty: it must be a JSON object%s%s", member ? " with the member " : "",
                 member ? member : "");
    else
        buf_addf(error, "The body is not valid JSON: %s (line %d, column %d)%s", why->text, why->line, why->column,
                 help_with(why->text));
}

/* Jansson could not read it.  A number beyond its types is good JSON all the same, and timeout the only number. */
static int refuse_text(struct body *b, const json_error_t *why)
{
    if (json_error_code(why) == json_error_numeric_overflow)
        return -ERANGE;
    api_add_json_error(&b->error, b->text, b->len, members[0].name, why);
    return -EINVAL;
}

/* Those that were read without a tree are found already. */
static int take_from_tree(struct body *b, const char *name, const json_t *value)
{
    for (size_t i = 0; i < BODY_MEMBERS; i++) {
        if (strcmp(members[i].name, name) != 0)
            continue;
        if (b->found[i].found || json_is_null(value)) /* so do many clients leave a member out */
            return 0;
        b->found[i] = (struct json_member){ .found = true,
                                            .is_number = json_is_number(value),
                                            .number = json_number_value(value),
                                            .string = json_string_value(value),
                                            .len = json_string_length(value) };
        return 0;
    }
    return fail(&b->error, -EINVAL, "%.64s: unknown member; allowed are code, timeout, webhook_url, id", name);
}

/* What of a body jansson has to read, and where that stands in the whole. */
struct rest {
    struct buf text;
    int lines, columns; /* that its first line is further down, and further to the right */
    int line;           /* of a string that was shortened; 0: there is none */
    int more_columns;   /* that its end is further to the right */
};

/* Lines that end in @p[0..n), and characters after the last of them. */
static void count_characters(const char *p, size_t n, int *ret_lines, int *ret_columns)
{
    const char *newline, *end = p + n;

    *ret_lines = *ret_columns = 0;
    for (; (newline = memchr(p, '\n', (size_t) (end - p))); p = newline + 1)
        ++*ret_lines;
    for (; p < end; p++)
        *ret_columns += ((unsigned char) *p & 0xc0) != 0x80;
}

/* Jansson shows a token up to this length beside what is wrong with it; its quote counts (its load.c, up to 2.14). */
enum { SHOWN_MAX = 20 };

static const char filler[] = "------------------------";
static_assert(sizeof(filler) - 1 >= SHOWN_MAX, "a string that was shortened is not shown either");

/* The members that were read stand in it without their values, and of a string that is wrong only what is. */
static void take_rest(const struct body *b, const struct json_stop *stop, struct rest *ret)
{
    const char *text = b->text;
    size_t from = stop->read;
    int none;

    *ret = (struct rest){ 0 };
    buf_init(&ret->text, SIZE_MAX / 2); /* it is little longer than the body */
    for (size_t i = 0; i < BODY_MEMBERS && from; i++)
        if (b->found[i].found)
            buf_addf(&ret->text, "%s\"%s\":\"\"", ret->text.len ? "," : "{", members[i].name);
    if (from)
        count_characters(text, from, &ret->lines, &ret->columns);
    ret->columns -= (int) ret->text.len;
    if (stop->string && stop->at - stop->string > sizeof(filler)) {
        count_characters(text + from, stop->string - from, &ret->line, &none);
        ret->line++;
        buf_add(&ret->text, text + from, stop->string - from);
        buf_adds(&ret->text, filler);
        from = stop->at;
        count_characters(text + stop->string, from - stop->string, &none, &ret->more_columns);
        ret->more_columns -= (int) sizeof(filler) - 1;
    }
    buf_add(&ret->text, text + from, b->len - from);
}

static json_t *parse(const struct rest *rest, json_error_t *why)
{
    json_t *tree = json_loadb(buf_text(&rest->text), rest->text.len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, why);

    if (tree)
        return tree;
    why->column += (why->line == 1 ? rest->columns : 0) + (why->line == rest->line ? rest->more_columns : 0);
    why->line += rest->lines;
    return NULL;
}

/* What json_read_flat() did not read, and what is wrong with it. */
static int read_tree(struct body *b, const struct json_stop *stop)
{
    json_error_t why;
    struct rest rest;
    const char *name;
    json_t *value;

    take_rest(b, stop, &rest);
    bool few = json_count(rest.text.data, rest.text.len) <= API_VALUES_MAX;
    b->tree = few ? parse(&rest, &why) : NULL;
    buf_free(&rest.text);
    if (!few)
        return fail(&b->error, -EINVAL, "The body has more than %d JSON values, which no request needs",
                    API_VALUES_MAX);
    if (!b->tree)
        return refuse_text(b, &why);
    if (!json_is_object(b->tree))
        return fail(&b->error, -EINVAL, "The body must be a JSON object with the member code");
    json_object_foreach (b->tree, name, value) {
        int err = take_from_tree(b, name, value);
        if (err)
            return err;
    }
    return 0;
}

/* Of all that makes two requests the same one.  No JSON has the byte between the two parts. */
static void take_fingerprint(struct body *b)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, STORE_FINGERPRINT);
    crypto_generichash_update(&state, (const unsigned char *) b->text, b->len);
    if (b->runtime) {
        crypto_generichash_update(&state, (const unsigned char *) "", 1);
        crypto_generichash_update(&state, (const unsigned char *) b->runtime, strlen(b->runtime));
    }
    crypto_generichash_final(&state, b->fingerprint, STORE_FINGERPRINT);
}

void body_init(struct body *b, const struct wire_limits *limits)
{
    *b = (struct body){ 0 };
    add_fields(limits, b->fields);
    buf_init(&b->error, ERROR_MAX);
}

/* Without a tree, which takes ten times as long for a program of a page, where that is possible. */
void body_read(struct body *b)
{
    struct json_stop stop;

    b->room = xmalloc(b->len + 1);
    b->err = json_read_flat(b->text, b->len, b->fields, BODY_MEMBERS, b->found, b->room, &stop);
    if (b->err == -EINVAL)
        b->err = read_tree(b, &stop);
    if (!b->err && b->signs)
        take_fingerprint(b);
}

int body_take(struct body *b, const struct wire_limits *limits, const struct guard_allow *allow, struct program *p)
{
    const struct taking t = { limits, allow, p, &b->error };

    memcpy(p->fingerprint, b->fingerprint, sizeof(p->fingerprint));
    if (b->err == -ERANGE)
        return refuse_timeout(limits, &b->error);
    if (b->err == -EINVAL)
        return -EINVAL;
    if (!b->err && !b->found[0].found)
        return fail(&b->error, -EINVAL, "code: is required, the Python source as a string");
    for (size_t i = 0; i < BODY_MEMBERS; i++) {
        int err = b->found[i].found ? members[i].take(&t, &b->found[i]) : 0;
        if (err)
            return err;
    }
    return 0;
}

void body_free(struct body *b)
{
    buf_free(&b->error);
    json_decref(b->tree);
    free(b->room);
}
