import re
from collections import Counter
from datetime import datetime, timedelta

LOG = '''\
10.0.0.1 - - [10/Oct/2023:13:55:36 +0000] "GET /index.html HTTP/1.1" 200 2326
10.0.0.2 - - [10/Oct/2023:13:55:40 +0000] "POST /login HTTP/1.1" 302 0
10.0.0.1 - - [10/Oct/2023:13:56:01 +0000] "GET /missing HTTP/1.1" 404 153
broken line
10.0.0.3 - - [10/Oct/2023:14:02:11 +0000] "GET /index.html HTTP/1.1" 200 2326
'''
LINE = re.compile(r'''
    (?P<ip>\S+)\ -\ -\ \[(?P<when>[^\]]+)\]\ "(?P<method>[A-Z]+)\ (?P<path>\S+)\ [^"]+"
    \ (?P<status>\d{3})\ (?P<size>\d+)
''', re.X)
hits, bad = [], 0
for line in LOG.splitlines():
    if m := LINE.fullmatch(line):
        hits.append(m.groupdict() | {"when": datetime.strptime(m["when"], "%d/%b/%Y:%H:%M:%S %z")})
    else:
        bad += 1
print("statuses", sorted(Counter(h["status"] for h in hits).items()))
print("top", Counter(h["path"] for h in hits).most_common(1))
print("bytes", sum(int(h["size"]) for h in hits), "bad", bad)
gaps = [b["when"] - a["when"] for a, b in zip(hits, hits[1:])]
print("longest gap", max(gaps), max(gaps) > timedelta(minutes=5))
print(f"{'ip':<12}|{'n':>3}")
for ip, n in sorted(Counter(h["ip"] for h in hits).items()):
    print(f"{ip:<12}|{n:>3}")
