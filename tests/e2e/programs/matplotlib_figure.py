# needs: matplotlib numpy
# stderr differs: matplotlib says where it could not write its cache
import io

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 2 * np.pi, 50)
figure, axes = plt.subplots(figsize=(4, 3))
axes.plot(x, np.sin(x), label="sin")
axes.set_title("A wave")
axes.legend()
out = io.BytesIO()
figure.savefig(out, format="png", dpi=50)
print(out.getvalue()[:8], len(out.getvalue()) > 1000, figure.get_size_inches())
out = io.StringIO()
figure.savefig(out, format="svg")
print("</svg>" in out.getvalue(), len(axes.lines))
