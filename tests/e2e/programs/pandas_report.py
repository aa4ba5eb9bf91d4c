# needs: pandas
import io

import pandas as pd

frame = pd.read_csv(io.StringIO("day,shop,sales\n2024-01-01,a,10\n2024-01-01,b,\n2024-01-02,a,7.5\n2024-01-02,b,3\n"),
                    parse_dates=["day"])
print(frame.dtypes)
frame["sales"] = frame["sales"].fillna(frame["sales"].mean())
print(frame.groupby("shop")["sales"].agg(["sum", "count"]).round(2))
print(frame.pivot(index="day", columns="shop", values="sales"))
print(frame.set_index("day").resample("D")["sales"].sum())
print(frame.to_json(orient="records", date_format="iso"))
print(frame.merge(pd.DataFrame({"shop": ["a"], "city": ["X"]}), how="left").to_csv(index=False))
frame["nope"]
