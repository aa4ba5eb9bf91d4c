/* SPDX-License-Identifier: Apache-2.0 */
/* One SQLite connection: opening it, its schema, its statements, its errors.
 *
 * Called by the engine's two threads, each with a connection of its own, and once at start.  What
 * must never happen here: a file of another program or of a later version being written to, or a
 * path that is resolved through directories which the server's user cannot enter (the server stands
 * in its state directory and names its files relative to that). */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>
#include <string.h>

enum { APPLICATION_ID = 0x48746368, PAGES_A_CHECKPOINT = 2000 }; /* "Htch" */

/* migrations[0..n) make version n of the schema.  Never change a migration that was released: add
 * another. */
static const char *const migrations[] = {
    "CREATE TABLE jobs(seq INTEGER PRIMARY KEY, id BLOB NOT NULL, tenant TEXT NOT NULL, state INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL DEFAULT 0, owner BLOB, created INTEGER NOT NULL, started INTEGER, over INTEGER,"
    " timeout INTEGER NOT NULL, status INTEGER NOT NULL DEFAULT 0, client_id BLOB, url TEXT, host TEXT, trace TEXT);"
    "CREATE UNIQUE INDEX jobs_id ON jobs(id);"
    "CREATE INDEX jobs_tenant ON jobs(tenant, seq);"
    "CREATE INDEX jobs_ready ON jobs(tenant, seq) WHERE state = 0 AND attempts = 0;"
    "CREATE INDEX jobs_suspect ON jobs(seq) WHERE state = 0 AND attempts > 0;"
    "CREATE INDEX jobs_queued ON jobs(tenant, attempts) WHERE state = 0;"
    "CREATE INDEX jobs_running ON jobs(owner) WHERE state = 1;"
    "CREATE INDEX jobs_over ON jobs(over) WHERE over IS NOT NULL;"
    "CREATE TABLE programs(seq INTEGER PRIMARY KEY, code BLOB NOT NULL);"
    "CREATE TABLE results(seq INTEGER PRIMARY KEY, body BLOB NOT NULL);"
    "CREATE TABLE idempotency(tenant TEXT NOT NULL, name TEXT NOT NULL, fingerprint BLOB NOT NULL,"
    " seq INTEGER NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY(tenant, name)) WITHOUT ROWID;"
    "CREATE INDEX idempotency_expires ON idempotency(expires);"
    "CREATE TABLE deliveries(seq INTEGER PRIMARY KEY, host TEXT NOT NULL, state INTEGER NOT NULL,"
    " due INTEGER NOT NULL, tries INTEGER NOT NULL);"
    "CREATE INDEX deliveries_due ON deliveries(host, due) WHERE state = 0;"
    "CREATE INDEX deliveries_sending ON deliveries(seq) WHERE state = 1;"
    "CREATE TABLE attempts(seq INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, duration INTEGER NOT NULL,"
    " status INTEGER NOT NULL, error TEXT, address TEXT, PRIMARY KEY(seq, n)) WITHOUT ROWID;",
    "ALTER TABLE jobs ADD COLUMN requeues INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE jobs ADD COLUMN runtime TEXT;",
    "ALTER TABLE deliveries ADD COLUMN tenant TEXT NOT NULL DEFAULT '';"
    "UPDATE deliveries SET tenant = j.tenant FROM jobs j WHERE j.seq = deliveries.seq;"
    "DROP INDEX deliveries_due;"
    "CREATE INDEX deliveries_due ON deliveries(tenant, host, due) WHERE state = 0;",
    "CREATE INDEX jobs_state ON jobs(tenant, state, seq) WHERE over IS NOT NULL;",
    /* The charge of a job, as of store_charge(), and the name of its idempotency key. */
    "ALTER TABLE jobs ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE jobs ADD COLUMN idem TEXT;"
    "DELETE FROM idempotency WHERE NOT EXISTS(SELECT 1 FROM jobs j WHERE j.seq = idempotency.seq AND "
    "j.tenant = idempotency.tenant);"
    "UPDATE jobs SET bytes = 1024 + ifnull(length(client_id), 0) + ifnull(4096 + length(url) + length(host), 0) + "
    "ifnull((SELECT length(code) FROM programs p WHERE p.seq = jobs.seq), 0) + "
    "ifnull((SELECT length(body) FROM results r WHERE r.seq = jobs.seq), 0);"
    "UPDATE jobs SET idem = i.name FROM idempotency i WHERE i.seq = jobs.seq;",
    /* What a job ended with is kept, not a finished reply: those that are here already have form 0. */
    "ALTER TABLE jobs ADD COLUMN api INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE results ADD COLUMN form INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE results ADD COLUMN longest INTEGER;",
};

enum { VERSION_NOW = sizeof(migrations) / sizeof(*migrations) };

static const char *const statements[N_STATEMENTS] = {
#define STATEMENT(name, sql) [SQL_##name] = (sql),
#include "server/store/sqlite/statements.def"
};

int db_errno(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return 0;
    case SQLITE_FULL: return -ENOSPC;
    case SQLITE_READONLY: return -EROFS;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return -EUCLEAN;
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG: return -ENOMEM;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH: return -EACCES;
    default: return -EIO;
    }
}

/* SQLite knows of full disks; of a file system that has become read-only, or of a quota, only its
 * errno tells. */
static int errno_of(sqlite3 *handle, int code)
{
    sqlite3_file *log = NULL;
    int system = (code & 0xff) == SQLITE_IOERR ? sqlite3_system_errno(handle) : 0;

    if ((code & 0xff) == SQLITE_IOERR && !system /* another call has overwritten it: the log's file has its own */
        && sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log
        && log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &system);
    return system == EROFS ? -EROFS : system == EDQUOT || system == ENOSPC ? -ENOSPC : db_errno(code);
}

sqlite3_stmt *db_statement(struct db *db, enum statement which)
{
    sqlite3_stmt **s = &db->statements[which];

    if (!*s)
        sqlite3_prepare_v3(db->handle, statements[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL);
    if (*s) {
        sqlite3_reset(*s);
        sqlite3_clear_bindings(*s);
    }
    return *s;
}

int db_step(sqlite3_stmt *statement)
{
    if (!statement)
        return -EIO;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return 1;
    int err = errno_of(sqlite3_db_handle(statement), code);
    sqlite3_reset(statement); /* or it would keep its snapshot */
    return err;
}

int db_exec(struct db *db, const char *sql)
{
    return errno_of(db->handle, sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

void db_bind_bytes(sqlite3_stmt *statement, int index, struct store_bytes bytes)
{
    if (bytes.p)
        sqlite3_bind_blob64(statement, index, bytes.p, bytes.n, SQLITE_STATIC);
}

void db_bind_string(sqlite3_stmt *statement, int index, const char *s)
{
    if (s)
        sqlite3_bind_text(statement, index, s, -1, SQLITE_STATIC);
}

void db_bind_time(sqlite3_stmt *statement, int index, int64_t us)
{
    if (us)
        sqlite3_bind_int64(statement, index, us);
}

static int read_pragma(struct db *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *ret = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return db_errno(code);
}

static int migrate(struct db *db, struct buf *error)
{
    int64_t version = 0, application = 0, tables = 0;
    char done[96];

    TRY(read_pragma(db, "PRAGMA user_version", &version));
    TRY(read_pragma(db, "PRAGMA application_id", &application));
    TRY(read_pragma(db, "SELECT count(*) FROM sqlite_schema", &tables));
    if (application != APPLICATION_ID && tables)
        return fail(error, -EMEDIUMTYPE,
                    "it is a database of another program; choose another directory with --state DIR");
    if (version > VERSION_NOW)
        return fail(
            error, -EMEDIUMTYPE,
            "it was written by a later version of Hatchery (schema %lld, this one knows %d): start that version",
            (long long) version, VERSION_NOW);
    for (; version < VERSION_NOW; version++) {
        snprintf(done, sizeof(done), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", APPLICATION_ID,
                 (int) version + 1);
        TRY(db_exec(db, "BEGIN IMMEDIATE"));
        TRY(db_exec(db, migrations[version]));
        TRY(db_exec(db, done));
    }
    return 0;
}

/* The name as it is: the default resolves it from the root on, through directories that may not be
 * ours. */
static int keep_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void) vfs;
    return snprintf(out, (size_t) size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static const char *vfs_name(void)
{
    static sqlite3_vfs vfs;

    if (!vfs.zName) {
        vfs = *sqlite3_vfs_find(NULL);
        vfs.pNext = NULL;
        vfs.xFullPathname = keep_name;
        vfs.zName = "hatchery";
        sqlite3_vfs_register(&vfs, 0);
    }
    return vfs.zName;
}

const char *db_hint(int err)
{
    switch (err) {
    case -ENOSPC: return "the disk is full: free some space";
    case -EROFS: return "it is read-only: remount the file system, or choose another directory with --state DIR";
    case -EUCLEAN: return "it is damaged: restore it from a backup, or move the file away to start with an empty one";
    case -EACCES:
        return "the server's user may not open it: give it the directory and its files (chown), or choose "
               "another directory with --state DIR";
    case -EIDRM:
        return "put its files back as they were (mv), or start the server again: it goes on with what lies there";
    default: return "reading or writing it failed: look at the disk and at the kernel's log";
    }
}

static int set_up(struct db *db, bool writer, struct buf *error)
{
    char sql[320];

    sqlite3_busy_timeout(db->handle, 10000);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, 1 << 30);
    if (!writer)
        return db_exec(db, "PRAGMA query_only = 1; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = 0; "
                           "SELECT 1 FROM jobs LIMIT 1"); /* it is opened by what is read first */
    snprintf(sql, sizeof(sql),
             "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = %d; "
             "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = 0; PRAGMA cache_size = -16384; "
             "PRAGMA journal_size_limit = 67108864; "
             "PRAGMA secure_delete = ON", /* a program that has run is gone: not every SQLite has it built in */
             PAGES_A_CHECKPOINT);
    TRY(db_exec(db, sql));
    return migrate(db, error);
}

static int open_file(struct db *db, const char *path, bool writer, struct buf *error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writer ? SQLITE_OPEN_CREATE : 0);

    TRY(db_errno(sqlite3_open_v2(path, &db->handle, flags, vfs_name())));
    return set_up(db, writer, error);
}

int db_open(struct db *db, const char *path, bool writer, struct buf *error)
{
    buf_addf(error, "the store %s cannot be used: ", path);
    size_t mark = error->len;
    int err = open_file(db, path, writer, error);
    if (err && error->len == mark)
        buf_addf(error, "%s (%s)", db_hint(err), db->handle ? sqlite3_errmsg(db->handle) : "out of memory");
    if (err)
        db_close(db);
    else
        buf_reset(error);
    return err;
}

void db_close(struct db *db)
{
    for (int i = 0; i < N_STATEMENTS; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->handle);
    memset(db, 0, sizeof(*db));
}
