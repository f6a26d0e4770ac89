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

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from . import entries
from . import messages as m
from .ahead import MOST
from .engines import Death, Place
from .pools import Pool, chunk_id, is_chunk, part_of
from .tasks import Record

if TYPE_CHECKING:
    from .work import Work


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
        self.open: dict[str, Record] = {}  # the chunks that have not ended
        self._unknown: set[str] = set()  # chunks of which only shares that engines had are known

    def was_had(self, id: str) -> bool:
        """Whether engines had shares of this chunk, which has come only now."""
        if id in self._unknown:
            self._unknown.discard(id)
            return True
        return False

    def accept(self, record: Record, chunk: m.Chunk) -> None:
        """A chunk has arrived."""
        self._begin(record, chunk)

    def _begin(self, record: Record, chunk: m.Chunk) -> Pool:
        pool = record.pool = Pool(record, chunk, self._work.tasks)
        record.items = 0  # its shares have them
        if record.outcome is None:
            self.open[record.spec.id] = record
        return pool

    def take(self, record: Record, now: float) -> Record:
        """Cut a share off a chunk that was just taken out of its line, which has an engine."""
        placement, pool = self._work.placement, record.pool
        assert pool is not None
        engines, last = len(self._work.here), not placement.waiting
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
        work.journal.changed(share)
        work.journal.divided(pool)
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
        self._work.journal.changed(share)

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
        pool, _ = _of(share)
        del pool.shares[share.spec.id]
        work.journal.divided(pool)

    def _give_back(self, pool: Pool, start: int, stop: int, now: float) -> None:
        pool.add(start, stop)
        if self._work.doubtful is not None:  # others may have been given them since
            self._work.doubtful.setdefault(pool.id, False)
        self._work.journal.divided(pool)
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
        # Before a restart others may have followed it, which its engine holds by themselves now.
        running = result.running if done != chunk.stop else 0
        end = done + running
        possible = min(result.items, running) >= 0 and end <= chunk.stop
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
        if running:
            if end < chunk.stop:  # it takes long, so that nothing is to wait behind it
                place.backlog += MOST - share.expected
                share.expected = MOST
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
        record.aborting = True
        self._work.journal.changed(record)
        for share in self._out(record, now):
            self._work.end(share, "aborted", now)

    def _out(self, record: Record, now: float) -> list[Record]:
        """Shares of those items of a chunk, or of a former share, that nobody was given."""
        pool, chunk = _of(record)
        todo = [(max(start, chunk.start), min(stop, chunk.stop)) for start, stop in pool.todo]
        out = [(start, stop) for start, stop in todo if start < stop]
        if not out or pool.record.state != "waiting":  # it may have ended
            return []
        pool.todo = [
            rest
            for start, stop in pool.todo
            for rest in ((start, min(stop, chunk.start)), (max(start, chunk.stop), stop))
            if rest[0] < rest[1]
        ]
        if not pool.todo:
            self._work.placement.take_out(pool.record)
            pool.record.move("divide", now)
        return [self._new(pool, start, stop) for start, stop in out]

    def ended(self, share: Record, now: float) -> None:
        """A share has its outcome."""
        if is_chunk(share):
            self.open.pop(share.spec.id, None)
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
        self._work.journal.divided(pool)
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

    def worn(self, record: Record) -> bool:
        """Whether it is a chunk of which some shares are forgotten."""
        return record.pool is not None and is_chunk(record) and record.pool.worn

    # --- from the journal -----------------------------------------------------------------------

    def restore(
        self,
        tasks: Mapping[str, Record],
        divided: Mapping[str, entries.Divided],
        ended: Mapping[str, list[int]],
    ) -> list[str]:
        """Take up how chunks were divided; gives the ids of shares that are no more."""
        for id, record in tasks.items():
            if record.spec.chunk is None or "." in id:
                continue
            pool = self._begin(record, record.spec.chunk)
            if (entry := divided.get(id)) is not None:
                pool.todo = [(start, stop) for start, stop in entry.todo]
                pool.ended, pool.done, pool.bad = ended[id], entry.done, entry.bad
                pool.told = pool.noted = len(pool.ended)
            if record.outcome is None:
                record.state = "waiting" if pool.todo else "divided"
        gone = []
        for id, share in tasks.items():
            whole = tasks.get(chunk_id(id))
            if share.spec.chunk is None or whole is None or whole is share or whole.pool is None:
                continue
            entry = divided.get(whole.spec.id)
            share.pool = whole.pool
            share.items = share.spec.chunk.stop - share.spec.chunk.start
            if share.outcome is not None:
                continue
            if entry is None or id not in entry.live or whole.outcome is not None:
                gone.append(id)
            else:
                whole.pool.shares[id] = share
        return gone

    def adopt(self, place: Place, n: int, id: str, attempt: int, *, items: tuple[int, int]) -> bool:
        """An engine has items that were not known to be given to it.

        False when others have them, or nobody wants them any more.

        Of a chunk that is not known (yet) it cannot be said what else was done of it.
        """
        record = self._work.tasks.open(chunk_id(id))
        if record is None or record.pool is None:
            self._unknown.add(chunk_id(id))
            return False
        if record.outcome is not None:
            return False
        pool, (start, stop) = record.pool, items
        for i, (begin, end) in enumerate(pool.todo):
            if begin <= start < stop <= end:
                rest = [part for part in ((begin, start), (stop, end)) if part[0] < part[1]]
                pool.todo[i : i + 1] = rest
                break
        else:
            return False
        share = self._new(pool, start, stop)
        share.attempt, share.state = attempt, "queued"
        place.hold(share, n)
        if not pool.todo:
            self._work.placement.take_out(record)
            record.state = "divided"
        return True

    def doubt(self, record: Record, reason: str, now: float) -> None:
        """What waits of a chunk, or a former share, may have been started: a retry, or the end."""
        for share in self._out(record, now):
            if share.spec.retries:
                share.attempt = share.spent = 1  # the one that may have been started
                share.move("wait", now, "in doubt")
                self._put_back(share, now)
            else:
                facts = {"reason": reason, "started": True}
                self._work.end(share, "lost", now, facts=facts)

    def parts(self, record: Record) -> tuple[Record, ...]:
        """A task, and of a chunk its shares that have not ended."""
        if record.pool is None or not record.pool.of(record):
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
