# packages:
# result: [6, true, true, 15]
# numexpr comes with pandas, as what it recommends; it is imported beforehand and starts its threads in the box, as many as asked for.
import sys

preloaded = "numexpr" in sys.modules and "pandas" in sys.modules
import numexpr
import pandas as pd

numexpr.set_num_threads(2)
numbers = pd.Series([1, 2, 3, 4, 5])
return [int(pd.Series([1, 2, 3]).sum()), preloaded, numexpr.set_num_threads(2) == 2, int(numexpr.evaluate("sum(a)", {"a": numbers.to_numpy()}))]
