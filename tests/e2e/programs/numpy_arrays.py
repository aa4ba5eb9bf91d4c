# needs: numpy
import numpy as np

a = np.arange(12).reshape(3, 4)
print(a.sum(axis=0), a.mean(), a[a > 5], a.T.shape, (a @ a.T).tolist())
print(np.linalg.solve(np.array([[3.0, 1], [1, 2]]), np.array([9.0, 8])))
rng = np.random.default_rng(42)
print(rng.integers(0, 100, 5), rng.normal(size=2).round(6))
np.random.seed(1)
print(np.random.rand(2), np.polyfit([0, 1, 2], [1, 3, 5], 1).round(6))
print(np.array([1, 2]) / np.array([0, 1]))
print(np.datetime64("2024-02-28") + np.arange(3), np.array(["a", "bc"]).dtype)
a[7]
