from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, asdict, replace
from enum import Enum, Flag, auto
from functools import total_ordering
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar, get_type_hints

T = TypeVar("T")


class Kind(Enum):
    SAVINGS = "s"
    CURRENT = "c"

    @property
    def label(self):
        return self.name.title()


class Rights(Flag):
    READ = auto()
    WRITE = auto()


class Point(NamedTuple):
    x: int
    y: int = 0


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


@total_ordering
@dataclass(frozen=True)
class Account:
    bank: ClassVar[str] = "B"
    owner: str
    kind: Kind = Kind.CURRENT
    history: list[int] = field(default_factory=list, compare=False)

    def __lt__(self, other: Account) -> bool:
        return self.owner < other.owner

    @classmethod
    def open(cls, owner: str) -> Account:
        return cls(owner)


class Box(Generic[T]):
    def __init__(self, item: T):
        self.item = item

    def __repr__(self):
        return f"{type(self).__qualname__}({self.item!r})"


a = Account.open("ann")
a.history.append(3)
print(a, asdict(a), replace(a, owner="zoe") > a)
print(Kind("s").label, Rights.READ | Rights.WRITE, Rights.READ in Rights.READ | Rights.WRITE)
print(Point(1)._asdict(), Box[int](3), Box.__mro__)
print(get_type_hints(Account)["history"], Account.__annotations__["kind"], Account.__module__)
try:
    Shape()
except TypeError as error:
    print(error)
try:
    a.owner = "x"
except Exception as error:
    print(type(error).__name__, error)
