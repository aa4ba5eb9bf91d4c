import dbm.dumb
import fcntl
import mailbox
import multiprocessing
import shelve
import sqlite3
import tempfile

with tempfile.TemporaryFile() as f:
    fcntl.flock(f, fcntl.LOCK_EX)
    fcntl.flock(f, fcntl.LOCK_UN)
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
    fcntl.lockf(f, fcntl.LOCK_UN)
print("locked and unlocked")

first, second = sqlite3.connect("jobs.db"), sqlite3.connect("jobs.db", timeout=0.1, isolation_level=None)
first.execute("PRAGMA journal_mode = WAL")
first.execute("CREATE TABLE t (n)")
first.execute("INSERT INTO t VALUES (1)")
try:
    second.execute("INSERT INTO t VALUES (2)")
except sqlite3.OperationalError as error:
    print(error)
first.commit()
second.execute("INSERT INTO t VALUES (2)")
print(first.execute("SELECT sum(n) FROM t").fetchone())

with dbm.dumb.open("words", "c") as db:
    db["a"] = "1"
with shelve.open("shelf") as shelf:
    shelf["list"] = [1, 2]
with shelve.open("shelf") as shelf:
    print(dict(shelf))

box = mailbox.mbox("mail")
box.lock()
box.add("Subject: one\n\ntext\n")
box.flush()
box.unlock()
print(len(box))

context = multiprocessing.get_context("fork")
lock, total = context.Lock(), context.Value("i", 0, lock=False)


def add():
    for _ in range(200):
        with lock:
            total.value += 1


workers = [context.Process(target=add) for _ in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(total.value)
