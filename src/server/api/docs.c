/* SPDX-License-Identifier: Apache-2.0 */
/* The API's own description: OpenAPI 3.1, made from the tables that it is served by, and a page that shows it.
 *
 * Called by the route table, also without a key, so it says nothing of this
 * server but its version.  What must never happen here: a route, a status or a
 * reason that the description has not, or a page that loads something from
 * elsewhere. */
#include "server/api/api.h"

#include "base/json.h"
#include "box/layers.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char components[] =
#include "components.json.inc"
    ;
static const char page[] =
#include "docs.html.inc"
    ;
static const char script[] =
#include "docs.js.inc"
    ;
static const char style[] =
#include "docs.css.inc"
    ;

static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

enum { OPENAPI_MAX = 1 << 20 };

static const struct description {
    const char *method, *path;
    unsigned flags;
    const char *id, *summary, *parameters, *request, *replies;
} descriptions[] = {
#define ROUTE(method, path, flags, handler, id, summary, parameters, request, replies)                                 \
    { method, #path, flags, id, summary, parameters, request, replies },
#include "server/api/routes.def"
};

static const struct path {
    const char *name, *path;
} paths[] = {
#define PATH(name, path) { #name, path },
#include "server/api/routes.def"
};

static const struct reason {
    int status;
    const char *word;
} reasons[] = {
#define OUTCOME(name, status, reason, word) { status, reason },
#include "base/outcome.def"
};

static const struct meaning {
    int status;
    const char *schema, *words;
} meanings[] = {
#define REPLY(status, schema, words) { status, schema, words },
#include "server/api/replies.def"
};

/* Where an operation belongs: the first whose path begins so.  /docs folds the last away. */
static const struct tag {
    const char *path, *name, *title;
} tags[] = {
    { "/v1/code/", "programs", "Programs" },
    { "/v1/jobs", "jobs", "Jobs" },
    { "/v1/toolkit/", "toolkit", "As NCA's toolkit has it" },
    { "/v1/packages", "runtimes", "Runtimes" },
    { "", "plumbing", "Plumbing: health, metrics, this description" },
};

static void add_text(struct buf *out, const char *before, const char *text)
{
    buf_adds(out, before);
    json_add_cstring(out, text);
}

/* --- components --- */

static void add_states(struct buf *out)
{
    for (int i = 0; i < STORE_N_STATES; i++)
        add_text(out, i ? ", " : "", store_state_word((enum store_state) i));
}

static void add_layers(struct buf *out)
{
    for (int i = 0; i < LAYERS; i++)
        add_text(out, i ? ", " : "", layers[i].word);
}

/* Each once: several outcomes share a word or a status. */
static void add_reasons(struct buf *out)
{
    const char *comma = "";

    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
        bool known = !*reasons[i].word;
        for (size_t j = 0; j < i; j++)
            known = known || strcmp(reasons[i].word, reasons[j].word) == 0;
        if (!known)
            add_text(out, comma, reasons[i].word);
        comma = known ? comma : ", ";
    }
}

static void add_statuses(struct buf *out)
{
    const char *comma = "";

    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
        bool known = !*reasons[i].word;
        for (size_t j = 0; j < i; j++)
            known = known || (*reasons[j].word && reasons[i].status == reasons[j].status);
        if (!known)
            buf_addf(out, "%s%d", comma, reasons[i].status);
        comma = known ? comma : ", ";
    }
}

static const struct {
    const char *mark;
    void (*add)(struct buf *out);
} marks[] = {
    { "@STATES@", add_states },
    { "@REASONS@", add_reasons },
    { "@STATUSES@", add_statuses },
    { "@LAYERS@", add_layers },
};

/* The text of components.json; what other tables have is in it by a mark. */
static void add_components(struct buf *out)
{
    const char *p = components;

    for (const char *at; (at = strchr(p, '@')); p = at) {
        buf_add(out, p, (size_t) (at - p));
        size_t i = 0;
        while (i < sizeof(marks) / sizeof(*marks) && strncmp(at, marks[i].mark, strlen(marks[i].mark)) != 0)
            i++;
        if (i < sizeof(marks) / sizeof(*marks)) {
            marks[i].add(out);
            at += strlen(marks[i].mark);
        } else
            buf_addc(out, *at++);
    }
    buf_adds(out, p);
}

/* --- operations --- */

static void add_schema(struct buf *out, const char *name, size_t n)
{
    buf_addf(out, "{\"$ref\": \"#/components/schemas/%.*s\"}", (int) n, name);
}

/* Of each schema the example that is the status's own (Error401), else the one that it has. */
static void add_examples(struct buf *out, const json_t *examples, int status, const char *names, size_t n)
{
    const char *before = ", \"examples\": {", *end = names + n;

    for (size_t len; names < end; names += len + 1) {
        char key[64], own[80];
        len = strcspn(names, "| ");
        len = len < (size_t) (end - names) ? len : (size_t) (end - names);
        snprintf(key, sizeof(key), "%.*s", (int) len, names);
        for (char *slash; (slash = strchr(key, '/'));)
            *slash = '.';
        snprintf(own, sizeof(own), "%s%d", key, status);
        const char *found = json_object_get(examples, own) ? own : json_object_get(examples, key) ? key : NULL;
        if (found)
            buf_addf(out, "%s\"%s\": {\"$ref\": \"#/components/examples/%s\"}", before, key, found);
        before = found ? ", " : before;
    }
    buf_adds(out, *before == ',' && before[2] ? "" : "}");
}

static void add_json(struct buf *out, const json_t *examples, int status, const char *names, size_t n)
{
    bool several = memchr(names, '|', n);
    const char *end = names + n, *p = names;

    buf_adds(out, several ? "\"application/json\": {\"schema\": {\"anyOf\": [" : "\"application/json\": {\"schema\": ");
    for (size_t len; p < end; p += len + 1) {
        const char *bar = memchr(p, '|', (size_t) (end - p));
        len = (size_t) ((bar ? bar : end) - p);
        buf_adds(out, p > names ? ", " : "");
        add_schema(out, p, len);
    }
    buf_adds(out, several ? "]}" : "");
    add_examples(out, examples, status, names, n);
    buf_addc(out, '}');
}

/* NAME or NAME|NAME, @n bytes; media types begin with a small letter.  @status: of a reply; 0: a request. */
static void add_content(struct buf *out, const json_t *examples, int status, const char *names, size_t n)
{
    const char *end = names + n, *p = names;

    buf_adds(out, "\"content\": {");
    if (*names >= 'A' && *names <= 'Z') {
        add_json(out, examples, status, names, n);
        p = end;
    }
    for (size_t len; p < end; p += len + 1) {
        const char *bar = memchr(p, '|', (size_t) (end - p));
        len = (size_t) ((bar ? bar : end) - p);
        buf_addf(out, "%s\"%.*s\": {\"schema\": {\"type\": \"string\"}", p > names ? ", " : "", (int) len, p);
        add_examples(out, examples, status, p, len);
        buf_addc(out, '}');
    }
    buf_addc(out, '}');
}

static bool has_name(const char *names, size_t n, const char *name)
{
    const char *at = *name ? memmem(names, n, name, strlen(name)) : names;
    return at && (!*name || at == names || at[-1] == '|');
}

static const char *meaning_of(int status, const char *names, size_t n)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
        if (meanings[i].status == status && has_name(names, n, meanings[i].schema))
            return meanings[i].words;
    return ""; /* a status without a line in replies.def: tests find it */
}

static void add_reply(struct buf *out, const json_t *examples, int status, const char *names, size_t n)
{
    buf_addf(out, "\"%d\": {", status);
    add_text(out, "\"description\": ", meaning_of(status, names, n));
    buf_adds(out, ", ");
    if (status == 429 || status == 503)
        buf_adds(out, "\"headers\": {\"Retry-After\": {\"schema\": {\"type\": \"integer\"}}}, ");
    add_content(out, examples, status, names, n);
    buf_adds(out, "}, ");
}

static void add_replies(struct buf *out, const json_t *examples, const struct description *d)
{
    static const char refused[] = "Error";
    const char *p = d->replies;

    buf_adds(out, ", \"responses\": {");
    while (*p) {
        const char *colon = strchr(p, ':');
        size_t n = strcspn(colon, " ");
        int status = (colon[-3] - '0') * 100 + (colon[-2] - '0') * 10 + (colon[-1] - '0');
        add_reply(out, examples, status, colon + 1, n - 1);
        p = colon + n;
        p += *p == ' ';
    }
    if (d->flags & ROUTE_KEY)
        add_reply(out, examples, 401, refused, strlen(refused));
    if (d->flags & ROUTE_JSON)
        add_reply(out, examples, 415, refused, strlen(refused));
    if ((d->flags & ROUTE_JSON) && !strstr(d->replies, "413:"))
        add_reply(out, examples, 413, refused, strlen(refused));
    buf_adds(out, "\"default\": {\"description\": \"The request is no HTTP that is understood here\", ");
    add_content(out, examples, 400, refused, strlen(refused));
    buf_adds(out, "}}");
}

static void add_parameters(struct buf *out, const char *names)
{
    buf_adds(out, ", \"parameters\": [");
    for (const char *p = names; *p;) {
        size_t n = strcspn(p, " ");
        buf_addf(out, "%s{\"$ref\": \"#/components/parameters/%.*s\"}", p == names ? "" : ", ", (int) n, p);
        p += n + (p[n] == ' ');
    }
    buf_addc(out, ']');
}

static void add_operation(struct buf *out, const json_t *examples, const struct tag *tag, const struct description *d)
{
    buf_addc(out, '"');
    for (const char *p = d->method; *p; p++)
        buf_addc(out, (char) (*p | 0x20));
    buf_adds(out, "\": {");
    add_text(out, "\"operationId\": ", d->id);
    add_text(out, ", \"summary\": ", d->summary);
    buf_addf(out, ", \"tags\": [\"%s\"]", tag->name);
    buf_adds(out, ", \"security\": [");
    buf_adds(out, d->flags & ROUTE_KEY ? "{\"key\": []}, {\"bearer\": []}" : "");
    buf_addc(out, ']');
    if (*d->parameters)
        add_parameters(out, d->parameters);
    if (*d->request) {
        buf_adds(out, ", \"requestBody\": {\"required\": true, ");
        add_content(out, examples, 0, d->request, strlen(d->request));
        buf_addc(out, '}');
    }
    add_replies(out, examples, d);
    buf_addc(out, '}');
}

static void add_path(struct buf *out, const json_t *examples, const struct path *path)
{
    const struct tag *tag = tags;
    const char *comma = "";

    while (strncmp(path->path, tag->path, strlen(tag->path)) != 0)
        tag++;
    add_text(out, path == paths ? "" : ", ", path->path);
    buf_adds(out, ": {");
    for (size_t i = 0; i < sizeof(descriptions) / sizeof(*descriptions); i++) {
        if (strcmp(descriptions[i].path, path->name) != 0)
            continue;
        buf_adds(out, comma);
        add_operation(out, examples, tag, &descriptions[i]);
        comma = ", ";
    }
    buf_addc(out, '}');
}

static void add_tags(struct buf *out)
{
    for (size_t i = 0; i < sizeof(tags) / sizeof(*tags); i++) {
        add_text(out, i ? ", {\"name\": " : "{\"name\": ", tags[i].name);
        add_text(out, ", \"description\": ", tags[i].title);
        buf_addc(out, '}');
    }
}

void api_openapi_init(struct api *api)
{
    struct buf *out = &api->openapi, parts;
    static const char hook[] = "Reply";

    buf_init(out, OPENAPI_MAX);
    buf_init(&parts, OPENAPI_MAX);
    add_components(&parts);
    json_t *all = json_loadb(parts.data, parts.len, 0, NULL);
    const json_t *examples = json_object_get(all, "examples");
    buf_adds(out, "{\"openapi\": \"3.1.0\", \"info\": {\"title\": \"Hatchery\", \"version\": \"" VERSION "\", "
                  "\"description\": \"Runs Python that somebody else wrote, in a jail, in about a millisecond.\", "
                  "\"license\": {\"name\": \"Apache-2.0\", \"identifier\": \"Apache-2.0\"}}, "
                  "\"servers\": [{\"url\": \"/\"}], \"tags\": [");
    add_tags(out);
    buf_adds(out, "], \"paths\": {");
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        add_path(out, examples, &paths[i]);
    buf_adds(out,
             "}, \"webhooks\": {\"runOver\": {\"post\": {\"operationId\": \"runOver\", \"summary\": \"The reply of a "
             "request with webhook_url, signed as Standard Webhooks describe\", \"requestBody\": {");
    add_content(out, examples, 0, hook, strlen(hook));
    buf_adds(out, "}, \"responses\": {\"2XX\": {\"description\": \"Delivered\"}, \"410\": {\"description\": \"Never "
                  "again\"}, \"default\": {\"description\": \"It is tried again later\"}}}}}, \"components\": ");
    buf_add(out, parts.data, parts.len);
    buf_addc(out, '}');
    json_decref(all);
    buf_free(&parts);
}

void api_openapi(struct request *req, void *data)
{
    const struct api *api = data;
    reply_json(req, 200, &api->openapi, 0);
}

/* --- the page --- */

/* Somebody who has typed the address of the server, and not a client that forgot the path. */
void api_root(struct request *req, void *data)
{
    static const char link[] = "<!doctype html>\n<a href=\"/docs\">/docs</a>\n";
    const struct buf body = { .data = (char *) (uintptr_t) link, .len = sizeof(link) - 1 };
    const char *accept = request_header(req, "accept");

    (void) data;
    if (accept && strcasestr(accept, "text/html")) {
        reply_header(req, "Location", "/docs");
        reply_typed(req, 302, "text/html; charset=utf-8", &body);
    } else
        reply_error(req, 404, "Not found; programs are run by POST /v1/code/execute/python, and /docs has all paths",
                    0);
}

static void reply_static(struct request *req, const char *type, const char *text, size_t len)
{
    const struct buf body = { .data = (char *) (uintptr_t) text, .len = len };

    reply_header(req, "Content-Security-Policy", policy);
    reply_header(req, "Referrer-Policy", "no-referrer");
    reply_typed(req, 200, type, &body);
}

void api_docs(struct request *req, void *data)
{
    (void) data;
    reply_static(req, "text/html; charset=utf-8", page, sizeof(page) - 1);
}

void api_docs_script(struct request *req, void *data)
{
    (void) data;
    reply_static(req, "text/javascript; charset=utf-8", script, sizeof(script) - 1);
}

void api_docs_style(struct request *req, void *data)
{
    (void) data;
    reply_static(req, "text/css; charset=utf-8", style, sizeof(style) - 1);
}
