# The handler that is always there, with methods of the program's.
import logging

logging.lastResort.flush = lambda: print("flushed")
logging.lastResort.close = lambda: print("closed")
print("end")
