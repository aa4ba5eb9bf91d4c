# packages:
# result: true
import matplotlib.pyplot as plt

plt.rcParams["font.sans-serif"] = ["SimHei", "DejaVu Sans"]
plt.title("Sales")
plt.savefig("/mnt/data/a.png")
return open("a.png", "rb").read(4) == b"\x89PNG"
