import logging

logging.Handler.close = lambda self: print("close", type(self).__name__)
logging.StreamHandler.flush = lambda self: print("flush", type(self).__name__)
print("end")
