"""Values of users' own types, sent as what they say: without a copy."""

from __future__ import annotations

import copyreg
from collections.abc import Iterator
from pickle import PickleBuffer
from typing import Any

import numpy as np
import pytest

from enginery import register_type
from enginery.core.messages import Buffer
from enginery.wire import payload


class Grid:
    """Holds what pickle would copy, and a handle that it could not send."""

    def __init__(self, cells: Any) -> None:
        self.cells = cells
        self.handle = (each for each in ())


class Finer(Grid):
    """A subclass that nobody has registered."""


def can(grid: Grid) -> Any:
    return {"cells": grid.cells}


def uncan(parts: Any) -> Grid:
    return Grid(parts["cells"])


@pytest.fixture
def registered() -> Iterator[None]:
    register_type(Grid, can, uncan)
    yield
    del copyreg.dispatch_table[Grid]


@pytest.mark.usefixtures("registered")
def test_it_arrives_as_the_type_says() -> None:
    small, other = payload.loads(*payload.dumps([Grid(b"small"), Grid({"a": 1})])).value
    assert (type(small), small.cells, other.cells) == (Grid, b"small", {"a": 1})


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("make", [np.arange, lambda n: PickleBuffer(bytearray(8 * n))])
def test_its_buffers_are_not_copied(make: Any) -> None:
    grid = Grid(make(100_000))
    data, [buffer] = payload.dumps(grid)
    assert len(data) < 1000
    assert np.shares_memory(np.frombuffer(buffer.data, "u1"), np.frombuffer(grid.cells, "u1"))
    arrived = payload.loads(data, [Buffer(bytes(buffer.data))]).value
    assert bytes(arrived.cells) == bytes(memoryview(grid.cells))


@pytest.mark.usefixtures("registered")
def test_subclasses_are_sent_as_before() -> None:
    with pytest.raises(TypeError, match="generator"):
        payload.dumps(Finer(1))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((Grid(1), can, uncan), "is no class"), ((Grid, "can", uncan), "'can' cannot be called")],
)
def test_what_cannot_be_registered(arguments: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        register_type(*arguments)
