/* SPDX-License-Identifier: Apache-2.0 */
/* The reader thread's queries: what became of a job, which jobs there are.
 *
 * Called with a connection of its own, which sees the last commit and holds up no writer.  What
 * must never happen here: one tenant's job in another's answer. */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>
#include <string.h>

enum { LIST_MAX = 10000 };

static int read_attempts(struct db *db, struct op *op, int64_t seq)
{
    sqlite3_stmt *s = db_statement(db, SQL_ATTEMPTS);
    unsigned cap = 16;
    struct store_attempt *list = op_alloc(op, cap * sizeof(*list));
    int r;

    sqlite3_bind_int64(s, 1, seq);
    while ((r = db_step(s)) > 0) {
        if (op->answer.n_attempts == cap) {
            struct store_attempt *larger = op_alloc(op, 2 * cap * sizeof(*list));
            memcpy(larger, list, cap * sizeof(*list));
            list = larger;
            cap *= 2;
        }
        list[op->answer.n_attempts++] = (struct store_attempt){ .at_us = sqlite3_column_int64(s, 0),
                                                                .duration_us = sqlite3_column_int64(s, 1),
                                                                .status = sqlite3_column_int(s, 2),
                                                                .error = column_bytes(op, s, 3),
                                                                .address = column_bytes(op, s, 4) };
    }
    op->answer.attempts = list;
    return r;
}

int apply_get(struct db *db, struct op *op)
{
    const struct op_target *target = &op->args.get.target;
    sqlite3_stmt *s = db_statement(db, SQL_JOB_BY_ID);
    struct store_record *record = op_alloc(op, sizeof(*record));

    if (!target->is_id)
        return -ENOENT;
    sqlite3_bind_blob(s, 1, target->id, sizeof(target->id), SQLITE_STATIC);
    db_bind_string(s, 2, target->tenant);
    int r = db_step(s);
    if (r <= 0)
        return r ? r : -ENOENT;
    record_from_row(op, s, record);
    sqlite3_reset(s);
    op->answer.records = record;
    op->answer.n = 1;
    return record->has_delivery ? read_attempts(db, op, record->seq) : 0;
}

/* A leased job that has not begun is shown as waiting. */
static void show_waiting(const struct store_query *q, struct store_record *record)
{
    for (unsigned i = 0; i < q->n_waiting && record->state == STORE_RUNNING; i++)
        if (q->waiting[i] == record->seq) {
            record->state = STORE_QUEUED;
            record->attempt--;
        }
}

/* The statement that skips the fewest rows of other states: there may be very many. */
static enum statement list_statement(unsigned states)
{
    bool one = states && !(states & (states - 1));

    if (one && states > 1U << STORE_RUNNING)
        return SQL_LIST_OVER;
    return one ? SQL_LIST_OPEN : SQL_LIST;
}

/* A row of a list; @bytes counts its strings. */
static void take_row(struct op *op, sqlite3_stmt *row, struct store_record *ret, size_t *bytes)
{
    const unsigned char *id = sqlite3_column_blob(row, 1);

    if (!op->args.list.brief) {
        record_from_row(op, row, ret);
        *bytes += ret->client_id.n + ret->webhook_url.n + ret->host.n;
        return;
    }
    *ret = (struct store_record){ .seq = sqlite3_column_int64(row, 0),
                                  .state = (enum store_state) sqlite3_column_int(row, 3),
                                  .attempt = sqlite3_column_int(row, 4) };
    if (id && sqlite3_column_bytes(row, 1) == UUID_BYTES)
        uuid_format(id, ret->id);
}

int apply_list(struct db *db, struct op *op)
{
    const struct store_query *q = &op->args.list;
    unsigned limit = q->limit < LIST_MAX ? q->limit : LIST_MAX;
    struct store_record *records = op_alloc(op, (limit + 1) * sizeof(*records));
    const enum statement which = list_statement(q->states);
    sqlite3_stmt *s = db_statement(db, which);
    unsigned states = q->states ? q->states : ~0U, among = states;
    size_t bytes = 0;
    int r = 0;

    if (states & 1U << STORE_QUEUED)
        among |= 1U << STORE_RUNNING;
    db_bind_string(s, 1, q->tenant);
    sqlite3_bind_int64(s, 2, q->before_seq ? q->before_seq : INT64_MAX);
    sqlite3_bind_int64(s, 3, q->since_us);
    sqlite3_bind_int64(s, 4, which == SQL_LIST_OVER ? __builtin_ctz(states) : (int64_t) among);
    while (op->answer.n <= limit && (r = db_step(s)) > 0) {
        struct store_record *record = &records[op->answer.n];
        take_row(op, s, record, &bytes);
        show_waiting(q, record);
        op->answer.n += states >> record->state & 1;
        if (bytes > STORE_LIST_BYTES && op->answer.n <= limit)
            limit = op->answer.n; /* one more row shows whether there are more */
    }
    sqlite3_reset(s);
    op->answer.records = records;
    op->answer.more = op->answer.n > limit;
    if (op->answer.more)
        op->answer.n = limit;
    return r < 0 ? r : 0;
}

/* Is the file sound?  Reads it from the disk, not from memory. */
static int check_file(struct db *db, struct op *op)
{
    (void) op;
    sqlite3_db_release_memory(db->handle);
    sqlite3_stmt *s = db_statement(db, SQL_CHECK);
    int r = db_step(s);
    if (r <= 0)
        return r ? r : -EUCLEAN;
    const char *word = (const char *) sqlite3_column_text(s, 0);
    r = word && strcmp(word, "ok") == 0 ? 0 : -EUCLEAN;
    sqlite3_reset(s);
    return r;
}

static int (*const appliers[OP_KINDS])(struct db *db, struct op *op) = {
#define WRITER(NAME, name)
#define READER(NAME, name) [OP_##NAME] = apply_##name,
#define OP(NAME, name, side, durable, wakes, argument) side(NAME, name)
#include "server/store/ops.def"
    [OP_PROBE] = check_file, /* of a damaged store, where nothing is written */
};

void reader_apply(struct db *db, struct op *op)
{
    op->answer.err = appliers[op->kind](db, op);
    if (op->answer.err)
        op->answer.n = op->answer.n_attempts = 0;
}
