"""Finished tasks, kept for whoever asks, within limits of number and bytes.

The oldest go first, and never one that is not done. A forgotten task costs nothing; that it has
existed is known from its id, which counts its client's tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .tasks import Record


class History:
    """The finished tasks, oldest first."""

    def __init__(self, records: int, bytes: int) -> None:
        self.limit_records = records
        self.limit_bytes = bytes
        self.bytes = 0
        self.count = 0
        self.ended: dict[str, int] = {}  # how many tasks ended in which way, ever
        self._records: deque[Record] = deque()  # also those that were removed, for a while

    def __iter__(self) -> Iterator[Record]:
        return (record for record in self._records if record.kept)

    def add(self, record: Record) -> list[Record]:
        """Keep a task that is done; gives those that are forgotten for it."""
        outcome = record.outcome
        assert outcome is not None
        self.ended[outcome.status] = self.ended.get(outcome.status, 0) + 1
        record.size += outcome.size()
        record.kept = True
        self._records.append(record)
        self.count += 1
        self.bytes += record.size
        forgotten = []
        while self.count > self.limit_records or (self.bytes > self.limit_bytes and self.count > 1):
            old = self._records.popleft()
            if old.kept:
                self._forget(old)
                forgotten.append(old)
        return forgotten

    def remove(self, record: Record) -> None:
        """Keep it no longer."""
        self._forget(record)
        if 2 * self.count < len(self._records):
            self._records = deque(self)

    def _forget(self, record: Record) -> None:
        record.kept = False
        self.count -= 1
        self.bytes -= record.size
