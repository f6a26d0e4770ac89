"""Finished tasks, kept for whoever asks, within limits of number and bytes.

The oldest go first, and never one that is not done. The last ones stay as they are, for these are
asked for; of the others, small ones are packed (`archive`). A forgotten task costs nothing; that it
has existed is known from its id, which counts its client's tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import merge

from .archive import Archive
from .once import Once
from .tasks import Record

RECENT = 1000
"""Finished tasks that are not packed yet."""

BLOCK = 64
"""Tasks that are packed together: enough to be alike, few enough to be unpacked in no time."""


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
        self._recent: deque[Record] = deque()  # in both also those that were removed, for a while

    def __iter__(self) -> Iterator[Record]:
        large = (record for record in self._large if record.kept)
        yield from merge(self.archive, large, key=lambda record: record.finished)
        yield from (record for record in self._recent if record.kept)

    def ran(self) -> Iterator[int]:
        """On which engine each has run that has; cheaper than to go through them."""
        yield from self.archive.ran()
        for record in (*self._large, *self._recent):
            if record.kept and record.outcome is not None and record.outcome.started:
                yield record.outcome.engine

    def add(self, record: Record) -> list[str]:
        """Keep a task that is done; gives the ids of those that are forgotten for it."""
        outcome = record.outcome
        assert outcome is not None
        self.ended[outcome.status] = self.ended.get(outcome.status, 0) + record.items
        record.size += outcome.size()
        record.kept = True
        self._recent.append(record)
        self.count += 1
        self.bytes += record.size - self._once.add(record.given)
        forgotten: list[str] = []
        while self.count > self.limit_records or (self.bytes > self.limit_bytes and self.count > 1):
            forgotten += self._forget_oldest()
        return forgotten

    def pack(self) -> list[Record]:
        """Pack what has ended a while ago; gives what is now in the archive alone."""
        packed: list[Record] = []
        while len(self._recent) >= RECENT + BLOCK:
            block = [self._recent.popleft() for _ in range(BLOCK)]
            block = [record for record in block if record.kept]
            left = self.archive.pack(block)
            self._large += left
            packed += [r for r in block if r not in left] if left else block
        return packed

    def remove(self, record: Record) -> None:
        """Keep it no longer."""
        self.count -= 1
        self.bytes -= record.size - self._once.remove(record.given)
        if record.spec.id in self.archive:
            self.archive.remove(record.spec.id)
            return
        record.kept = False
        if 2 * (self.count - self.archive.count) < len(self._recent) + len(self._large):
            self._recent = deque(r for r in self._recent if r.kept)
            self._large = deque(r for r in self._large if r.kept)

    def _forget_oldest(self) -> list[str]:
        """Keep the oldest no longer, if it is packed with its whole block; gives their ids."""
        large, packed = self._large, self.archive.oldest
        if packed is not None and not (large and large[0].finished < packed):
            gone = self.archive.drop_oldest()
            later = self.archive.oldest
            self._forgot(self._recent[0].finished if later is None else later)
            self.count -= len(gone)
            self.bytes -= sum(gone.values())
            return list(gone)
        old = (large or self._recent).popleft()
        if not old.kept:
            return []
        old.kept = False
        self._forgot(old.finished)
        self.count -= 1
        self.bytes -= old.size - self._once.remove(old.given)
        return [old.spec.id]

    def _forgot(self, until: float) -> None:
        self.forgotten = until if self.forgotten is None else max(self.forgotten, until)
