import sys


def hook(kind, value, tb):
    return value.no_such_attribute


sys.excepthook = hook
raise LookupError("original")
