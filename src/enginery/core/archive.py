"""Finished tasks in little room: packed by the block, and made anew when somebody asks.

A hundred thousand finished tasks are much alike: as records they take a hundred megabytes, as
blocks of columns thirteen, since what is the same in a whole column stands there once, and
compressed some four. In which block a task is stands on a page for all ids that differ in their
last two digits alone. What is large, or asks for more than to be run, or whose id does not end in
digits, is left as it is (`history`).

Packed tasks never change. What was removed stays in its block until all of it is, and is skipped.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import columns
from .bundles import Bundle, Unit
from .tasks import Record

SMALL = 2048
"""Bytes that a packed task has at most."""

UNPACKED = 8
"""Blocks that were asked for lately, and are kept as they were unpacked."""

COUNT = 100
"""Where on a page it says how many tasks are on it; before, the block of each, a line for each."""

DIGITS = [f"{line:02}" for line in range(COUNT)]
"""The last two digits of an id on each line."""

LINES = {digits: line for line, digits in enumerate(DIGITS)}
"""The lines, by these."""

BLANK = bytes(4 * (COUNT + 1))

Columned = Callable[[Mapping[str, Sequence[Any]]], bool]
"""Says by columns of a block whether it is to be looked at."""


LEVEL = 1
"""Of compression: higher ones take three times as long for as much."""


class Block:
    """Packed tasks, in the order in which they ended."""

    __slots__ = ("compressed", "count", "finished", "pages", "size")

    def __init__(self, compressed: bytes, finished: float) -> None:
        self.compressed = compressed
        self.finished = finished  # when the first of them ended
        self.count = self.size = 0  # of those that were not removed; in bytes
        self.pages: dict[str, int] = {}  # how many of these are on each

    @property
    def data(self) -> bytes:
        """Their columns."""
        return zlib.decompress(self.compressed)


class Archive:
    """The blocks, oldest first."""

    def __init__(self) -> None:
        self.count = 0
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._last = 0  # the number of the newest block
        self._pages: dict[str, array[int]] = {}
        self._unpacked: OrderedDict[int, dict[str, Record]] = OrderedDict()

    def pack(self, units: Iterable[Unit]) -> list[Record]:
        """Pack finished tasks, those that can be, as one block; gives the others.

        All bundles among these have to fit.
        """
        packed: list[Unit] = []
        others: list[Record] = []
        for unit in units:
            if type(unit) is not Bundle and not fits(unit):
                others.append(unit)
            else:
                packed.append(unit)
        if packed:
            self._last += 1
            compressed = zlib.compress(columns.pack(packed), LEVEL)
            block = self._blocks[self._last] = Block(compressed, packed[0].finished)
            for unit in packed:
                block.size += unit.size
                self._note(unit.ids if type(unit) is Bundle else [unit.spec.id], block)
            self.count += block.count
        return others

    def _note(self, ids: list[str], block: Block) -> None:
        """These are in the last block."""
        for name, line, count in runs(ids):
            page = self._pages.get(name)
            if page is None:
                page = self._pages[name] = array("I", BLANK)
            page[line : line + count] = array("I", (self._last,)) * count
            page[COUNT] += count
            block.pages[name] = block.pages.get(name, 0) + count
        block.count += len(ids)

    def __contains__(self, id: str) -> bool:
        return id[:-2] in self._pages and self._block(id) > 0

    def has_any(self, ids: Collection[str]) -> bool:
        """Whether any of these is here; quick where no page of theirs is."""
        if self._pages.keys().isdisjoint([id[:-2] for id in ids]):
            return False
        return any(id in self for id in ids)

    def get(self, id: str) -> Record | None:
        """This task as it was packed, if it is here."""
        block = self._block(id)
        return self._records(block)[id] if block else None

    def __iter__(self) -> Iterator[Record]:
        """All that are here, those that ended first before others."""
        return self.where((), lambda _: True)

    def where(self, names: Iterable[str], may: Columned) -> Iterator[Record]:
        """The same without the blocks in which nothing may be by what stands in these columns."""
        for block, packed in list(self._blocks.items()):
            data = packed.data
            if not may(columns.values(data, names)):
                continue
            for record in columns.unpack(data):
                if self._block(record.spec.id) == block:
                    yield record

    def different(self, name: str) -> set[Any]:
        """What this column holds, in any block."""
        blocks = (columns.values(block.data, [name]) for block in self._blocks.values())
        return {value for block in blocks for value in block[name]}

    def numbers(self) -> Iterator[tuple[int, str]]:
        """The numbers and ids of all that are here."""
        for block, packed in self._blocks.items():
            for number, id in columns.numbers(packed.data):
                if self._block(id) == block:
                    yield number, id

    def ran(self) -> Iterator[int]:
        """On which engine each has run that has."""
        for block, packed in self._blocks.items():
            for id, engine in columns.ran(packed.data):
                if self._block(id) == block:
                    yield engine

    @property
    def sound(self) -> bool:
        """Whether blocks and pages tell of the same tasks, as they always do."""
        blocks, told = self._blocks, Counter[str]()
        for block in blocks.values():
            told.update(block.pages)
        found = {
            name: sum(number in blocks for number in page[:COUNT])
            for name, page in self._pages.items()
        }
        counted = {name: page[COUNT] for name, page in self._pages.items()}
        whole = self.count == sum(block.count for block in blocks.values()) == told.total()
        return whole and found == counted == +told

    @property
    def oldest(self) -> float | None:
        """When the first of the oldest block ended."""
        return next(iter(self._blocks.values())).finished if self._blocks else None

    def remove(self, record: Record) -> None:
        """Keep this one, which is here, no longer; the last one of a block goes with that."""
        id = record.spec.id
        name, number = id[:-2], self._block(id)
        self._pages[name][LINES[id[-2:]]] = 0
        block = self._blocks[number]
        block.count -= 1
        block.size -= record.size
        block.pages[name] -= 1
        if not block.count:
            del self._blocks[number]
            self._unpacked.pop(number, None)
        self._leave(name, 1)

    def _leave(self, name: str, count: int) -> None:
        """So many tasks are on this page no more."""
        page = self._pages[name]
        page[COUNT] -= count
        if not page[COUNT]:
            del self._pages[name]
        self.count -= count

    def ids_of_oldest(self) -> list[str]:
        """The tasks of the oldest block, but for those that were removed."""
        number, block = next(iter(self._blocks.items()))
        return [id for id in columns.ids(block.data) if self._block(id) == number]

    def drop_oldest(self) -> Block:
        """Keep the oldest block no longer. Pages may still name it, which is in vain."""
        number, block = self._blocks.popitem(last=False)
        self._unpacked.pop(number, None)
        for name, count in block.pages.items():
            if count:
                self._leave(name, count)
        return block

    def _block(self, id: str) -> int:
        """The block that a task is in; 0: in none."""
        page, line = self._pages.get(id[:-2]), LINES.get(id[-2:])
        block = 0 if page is None or line is None else page[line]
        return block if block in self._blocks else 0

    def _records(self, block: int) -> dict[str, Record]:
        """What is in a block, removed ones too."""
        records = self._unpacked.get(block)
        if records is None:
            unpacked = columns.unpack(self._blocks[block].data)
            records = self._unpacked[block] = {record.spec.id: record for record in unpacked}
            if len(self._unpacked) > UNPACKED:
                self._unpacked.popitem(last=False)
        self._unpacked.move_to_end(block)
        return records


def runs(ids: list[str]) -> Iterator[tuple[str, int, int]]:
    """Where these stand: pages, first lines, and how many follow each other there; most do."""
    at = 0
    while at < len(ids):
        name, line = ids[at][:-2], LINES[ids[at][-2:]]
        some, count = ids[at : at + COUNT - line], 1
        if len(some) > 1 and some[1] == name + DIGITS[line + 1]:
            row = list(map(name.__add__, DIGITS[line : line + len(some)]))
            count = len(row)
            if some != row:
                count = next(i for i in range(count) if some[i] != row[i])
        yield name, line, count
        at += count


def fits(unit: Unit) -> bool:
    """Whether what has ended is small, and like most others."""
    if type(unit) is Bundle:
        return unit.largest <= SMALL and LINES.keys() >= {id[-2:] for id in unit.ids}
    outcome, spec = unit.outcome, unit.spec
    if unit.size > SMALL or spec.buffers or spec.terms is not None or outcome is None:
        return False
    if spec.chunk is not None or spec.id[-2:] not in LINES:
        return False
    return not (outcome.buffers or outcome.cause or outcome.facts or unit.submission)
