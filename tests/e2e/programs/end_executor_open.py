from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(1)
for i in range(5):
    pool.submit(print, "job", i)
