"""The values of tasks that others take as arguments: kept until the last of these has ended.

So it does not matter what the history forgets meanwhile, and each retry gets them anew. A value is
one object here, whoever takes it, and counts once among the bytes of unfinished work, from the end
of the task that gave it on (beside what the history counts for that task).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from . import messages as m
from .pools import is_chunk

if TYPE_CHECKING:
    from .tasks import Record


class Inputs:
    """Who needs the values of which tasks, and those values that there are."""

    def __init__(self) -> None:
        self.needed: dict[str, int] = {}  # unfinished tasks that take it, by the id of its task
        self.values: dict[str, m.Value] = {}

    def need(self, ids: Iterable[str], tasks: Mapping[str, Record]) -> int:
        """One more unfinished task takes these; gives how many bytes more are kept."""
        size = 0
        for id in ids:
            known = self.needed.get(id, 0)
            self.needed[id] = known + 1
            if not known and id in tasks:
                size += self.ended(tasks[id])
        return size

    def restore(
        self, ids: Iterable[str], tasks: Mapping[str, Record], kept: Mapping[str, m.Value]
    ) -> int:
        """The same of a task that was accepted before; some values were `kept` by themselves."""
        size = 0
        for id in ids:
            first = id not in self.needed
            self.needed[id] = self.needed.get(id, 0) + 1
            if first and id in kept:
                self.values[id] = kept[id]
                size += kept[id].size()
            elif first and id in tasks:
                pool = tasks[id].pool
                if pool is not None and pool.of(tasks[id]):
                    pool.restore(tasks, kept)
                size += self.ended(tasks[id])
        return size

    def release(self, ids: Iterable[str]) -> int:
        """One task less takes these; gives how many bytes fewer are kept."""
        size = 0
        for id in ids:
            left = self.needed[id] - 1
            if left:
                self.needed[id] = left
                continue
            del self.needed[id]
            value = self.values.pop(id, None)
            if value is not None:
                size += value.size()
        return size

    def ended(self, record: Record) -> int:
        """Keep what this task has given, if it is done and somebody needs it; gives its bytes."""
        id, outcome, pool = record.spec.id, record.outcome, record.pool
        if id in self.values:  # it had ended before the controller was started again
            return 0
        if id not in self.needed:
            return 0
        chunk = is_chunk(record)
        if pool is not None and chunk and outcome is None:
            pool.keep()
        if outcome is None or outcome.status != "ok":
            return 0
        value = m.Value(outcome.value, outcome.buffers)
        if pool is not None and chunk:
            if pool.gone:  # who takes it is told so
                return 0
            value = pool.value()
        self.values[id] = value
        return value.size()

    def of(self, ids: Iterable[str]) -> tuple[m.Value, ...]:
        """The values of these tasks, all of which ended well."""
        return tuple(self.values[id] for id in ids)
