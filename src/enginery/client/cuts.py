"""How the items of a map are cut into chunks, before anything is known of how long they take.

The engines divide each chunk among themselves, so a chunk may be large. The first ones are not, so
that engines begin while the rest is still being read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ..core.messages import Chunk
from ..wire.items import dumps_calls

GRAINS = (64, 8, 1)
"""Items that are pickled together, of which an engine may be sent more than it is to run: fewer
where they are large.
"""

GRAIN_BYTES = 8 << 10
"""Bytes above which a grain is too large, if it has more items than one."""

FIRST, GROWTH, LAST = 256, 4, 1 << 14
"""Items of the first chunk, how much larger each further one is, and items of the largest."""

BYTES = 256 << 10
"""Bytes of arguments after which a chunk ends."""


class Cut(NamedTuple):
    """A chunk with its arguments."""

    arguments: bytes
    chunk: Chunk


class _Chunk:
    """The chunk that is being filled."""

    def __init__(self, grain: int) -> None:
        self.grain = grain
        self.items = self.bytes = 0
        self.grains: list[bytes] = []
        self.ends: list[int] = []

    def add(self, data: bytes, items: int) -> None:
        self.items += items
        self.bytes += len(data)
        self.grains.append(data)
        self.ends.append(self.bytes)

    def cut(self) -> Cut:
        chunk = Chunk(0, self.items, self.grain, tuple(self.ends))
        return Cut(b"".join(self.grains), chunk)


def cuts(sequences: Sequence[Iterable[Any]]) -> Iterator[Cut | tuple[Any, ...]]:
    """Chunks of the items, in their order; of a call that is better sent alone, its arguments."""
    grains, size = iter(GRAINS), FIRST
    filling = _Chunk(next(grains))
    for columns in _columns(sequences, GRAINS[0]):
        items = len(columns[0])
        start = 0
        while start < items:
            some = [column[start : start + filling.grain] for column in columns]
            data = dumps_calls(some)
            if data is not None and len(data) > GRAIN_BYTES and len(some[0]) > 1:
                if filling.items:
                    yield filling.cut()
                filling = _Chunk(next(grains))
                continue
            start += len(some[0])
            if data is not None:
                filling.add(data, len(some[0]))
            if filling.items and (data is None or filling.items >= size or filling.bytes >= BYTES):
                yield filling.cut()
                size = min(GROWTH * size, LAST)
                filling = _Chunk(filling.grain)
            if data is None:
                yield from zip(*some, strict=True)
    if filling.items:
        yield filling.cut()


def _columns(sequences: Sequence[Iterable[Any]], items: int) -> Iterator[list[Sequence[Any]]]:
    """So many items at a time, each argument of all of them by itself."""
    if len(sequences) == 1:
        rest = iter(sequences[0])
        while column := list(islice(rest, items)):
            yield [column]
        return
    rows = zip(*sequences, strict=False)
    while some := list(islice(rows, items)):
        yield list(zip(*some, strict=True))
