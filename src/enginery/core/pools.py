"""The items of a chunk: as they travel, and those that nobody has been given (see `chunks`)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping
from itertools import pairwise
from weakref import ref

from msgspec.structs import replace

from . import messages as m
from .tasks import Record


def sane(task: m.Task) -> bool:
    """Whether a task can be divided as its chunk says."""
    chunk = task.chunk
    if chunk is None:
        return True
    if not (0 <= chunk.start < chunk.stop <= 1 << 32 and 0 < chunk.grain <= 1 << 32):
        return False
    if task.engine >= 0 or task.terms is not None or task.buffers:
        return False
    grains = (chunk.stop - 1) // chunk.grain - chunk.start // chunk.grain + 1
    ends = (0, *chunk.ends)
    in_order = all(begin <= end for begin, end in pairwise(ends))
    return grains <= len(chunk.ends) and in_order and ends[-1] == len(task.arguments)


def part_of(task: m.Task, start: int, stop: int) -> m.Task:
    """These items of a chunk, as a task with no more arguments than they need."""
    chunk = task.chunk
    assert chunk is not None
    base = chunk.start // chunk.grain
    first, last = start // chunk.grain - base, (stop - 1) // chunk.grain - base
    begin = chunk.ends[first - 1] if first else 0
    ends = tuple(end - begin for end in chunk.ends[first : last + 1])
    return replace(
        task,
        id=share_id(task.id, start),
        arguments=task.arguments[begin : chunk.ends[last]],
        chunk=m.Chunk(start, stop, chunk.grain, ends),
    )


def share_id(chunk: str, start: int) -> str:
    """The share of a chunk that begins with this item."""
    return f"{chunk}.{start}"


def chunk_id(share: str) -> str:
    """The chunk that a share is of."""
    return share.partition(".")[0]


class Pool:
    """The items of one chunk."""

    __slots__ = (
        "_record", "bad", "done", "ended", "id", "noted", "shares", "tasks", "todo", "told",
        "values",
    )  # fmt: skip

    def __init__(self, record: Record, chunk: m.Chunk, tasks: Mapping[str, Record]) -> None:
        self.id = record.spec.id
        self._record = ref(record)  # a circle would be left for the collector, which seldom looks
        self.tasks = tasks  # all that are known
        self.todo = [(chunk.start, chunk.stop)]  # given to nobody: ranges, apart and ascending
        self.shares: dict[str, Record] = {}  # those that have not ended
        self.ended: list[int] = []  # the first items of those that have
        self.told = 0  # how many of these their client was told of
        self.noted = 0  # how many the journal was
        self.done = 0  # items that have ended
        self.bad: m.Outcome | None = None  # of the first share that did not end well
        self.values: dict[int, m.Value] | None = None  # if they are wanted, by the first item

    @property
    def record(self) -> Record:
        """The chunk, as long as anybody knows it."""
        record = self._record()
        assert record is not None
        return record

    def of(self, record: Record) -> bool:
        """Whether this is the chunk, and no share."""
        return self._record() is record

    @property
    def left(self) -> int:
        """How many items nobody has been given."""
        return sum(stop - start for start, stop in self.todo)

    def take(self, size: int) -> tuple[int, int]:
        """Take some of the first items out."""
        start, stop = self.todo[0]
        if stop - start > size:
            stop = start + size
            self.todo[0] = stop, self.todo[0][1]
        else:
            del self.todo[0]
        return start, stop

    def add(self, start: int, stop: int) -> None:
        """Put items back."""
        insort(self.todo, (start, stop))
        joined = self.todo[:1]
        for begin, end in self.todo[1:]:
            if begin == joined[-1][1]:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((begin, end))
        self.todo = joined

    # --- what it gives ----------------------------------------------------------------------------

    def keep(self) -> None:
        """Somebody will take what the items give: keep it, whatever is forgotten meanwhile."""
        if self.values is None:
            self.values = dict(self._known(self.tasks))

    def restore(self, tasks: Mapping[str, Record], kept: Mapping[str, m.Value]) -> None:
        """The same of a chunk of before: these `tasks` are known, also such as were forgotten.

        Of the values of others, some were `kept` by themselves.
        """
        self.values = dict(self._known(tasks))
        for start in self.ended:
            if (value := kept.get(share_id(self.id, start))) is not None:
                self.values.setdefault(start, value)

    @property
    def gone(self) -> bool:
        """Whether some of what they gave is not kept any more."""
        return len(self._kept()) < len(self.ended)

    @property
    def worn(self) -> bool:
        """Whether some of the shares that have ended are forgotten."""
        return any(share_id(self.id, start) not in self.tasks for start in self.ended)

    def value(self) -> m.Value:
        """What all of them have given."""
        kept = self._kept()
        return m.Value(b"", (), tuple(kept[start] for start in sorted(kept)))

    def _kept(self) -> dict[int, m.Value]:
        return dict(self._known(self.tasks)) if self.values is None else self.values

    def _known(self, tasks: Mapping[str, Record]) -> Iterator[tuple[int, m.Value]]:
        for outcome in self._outcomes(tasks, self.ended):
            yield outcome.start, m.Value(outcome.value, outcome.buffers)

    @property
    def untold(self) -> bool:
        """Whether shares have ended of which nobody was told yet, but will be in this turn."""
        return self.told < len(self.ended)

    def outcomes(self) -> Iterator[m.Outcome]:
        """The outcomes of its shares that its client was told of, as far as they are kept."""
        return self._outcomes(self.tasks, self.ended[: self.told])

    def _outcomes(self, tasks: Mapping[str, Record], starts: list[int]) -> Iterator[m.Outcome]:
        for start in starts:
            share = tasks.get(share_id(self.id, start))
            if share is not None and share.outcome is not None:
                yield share.outcome


def is_share_of(record: Record, id: str, attempt: int) -> bool:
    """Whether it is the share that an engine calls so, which may have told what has ended."""
    return record.attempt == attempt and chunk_id(record.spec.id) == chunk_id(id)


def stands_for(record: Record | None, items: tuple[int, int]) -> bool:
    """Whether it is a share of just these items."""
    chunk = None if record is None else record.spec.chunk
    return chunk is not None and (chunk.start, chunk.stop) == items


def is_chunk(record: Record) -> bool:
    """Whether it is divided into others."""
    return record.pool is not None and record.pool.of(record)
