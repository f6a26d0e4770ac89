"""The calls of a map, and what they give, as bytes: many at a time, and yet each by itself.

Scalars are pickled together. Of anything else each call gets a pickle of its own, for two calls
that got the same list would see what the other does to it; and each value is pickled as soon as it
is there, for what gave it may go on to change it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pickle import PickleBuffer
from typing import Any

from cloudpickle import list_registry_pickle_by_value

from ..core.messages import Buffer
from .payload import dumps, needs_more, value_of

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types of which nobody can change a value."""

LARGE = 1 << 14
"""Bytes from which on the arguments of a call are better sent alone."""

_TOGETHER, _APART = b"t", b"a"


def dumps_calls(columns: Sequence[Sequence[Any]]) -> bytes | None:
    """Pickle the arguments of calls, of which each column has the same one of all.

    None when some are large, or need more than stock pickle: those are sent call by call.
    """
    if all(PLAIN.issuperset(map(type, column)) for column in columns):
        data = pickle.dumps(columns, 5)
        return _TOGETHER + data if len(data) < LARGE * len(columns[0]) else None
    try:
        calls = [pickle.dumps(args, 5) for args in zip(*columns, strict=True)]
    except Exception:  # whoever sends them call by call finds out why, and says so
        return None
    if any(len(call) >= LARGE for call in calls):
        return None
    data = pickle.dumps(calls, 5)
    return None if needs_more(data, list_registry_pickle_by_value()) else _APART + data


def calls_of(
    function: Callable[..., Any], data: memoryview, skip: int
) -> tuple[Callable[..., Any], Iterable[tuple[Any, ...]]]:
    """What to call, and the arguments of each call but the first `skip` ones of a grain."""
    content = pickle.loads(data[1:])
    if data[:1] == _TOGETHER:
        return function, islice(zip(*content, strict=True), skip, None)

    def load_and_call(call: bytes) -> Any:
        return function(*pickle.loads(call))

    return load_and_call, ((call,) for call in content[skip:])


class Sealed:
    """A value as bytes, as it was at that moment."""

    __slots__ = ("buffers", "data")

    def __init__(self, data: bytes, buffers: tuple[Any, ...]) -> None:
        self.data = data
        self.buffers = buffers

    def value(self) -> Any:
        """It itself; raises whatever unpickling raises."""
        return value_of(self.data, tuple(map(Buffer, self.buffers)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Sealed, (self.data, tuple(map(PickleBuffer, self.buffers)))


def seal(value: Any, own: Callable[[Buffer], Buffer]) -> Sealed:
    """Pickle a value now; `own` gives buffers that nobody can change. Raises UnsendableError."""
    data, buffers = dumps(value, lend=False)
    return Sealed(data, tuple(own(buffer).data for buffer in buffers))


def opened(values: list[Any]) -> Iterator[Any]:
    """Values of items, also those that were sealed; raises whatever unpickling raises."""
    for value in values:
        yield value.value() if type(value) is Sealed else value
