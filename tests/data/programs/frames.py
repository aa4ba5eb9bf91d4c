# packages: python3-seaborn python3-openpyxl
# result: [[1, 3], true]
import pandas as pd
import seaborn as sns

frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
frame.to_excel("/mnt/data/frame.xlsx", index=False)
sns.lineplot(data=frame).figure.savefig("lines.png")
return [pd.read_excel("frame.xlsx").iloc[0].tolist(), len(open("lines.png", "rb").read()) > 1000]
