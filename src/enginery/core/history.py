"""Finished tasks, kept for whoever asks, within limits of number and bytes.

The oldest go first, and never one that is not done. The last ones stay as they are, for these are
asked for; of the others, small ones are packed (`archive`). A forgotten task costs nothing; that it
has existed is known from its id, which counts its client's tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import merge

from . import messages as m
from .archive import Archive, fits
from .bundles import Bundle, Unit, untie
from .once import Once
from .tasks import Record

RECENT = 1000
"""Finished tasks that are not packed yet."""

BLOCK = 128
"""Tasks that are packed together: enough to be alike, few enough to be unpacked in 1 ms."""


class History:
    """The finished tasks, oldest first."""

    def __init__(self, records: int, bytes: int) -> None:
        self.limit_records = records
        self.limit_bytes = bytes
        self.bytes = 0
        self.count = 0
        self.ended: dict[str, int] = {}  # how many calls ended in which way, ever
        self.forgotten: float | None = None  # until when that ended of which there was too much
        self.archive = Archive()
        self._once = Once()  # large buffers that these were given
        self._large: deque[Record] = deque()  # what cannot be packed
        self._recent: deque[Unit] = deque()  # in both also those that were removed, for a while
        self._lately = 0  # how many tasks are in that

    def __iter__(self) -> Iterator[Record]:
        large = (record for record in self._large if record.kept)
        yield from merge(self.archive, large, key=lambda record: record.finished)
        untie(self._recent)
        yield from self._lately_ended()

    def look(self) -> Iterator[Record]:
        """The same in another order, and without a change: bundles stay what they are."""
        yield from self.archive
        yield from (record for record in self._large if record.kept)
        yield from self._lately_ended()

    def _lately_ended(self) -> Iterator[Record]:
        for unit in self._recent:
            for record in unit.look() if type(unit) is Bundle else (unit,):
                if record.kept:
                    yield record

    def ran(self) -> Iterator[int]:
        """On which engine each has run that has; cheaper than to go through them."""
        yield from self.archive.ran()
        for record in (*self._large, *self._lately_ended()):
            if record.kept and record.outcome is not None and record.outcome.started:
                yield record.outcome.engine

    def add(self, unit: Unit, named: bool = True) -> list[str]:
        """Keep what is done; gives the ids of those that are forgotten for it: all, if it is to be
        `named` what was packed, too, which takes long.

        The size of a bundle is with its outcomes.
        """
        if type(unit) is Bundle:
            self._ended("ok", len(unit), len(unit), unit.size)
        else:
            outcome = unit.outcome
            assert outcome is not None
            unit.size += outcome.size()
            unit.kept = True
            size = unit.size - self._once.add(unit.given)
            self._ended(outcome.status, 1, unit.items, size)
        self._recent.append(unit)
        forgotten: list[str] = []
        while self.count > self.limit_records or (self.bytes > self.limit_bytes and self.count > 1):
            forgotten += self._forget_oldest(named)
        return forgotten

    def pack(self) -> list[Unit]:
        """Pack what has ended a while ago; gives what is now in the archive alone."""
        packed: list[Unit] = []
        while self._lately >= RECENT + BLOCK:
            block: list[Unit] = []
            before = self._lately
            while before - self._lately < BLOCK:
                unit = self._pop(whole=True)
                if type(unit) is Bundle or unit.kept:
                    block.append(unit)
            left = self.archive.pack(block)
            self._large += left
            large = set(map(id, left))
            packed += [unit for unit in block if id(unit) not in large]
        return packed

    def _pop(self, whole: bool = False) -> Unit:
        """Take the oldest of the recent ones; a bundle as a `whole`, if it can be packed."""
        unit = self._recent.popleft()
        if type(unit) is Bundle and not (whole and unit.records is None and fits(unit)):
            self._recent.extendleft(reversed(unit.untie()))
            unit = self._recent.popleft()
        self._lately -= len(unit) if type(unit) is Bundle else 1
        return unit

    def _ended(self, status: m.Status, tasks: int, calls: int, size: int) -> None:
        self.ended[status] = self.ended.get(status, 0) + calls
        self.count += tasks
        self._lately += tasks
        self.bytes += size

    def remove(self, record: Record) -> None:
        """Keep it no longer."""
        self.count -= 1
        self.bytes -= record.size - self._once.remove(record.given)
        if record.spec.id in self.archive:
            self.archive.remove(record)
            return
        record.kept = False
        if 2 * (self.count - self.archive.count) < self._lately + len(self._large):
            untie(self._recent)
            self._recent = deque(self._lately_ended())
            self._lately = len(self._recent)
            self._large = deque(r for r in self._large if r.kept)

    def _forget_oldest(self, named: bool) -> list[str]:
        """Keep the oldest no longer, if it is packed with its whole block; gives their ids."""
        large, packed = self._large, self.archive.oldest
        if packed is not None and not (large and large[0].finished < packed):
            ids = self.archive.ids_of_oldest() if named else []
            gone = self.archive.drop_oldest()
            later = self.archive.oldest
            self._forgot(self._recent[0].finished if later is None else later)
            self.count -= gone.count
            self.bytes -= gone.size
            return ids
        old = large.popleft() if large else self._pop()
        if type(old) is Bundle or not old.kept:  # a bundle never comes as such
            return []
        old.kept = False
        self._forgot(old.finished)
        self.count -= 1
        self.bytes -= old.size - self._once.remove(old.given)
        return [old.spec.id]

    def _forgot(self, until: float) -> None:
        self.forgotten = until if self.forgotten is None else max(self.forgotten, until)
