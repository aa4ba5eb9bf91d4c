/* SPDX-License-Identifier: Apache-2.0 */
/* What each process is told: the slices of the configuration for the server and the zygotes.
 *
 * prepare.c fills them at the start, reload.c when the configuration is read again.  The limits
 * that the machine sets (cores, memory, descriptors) are applied here.  What must never happen
 * here: a slice with more than its process needs. The server gets the key's hash and not the
 * key. */
#include "supervisor/process.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

enum { FILES_OF_A_BOX = 4 }; /* descriptors that the server has for each box */

static int word_index(const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return 0;
}

static const char *const log_formats[] = { "auto", "json", "text", NULL };
static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };

enum log_format log_format_of(const struct conf *conf)
{
    return (enum log_format) word_index(conf->log_format, log_formats) | (log_is_journal() ? LOG_JOURNAL : 0);
}

int log_level_of(const struct conf *conf, const struct supervisor_options *options)
{
    int level = word_index(conf->log_level, log_levels);
    return options->source_fd >= 0 && level < LOG_WARN ? LOG_WARN : level;
}

static struct wire_limits limits_of(const struct conf *c)
{
    return (struct wire_limits){
        .timeout_default_ms = c->limits_timeout_default,
        .timeout_max_ms = c->limits_timeout_max,
        .memory_bytes = c->limits_memory,
        .scratch_bytes = c->limits_scratch,
        .output_bytes = c->limits_output,
        .code_bytes = c->limits_code,
        .result_bytes = c->limits_result,
        .processes = c->limits_processes,
        .cpu_percent = c->limits_cpu_percent,
        .scratch_files = c->limits_scratch_files,
        .open_files = c->limits_open_files,
    };
}

/* As they were found at the start. */
static void fill_runtimes(struct supervisor *s)
{
    struct wire_server_conf *w = &s->server_conf;

    w->n_runtimes = s->found.n;
    for (unsigned i = 0; i < s->found.n; i++)
        w->runtimes[i] = s->found.list[i].wire;
}

enum { RUNS_MAX = 128, MEMORY_OF_A_RUN = 128 << 20 };

/* If none is configured: as many as the memory and the descriptors allow for most programs. */
static unsigned default_max_runs(unsigned cores, int64_t memory)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    uint64_t most = (uint64_t) memory / MEMORY_OF_A_RUN;
    uint64_t by_files = files.rlim_cur / (4 * FILES_OF_A_BOX);
    most = most > 2 * cores ? most : 2 * cores;
    most = most < RUNS_MAX ? most : RUNS_MAX;
    most = most < by_files ? most : by_files;
    return (unsigned) most > cores ? (unsigned) most : cores;
}

/* Decide how many programs run at once, and how many slots they need. */
static void fill_slots(struct wire_server_conf *w, const struct conf *c, int64_t memory)
{
    unsigned cores = (unsigned) get_nprocs(), dying;

    w->max_runs = c->pool_max_runs ? (unsigned) c->pool_max_runs : default_max_runs(cores, memory);
    if (w->one_run)
        w->max_runs = 1;
    w->places = w->max_runs < cores ? w->max_runs : cores;
    /* A slot is free again only when the last process of its box is gone, and some are always
     * dying. */
    dying = w->max_runs < 4 * cores ? w->max_runs : 4 * cores;
    w->n_slots = w->max_runs + dying + 4;
    w->n_first_slots = 2 * w->places + 4;
    for (unsigned i = 0; i < w->n_runtimes; i++) {
        w->n_slots += w->runtimes[i].pool_size;
        w->n_first_slots += w->runtimes[i].pool_size;
    }
    if (w->n_slots > WIRE_SLOTS_MAX)
        w->n_slots = WIRE_SLOTS_MAX;
    if (w->n_first_slots > w->n_slots)
        w->n_first_slots = w->n_slots;
}

void fill_server_conf(struct supervisor *s)
{
    const struct conf *c = s->conf;
    struct wire_server_conf *w = &s->server_conf;

    *w = (struct wire_server_conf){
        .type = WIRE_SERVER_CONF,
        .one_run = s->options->source_fd >= 0,
        .queue_max = c->queue_max_length,
        .rotate_runs = c->python_rotate_runs,
        .rotate_age_ms = c->python_rotate_age,
        .max_connections = (unsigned) c->server_max_connections,
        .max_connections_per_address = (unsigned) c->server_max_connections_per_address,
        .head_timeout_ms = (unsigned) c->server_head_timeout,
        .body_timeout_ms = (unsigned) c->server_body_timeout,
        .idle_timeout_ms = (unsigned) c->server_idle_timeout,
        .write_timeout_ms = (unsigned) c->server_write_timeout,
        .drain_delay_ms = (unsigned) c->server_drain_delay,
        .max_body = c->server_max_body,
        .max_bodies = c->server_max_bodies > c->server_max_body ? c->server_max_bodies : c->server_max_body,
        .retention_age_us = c->jobs_retention_age * 1000,
        .retention_count = c->jobs_retention_count,
        .store_bytes = c->jobs_max_bytes,
        .memory_bytes = s->memory.limit_bytes,
        .idempotency_by_id = c->jobs_idempotency_by_id,
        .log_format = log_format_of(c),
        .log_level = log_level_of(c, s->options),
        .limits = limits_of(c),
    };
    fill_runtimes(s);
    if (w->one_run)
        w->n_runtimes = 1;
    fill_slots(w, c, s->memory.bytes);
    w->has_key = c->server_api_key && *c->server_api_key;
    if (w->has_key)
        crypto_generichash(w->key_hash, sizeof(w->key_hash), (const unsigned char *) c->server_api_key,
                           strlen(c->server_api_key), NULL, 0);
}

bool has_layer(const struct supervisor *s, enum layer layer)
{
    return !(s->require->missing & LAYER_BIT(layer));
}

void fill_zygote_conf(struct supervisor *s)
{
    s->zygote_conf = (struct wire_zygote_conf){
        .limits = s->server_conf.limits,
        .n_slots = s->server_conf.n_slots,
        .n_first_slots = s->server_conf.n_first_slots,
        .ids = s->ids.root,
        .cgroups = s->cgroups != NULL,
        .landlock = has_layer(s, LAYER_LANDLOCK),
        .mdwe = has_layer(s, LAYER_MDWE),
        .log_format = s->server_conf.log_format,
        .log_level = s->server_conf.log_level,
        .warm_ms = s->conf->python_warm_timeout,
    };
    snprintf(s->zygote_conf.imports, sizeof(s->zygote_conf.imports), "%s", s->conf->python_imports);
}

/* Connections must leave descriptors for the boxes: otherwise strangers without a key could starve
 * all runs. */
int fit_connections(struct wire_server_conf *w)
{
    struct rlimit limit;
    /* our own, and the connections of the metrics' listener */
    rlim_t others = FILES_OF_A_BOX * (rlim_t) w->n_slots + 64 + 64;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur <= others)
        return refuse("the hard limit on open files is too low for pool.size and pool.max_runs: raise it (ulimit -Hn, "
                      "LimitNOFILE= in the unit)");
    if (limit.rlim_cur - others >= w->max_connections)
        return 0;
    w->max_connections = (unsigned) (limit.rlim_cur - others);
    log_warn("server.max_connections is lowered to what the hard limit on open files leaves",
             LOG_I("max_connections", w->max_connections) LOG_I("open_files", (int64_t) limit.rlim_cur));
    return 0;
}
