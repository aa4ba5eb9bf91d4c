import contextlib


def gen():
    yield 1
    raise StopIteration("inside")


@contextlib.contextmanager
def wrap():
    try:
        yield
    finally:
        print("cleanup")


with wrap():
    for item in gen():
        print(item)
