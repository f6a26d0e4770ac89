"""Results among the arguments of a call: while these are pickled, somebody takes note of them.

A result that is not there yet is no data; what is sent in its stead, whoever pickles a call
decides. Anywhere else a result cannot be sent.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol, Self


class Taker(Protocol):
    """Who takes note of the results among some arguments."""

    def take(self, result: Any) -> tuple[Any, ...]:
        """What this result is pickled as, in the form of `__reduce__`."""


class _Here(threading.local):
    """Who takes note in this thread, if anybody does."""

    taker: Taker | None = None


_here = _Here()


class Takeable:
    """Base of what can be an argument, at any depth, and arrives as the value that it will have."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if _here.taker is None:
            kind = type(self).__name__
            raise TypeError(f"{kind}: its value is sent where it is the argument of a call")
        return _here.taker.take(self)

    def __copy__(self) -> Self:
        return self  # pickling takes note, copying must not

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class taken_by:
    """While the block runs, this one takes note in this thread; None: nobody does."""

    __slots__ = ("_before", "_taker")

    def __init__(self, taker: Taker | None) -> None:
        self._taker = taker

    def __enter__(self) -> None:
        self._before, _here.taker = _here.taker, self._taker

    def __exit__(self, *error: object) -> None:
        _here.taker = self._before
