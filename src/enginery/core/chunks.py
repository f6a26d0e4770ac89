"""The chunks of maps: many calls that arrive as one task, and are divided while engines run them.

A *chunk* stands in line like any task. Whenever an engine has room for it, some of its items are
cut off as a *share*: a task of its own, named after the chunk and its first item ("7f3a2c-12.40"),
which is queued, sent, retried and lost like others. What no engine has been given yet is in the
chunk's *pool*, so there is one record for each share, and none for each item.

A share says nothing for good of who runs its items. The engine tells of them from the first to the
last, in one result or in several: items that went well together, each failed one alone. What it was
told of ends as a share; what it has not begun when the attempt ends, because it was called back, or
its items take longer than was thought, is in the pool again. So is what an engine that died had not
begun, by the page it shared with its supervisor. What it had begun keeps its account (retries,
engines that died) in a share that is never merged with others.

Invariants (`laws`): every item is in the pool or in one share, and in one only; a chunk waits in
line as long as there is something in its pool, and is done when all its shares are.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec.structs import replace

from . import messages as m
from .ahead import WORTH
from .engines import Death, Place
from .tasks import Record

if TYPE_CHECKING:
    from .work import Work


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
        "bad", "done", "ended", "record", "shares", "tasks", "todo", "told", "values",
    )  # fmt: skip

    def __init__(self, record: Record, chunk: m.Chunk, tasks: Mapping[str, Record]) -> None:
        self.record = record  # the chunk
        self.tasks = tasks  # all that are known
        self.todo = [(chunk.start, chunk.stop)]  # given to nobody: ranges, apart and ascending
        self.shares: dict[str, Record] = {}  # those that have not ended
        self.ended: list[int] = []  # the first items of those that have
        self.told = 0  # how many of these their client was told of
        self.done = 0  # items that have ended
        self.bad: m.Outcome | None = None  # of the first share that did not end well
        self.values: dict[int, m.Value] | None = None  # if they are wanted, by the first item

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
            self.values = dict(self._known())

    @property
    def gone(self) -> bool:
        """Whether some of what they gave is not kept any more."""
        return len(self._kept()) < len(self.ended)

    def value(self) -> m.Value:
        """What all of them have given."""
        kept = self._kept()
        return m.Value(b"", (), tuple(kept[start] for start in sorted(kept)))

    def _kept(self) -> dict[int, m.Value]:
        return dict(self._known()) if self.values is None else self.values

    def _known(self) -> Iterator[tuple[int, m.Value]]:
        for outcome in self._outcomes(self.ended):
            yield outcome.start, m.Value(outcome.value, outcome.buffers)

    @property
    def untold(self) -> bool:
        """Whether shares have ended of which nobody was told yet, but will be in this turn."""
        return self.told < len(self.ended)

    def outcomes(self) -> Iterator[m.Outcome]:
        """The outcomes of its shares that its client was told of, as far as they are kept."""
        return self._outcomes(self.ended[: self.told])

    def _outcomes(self, starts: list[int]) -> Iterator[m.Outcome]:
        for start in starts:
            share = self.tasks.get(share_id(self.record.spec.id, start))
            if share is not None and share.outcome is not None:
                yield share.outcome


def is_chunk(record: Record) -> bool:
    """Whether it is divided into others."""
    return record.pool is not None and record.pool.record is record


class Chunks:
    """Divides chunks, and sees to what becomes of their shares. See the module's theory."""

    def __init__(
        self,
        work: Work,
        *,
        leave: Callable[[Record], None],
        drop: Callable[[str], None],
        put_back: Callable[[Record, float], None],
    ) -> None:
        self._work, self._leave, self._drop, self._put_back = work, leave, drop, put_back

    def accept(self, record: Record, chunk: m.Chunk) -> None:
        """A chunk has arrived."""
        record.pool = Pool(record, chunk, self._work.tasks)

    def take(self, record: Record, now: float) -> Record:
        """Cut a share off a chunk that was just taken out of its line, which has an engine."""
        placement, pool = self._work.placement, record.pool
        assert pool is not None
        engines = sum(place.here for place in self._work.places.values())
        last = not placement.waiting
        size = placement.paces.share(record.spec.function, pool.left, engines, last)
        share = self._new(pool, *pool.take(size))
        share.move("wait", now, "accepted")
        if pool.todo:
            placement.put_back(record)
        else:
            record.move("divide", now)
        return share

    def _new(self, pool: Pool, start: int, stop: int, like: Record | None = None) -> Record:
        """A share, with the account of another one whose items these were."""
        work, chunk = self._work, pool.record
        spec = part_of(chunk.spec, start, stop)
        share = Record(spec, chunk.owner)
        work.know(share)
        share.pool, share.items, share.allowed = pool, stop - start, chunk.allowed
        work.quota.take(share.owner, share.size)
        work.functions.need(spec.function)
        pool.shares[spec.id] = share
        if like is not None:
            share.attempt, share.spent, share.n = like.attempt, like.spent, like.n
            share.crashed, share.avoid = like.crashed, like.avoid
            share.refused, share.unfit, share.refusals = like.refused, like.unfit, like.refusals
            share.aborting, share.interrupting = like.aborting, like.interrupting
            share.expected, share.place, share.state = like.expected, like.place, like.state
            share.steps = list(like.steps)
        return share

    def _narrow(self, share: Record, stop: int) -> None:
        """The items from `stop` on are of this share no more."""
        _, chunk = _of(share)
        share.spec.chunk = replace(chunk, stop=stop)
        items = stop - chunk.start
        if share.place >= 0:
            self._work.places[share.place].spare -= share.items - items
        share.items = items

    # --- what comes back --------------------------------------------------------------------------

    def merged(self, share: Record, now: float, cause: str) -> bool:
        """Put what no engine has begun back into the pool, unless it has an account of its own."""
        pool, chunk = _of(share)
        if _marked(share):
            return False
        share.move("merge", now, cause)
        self._remove(share)
        self._give_back(pool, chunk.start, chunk.stop, now)
        return True

    def _remove(self, share: Record) -> None:
        """There is no such share any more; nothing of it has run."""
        work = self._work
        self._drop(share.spec.id)
        work.quota.give_back(share.owner, share.size)
        work.functions.release(share.spec.function)
        del _of(share)[0].shares[share.spec.id]

    def _give_back(self, pool: Pool, start: int, stop: int, now: float) -> None:
        pool.add(start, stop)
        if pool.record.state == "divided":
            pool.record.move("wait", now, "items came back")
            self._work.placement.put_back(pool.record)

    def _cut_off(self, share: Record, start: int, now: float) -> None:
        """The items from `start` on have not begun, and will not in this attempt."""
        pool, chunk = _of(share)
        stop = chunk.stop
        self._narrow(share, start)
        if share.aborting:
            other = self._new(pool, start, stop)
            self._work.end(other, "aborted", now)
        elif _marked(share):
            other = self._new(pool, start, stop, like=share)
            other.place = -1
            other.move("free", now, "items came back")
            self._put_back(other, now)
        else:
            self._give_back(pool, start, stop, now)

    # --- from engines -----------------------------------------------------------------------------

    def told(self, share: Record, place: Place, result: m.Result, now: float) -> bool:
        """An engine tells of the first items of a share; whether that share is what has ended now.

        It stands for these items alone then, and is not with the engine any more.
        """
        _, chunk = _of(share)
        done = chunk.start + result.items
        end = done + result.running
        possible = min(result.items, result.running) >= 0 and end <= chunk.stop
        if not possible or (result.status != "ok" and not result.items):
            self._work.late += 1
            place.late += 1
            return False
        if end == chunk.start:  # it was called back when it was about to begin
            self._leave(share)
            self._comes_back(share, place, now)
            return False
        if end < chunk.stop:
            self._cut_off(share, end, now)
        if result.running:
            if end < chunk.stop:  # it takes long, so that nothing is to wait behind it
                place.backlog += WORTH - share.expected
                share.expected = WORTH
                share.recalled = 0
            if result.items:
                self._goes_on(share, place, done)
        else:
            self._leave(share)
        return result.items > 0

    def _comes_back(self, share: Record, place: Place, now: float) -> None:
        """None of a share has begun."""
        if share.aborting:
            self._work.end(share, "aborted", now, engine=place.id)
        elif not self.merged(share, now, "called back"):
            share.recalled = 0
            share.move("free", now, "called back", place.id)
            self._put_back(share, now)

    def _goes_on(self, share: Record, place: Place, start: int) -> None:
        """From this item on the attempt is another share's."""
        pool, chunk = _of(share)
        place.pass_on(share, self._new(pool, start, chunk.stop, like=share))
        share.place = -1
        self._narrow(share, start)

    def torn(
        self, share: Record, death: Death | None, running: bool, now: float
    ) -> list[tuple[Record, bool]]:
        """Shares of the items that an engine that died had begun, from the last to the first.

        With each, whether it is known to have run then. Without word of a supervisor all items
        count as begun, and each goes on alone: one of them may be what kills engines.
        """
        pool, chunk = _of(share)
        share.place = -1
        if share.items == 1 or (death is not None and not running):
            return [(share, running)]
        if death is None:
            others = [
                self._new(pool, item, item + 1, like=share)
                for item in range(chunk.start + 1, chunk.stop)
            ]
            self._narrow(share, chunk.start + 1)
            return [(each, False) for each in (*reversed(others), share)]
        item = min(max(death.item, chunk.start), chunk.stop - 1)
        if item + 1 < chunk.stop:
            self._cut_off(share, item + 1, now)
        if item == chunk.start:
            return [(share, True)]
        last = self._new(pool, item, item + 1, like=share)
        self._narrow(share, item)
        return [(last, True), (share, False)]

    # --- the end ----------------------------------------------------------------------------------

    def abort(self, record: Record, now: float) -> None:
        """No more shares of this chunk shall be made; those that there are have to be told."""
        pool = record.pool
        assert pool is not None
        record.aborting = True
        if not pool.todo:
            return
        self._work.placement.remove(record)
        record.move("divide", now)
        todo, pool.todo = pool.todo, []
        for share in [self._new(pool, start, stop) for start, stop in todo]:
            self._work.end(share, "aborted", now)

    def ended(self, share: Record, now: float) -> None:
        """A share has its outcome."""
        if is_chunk(share):
            return
        outcome, (pool, chunk) = share.outcome, _of(share)
        assert outcome is not None
        outcome.start, outcome.stop = chunk.start, chunk.stop
        pool.done += chunk.stop - chunk.start
        pool.ended.append(chunk.start)
        if pool.bad is None and outcome.status != "ok":
            pool.bad = outcome
        if pool.values is not None:
            pool.values[chunk.start] = m.Value(outcome.value, outcome.buffers)
        del pool.shares[share.spec.id]
        self._end_if_done(pool, now)

    def _end_if_done(self, pool: Pool, now: float) -> None:
        if pool.shares or pool.todo:
            return
        work, record, bad = self._work, pool.record, pool.bad
        if bad is None:
            work.end(record, "ok", now)
        elif bad.status == "error":  # who depends on the chunk is told of it
            result = m.Result(
                record.spec.id, 0, "error", bad.value, bad.buffers, bad.started, bad.completed
            )
            work.end(record, "error", now, result=result, engine=bad.engine)
        else:
            work.end(record, bad.status, now, facts=bad.facts, engine=bad.engine, cause=bad.cause)

    def speaker(self, id: str) -> Record | None:
        """The task of which output of this id is: of an item, the share that it is in."""
        record: Record | None = self._work.tasks.get(id)
        chunk = self._work.tasks.get(chunk_id(id)) if record is None else None
        if chunk is None or chunk.pool is None:
            return record
        number = id.rpartition(".")[2]
        item = int(number) if number.isdecimal() else -1
        shares: dict[str, Record] = chunk.pool.shares
        for share in shares.values():
            part = share.spec.chunk
            if part is not None and part.start <= item < part.stop:
                return share
        return None

    def items(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Those of these tasks that are chunks, and which items they stand for."""
        found = {}
        for id in ids:
            record = self._work.tasks.get(id)
            if record is not None and is_chunk(record) and record.spec.chunk is not None:
                found[id] = record.spec.chunk.start, record.spec.chunk.stop
        return found

    def gone(self, record: Record) -> bool:
        """Whether it is a chunk of which some values are not kept any more."""
        return record.pool is not None and is_chunk(record) and record.pool.gone

    def parts(self, record: Record) -> tuple[Record, ...]:
        """A task, and of a chunk its shares that have not ended."""
        if record.pool is None or record.pool.record is not record:
            return (record,)
        return (record, *record.pool.shares.values())


def _of(share: Record) -> tuple[Pool, m.Chunk]:
    """The pool of a share's chunk, and its items."""
    pool, chunk = share.pool, share.spec.chunk
    assert pool is not None
    assert chunk is not None
    return pool, chunk


def _marked(share: Record) -> bool:
    """Whether something is known of this share's items that is not of all in the pool."""
    return bool(share.spent or share.crashed or share.avoid or share.refused or share.unfit)
