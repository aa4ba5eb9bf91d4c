import sqlite3
from contextlib import closing

with closing(sqlite3.connect(":memory:")) as db:
    db.row_factory = sqlite3.Row
    db.executescript("""
        CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, cents INTEGER CHECK (cents > 0));
        CREATE INDEX by_customer ON orders (customer);
    """)
    with db:
        db.executemany("INSERT INTO orders (customer, cents) VALUES (?, ?)",
                       [("ann", 100), ("bob", 250), ("ann", 50), ("cy'd", 1)])
    try:
        with db:
            db.execute("INSERT INTO orders (customer, cents) VALUES ('bad', 10)")
            db.execute("INSERT INTO orders (customer, cents) VALUES ('bad', -1)")
    except sqlite3.IntegrityError as error:
        print("rolled back:", error)
    db.create_function("euro", 1, lambda cents: f"{cents / 100:.2f}")
    for row in db.execute("""SELECT customer, count(*) AS n, euro(sum(cents)) AS total FROM orders
                             GROUP BY customer ORDER BY sum(cents) DESC"""):
        print(dict(row))
    print(db.execute("WITH RECURSIVE f(n) AS (SELECT 1 UNION ALL SELECT n * 2 FROM f WHERE n < 100) "
                     "SELECT group_concat(n) FROM f").fetchone()[0])
with sqlite3.connect("file.db") as db:
    db.execute("CREATE TABLE t (v)")
    db.execute("INSERT INTO t VALUES (?)", (b"\0\xff",))
db.close()
print(sqlite3.connect("file.db").execute("SELECT v FROM t").fetchall())
