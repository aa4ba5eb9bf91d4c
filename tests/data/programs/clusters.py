# packages: python3-sklearn
# result: [[61, 69, 70], 60]
# Estimators that ask OpenMP for its threads through a C callback.
import numpy as np
from sklearn.cluster import KMeans, SpectralClustering

points = np.random.default_rng(0).normal(size=(200, 3))
sizes = sorted(np.bincount(KMeans(3, n_init=3, random_state=0).fit(points).labels_).tolist())
pairs = np.random.default_rng(0).normal(size=(60, 2))
return [sizes, len(SpectralClustering(2, random_state=0).fit(pairs).labels_)]
