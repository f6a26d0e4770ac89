"""The life of tasks: accepted, placed, sent, ended. The controller's only writer of task state.

It knows engines and tasks and nothing of clients: what has ended is left in `ended`, for the
controller to tell. Methods change state; `settle` then gives out what can run and says what to
send, once for all that has happened.
"""

from __future__ import annotations

from typing import Any

from ..schemes import Scheme
from . import messages as m
from .engines import Place
from .events import Effect, Log, Send
from .functions import Functions
from .history import History
from .placement import Placement
from .tasks import Record

ACK_LATER = 16
"""Messages with results that are acknowledged together at most, when there is no new work."""

ACK_BYTES = 1 << 18
"""The same in bytes."""


class Work:
    """Every task and every engine of the cluster."""

    def __init__(
        self,
        scheme: Scheme,
        *,
        hwm: int,
        crash_limit: int,
        record_limit: int,
        record_bytes: int,
        function_bytes: int,
    ) -> None:
        self.tasks: dict[str, Record] = {}
        self.places: dict[int, Place] = {}
        self.placement = Placement(scheme, hwm)
        self.functions = Functions(function_bytes)
        self.history = History(record_limit, record_bytes)
        self.crash_limit = crash_limit
        self.bytes = 0  # of tasks that are not done
        self.unfinished = 0
        self.late = 0
        self.ended: list[Record] = []
        self.touched: dict[int, Place] = {}
        self._turn = 0

    # --- from clients ---------------------------------------------------------------------------

    def accept(self, spec: m.Task, owner: bytes, now: float) -> Record | None:
        """A task arrives, after its function; None when it is here already."""
        if spec.id in self.tasks:
            return None
        record = self.tasks[spec.id] = Record(spec, owner)
        self.bytes += record.size
        self.unfinished += 1
        self.functions.need(spec.function)
        if spec.engine >= 0:
            self._accept_direct(record, now)
            return record
        if spec.targets:
            spec.targets = tuple(sorted(set(spec.targets)))
            for engine in spec.targets:
                if engine not in self.places:
                    self._no_engine(record, engine, now)
                    return record
        record.move("wait", now, "accepted")
        self.placement.add(record)
        return record

    def _accept_direct(self, record: Record, now: float) -> None:
        place = self.places.get(record.spec.engine)
        if place is not None and (place.here or place.awaited):
            record.move("assign", now, "accepted", place.id)
            self._put(place, record)
        else:
            self._no_engine(record, record.spec.engine, now)

    def _no_engine(self, record: Record, id: int, now: float) -> None:
        here = sorted(p.id for p in self.places.values() if p.here)
        facts = {"reason": f"no engine {id} is registered", "engines": here, "started": False}
        self.end(record, "lost", now, facts=facts, engine=id)

    def abort(self, record: Record, running: bool, now: float) -> bool:
        """The task shall not start; True when it may have, so that its engine has to be told."""
        match record.state:
            case "done":
                return False
            case "sent":
                record.aborting = True
                record.interrupting |= running
                return True
            case "queued":
                self._leave(record)
            case "waiting":
                self.placement.remove(record)
        self.end(record, "aborted", now)
        return False

    def dropped(self, place: Place, id: str, n: int, now: float) -> None:
        """An engine has not started an attempt that was to be aborted, and will not."""
        record = self.tasks.get(id)
        if record is not None and record.aborting and place.sent.get(n) is record:
            self._leave(record)
            self.end(record, "aborted", now, engine=place.id)

    # --- from engines ---------------------------------------------------------------------------

    def result(self, place: Place, result: m.Result, now: float) -> None:
        """An attempt has ended; anything but the latest attempt on this life is late."""
        record = self.tasks.get(result.id)
        if (
            record is None
            or record.attempt != result.attempt
            or record.state != "sent"
            or place.sent.get(record.n) is not record
        ):
            self.late += 1
            place.late += 1
            return
        self._leave(record)
        if result.status == "error" and not record.final:
            record.spent += 1
            record.avoid = (*record.avoid[-7:], place.id)
            record.move("retry", now, "failed", place.id)
            self.placement.put_back(record)
            return
        self.end(record, result.status, now, result=result, engine=place.id)

    def lose(self, place: Place, reason: str, now: float) -> list[Effect]:
        """A life of an engine is over: what it had goes on elsewhere, or ends."""
        death = place.death
        facts: dict[str, Any] = {
            "uptime": now - place.since,
            **(death.facts if death else {}),  # anything may stand in these
            "reason": death.reason if death else reason,
            "pid": place.pid,
            "host": place.host,
            "replaced": death.replaced if death else False,
        }
        sent, queued = list(place.sent.values()), list(place.queue)
        place.end()
        place.awaited = bool(death and death.replaced)
        self.placement.changed(place)
        running = None
        # From the last to the first, so that those put back stand in their old order.
        for record in reversed(queued):
            if record.state == "queued":
                self._orphan(record, place, started=False, running=False, facts=facts, now=now)
        first = sent[0].n if sent else 0
        for record in reversed(sent):
            started = death is None or record.n <= death.started
            on_duty = (
                record.n == first if death is None else death.finished < record.n <= death.started
            )
            if on_duty:
                running = record.spec.id
            self._orphan(record, place, started=started, running=on_duty, facts=facts, now=now)
        fields = {"engine": place.id, "host": place.host, "pid": place.pid}
        fields |= {"reason": facts["reason"], "up": round(now - place.since, 1)}
        if running:
            fields["task"] = running
        expected = facts["reason"] == "stopped"
        return [Log("info" if expected else "warning", "engine.lost", fields)]

    def _orphan(
        self,
        record: Record,
        place: Place,
        *,
        started: bool,
        running: bool,
        facts: dict[str, Any],
        now: float,
    ) -> None:
        """Decide about a task whose engine is lost."""
        record.place = -1
        if running:
            record.crashed = (*record.crashed, place.id)
        kills = len(record.crashed) >= self.crash_limit
        if record.aborting:
            self.end(record, "aborted", now, engine=place.id)
        elif record.direct or (started and (record.spent >= record.spec.retries or kills)):
            more: dict[str, Any] = {
                "direct": record.direct,
                "started": started,
                "attempts": record.spent + 1,  # those that started
                "retries": record.spec.retries,
            }
            status: m.Status = "kills" if kills and not record.direct else "lost"
            if status == "kills":
                more["engines"] = list(record.crashed)
            self.end(record, status, now, facts=facts | more, engine=place.id)
        elif started:
            record.spent += 1
            record.avoid = (*record.avoid[-7:], place.id)
            record.move("retry", now, "engine lost", place.id)
            self.placement.put_back(record)
        else:
            record.move("free", now, "engine lost", place.id)
            self.placement.put_back(record)

    def fail_awaiting(self, place: Place, reason: str, now: float) -> None:
        """No new life will come to this place: what waited for it ends."""
        place.awaited = False
        for record in list(place.queue):
            if record.state == "queued":
                facts = {"reason": reason, "started": False, "host": place.host, "pid": place.pid}
                self.end(record, "lost", now, facts=facts, engine=place.id)
        place.queue.clear()
        place.load = 0

    # --- the end of a task ----------------------------------------------------------------------

    def end(
        self,
        record: Record,
        status: m.Status,
        now: float,
        *,
        result: m.Result | None = None,
        facts: dict[str, Any] | None = None,
        engine: int = -1,
    ) -> None:
        """The task is done: this is its one outcome."""
        spec = record.spec
        record.move("end", now, status, engine)
        at = self.places.get(engine)
        incarnation = at.name if at is not None else ""
        if result is None:
            record.outcome = m.Outcome(
                spec.id, status, engine=engine, incarnation=incarnation, attempt=record.attempt,
                submitted=spec.submitted, completed=now, name=spec.name, facts=facts or {},
            )  # fmt: skip
        else:
            record.outcome = m.Outcome(
                spec.id, status, result.value, result.buffers, engine, incarnation,
                record.attempt, spec.submitted, result.started, result.completed, result.outputs,
                spec.name,
            )  # fmt: skip
        record.finished = now
        self.bytes -= record.size
        self.unfinished -= 1
        self.functions.release(spec.function)
        spec.arguments, spec.buffers = b"", ()
        self.ended.append(record)
        for old in self.history.add(record):
            del self.tasks[old.spec.id]

    # --- giving out -----------------------------------------------------------------------------

    def joined(self, place: Place) -> None:
        """An engine can be sent work (again)."""
        self.placement.changed(place)
        self.touch(place)

    def touch(self, place: Place) -> None:
        """Something about this engine has changed: look at it when settling."""
        self.touched[place.id] = place

    def _put(self, place: Place, record: Record) -> None:
        self._turn += 1
        place.used = self._turn
        place.put(record)
        self.placement.changed(place)
        self.touched[place.id] = place

    def _leave(self, record: Record) -> None:
        place = self.places[record.place]
        place.leave(record)
        record.place = -1
        self.touched[place.id] = place

    def settle(self, now: float, out: list[Effect]) -> None:
        """Give out what can run, and say what to send to the engines."""
        placement = self.placement
        for place in self.touched.values():
            placement.changed(place)
        while placement.waiting:
            found = placement.next()
            if found is None:
                break
            record, place = found
            record.move("assign", now, "assign", place.id)
            self._put(place, record)
        for place in self.touched.values():
            if place.open:
                self._send(place, now, out)
        self.touched.clear()

    def _send(self, place: Place, now: float, out: list[Effect]) -> None:
        conn = place.lanes["tasks"]
        attempts: list[m.Attempt] = []
        while (record := place.take()) is not None:
            spec = record.spec
            record.attempt += 1
            record.move("send", now, "send", place.id)
            if spec.function not in place.known:
                place.known.add(spec.function)
                out.append(Send(conn, m.Define(spec.function, self.functions[spec.function])))
            attempts.append(attempt_of(record, place))
        late = place.results - place.acked
        if late and (attempts or late >= ACK_LATER or place.unacked_bytes > ACK_BYTES):
            place.acked = place.results
            place.unacked_bytes = 0
            out.append(Send(conn, m.Acked(place.results)))
        if attempts:
            out.append(Send(conn, m.Run(attempts)))


def attempt_of(record: Record, place: Place) -> m.Attempt:
    """What an engine is told about the latest attempt of a task."""
    spec = record.spec
    return m.Attempt(
        record.n, spec.id, record.attempt, spec.function, spec.arguments, spec.buffers,
        record.final, spec.name, place.clears,
    )  # fmt: skip


def abort_of(records: list[Record], running: bool) -> m.Abort:
    """What an engine is told about tasks that it was sent and that shall not start."""
    return m.Abort([r.spec.id for r in records], running, numbers=[r.n for r in records])
