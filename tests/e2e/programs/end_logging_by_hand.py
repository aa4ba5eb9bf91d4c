import atexit
import logging
import logging.handlers
import sys

memory = logging.handlers.MemoryHandler(1000, target=logging.StreamHandler(sys.stdout))
logging.getLogger().addHandler(memory)
logging.warning("first")
atexit._run_exitfuncs()
print("end")
