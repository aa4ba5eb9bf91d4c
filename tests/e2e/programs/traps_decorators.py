import functools
import time


def retry(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            for attempt in range(1, times + 1):
                try:
                    return function(*args, **kwargs)
                except RuntimeError as error:
                    print(f"{function.__name__}: attempt {attempt}: {error}")
            raise SystemExit(f"gave up after {times}")
        return wrapper
    return decorate


class Registry(type):
    known = {}

    def __new__(mcs, name, bases, space, **options):
        cls = super().__new__(mcs, name, bases, space)
        mcs.known[options.get("key", name)] = cls
        return cls


class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, obj, owner=None):
        return self if obj is None else getattr(obj, self.name)

    def __set__(self, obj, value):
        if value <= 0:
            raise ValueError(f"{self.name[1:]} must be positive")
        setattr(obj, self.name, value)


class Item(metaclass=Registry, key="item"):
    price = Positive()

    def __init__(self, price):
        self.price = price

    @functools.cached_property
    def doubled(self):
        return self.price * 2

    @staticmethod
    def make():
        return Item(1)

    def __init_subclass__(cls, **kw):
        print("subclass", cls.__name__, kw)


class Sub(Item, tag=1):
    pass


tries = iter([RuntimeError("no"), None])


@retry(3)
def flaky():
    """Doc."""
    if (error := next(tries)):
        raise error
    return "ok"


@retry(2)
def hopeless():
    raise RuntimeError("never")


print(flaky(), flaky.__doc__, Registry.known, Item(4).doubled, Item.make().price)
try:
    Item(-1)
except ValueError as error:
    print(error)
hopeless()
