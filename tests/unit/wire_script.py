"""The script of a client, run as `__main__` by test_wire_main: sends cases, then checks answers.

Each case is a call; where it runs, `__main__` is a fresh module that ran `before`.
"""

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import enum
import functools
import math
import pickle
import sys
import threading
import typing
import xml.etree.ElementTree as tree
from math import gcd

import numpy as np
import only_the_client_has_this as missing
from only_the_client_has_this import Box, thing

from enginery.core.messages import Buffer
from enginery.wire import payload
from enginery.wire.chunks import MapChunk
from enginery.wire.functions import FunctionCache
from enginery.wire.reference import Reference

cache = FunctionCache(1 << 20)
cases = {}


def case(name, function, *args, before="", **kwargs):
    data, buffers = payload.dumps((args, kwargs))
    _, blob = cache.serialize(function)
    cases[name] = (before, blob, data, [bytes(buffer.data) for buffer in buffers])


k = 3
MISSING = object()
table = {"a": 1}
big = "x" * 100_000
array = np.zeros(100_000)
lock = threading.Lock()
box = Box()


def add_k(x):
    return x + k


def twice(x):
    return add_k(add_k(x))


def fact(n):
    return 1 if n < 2 else n * fact(n - 1)


@functools.lru_cache(maxsize=7)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def with_default(x=MISSING):
    return x is MISSING


def counts():
    global counter  # noqa: PLW0603 - what is tested
    counter = globals().get("counter", 0) + 1
    return counter


def outer(n):
    def count():
        nonlocal n
        n += 1
        return n

    def read():
        return n

    return count, read


def in_a_function():
    class Local:
        def value(self):
            return k

    def nested():
        return table

    return [Local().value() for _ in range(2)], nested()


@dataclasses.dataclass
class Point:
    x: int
    made = []  # noqa: RUF012 - a class attribute that both sides change

    def scaled(self):
        return Point(self.x * k)


class Child(Point):
    def scaled(self):
        return super().scaled()


class Colour(enum.Enum):
    RED = 1


class Oops(Exception):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code


def raises():
    raise Oops(5)


def documented(x: int, *, y: "str" = "d") -> list[int]:
    "words"
    return [x, y]


documented.extra = [1]


def use(name):
    match name:
        case "missing":
            return missing.f()
        case "thing":
            return thing()
        case "box":
            return box
        case "big":
            return len(big)
        case "array":
            return array.size
        case "lock":
            return lock.locked()
        case "nothing":
            return nothing_of_this_name  # noqa: F821
    return "fine"


def modules():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        squared = pool.submit(pow, 3, 2).result()
    return np.sum([1, 2]).item(), squared, tree.Element("a").tag, gcd(4, 6)


UserId = typing.NewType("UserId", int)
T = typing.TypeVar("T")


class Stack(typing.Generic[T]):
    def __init__(self):
        self.items = []

    @functools.cached_property
    def size(self):
        return len(self.items)

    @classmethod
    def of(cls, *items):
        self = cls()
        self.items += items
        return self

    class Inner:
        z = 5


class Pair(typing.NamedTuple):
    a: int
    b: int = 2

    def total(self):
        return self.a + self.b + k


@contextlib.contextmanager
def context():
    yield k


def plus_one(f):
    @functools.wraps(f)
    def wrapper(*args):
        return f(*args) + 1

    return wrapper


@plus_one
def decorated(x):
    return x + k


def zoo():
    with context() as value:
        stack = Stack[int].of(1, 2)
        return value, stack.size, Stack.Inner.z, UserId(3), Pair(1).total(), T.__name__


def main_dict():
    import __main__

    return __main__.__dict__ is globals(), __name__


case("engine wins", add_k, 1, before="k = 100")
case("client lends", add_k, 1)
case("through functions", twice, 1)
case("lambda", lambda: a, before="a = 'engine'")  # noqa: F821
case("recursion", fact, 5)
case("cached", fib, 20)
case("sentinel", with_default)
case("stores", counts, before="counter = 5")
case("shared cell", lambda pair: (pair[0](), pair[0](), pair[1]()), outer(5))
case("local class", in_a_function)
case("dataclass", lambda p: p.scaled(), Point(2))
case("class by name", lambda: Child(2).scaled())
case("class is one", lambda p: (type(p) is Point, isinstance(p, Point)), Point(1))
case("enum", lambda c: c is Colour.RED, Colour.RED)
case("home", lambda p: (type(p).made.append(1), p)[1], Point(7))
case("home enum", lambda: Colour.RED)
case("raises", raises)
case("partial", functools.partial(add_k, 2))
case("bound method", Point(5).scaled)
case("builtin", math.sqrt, 4)
case("class", Point, 3)
case("chunk", MapChunk(add_k), [(1,), (2,)])
case("metadata", lambda f: (f(1), f.__doc__, f.extra, f.__annotations__, f.__name__), documented)
case("modules", modules)
case("namespace", main_dict)
case("zoo", zoo)
case("decorated", decorated, 1)
case("isinstance of abc", lambda: isinstance([], collections.abc.Sequence))
case("argument lends", lambda f, x: f(x), twice, 1)
case("reference", lambda *values: values, [Reference("a")], Reference("a[0]"), before="a = [7]")
case("reference missing", lambda x: x, Reference("zzz"))
case("live", functools.partial(len, Reference("a")), before="a = [1, 2]")
case("returns function", lambda: lambda x: x + k, before="k = 100")
case("read-only", lambda v: v.flags.writeable, np.zeros(2))
for name in ("missing", "thing", "box", "big", "array", "lock", "nothing", "fine"):
    case(f"use {name}", use, name)
case("load", missing.f)
case("load argument", lambda x: x, Box())

pickle.dump(cases, sys.stdout.buffer)
sys.stdout.buffer.flush()

answers = {
    name: payload.loads(data, [Buffer(b) for b in buffers], names=False).value
    for name, (data, buffers) in pickle.load(sys.stdin.buffer).items()
}
assert type(answers["home"]) is Point
assert answers["home"] == Point(7)
assert Point.made == [], "the engine's copy of the class has changed the original"
assert answers["dataclass"] == Point(6)
assert answers["class by name"] == Point(6)
assert answers["bound method"] == Point(15)
assert answers["class is one"] == (True, True)
assert answers["class"] == Point(3)
assert answers["home enum"] is Colour.RED
error = answers["raises"].exception_here()
assert type(error) is Oops
assert error.code == 5
assert answers["returns function"](1) == 4, "a function that comes home has this __main__"
print("checked", file=sys.stderr)
