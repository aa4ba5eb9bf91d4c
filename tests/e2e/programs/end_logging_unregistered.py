# A program that keeps logging from its end loses what is buffered.
import atexit
import logging
import logging.handlers
import sys

memory = logging.handlers.MemoryHandler(1000, target=logging.StreamHandler(sys.stdout))
logging.getLogger().addHandler(memory)
logging.warning("never written")
atexit.unregister(logging.shutdown)
print("end")
