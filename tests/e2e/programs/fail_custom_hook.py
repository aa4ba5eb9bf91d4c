import sys
import threading


def hook(kind, value, tb):
    print("hook got", kind.__name__, value, tb.tb_lineno, file=sys.stderr)
    print("LookupError: last words", file=sys.stderr)


sys.excepthook = hook
threading.excepthook = lambda args: print("thread hook", args.exc_type.__name__)
t = threading.Thread(target=lambda: [][1])
t.start()
t.join()
raise LookupError("last words")
