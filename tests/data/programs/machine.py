# packages: python3-psutil
# result: [1, 536870912, 0]
# stderr:
import psutil

return [psutil.cpu_count(), psutil.virtual_memory().total, psutil.boot_time() * 0]
