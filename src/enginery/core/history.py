"""Finished tasks, kept for whoever asks, within limits of number and bytes.

The oldest go first, and never one that is not done. A forgotten task costs nothing; that it has
existed is known from its id, which counts its client's tasks.
"""

from __future__ import annotations

from collections import OrderedDict

from .tasks import Record


class History:
    """The finished tasks, oldest first."""

    def __init__(self, records: int, bytes: int) -> None:
        self.limit_records = records
        self.limit_bytes = bytes
        self.records: OrderedDict[str, Record] = OrderedDict()
        self.bytes = 0
        self.ended: dict[str, int] = {}  # how many tasks ended in which way, ever

    def add(self, record: Record) -> list[Record]:
        """Keep a task that is done; gives those that are forgotten for it."""
        outcome = record.outcome
        assert outcome is not None
        self.ended[outcome.status] = self.ended.get(outcome.status, 0) + 1
        record.size += outcome.size()
        self.records[record.spec.id] = record
        self.bytes += record.size
        forgotten = []
        while len(self.records) > self.limit_records or (
            self.bytes > self.limit_bytes and len(self.records) > 1
        ):
            _, old = self.records.popitem(last=False)
            self.bytes -= old.size
            forgotten.append(old)
        return forgotten

    def remove(self, record: Record) -> None:
        """Keep it no longer."""
        del self.records[record.spec.id]
        self.bytes -= record.size
