"""Everything that a controller which starts again has to know, as entries of the journal.

It is told piece by piece while the controller goes on; each piece is as of when it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from . import entries as e
from . import messages as m
from .engines import Place
from .graph import Condition
from .once import Once
from .pools import Pool, is_chunk, share_id
from .sessions import Session
from .tasks import Record

if TYPE_CHECKING:
    from .controller import Controller

LARGE = 64 << 10
"""Bytes from which on the results of direct requests are not written."""

SMALL = 100
"""Bytes that a piece without payloads counts for."""


class Account:
    """What there is to tell of a controller."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._work = controller.work

    @property
    def held(self) -> int:
        """About how many bytes of it cannot be spared: tasks that have not ended."""
        return self._work.quota.bytes

    def everything(self) -> Iterator[tuple[e.AnyEntry, int]]:
        """All pieces, and about how many bytes each takes."""
        controller, work = self._controller, self._work
        yield self._begin(), SMALL
        for hash in list(work.functions.blobs):
            if (blob := work.functions.blobs.get(hash)) is not None:
                yield e.Function(hash, *m.fields_of(blob)), len(blob)
        for place in list(work.places.values()):
            yield life_of(place), SMALL
        for incarnation in list(controller.over):
            yield e.Over(incarnation), SMALL
        for session in list(controller.sessions.values()):
            if session.identity in controller.sessions:  # it has not left meanwhile
                yield came_of(session), SMALL
        if controller.recovery.untold is not None:
            yield controller.recovery.untold, SMALL
        once = Once()
        for id in list(work.tasks):
            record = work.tasks.seen(id)
            if record is None:
                continue
            if not record.direct:
                yield self.state(record), record.size - once.add(record.given)
                if is_chunk(record) and record.pool is not None:
                    yield self.divided(record.pool), SMALL
            elif record.outcome is None or id in work.unfetched:  # its engine tells how it ended
                yield e.Taken(record.owner, 0, [], [e.Direct.of(record.spec)]), SMALL
                if id in work.had or record.aborting:
                    yield request_of(record, id in work.had), SMALL
            else:
                yield self._direct(record, record.outcome), min(record.size, LARGE)
        for id, number in list(work.numbers.items()):
            yield e.Numbered(id, number), SMALL
        for id in list(work.inputs.needed):
            yield from self._values(id)
        for session in list(controller.sessions.values()):
            for outcome in session.owed():
                if outcome.id not in work.tasks or self._is_left_out(outcome):
                    yield e.Owed(session.identity, outcome), outcome.size()

    def _is_left_out(self, outcome: m.Outcome) -> bool:
        """Whether nothing told of the task has its value, and no engine keeps it."""
        large = outcome.size() > LARGE and outcome.id not in self._work.unfetched
        return large and self._work.tasks[outcome.id].direct

    def _values(self, id: str) -> Iterator[tuple[e.Kept, int]]:
        """What others take of this task, as far as what was told of tasks does not say it."""
        work = self._work
        known, value = work.tasks.get(id), work.inputs.values.get(id)
        if value is not None:
            if known is None or known.direct or work.chunks.worn(known):
                yield e.Kept(id, value), value.size()
        elif known is not None and known.pool is not None:  # a chunk that has not ended
            for start, part in list((known.pool.values or {}).items()):
                share = share_id(id, start)
                if share not in work.tasks:
                    yield e.Kept(share, part), part.size()

    def _begin(self) -> e.Begin:
        controller, work = self._controller, self._work
        ended = dict(work.history.ended)
        return e.Begin(controller.session_count, controller.chosen, ended, work.numbers_given)

    def _direct(self, record: Record, outcome: m.Outcome) -> e.State | e.Passed:
        """A direct request that has ended: all but what it was to do."""
        if outcome.size() > LARGE:
            return e.Passed(record.owner, replace(outcome, value=b"", buffers=()))
        return replace(self.state(record), origin=e.Direct.of(record.spec).task(), spec=None)

    def state(self, record: Record) -> e.State:
        """A task as it is now."""
        sent = record.state == "sent"
        return e.State(
            record.owner,
            record.origin,
            attempt=record.attempt,
            spent=record.spent,
            crashed=record.crashed,
            avoid=record.avoid,
            allowed=record.allowed,
            refused=record.refused,
            refusals={id: (*each,) for id, each in (record.refusals or {}).items()},
            aborting=record.aborting,
            interrupting=record.interrupting,
            spec=None if record.spec is record.origin else record.spec,
            waits=None if record.wait is None else [self._wait(c) for c in record.wait.conditions],
            place=record.place if sent else -1,
            n=record.n if sent else 0,
            outcome=record.outcome,
            finished=record.finished,
            steps=list(record.steps),
        )

    def divided(self, pool: Pool, whole: bool = True) -> e.Divided:
        """A chunk as it is now; unless as a `whole`, by what was not told of it before."""
        since, pool.noted = 0 if whole else pool.noted, len(pool.ended)
        return e.Divided(
            pool.id, list(pool.todo), list(pool.shares), pool.ended[since:], pool.done, pool.bad,
            since,
        )  # fmt: skip

    def _wait(self, condition: Condition) -> e.Condition:
        tasks, against = self._work.tasks, condition.against
        open = [id for id in condition.ids if id in tasks and tasks[id].state != "done"]
        if condition.ended + len(open) > condition.total:
            # One had ended and was forgotten, and is known again: an engine has told of it.
            edges = self._work.conditions.graph.edges
            open = [id for id in open if any(each is condition for _, each in edges.get(id, ()))]
        return e.Condition(
            condition.ended, condition.counted, sorted(condition.engines), open,
            None if against is None else against.outcome,
        )  # fmt: skip


def life_of(place: Place) -> e.Life:
    """The life at this place, or the last one."""
    return e.Life(
        place.id, place.identity, place.incarnation, place.host, place.pid, place.python,
        place.since, not place.here,
    )  # fmt: skip


def request_of(record: Record, had: bool) -> e.Request:
    """What its engine does not tell of a direct request."""
    return e.Request(record.spec.id, record.owner, had, record.aborting, record.interrupting)


def came_of(session: Session) -> e.Came:
    """A client, and how much of what it submitted is known."""
    return e.Came(session.number, session.identity, session.id, session.role, session.taken)
