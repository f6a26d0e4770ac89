"""From the outcome of a task to the values of its items."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ..core.messages import Outcome
from ..error import ProtocolError
from ..wire import payload
from ..wire.chunks import ChunkFailed
from ..wire.failure import Failure
from ..wire.items import Sealed, opened
from .failed import Failed

if TYPE_CHECKING:
    from .link import Slot


def unpack(outcome: Outcome, first: int, size: int | None) -> Sequence[Any]:
    """The items of a task, from item number `first` on; a `Failed` stands for one that failed.

    With `size` the task is a chunk of that many items, else it is one item.
    """
    if size is None and outcome.status == "ok" and not outcome.stop:  # as most are
        try:
            value = payload.value_of(outcome.value, outcome.buffers)
        except Exception as error:  # as below
            return [Failed(error, outcome, first)]
        # A tuple: unlike a list, the garbage collector looks but once at one of plain values.
        return (value if type(value) is not Sealed else _opened(value, outcome, first),)
    numbers = range(first, first + (1 if size is None else size))
    if outcome.status not in {"ok", "error"}:
        return [Failed(None, outcome, i) for i in numbers]
    try:
        value = payload.value_of(outcome.value, outcome.buffers)
        if outcome.status == "ok":
            values = list(value) if size is not None else [_single(value, outcome)]
            if Sealed in set(map(type, values)):
                values = [_opened(v, outcome, i) for i, v in zip(numbers, values, strict=True)]
        elif isinstance(value, ChunkFailed):
            values = value.outcomes
        else:
            values = [value] * len(numbers)
        if len(values) != len(numbers):
            raise ProtocolError(f"{len(values)} values have come for {len(numbers)} items")
    except Exception as error:  # what unpickling the user's objects raises: told as their failure
        return [Failed(error, outcome, i) for i in numbers]
    if outcome.status == "ok":
        return values
    return [
        Failed(value, outcome, i) if isinstance(value, Failure) else value
        for i, value in zip(numbers, values, strict=True)
    ]


def _single(value: Any, outcome: Outcome) -> Any:
    """The value of a task; of a share that is asked for by itself, of its item or of several."""
    if not outcome.stop:
        return value
    return value[0] if len(value) == 1 else list(opened(value))


def _opened(value: Any, outcome: Outcome, item: int) -> Any:
    """The value of an item that came sealed."""
    if type(value) is not Sealed:
        return value
    try:
        return value.value()
    except Exception as error:  # as above: told as the failure of this item
        return Failed(error, outcome, item)


def failure_of(outcome: Outcome) -> Failed:
    """The failure of a task that has failed; of a chunk, that of the first item that did."""
    return failures_of(outcome)[0]


def failures_of(outcome: Outcome) -> list[Failed]:
    """The failures of a task that has failed: one, or those of the items of a chunk."""
    if outcome.status != "error":
        return [Failed(None, outcome, 0)]
    try:
        why = payload.value_of(outcome.value, outcome.buffers)
    except Exception as error:  # as above
        return [Failed(error, outcome, 0)]
    if not isinstance(why, ChunkFailed):
        return [Failed(why, outcome, 0)]
    return [
        Failed(each, outcome, i) for i, each in enumerate(why.outcomes) if isinstance(each, Failure)
    ]


UNREAD = object()


class Value:
    """The same as `Values` for one task, of which there may be very many."""

    __slots__ = ("_all",)

    def __init__(self, all: Callable[[], Sequence[Any]]) -> None:
        self._all = all

    def __len__(self) -> int:
        return 1

    def first(self, i: int) -> int:
        """As in `Values`."""
        return 0

    def slot(self, item: int) -> int:
        """As in `Values`."""
        return 0

    def part(self, i: int) -> Sequence[Any]:
        """As in `Values`."""
        return self._all()


class Values:
    """The items of some tasks, unpickled when somebody first asks, and kept; len: how many."""

    __slots__ = ("_lock", "_parts", "_slots", "_starts")

    def __init__(self, slots: Sequence[Slot], sizes: Sequence[int] | None) -> None:
        self._slots = slots
        self._starts = None if sizes is None else list(accumulate(sizes, initial=0))
        self._parts: list[Any] | tuple[()] = ()  # until somebody asks
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._slots) if self._starts is None else self._starts[-1]

    def first(self, i: int) -> int:
        """The number of the first item of slot `i`."""
        return i if self._starts is None else self._starts[i]

    def slot(self, item: int) -> int:
        """The position of the slot that an item belongs to."""
        return item if self._starts is None else bisect_right(self._starts, item) - 1

    def part(self, i: int) -> Sequence[Any]:
        """The items of slot `i`, which has ended."""
        with self._lock:
            if not self._parts:
                self._parts = [UNREAD] * len(self._slots)
            if self._parts[i] is UNREAD:
                self._parts[i] = self._unpack(i)
            part: Sequence[Any] = self._parts[i]
            return part

    def _unpack(self, i: int) -> Sequence[Any]:
        outcome = self._slots[i].outcome
        if outcome is None:
            raise AssertionError("only what has ended is unpacked")
        if self._starts is None:
            return unpack(outcome, i, None)
        return unpack(outcome, self._starts[i], self._starts[i + 1] - self._starts[i])
