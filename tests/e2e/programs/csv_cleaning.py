# Clean a messy export: blank lines, odd spaces, several date formats, money with signs.
import csv
import io
import json
import re
from collections import defaultdict
from datetime import datetime
from decimal import Decimal, InvalidOperation

RAW = """id; name ;joined;amount
1;  Ada Lovelace;2021-03-04;€ 1.234,50
2;Grace  Hopper ;04/03/2021;99,95

3;"Quote ""Q"" Inc";2021-13-40;n/a
4;Żółć;March 5, 2021;-12
4;Żółć;March 5, 2021;-12
"""


def parse_date(text):
    for pattern in ("%Y-%m-%d", "%d/%m/%Y", "%B %d, %Y"):
        try:
            return datetime.strptime(text.strip(), pattern).date()
        except ValueError:
            continue
    return None


def parse_money(text):
    digits = re.sub(r"[^\d,.-]", "", text).replace(".", "").replace(",", ".")
    try:
        return Decimal(digits)
    except InvalidOperation:
        return None


seen, rows, problems = set(), [], defaultdict(list)
for row in csv.DictReader(io.StringIO(RAW), delimiter=";", skipinitialspace=True):
    row = {key.strip(): re.sub(r"\s+", " ", value).strip() for key, value in row.items()}
    if row["id"] in seen:
        problems["duplicate"].append(row["id"])
        continue
    seen.add(row["id"])
    joined, amount = parse_date(row["joined"]), parse_money(row["amount"])
    if joined is None:
        problems["date"].append(row["id"])
    if amount is None:
        problems["amount"].append(row["id"])
    rows.append({"id": int(row["id"]), "name": row["name"], "joined": joined and joined.isoformat(),
                 "amount": str(amount) if amount is not None else None})
print(json.dumps(rows, indent=2, ensure_ascii=False))
print(json.dumps(problems))
