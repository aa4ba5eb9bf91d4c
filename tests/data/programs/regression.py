# packages: python3-statsmodels python3-psutil
# result: [1.0, 2.0]
# stderr:
import numpy as np
import statsmodels.api as sm

x = np.arange(20.0)
return sm.OLS(2 * x + 1, sm.add_constant(x)).fit().params.round(6).tolist()
