"""What cannot be sent is named with the way to it, and what to do instead, in few short lines."""

from __future__ import annotations

import functools
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from enginery.error import UnsendableError
from enginery.wire import payload
from enginery.wire.unsendable import explain_unsendable, find

LOCK = threading.Lock()


def explained(*args: Any, call: str = "fit(x, lock)", **kwargs: Any) -> str:
    with pytest.raises(UnsendableError) as caught:
        payload.dumps((args, kwargs))
    error = explain_unsendable(call, args, kwargs, caught.value)
    text = str(error)
    assert isinstance(error, TypeError)
    assert len(text.splitlines()) <= 12
    assert max(map(len, f"UnsendableError: {text}".splitlines())) <= 100
    assert "Nothing was submitted." in text
    return text


def closes_over(lock: Any) -> Callable[[int], Any]:
    def g(x: int) -> Any:
        return lock, x

    return g


def generator() -> Iterator[int]:
    yield 1


class Slotted:
    __slots__ = ("handler",)

    def __init__(self, handler: Any) -> None:
        self.handler = handler


class Refuses:
    def __reduce__(self) -> Any:
        raise RuntimeError("I stay\nhere")


def test_an_argument() -> None:
    assert explained(1, LOCK) == (
        "fit(x, lock): argument 2 cannot be sent to an engine\n"
        "  args[1] is a _thread.lock\n"
        "  Nothing was submitted.\n"
        "  Locks, open files, sockets and connections cannot leave their process. "
        "Make it on the engine:\n"
        '      dview.execute("import threading; thing = threading.Lock()")\n'
        '      lview.map(f, xs, Reference("thing"))'
    )


def test_a_closure_variable() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    code = "\n\ndef outer(lock):\n    def g(x): return lock\n    return g"
    exec(compile(code, "/home/me/script.py", "exec"), space)
    assert explained(1, space["outer"](LOCK)) == (
        "fit(x, lock): argument 2 cannot be sent to an engine\n"
        "  args[1] holds a _thread.lock; found in closure variable 'lock' of function g "
        "(script.py:4)\n"
        "  Nothing was submitted.\n"
        "  Locks, open files, sockets and connections cannot leave their process. "
        "Make it on the engine:\n"
        '      dview.execute("import threading; lock = threading.Lock()")\n'
        '      lview.map(f, xs, Reference("lock"))'
    )


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"cfg": SimpleNamespace(handlers=[LOCK])}, "args[0]['cfg'].handlers[0] is a _thread.lock"),
        ([1, (2, {LOCK})], "args[0][1][1] (one of its items) is a _thread.lock"),
        ({LOCK: 1}, "args[0] (its key <unlocked _thread.lock"),
        (Slotted({"a": LOCK}), "args[0].handler['a'] is a _thread.lock"),
        (deque([1, LOCK]), "args[0][1] is a _thread.lock"),
        (functools.partial(print, LOCK), "args[0].args[0] is a _thread.lock"),
        (functools.partial(print, file=LOCK), "args[0].keywords['file'] is a _thread.lock"),
        (Slotted(LOCK).__init__, "args[0].__self__.handler is a _thread.lock"),
        ([lambda x=LOCK: x], "found in the default of argument 'x' of function <lambda>"),
        (lambda: LOCK, "found in global variable 'LOCK' of function <lambda>"),
        (closes_over([{"k": LOCK}]), "args[0] holds a _thread.lock, as lock[0]['k']"),
        (threading.RLock(), "args[0] is a _thread.RLock"),
        (ValueError(LOCK), "is a _thread.lock"),
    ],
)
def test_the_way_there(value: Any, where: str) -> None:
    assert where in explained(value)


def test_a_keyword_argument() -> None:
    text = explained(1, lock=[LOCK])
    assert "argument 'lock' cannot be sent" in text
    assert "kwargs['lock'][0] is a _thread.lock" in text


def test_the_function_itself() -> None:
    g = closes_over(LOCK)
    text = str(explain_unsendable("apply(g)", (1,), {}, TypeError(), g))
    assert text.startswith("apply(g): the function cannot be sent to an engine\n  function g holds")
    assert "closure variable 'lock'" in text


def test_generators_are_to_be_listed() -> None:
    text = explained(generator())
    assert "is a generator" in text
    assert "list(...)" in text
    assert "list(items)" in explained({"items": generator()})


def test_sockets_are_to_be_made_there() -> None:
    with socket.socket() as one:
        text = explained(SimpleNamespace(connection=one))
    assert "args[0].connection is a socket.socket" in text
    assert 'Reference("connection")' in text


def test_what_the_object_itself_says_is_told() -> None:
    text = explained([Refuses()])
    assert "args[0][0] is a tests.unit.test_wire_unsendable.Refuses" in text
    assert "RuntimeError: I stay\n" in text


def test_what_is_too_deep_is_said_to_be() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    text = explained(deep)
    assert "args[0] is a list" in text
    assert "recursion" in text


def test_long_names_and_keys_stay_short() -> None:
    value: Any = LOCK
    for i in range(20):
        value = {f"a long key number {i} of many" * 5: value}
    explained(value, call="f(" + "x" * 500 + ")")


def test_what_can_be_sent_is_not_blamed() -> None:
    assert find([1, {"a": len}]) is None
    text = str(explain_unsendable("f(x)", (1,), {}, ValueError("other\nreasons")))
    assert text == (
        "f(x): this cannot be sent to an engine\n  ValueError: other\n  Nothing was submitted."
    )


def test_dumps_names_it_too() -> None:
    with pytest.raises(UnsendableError) as caught:
        payload.dumps({"a": [LOCK]})
    assert str(caught.value) == (
        "a dict cannot be sent to another process\n  it['a'][0] is a _thread.lock"
    )
