"""Several items of a map as one task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..error import UnmetDependency, UnsendableError
from .failure import Failure
from .payload import dumps


class MapChunk:
    """Calls `function(*item)` for each item and gives the list of what it returned.

    Raises ChunkFailed, when items failed, once every item has had its turn. KeyboardInterrupt is
    for the whole chunk.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, items: Sequence[tuple[Any, ...]]) -> list[Any]:
        outcomes: list[Any] = []
        failed = False
        for item in items:
            try:
                outcomes.append(self.function(*item))
            except UnmetDependency as error:
                if not outcomes:  # nothing of it has run: another engine can have all of it
                    raise
                outcomes.append(Failure.capture(error))
                failed = True
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # told to the client, for this item
                outcomes.append(Failure.capture(error))
                failed = True
        if failed:
            raise ChunkFailed(outcomes)
        return outcomes

    def __reduce__(self) -> tuple[Any, ...]:
        return MapChunk, (self.function,)

    def __repr__(self) -> str:
        return f"MapChunk({self.function!r})"


class ChunkFailed(Exception):
    """Some items of a chunk failed; `outcomes` has each item's value, or its `Failure`."""

    def __init__(self, outcomes: list[Any]) -> None:
        super().__init__(outcomes)
        self.outcomes = outcomes

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkFailed, (self.outcomes,)

    def __str__(self) -> str:
        failed = sum(isinstance(outcome, Failure) for outcome in self.outcomes)
        return f"{failed} of {len(self.outcomes)} items failed"


def salvage(outcomes: Sequence[Any]) -> ChunkFailed:
    """Give what to send for a chunk that cannot be sent as it is: each item that can be."""
    kept: list[Any] = []
    for outcome in outcomes:
        try:
            dumps(outcome, lend=False)
            kept.append(outcome)
        except UnsendableError as error:
            kept.append(Failure.capture(error, kind="result"))
    return ChunkFailed(kept)
