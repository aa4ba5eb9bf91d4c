import logging
import logging.handlers
import sys

memory = logging.handlers.MemoryHandler(1000, target=logging.StreamHandler(sys.stdout))
logging.getLogger().addHandler(memory)
logging.warning("kept until the end")
print("end")
