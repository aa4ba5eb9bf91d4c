# A forked child that reaches the end joins its threads, calls atexit and flushes, as its parent does.
import atexit
import logging
import logging.handlers
import os
import sys
import threading

memory = logging.handlers.MemoryHandler(1000, target=logging.StreamHandler(sys.stdout))
logging.getLogger().addHandler(memory)
waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
child = os.fork()
if child == 0:
    atexit.register(print, "atexit of the child", flush=True)
    threading.Thread(target=print, args=("a thread of the child",), kwargs={"flush": True}).start()
    logging.warning("a record of the child")
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
