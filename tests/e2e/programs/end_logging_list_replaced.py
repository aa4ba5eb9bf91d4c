# As many handlers as there were, but others.
import logging
import weakref


class Own(logging.Handler):
    def flush(self):
        print("flush")

    def close(self):
        print("close")


own = Own()
logging._handlerList[:] = [weakref.ref(own)]
print("end")
