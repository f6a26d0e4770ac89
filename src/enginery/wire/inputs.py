"""What stands among the arguments of a call for the values that other tasks give.

`arrive` is called where the arguments are unpickled: on the engine, which has set with `given` what
came with the attempt. Each value is loaded when it is first mentioned, and anew for each attempt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pickle import PickleBuffer
from typing import Any

from ..core.messages import Buffer, Value
from .items import opened
from .payload import value_of

Part = int | tuple[bytes, tuple[Any, ...]]
"""The number of an input, or a value with its buffers that goes along in its stead."""

UNREAD = object()


class _Given:
    """The inputs of one attempt."""

    __slots__ = ("_loaded", "_values")

    def __init__(self, values: Sequence[Value]) -> None:
        self._values = values
        self._loaded = [UNREAD] * len(values)

    def value(self, number: int) -> Any:
        """The value of an input, the same each time."""
        if self._loaded[number] is UNREAD:
            value = self._values[number]
            self._loaded[number] = (
                joined(opened(value_of(part.value, part.buffers)) for part in value.parts)
                if value.parts
                else value_of(value.value, value.buffers)
            )
        return self._loaded[number]


class _Here(threading.local):
    """What is given in this thread."""

    given: _Given = _Given(())


_here = _Here()


@contextmanager
def given(values: Sequence[Value]) -> Iterator[None]:
    """While the block runs, arguments that are unpickled in this thread take these values."""
    before, _here.given = _here.given, _Given(values)
    try:
        yield
    finally:
        _here.given = before


def arrive(parts: Sequence[Part], assemble: Callable[[list[Any]], Any] | None) -> Any:
    """Give the value of a result, made of those of its tasks; None: of its only task."""
    values = [_value(part) for part in parts]
    return values[0] if assemble is None else assemble(values)


def _value(part: Part) -> Any:
    if isinstance(part, int):
        return _here.given.value(part)
    data, buffers = part
    return value_of(data, tuple(map(Buffer, buffers)))


def along(value: bytes, buffers: Iterable[Buffer]) -> Part:
    """A value that goes along with the arguments."""
    return value, tuple(PickleBuffer(buffer.data) for buffer in buffers)


def joined_parts(several: Sequence[bool], values: Sequence[Any]) -> list[Any]:
    """The items of a map, where some of these values are lists of them."""
    items: list[Any] = []
    for value, many in zip(values, several, strict=True):
        items.extend(opened(value) if many else (value,))
    return items


def joined(chunks: Iterable[Iterable[Any]]) -> list[Any]:
    """The items of the chunks of a map."""
    return list(chain.from_iterable(chunks))
