import sys


def hook(kind, value, tb):
    print("fatal:", value, file=sys.stderr)
    sys.exit(3)


sys.excepthook = hook
raise LookupError("original")
