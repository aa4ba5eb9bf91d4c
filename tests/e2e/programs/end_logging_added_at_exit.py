import atexit
import logging
import logging.handlers
import sys


@atexit.register
def late():
    memory = logging.handlers.MemoryHandler(1000, target=logging.StreamHandler(sys.stdout))
    logging.getLogger().addHandler(memory)
    logging.warning("added at exit")


print("end")
