"""Giving out: which engine gets which of the tasks that wait, what it is sent, what is called back.

What happens to tasks and engines changes what could be given to whom; `settle` looks at all of that
once for a turn. `placement` has the lines and asks the scheme; here tasks go from the lines into
the queues of engines, from there into messages, and back when they were sent ahead in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING

from . import entries
from . import messages as m
from .ahead import PATIENCE
from .bundles import Bundle, Unit
from .engines import Place
from .events import Effect, Send
from .pools import is_chunk
from .tasks import Record

if TYPE_CHECKING:
    from .work import Work

ACK_LATER = 16
"""Messages with results that are acknowledged together at most, when there is no new work."""

ACK_BYTES = 1 << 18
"""The same in bytes."""

KNOWN = 10_000
"""Functions of which it is known at most that an engine has them."""


class Dispatch:
    """See the module's theory. `come_back` lets what was called back wait again, before others."""

    def __init__(self, work: Work, come_back: Callable[[Record, Place, float], None]) -> None:
        self._work, self._come_back = work, come_back
        self.touched: dict[int, Place] = {}  # engines to be looked at when settling
        self.surprised = False  # items of a map are not brief after all
        self._turn = 0

    def touch(self, place: Place) -> None:
        """Something about this engine has changed: look at it when settling."""
        self.touched[place.id] = place

    def put(self, place: Place, record: Record) -> None:
        """Let a task join the queue of this engine."""
        record.expected = self._work.placement.expected(record)
        place.put(record)
        self._was_given(place)

    def _was_given(self, place: Place) -> None:
        self._turn += 1
        place.used = self._turn
        self._work.placement.changed(place)
        self.touched[place.id] = place

    def leave(self, record: Record) -> None:
        """A task is not with its engine any more."""
        place = self._work.places[record.place]
        place.leave(record)
        record.place = -1
        self.touched[place.id] = place

    def settle(self, now: float, out: list[Effect]) -> None:
        """Give out what can run, and say what to send to the engines."""
        placement = self._work.placement
        choked = self._work.journal.full
        changed = self._work.places if choked != placement.choked else self.touched
        placement.choked = choked
        for place in changed.values():
            placement.changed(place)
        self._give_out(now)
        for place in self.touched.values():
            if (unit := placement.behind(place)) is not None:
                self._give([unit], place, now)
        if placement.crowded and (placement.idle or self.surprised or placement.urgent):
            self._call_back(now, out)
            self._give_out(now, again=True)
        elif not placement.crowded:
            placement.humblest = inf
        self.surprised = placement.urgent = False
        for place in self.touched.values():
            if place.open and not placement.paused:
                self._send(place, now, out)
        self.touched.clear()

    def _give_out(self, now: float, again: bool = False) -> None:
        """Choose the engines of tasks that wait, as far as there is room.

        What is given out `again` may wait there for as long as anything: else it would be called
        back at once, over and over, where the engine that has nothing may not run it.
        """
        placement = self._work.placement
        while placement.waiting:
            found = placement.next()
            if found is None:
                break
            first, place = found
            self._give(placement.take(place, first), place, now)
            if again:
                place.heard = now

    def _give(self, units: list[Unit], place: Place, now: float) -> None:
        """An engine gets these tasks, or a share of this chunk."""
        for unit in units:
            if type(unit) is not Bundle and unit.pool is not None and is_chunk(unit):
                unit = self._work.chunks.take(unit, now)
            unit.move("assign", now, "assign", place.id)
            unit.expected = self._work.placement.expected(unit)
            place.put(unit)
        self._was_given(place)

    def deadline(self) -> float | None:
        """When `settle` is due, if nothing happens before."""
        if not self._work.placement.crowded:
            return None
        return min([place.heard + PATIENCE for place in self._stuck()], default=None)

    def _stuck(self) -> list[Place]:
        """Engines at which something waits while another one has nothing to do.

        Or while something more urgent waits for any: then what is done in no time may stay.
        """
        placement = self._work.placement
        crowded = placement.crowded.values()
        if placement.idle or self.surprised:
            return list(crowded)
        return [place for place in crowded if not place.brief] if placement.urgent else []

    def _call_back(self, now: float, out: list[Effect]) -> None:
        """What waits for long behind something that is not as brief as thought runs elsewhere.

        At once when it was not thought to be brief, and when items of a map turn out to be long:
        they go one by one from now on.
        """
        placement = self._work.placement
        stuck, surprised, self.surprised = self._stuck(), self.surprised, False
        for place in stuck:
            if place.brief and now < place.heard + PATIENCE and not surprised:
                continue
            queued, sent = place.call_back()
            for record in reversed(queued):
                self._come_back(record, place, now)
            if sent and (lane := place.lanes.get("control")) is not None:
                out.append(Send(lane, abort_of(sent, running=False)))
            placement.changed(place)
            placement.crowded.pop(place.id, None)  # until something happens there

    def _send(self, place: Place, now: float, out: list[Effect]) -> None:
        conn, work = place.lanes["tasks"], self._work
        run, noted = m.Run([], []), entries.Sent(place.id, [], [])
        if not place.busy:
            place.heard = now
        known = place.known
        for unit in place.take():
            function = unit.function
            if type(unit) is not Bundle:
                unit.attempt += 1
            unit.move("send", now, "send", place.id)
            if function not in known:
                if len(known) >= KNOWN:
                    known.clear()  # they are sent once more
                known.add(function)
                out.append(Send(conn, m.definition(function, work.functions[function])))
            if type(unit) is Bundle:
                run.rows.append(unit.row(place.clears))
                noted.rows.append((unit.n, unit.ids))
                continue
            run.attempts.append(attempt_of(unit, place))
            if not unit.direct:
                noted.attempts.append((unit.n, unit.spec.id, unit.attempt))
                if unit.spec.terms is not None:
                    work.journal.changed(unit)
        if noted.attempts or noted.rows:
            work.journal.note(noted)
        some = bool(run.attempts or run.rows)
        late = place.durable - place.acked
        if late and (some or late >= ACK_LATER or place.unacked_bytes > ACK_BYTES):
            place.acked = place.durable
            place.unacked_bytes = 0
            out.append(Send(conn, m.Acked(place.durable, place.name)))
        if some:
            out.append(Send(conn, run))


def attempt_of(record: Record, place: Place) -> m.Attempt:
    """What an engine is told about the latest attempt of a task."""
    spec = record.spec
    terms = spec.terms
    if terms is None:
        return m.Attempt(
            record.n, spec.id, record.attempt, spec.function, spec.arguments, spec.buffers,
            record.final, spec.name, place.clears, chunk=spec.chunk,
        )  # fmt: skip
    return m.Attempt(
        record.n, spec.id, record.attempt, spec.function, spec.arguments, spec.buffers,
        record.final, spec.name, place.clears,
        terms.time_limit if terms.time_limit < inf else 0.0,
        terms.clear_before, terms.clear_after, record.inputs, stage=record.stage,
    )  # fmt: skip


def aborts_at(place: Place) -> Iterator[m.Abort]:
    """All that this engine is told about tasks that it was sent and that shall not start."""
    for running in (False, True):
        records = [r for r in place.sent.values() if r.unwanted and r.interrupting is running]
        if records:
            yield abort_of(records, running)


def abort_of(records: list[Record], running: bool, gently: bool = False) -> m.Abort:
    """What an engine is told about tasks that it was sent and that shall not start."""
    numbers = [r.n for r in records]
    return m.Abort([r.spec.id for r in records], running, numbers=numbers, gently=gently)
