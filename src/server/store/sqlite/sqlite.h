/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the SQLite engine share.
 *
 *   sqlite.c      the loop's side: operations to threads, answers back
 *   threads.c     the two threads: batches, commits, a file that is damaged
 *   db.c          a connection: opening, migrations, statements, errors
 *   row.c         how a row becomes a record
 *   tenants.c     what is counted of each tenant, and who is next
 *   room.c        who has how much, and who may have more
 *   retention.c   what is dropped, of whom
 *   leases.c      claims, and what becomes of a lease
 *   deliveries.c  what is sent, what became of it
 *   turns.c       whose deliveries are next
 *   writer.c      the writer thread's transactions
 *   reader.c      the reader thread's queries */
#ifndef HATCHERY_SERVER_STORE_SQLITE_SQLITE_H
#define HATCHERY_SERVER_STORE_SQLITE_SQLITE_H

#include "server/store/op.h"
#include "server/store/store.h"

#include <errno.h>
#include <sqlite3.h>

/* --- db.c --- */

enum statement {
#define STATEMENT(name, sql) SQL_##name,
#include "server/store/sqlite/statements.def"
    N_STATEMENTS
};

struct db {
    sqlite3 *handle;
    sqlite3_stmt *statements[N_STATEMENTS];
};

/* Open and, for the writer, create and migrate.  0, or -errno with a sentence in @error. */
int db_open(struct db *db, const char *path, bool writer, struct buf *error);
void db_close(struct db *db);

/* A prepared statement, reset and without bindings; NULL if SQLite can't prepare it. */
sqlite3_stmt *db_statement(struct db *db, enum statement which);

/* A statement @var of the writer @w, whose bindings are numbers, or memory that stays while it
 * runs. If it can't be prepared, the function around it returns -EIO. */
#define PREPARE(var, which)                                                                                            \
    sqlite3_stmt *var = db_statement(&w->db, SQL_##which);                                                             \
    if (!(var))                                                                                                        \
    return -EIO

/* Do one step of several: if @call returns -errno, the function around it returns that. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        int try_err = (call);                                                                                          \
        if (try_err)                                                                                                   \
            return try_err;                                                                                            \
    } while (0)

/* Step a statement that yields no row, or one: 1: a row; 0: none; -errno. */
int db_step(sqlite3_stmt *statement);

/* Run plain SQL. 0 or -errno. */
int db_exec(struct db *db, const char *sql);

/* SQLite's @code as -errno. */
int db_errno(int code);

/* How the operator can mend @err. */
const char *db_hint(int err);

/* Bind a value that may be absent (NULL, or 0). */
void db_bind_bytes(sqlite3_stmt *statement, int index, struct store_bytes bytes);
void db_bind_string(sqlite3_stmt *statement, int index, const char *s);
void db_bind_time(sqlite3_stmt *statement, int index, int64_t us); /* 0 is NULL */

/* --- appliers --- */

struct writer;

/* apply_NAME() for each row of ops.def, in the file of its noun.  The answer's err is 0 or the
 * operation's own refusal.  Returns 0, or -errno when the transaction is broken; of a READER what
 * its answer's err becomes. */
#define WRITER(name) int apply_##name(struct writer *w, struct op *op);
#define READER(name) int apply_##name(struct db *db, struct op *op);
#define OP(NAME, name, side, durable, wakes, argument) side(name)
#include "server/store/ops.def"
#undef WRITER
#undef READER

/* --- tenants.c --- */

/* The counts of one tenant, or of all. */
struct counts {
    int64_t queued;     /* jobs that wait and were never lost */
    int64_t lost;       /* jobs that wait and were */
    int64_t running;    /* leased */
    int64_t jobs;       /* in any state */
    int64_t history;    /* of these, synchronous runs: their callers have the reply */
    int64_t deliveries; /* neither made nor given up */
    /* of a tenant: what its jobs are charged; of all: in use, as measured last, plus the changes
     * since */
    int64_t bytes;
    int64_t held; /* charged for jobs that retention may not drop */
};

/* A tenant, as the writer counts it in memory: only the writer changes rows. */
struct tenant {
    struct tenant *next;
    struct counts is, was; /* was: before the transaction at hand */
    int64_t max_bytes;     /* its own limit; 0: none */
    int64_t old_from;      /* no job before this seq may be dropped */
    int64_t history_from;  /* no row before this seq is history */
    double vt;             /* virtual time at which its next job may start */
    unsigned weight, room;
    int64_t turn;                 /* when one of its deliveries was sent last, in turns */
    bool sends;                   /* deliveries of it may wait */
    bool sent_all;                /* in the claim at hand: all that it may send is sent */
    int64_t flying, flying_bytes; /* its deliveries under way, in the claim at hand */
    char name[STORE_TENANT_MAX + 1];
};

/* The writer thread's. */
struct writer {
    struct db db;
    const struct store_conf *conf;
    unsigned char owner[UUID_BYTES];
    struct tenant *tenants;
    double vt; /* of the job that was given last */
    struct counts is, was;
    bool probed;                /* a row that a probe wrote may be there */
    int64_t recovered;          /* jobs that an earlier process had claimed when it ended */
    int64_t turn, turns_before; /* turns of hosts so far; before the claim at hand */
    /* in the claim at hand: deliveries that may be under way, and those that are */
    int64_t places, flying, flying_bytes;
    unsigned senders; /* tenants that share the store */
};

/* The tenant of that name, made if there is none.  It stays until writer_free(). */
struct tenant *tenant_of(struct writer *w, const char *name);

/* tenant_add(): one more job of @t waits that was never lost.  The others: @n more of its jobs run,
 * of its lost jobs wait, of its deliveries are owed. */
void tenant_add(struct writer *w, struct tenant *t);
void count_run(struct writer *w, struct tenant *t, int n);
void count_lost(struct writer *w, struct tenant *t, int n);
void count_delivery(struct writer *w, struct tenant *t, int n);

/* Count all anew from the rows.  0 or -errno. */
int tenants_count(struct writer *w);

/* tenants_mark(): a transaction begins.  tenants_undo(): it failed, and nothing of it counts. */
void tenants_mark(struct writer *w);
void tenants_undo(struct writer *w);

/* Take the weights of tenants, and how many jobs of each may begin, from the claim. */
void tenants_take_shares(struct writer *w, const struct store_claim *claim);

/* The tenant whose job is next: of all that have a job waiting and room to run it, the one with the
 * least virtual time.  NULL: none.  @reply_max: as of room_for_reply(). */
struct tenant *tenants_next(struct writer *w, int64_t reply_max);

/* A waiting job of @t runs now: advance the tenant's virtual time. */
void tenant_take(struct writer *w, struct tenant *t);

/* --- row.c --- */

/* Make a record of a row with the columns of SQL_*_JOB; its memory is @op's. */
void record_from_row(struct op *op, sqlite3_stmt *row, struct store_record *ret);

/* Column @i, copied into @op; or into a blob that @op refers to, with its bytes in @ret.  NULL, and
 * nothing in @ret, if the column is NULL. */
struct store_bytes column_bytes(struct op *op, sqlite3_stmt *row, int i);
struct blob *column_blob(struct op *op, sqlite3_stmt *row, int i, struct store_bytes *ret);

/* Load the job @seq, which exists, without its program.  0 or -errno. */
int load_record(struct writer *w, struct op *op, int64_t seq, struct store_record *ret);

/* Step a statement that takes a job's number alone.  As db_step(). */
int run_on_seq(struct writer *w, enum statement which, int64_t seq);

/* The same; if there is a row, the number in it goes to @ret_value.  1: a row; 0: none; -errno. */
int has_row(struct writer *w, enum statement which, int64_t seq, int *ret_value);

/* The job @target, if it is that tenant's.  1; 0: there is none; -errno. */
int find_job(struct writer *w, const struct op_target *target, int64_t *ret_seq, int *ret_state, int *ret_attempts,
             bool *ret_has_url);

/* --- room.c --- */

/* A job, as far as it is counted. */
struct job_charge {
    struct tenant *tenant;
    int64_t seq, bytes, program, reply; /* bytes: all of it, program and reply included */
    int attempts;
    bool has_url, is_over, has_reply;
    char idem[STORE_IDEM_MAX + 1]; /* empty: none */
};

/* 1: found; 0: there is no such job; -errno. */
int charge_read(struct writer *w, int64_t seq, struct job_charge *ret);

/* A job of @t: it was added; its charge changes by @bytes; retention may not drop it; retention
 * may. */
void charge_add(struct writer *w, struct tenant *t, int64_t bytes);
void charge_change(struct writer *w, struct tenant *t, int64_t bytes);
void charge_hold(struct writer *w, struct tenant *t, int64_t bytes);
void charge_let_go(struct writer *w, struct tenant *t, int64_t seq, int64_t bytes);

/* The job's charge once it has ended so: its program is kept if it may be queued again. */
int64_t charge_after(const struct job_charge *c, const struct store_end *end);

/* Measure how much is in use, into w->is.bytes.  Between two measurements additions are counted:
 * measuring costs a batch a twentieth of its time. */
int room_measure(struct writer *w);

/* May @t hold @bytes more, and owe a delivery?  1: @op is refused; 0. */
int room_find_share(const struct writer *w, struct op *op, const struct tenant *t, int64_t bytes, bool owes);

/* May one more job of @t begin, whose reply has at most @reply_max bytes, beside those that run? */
bool room_for_reply(const struct writer *w, const struct tenant *t, int64_t reply_max);

/* --- retention.c --- */

/* Is there room for @bytes of @t?  Drops jobs that retention may drop for it.  1; 0: no room;
 * -errno. */
int retention_make_room(struct writer *w, struct tenant *t, int64_t bytes);

/* --- leases.c --- */

/* Keep the job's reply, and owe its delivery if it has a webhook.  The job's row says already how
 * it ended; @c is the charge before.  0 or -errno. */
int add_result(struct writer *w, const struct job_charge *c, const struct store_end *end);

/* --- deliveries.c --- */

/* Owe the delivery of the job's reply, from @due_us on.  0 or -errno. */
int delivery_add(struct writer *w, const struct job_charge *c, int64_t due_us);

/* --- turns.c --- */

/* A host for which a tenant has deliveries; the first of them is due. */
struct turn {
    struct tenant *tenant;
    char host[STORE_HOST_MAX + 1];
    int64_t due_us;
};

/* Make the table anew from the deliveries that wait. */
int turns_fill(struct writer *w);

/* Note that the delivery @seq waits; nothing if it does not. */
int turns_add(struct writer *w, int64_t seq);

/* A claim begins: each host has one turn in it.  turns_next(): 1; 0: no other host has a delivery
 * that is due; -errno. */
void turns_begin(struct writer *w, const struct store_outbox_claim *claim);

/* turns_sent(): @n more deliveries of @t are under way.  turns_left(): how many more may be. */
void turns_sent(struct writer *w, struct tenant *t, int64_t n, int64_t bytes);
int64_t turns_left(const struct writer *w, const struct tenant *t, const struct store_outbox_claim *claim);
int turns_next(struct writer *w, int64_t now_us, struct turn *ret);

/* The host had its turn; its first delivery that is left is due at @due_us; 0: none is left. */
int turns_end(struct writer *w, const struct turn *turn, int64_t due_us, bool sent);

/* When the next delivery is due after @now_us into @ret, if that is earlier. */
int turns_next_due(struct writer *w, int64_t now_us, int64_t *ret);

/* --- writer.c --- */

/* Queue jobs and deliveries again that another owner had claimed. */
int writer_recover(struct writer *w);

/* Apply one operation inside of a transaction; its answer's err is 0 or the operation's own
 * refusal. Returns -errno when the transaction is broken. */
int writer_apply(struct writer *w, struct op *op);

/* Forget all tenants, close the connection. */
void writer_free(struct writer *w);

/* --- reader.c --- */

void reader_apply(struct db *db, struct op *op);

#endif
