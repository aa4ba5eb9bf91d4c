import logging
import threading

threading._shutdown = lambda: print("threading's end")
logging.shutdown = lambda: print("not called: atexit has the other")
print("end")
