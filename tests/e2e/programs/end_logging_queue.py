import atexit
import logging
import logging.handlers
import queue
import sys

records = queue.Queue()
listener = logging.handlers.QueueListener(records, logging.StreamHandler(sys.stdout))
logging.getLogger().addHandler(logging.handlers.QueueHandler(records))
listener.start()
atexit.register(listener.stop)
for i in range(20):
    logging.warning("record %d", i)
