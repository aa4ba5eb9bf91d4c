/* SPDX-License-Identifier: Apache-2.0 */
/* How a row becomes a record, and what one row is asked most often.
 *
 * Called by the reader thread and, inside of its transactions, by the writer thread, each with its
 * own connection.
 * What must never happen here: a pointer into a row that outlives its statement (what a record
 * refers to is copied into the operation), or a job that is found by its id alone (whose it is
 * belongs to the question). */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>

/* Behind the columns of a job stand those of its result, then those of its delivery. */
enum { FIRST_OF_RESULT = 17, FIRST_OF_DELIVERY = 20 };

/* --- columns and records --- */

struct store_bytes column_bytes(struct op *op, sqlite3_stmt *row, int i)
{
    const char *p = sqlite3_column_blob(row, i);
    size_t n = (size_t) sqlite3_column_bytes(row, i);

    if (sqlite3_column_type(row, i) == SQLITE_NULL)
        return (struct store_bytes){ 0 };
    return op_bytes(op, (struct store_bytes){ p ? p : "", n });
}

struct blob *column_blob(struct op *op, sqlite3_stmt *row, int i, struct store_bytes *ret)
{
    const void *p = sqlite3_column_blob(row, i);
    size_t n = (size_t) sqlite3_column_bytes(row, i);

    if (sqlite3_column_type(row, i) == SQLITE_NULL)
        return NULL;
    struct blob *blob = op_blob(op, p, n);
    *ret = (struct store_bytes){ blob_bytes(blob), n };
    return blob;
}

void record_from_row(struct op *op, sqlite3_stmt *row, struct store_record *ret)
{
    const unsigned char *id = sqlite3_column_blob(row, 1);
    int n = sqlite3_column_count(row);

    *ret = (struct store_record){
        .seq = sqlite3_column_int64(row, 0),
        .tenant = column_bytes(op, row, 2).p,
        .state = (enum store_state) sqlite3_column_int(row, 3),
        .attempt = sqlite3_column_int(row, 4),
        .created_us = sqlite3_column_int64(row, 5),
        .started_us = sqlite3_column_int64(row, 6),
        .over_us = sqlite3_column_int64(row, 7),
        .timeout_ms = sqlite3_column_int64(row, 8),
        .status = sqlite3_column_int(row, 9),
        .client_id = column_bytes(op, row, 10),
        .webhook_url = column_bytes(op, row, 11),
        .host = column_bytes(op, row, 12),
        .trace = column_bytes(op, row, 13),
        .requeues = sqlite3_column_int(row, 14),
        .runtime = column_bytes(op, row, 15),
        .api = sqlite3_column_int(row, 16),
    };
    if (id && sqlite3_column_bytes(row, 1) == UUID_BYTES)
        uuid_format(id, ret->id);
    if (n <= FIRST_OF_RESULT)
        return;
    ret->blob = column_blob(op, row, FIRST_OF_RESULT, &ret->body);
    ret->form = sqlite3_column_int(row, FIRST_OF_RESULT + 1);
    ret->longest = sqlite3_column_int64(row, FIRST_OF_RESULT + 2);
    ret->has_delivery = sqlite3_column_type(row, FIRST_OF_DELIVERY) != SQLITE_NULL;
    ret->delivery = (enum store_delivery_state) sqlite3_column_int(row, FIRST_OF_DELIVERY);
    ret->tries = sqlite3_column_int(row, FIRST_OF_DELIVERY + 1);
    ret->due_us = sqlite3_column_int64(row, FIRST_OF_DELIVERY + 2);
}

int load_record(struct writer *w, struct op *op, int64_t seq, struct store_record *ret)
{
    PREPARE(s, JOB);
    sqlite3_bind_int64(s, 1, seq);
    int r = db_step(s);
    if (r <= 0)
        return r ? r : -EUCLEAN;
    record_from_row(op, s, ret);
    sqlite3_reset(s);
    return 0;
}

/* --- one row --- */

int run_on_seq(struct writer *w, enum statement which, int64_t seq)
{
    sqlite3_stmt *s = db_statement(&w->db, which);

    if (!s)
        return -EIO;
    sqlite3_bind_int64(s, 1, seq);
    return db_step(s);
}

int has_row(struct writer *w, enum statement which, int64_t seq, int *ret_value)
{
    int r = run_on_seq(w, which, seq);

    if (r > 0) {
        *ret_value = sqlite3_column_int(w->db.statements[which], 0);
        sqlite3_reset(w->db.statements[which]);
    }
    return r;
}

int find_job(struct writer *w, const struct op_target *target, int64_t *ret_seq, int *ret_state, int *ret_attempts,
             bool *ret_has_url)
{
    PREPARE(s, STATE_BY_ID);

    if (!target->is_id)
        return 0;
    sqlite3_bind_blob(s, 1, target->id, sizeof(target->id), SQLITE_STATIC);
    db_bind_string(s, 2, target->tenant);
    int r = db_step(s);
    if (r > 0) {
        *ret_seq = sqlite3_column_int64(s, 0);
        *ret_state = sqlite3_column_int(s, 1);
        *ret_attempts = sqlite3_column_int(s, 2);
        *ret_has_url = sqlite3_column_type(s, 3) != SQLITE_NULL;
        sqlite3_reset(s);
    }
    return r;
}
