"""A chunk of a map runs every item, and what was good survives what was not."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from enginery.error import UnsendableError
from enginery.wire import payload
from enginery.wire.chunks import ChunkFailed, MapChunk, salvage
from enginery.wire.failure import Failure


def divide(a: int, b: int) -> float:
    return a / b


def leave(error: BaseException | None) -> int:
    if error is not None:
        raise error
    return 0


def test_items_are_arguments() -> None:
    assert MapChunk(divide)([(4, 2), (1, 4)]) == [2.0, 0.25]
    assert MapChunk(divide)([]) == []


def test_it_travels_as_a_call_of_its_function() -> None:
    there = payload.loads(*payload.dumps(MapChunk(divide))).value
    assert isinstance(there, MapChunk)
    assert there.function is divide
    assert "divide" in repr(there)


def test_the_good_items_survive() -> None:
    with pytest.raises(ChunkFailed) as caught:
        MapChunk(divide)([(4, 2), (1, 0), (9, 3)])
    there = payload.loads(*payload.dumps(caught.value, lend=False)).value
    assert isinstance(there, ChunkFailed)
    assert str(there) == "1 of 3 items failed"
    good, bad, last = there.outcomes
    assert (good, last) == (2.0, 3.0)
    assert isinstance(bad, Failure)
    assert isinstance(bad.exception_here(), ZeroDivisionError)
    assert [frame[2] for frame in bad.frames] == ["divide"]


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), asyncio.CancelledError(), BaseExceptionGroup("both", [SystemExit(3)])],
    ids=lambda error: type(error).__name__,
)
def test_leaving_is_a_failure_of_the_item(error: BaseException) -> None:
    with pytest.raises(ChunkFailed) as caught:
        MapChunk(leave)([(None,), (error,), (None,)])
    assert [getattr(outcome, "ename", outcome) for outcome in caught.value.outcomes] == [
        0, type(error).__name__, 0
    ]  # fmt: skip


def test_an_interrupt_ends_the_chunk() -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MapChunk(interrupt)([(1,), (2,)])


def test_what_cannot_be_sent_is_told_for_its_item() -> None:
    values: list[Any] = [1, threading.Lock(), "x"]
    with pytest.raises(UnsendableError):
        payload.dumps(values)
    first, bad, last = payload.loads(*payload.dumps(salvage(values))).value.outcomes
    assert (first, last) == (1, "x")
    assert (bad.ename, bad.kind) == ("UnsendableError", "result")
    assert "_thread.lock" in bad.evalue
