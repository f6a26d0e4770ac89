"""What clients submit: taken in order, as soon as the functions are there, and accepted.

A submission is *taken* when its tasks are known to `Work`, and *accepted* when its client may
forget it. What is accepted when there is little room, and when nothing is taken, says `quota`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..error import MemoryUnavailable
from . import messages as m
from . import queries, roles
from .delivery import Delivery
from .dispatch import abort_of
from .entries import Purged
from .events import Conn, Drop, Effect, Log, Send
from .pools import is_chunk, sane
from .sessions import Session
from .tasks import Record
from .work import Work

TELL_ACCEPTED = 0.005
"""Seconds after which a client is told what is accepted, unless outcomes go out before."""

TELL_BYTES = 1 << 20
"""Bytes of submissions of which it is told at once."""


class Answer(NamedTuple):
    """To a request that has changed something: it waits for the disk."""

    record: int
    conn: Conn | None  # on which the request came; None: any
    session: Session
    message: m.Reply | m.Refused


Repeated = Callable[[Session, float, list[Effect]], None]
"""A client has said again all that it had sent to the controller before."""


class Intake:
    """The way of tasks, functions and aborts from the clients into `Work`."""

    def __init__(self, work: Work, delivery: Delivery, repeated: Repeated) -> None:
        self.work = work
        self.delivery = delivery
        self._repeated = repeated
        self.quota = work.quota
        self.turned_away: dict[bytes, Session] = {}  # sessions to tell when there is room
        self.lacking: dict[bytes, Session] = {}  # sessions that wait for a function
        self.answers: deque[Answer] = deque()  # in the order of their records
        self.accepting: dict[bytes, tuple[float, Session]] = {}  # when to tell what is accepted

    # --- tasks ----------------------------------------------------------------------------------

    def submit(
        self, conn: Conn, session: Session, message: m.Submit, now: float, out: list[Effect]
    ) -> None:
        """A submission arrives."""
        if message.seq > session.submitted + 1:
            return  # an earlier one was lost on the way; it comes again, then this one
        if message.seq <= session.submitted:
            out.append(Send(conn, m.Accepted(session.accepted)))
            return
        quota = self.quota
        if quota.floods(session.unaccepted_bytes, session.unaccepted_tasks):
            out.append(Log("warning", "client.flood", {"client": session.id}))
            out.append(Drop(conn, "it sends more than its credit allows"))
            return
        if lacking := self._lacking(session):
            self._turn_away(session, lacking, out)
            return
        quota.waiting += session.arrived(message)
        if len(session.waiting) == 1:
            self._take(conn, session, now, out)

    def _turn_away(self, session: Session, lacking: str, out: list[Effect]) -> None:
        """There is no room: the client keeps what it has not submitted, and what comes now."""
        if (conn := session.lanes.get("tasks")) is not None:
            out.append(Send(conn, m.Room(session.submitted, lacking)))
        if session.identity not in self.turned_away:
            self.turned_away[session.identity] = session
            fields = {"client": session.id, "why": lacking}
            out.append(Log("info", "client.turned_away", fields))

    def _take(self, conn: Conn, session: Session, now: float, out: list[Effect]) -> None:
        """Take in what a client has submitted: in order, as soon as the functions are there."""
        functions = self.work.functions
        while session.waiting:
            submit, size = session.waiting[0]
            hashes = submit.functions()
            if not functions.blobs.keys() >= hashes.keys():
                if not session.lacking:
                    session.lacking = tuple(hashes)
                    for hash in session.lacking:
                        functions.need(hash)
                    self.lacking[session.identity] = session
                    self.ask(session, out)
                return
            session.waiting.popleft()
            self.quota.waiting -= size
            self._accept(conn, session, submit, now, out)
            self._lacks_nothing(session)

    def _accept(
        self, conn: Conn, session: Session, submit: m.Submit, now: float, out: list[Effect]
    ) -> None:
        refusal, work = self._refusal(session), self.work
        again = submit.seq <= session.sent  # the controller before may have got it
        normal = work.doubtful is None and not (again or work.journal.broken or session.repeats)
        alike = submit.alike if normal else []
        tasks = submit.tasks if normal else self._lacking_of(session, submit.one_by_one())
        work.note(session.identity, submit.seq, tasks, alike)
        at = 0
        while at < len(tasks):
            if normal:
                at = work.accept_plain(tasks, at, session.identity, now)
            if at < len(tasks):
                self._accept_one(conn, session, tasks[at], now, out, again=again)
                at += 1
        for part in alike:
            if not work.accept_alike(part, session.identity, now):
                for task in part.tasks():
                    self._accept_one(conn, session, task, now, out, again=again)
        session.take(submit, self.work.journal.mark)
        if session.repeats and session.taken >= session.sent:
            self._repeated(session, now, out)
        if refusal:
            self._turn_away(session, refusal, out)
        else:
            session.admitted = submit.seq
        self._grant(session, now, out)
        held, session.held = session.held, []
        for abort in held:
            self._abort(session, abort, now, out)
            if abort.after > session.taken:
                session.held.append(abort)

    def _accept_one(
        self, conn: Conn, session: Session, task: m.Task, now: float, out: list[Effect], *,
        again: bool,
    ) -> None:  # fmt: skip
        """Any task, which the controller before may have got, too, if it comes `again`."""
        work, broken = self.work, self.work.journal.broken
        if task.engine >= 0 and not roles.may_address_engines(session.role):
            out.append(Send(conn, m.Refused("a task key may not address an engine")))
            out.append(Log("warning", "peer.refused", {"role": session.role, "what": "direct"}))
            return
        if "." in task.id or not (task.chunk is None or sane(task)) or _nested(task):
            out.append(Send(conn, m.Refused("this is no task", "ProtocolError")))
            return
        hidden = () if task.terms is None else self._hidden(session, task.terms.inputs)
        if work.doubtful is not None and again:
            work.doubtful[task.id] = True
        record = work.accept(task, session.identity, now, hidden)
        if record is None:
            work.complete(task)
            self._known_already(session, task.id)
        elif broken and not record.direct:
            reason = f"the controller cannot write its journal: {broken}"
            work.refuse(record, reason, now, again)
        elif work.untold and again:
            work.doubt(record, now)  # and may have given it to who has gone

    def _lacking_of(self, session: Session, tasks: list[m.Task]) -> list[m.Task]:
        """Those of these tasks that are not known to have run, and to be forgotten."""
        if not session.repeats:
            return tasks
        session.claimed.update(task.id for task in tasks)
        told = self.work.just_ended()  # it will be, at the end of the turn
        lacking = [task for task in tasks if not self.delivery.owe_unclaimed(session, task.id)]
        return [task for task in lacking if task.id in self.work.tasks or task.id not in told]

    def _hidden(self, session: Session, ids: Iterable[str]) -> tuple[str, ...]:
        """Those of these tasks of which this client may not know."""
        tasks = self.work.tasks
        return tuple(
            id
            for id in ids
            if id in tasks
            and (
                queries.visible(self.work, session, id) is None or self.work.chunks.gone(tasks[id])
            )
        )

    def _known_already(self, session: Session, id: str) -> None:
        """A client submits again what it does not know to be accepted: one that had been forgotten,
        or one of a controller that was started again.
        """
        record = self.work.tasks[id]
        self.work.own(record, session.identity)
        outcome = record.outcome
        if record.owner != session.identity:
            facts = {"reason": "another client has a task of this id", "started": False}
            outcome = m.Outcome(id, "lost", facts=facts)
        elif self.delivery.owe_unclaimed(session, id):  # with shares that are forgotten by now
            return
        elif is_chunk(record) and record.pool is not None:
            for each in record.pool.outcomes():
                self.delivery.owe(session, each)
        if outcome is not None:
            self.delivery.owe(session, outcome)

    # --- acceptance -----------------------------------------------------------------------------

    def _refusal(self, session: Session) -> str:
        """Why no more of this client is accepted; "": it is."""
        waits = session.due_bytes - session.unclaimed_bytes
        return self.quota.refusal(session.identity, waits)

    def _lacking(self, session: Session) -> str:
        """Why nothing more of this client is taken; "": it is."""
        return self.quota.lacking(session.identity, self.work.functions.excess)

    def _let_in(self, session: Session, now: float, out: list[Effect]) -> None:
        """Accept what was taken of this client, and ask for more, if there is room (again)."""
        refusal = self._refusal(session)
        if not refusal:
            session.admitted = session.taken
        self._grant(session, now, out)  # as far as it is on disk
        if refusal:
            return
        if session.identity in self.turned_away and not self._lacking(session):
            del self.turned_away[session.identity]
            if (conn := session.lanes.get("tasks")) is not None:
                out.append(Send(conn, m.Room(session.submitted)))

    def _grant(self, session: Session, now: float, out: list[Effect]) -> None:
        """Accept what has arrived; small submissions are told together, a little later."""
        quota = self.quota
        much = (
            session.unaccepted_bytes > min(TELL_BYTES, quota.credit // 2)
            or 0 < quota.credit_tasks <= 2 * session.unaccepted_tasks
        )
        if not session.accept(self.work.journal.durable):
            return
        if much:
            session.tell_accepted(out)
        else:
            self.accepting.setdefault(session.identity, (now + TELL_ACCEPTED, session))

    def grant_all(self, sessions: Iterable[Session], now: float, out: list[Effect]) -> None:
        """Accept what has arrived from these, as far as there is room (again)."""
        for session in sessions:
            if session.accepted < session.taken:
                self._let_in(session, now, out)
        if self.turned_away:
            for session in tuple(self.turned_away.values()):
                self._let_in(session, now, out)

    def welcome(self, session: Session) -> None:
        """A client is about to be told how far it is accepted, because it is (again) here."""
        if not self._refusal(session):
            session.admitted = session.taken
        session.accept(self.work.journal.durable)
        self.turned_away.pop(session.identity, None)  # it submits again what was not taken

    def told(self, session: Session, now: float, out: list[Effect]) -> None:
        """Something has gone to this client, and has told it what is accepted."""
        if session.told == session.accepted:
            self.accepting.pop(session.identity, None)
        if session.accepted < session.taken or session.identity in self.turned_away:
            self._let_in(session, now, out)

    def tick(self, now: float, out: list[Effect]) -> None:
        """Tell those for whom it is time."""
        for identity, (at, session) in list(self.accepting.items()):
            if at > now:
                break
            del self.accepting[identity]
            session.tell_accepted(out)

    # --- functions ------------------------------------------------------------------------------

    def define(self, conn: Conn, hash: bytes, code: m.Code, now: float, out: list[Effect]) -> None:
        """A function arrives; who has waited for it goes on."""
        try:
            self.work.functions.add(hash, code)
        except (ValueError, MemoryUnavailable) as error:
            out.append(Drop(conn, str(error)))
            return
        for session in tuple(self.lacking.values()):
            self._take(session.lanes.get("tasks", conn), session, now, out)

    def ask(self, session: Session, out: list[Effect]) -> None:
        """Ask a client for the functions that its next submission lacks."""
        missing = tuple(h for h in session.lacking if h not in self.work.functions)
        if missing and (conn := session.lanes.get("tasks")) is not None:
            out.append(Send(conn, m.Need(missing)))

    def _lacks_nothing(self, session: Session) -> None:
        for hash in session.lacking:
            self.work.functions.release(hash)
        session.lacking = ()
        self.lacking.pop(session.identity, None)

    # --- aborts ---------------------------------------------------------------------------------

    def abort(
        self, conn: Conn, session: Session, message: m.Abort, now: float, out: list[Effect]
    ) -> None:
        """Tasks shall not start any more; those that are on their way, as soon as they arrive."""
        if message.after > session.taken and not session.hold(message):
            out.append(Drop(conn, "it asks for too much before the work it is about"))
            return
        self._abort(session, message, now, out)
        self.answer(session, m.Reply(message.number), out, conn)

    def _abort(self, session: Session, message: m.Abort, now: float, out: list[Effect]) -> None:
        """Abort what there is of these."""
        records = [queries.visible(self.work, session, id) for id in message.ids]
        known = [record for record in records if record is not None]
        self.stop(known, message.running, now, out, message.gently)

    def stop(
        self, records: list[Record], running: bool, now: float, out: list[Effect],
        gently: bool = False,
    ) -> None:  # fmt: skip
        """These shall not start any more, nor go on, if that is said of the running ones, too."""
        told: dict[int, list[Record]] = {}
        for record in records:
            for each in self.work.chunks.parts(record):
                if self.work.abort(each, running, now, gently):
                    told.setdefault(each.place, []).append(each)
        for engine, doomed in told.items():
            if (lane := self.work.places[engine].lanes.get("control")) is not None:
                out.append(Send(lane, abort_of(doomed, running, gently)))

    # --- answers --------------------------------------------------------------------------------

    def answer(
        self, session: Session, message: m.Reply | m.Refused, out: list[Effect],
        conn: Conn | None = None,
    ) -> None:  # fmt: skip
        """Answer a request that has changed something, once that is on disk.

        On the connection on which it came; on the control lane if that is not known, or was cut:
        then the client has asked again already, and that request has no answer of its own.
        """
        session.answering.add(message.number)
        self.answers.append(Answer(self.work.journal.mark, conn, session, message))
        self.answer_all(out)

    def answer_all(self, out: list[Effect]) -> None:
        """Give the answers for which it is time."""
        while self.answers and self.answers[0].record <= self.work.journal.durable:
            _, conn, session, message = self.answers.popleft()
            session.answering.discard(message.number)
            session.answered(message)
            if conn not in session.lanes.values():
                conn = session.lanes.get("control")
            if conn is not None:
                out.append(Send(conn, message))

    # --- finished tasks -------------------------------------------------------------------------

    def resubmit(self, session: Session, message: m.Resubmit, now: float) -> m.Reply | m.Refused:
        """Run finished tasks again under new ids; all of them, or none and why."""
        number, broken = message.number, self.work.journal.broken
        if broken:
            reason = f"nothing can run again: the controller cannot write its journal: {broken}"
            return m.Refused(reason, "JournalError", number)
        if len(message.ids) != len(message.new) or any("." in id for id in message.new):
            return m.Refused("each task needs one new id", "ProtocolError", number)
        old: list[Record] = []
        pairs = list(zip(message.ids, message.new, strict=True))
        for id in [id for id, new in pairs if new not in self.work.tasks]:
            record = queries.visible(self.work, session, id)
            if record is None:
                return m.Refused(queries.unknown(id), "UnknownTask", number)
            if record.state != "done":
                reason = f"task {id} has not ended ({record.state}); only finished ones run again"
                return m.Refused(reason, "TaskNotDone", number)
            if record.direct and not roles.may_address_engines(session.role):
                return m.Refused("a task key may not address an engine", number=number)
            if not all(hash in self.work.functions for hash in record.origin.functions()):
                reason = f"the function of task {id} is not kept any more; submit it anew"
                return m.Refused(reason, "UnknownTask", number)
            for taken in record.takes:
                if taken not in message.ids and self._hidden_or_gone(session, taken):
                    reason = f"task {id} takes the value of task {taken}, which is not kept"
                    reason += " any more; submit it anew"
                    return m.Refused(reason, "UnknownTask", number)
            old.append(record)
        if session.silent or session.repeats:  # what it is about to claim may not name them
            session.claimed.update(message.new)
        renamed = dict(pairs)
        for id in [new for new in message.new if new in self.work.tasks]:
            self._known_already(session, id)  # the controller before has done as it was asked
        new = [id for id in message.new if id not in self.work.tasks]
        for record, id in self._in_order(list(zip(old, new, strict=True))):
            self.work.again(record, id, renamed, session.identity, now)
        return m.Reply(number)

    def _hidden_or_gone(self, session: Session, id: str) -> bool:
        """Whether this client cannot have the value of a task."""
        known = queries.visible(self.work, session, id)
        return known is None or self.work.chunks.gone(known)

    def _in_order(self, pairs: list[tuple[Record, str]]) -> list[tuple[Record, str]]:
        """Those first that others of them depend on; that is how they were submitted."""
        if not any(record.origin.terms is not None for record, _ in pairs):
            return pairs
        ids = {record.spec.id for record, _ in pairs}
        order = {id: number for number, id in enumerate(self.work.tasks) if id in ids}
        return sorted(pairs, key=lambda pair: order[pair[0].spec.id])

    def purge(self, session: Session, message: m.Purge) -> m.Reply | m.Refused:
        """Forget finished tasks; those that have not ended are kept, and named ones refused."""
        for id in message.ids:
            record = queries.visible(self.work, session, id)
            if record is None:
                return m.Refused(queries.unknown(id), "UnknownTask", message.number)
            if record.state != "done":
                reason = f"task {id} has not ended ({record.state}); abort it, or wait for it"
                return m.Refused(reason, "TaskNotDone", message.number)
        for id in dict.fromkeys(message.ids):
            self.work.forget(self.work.tasks[id])
        purged = list(message.ids)
        if message.every or message.engines:
            for record in list(self.work.history):
                at = record.outcome.engine if record.outcome is not None else -1
                mine = queries.visible(self.work, session, record.spec.id) is not None
                if mine and (message.every or at in message.engines):
                    self.work.forget(record)
                    purged.append(record.spec.id)
        self.work.journal.note(Purged(purged))
        return m.Reply(message.number)

    # --- the end --------------------------------------------------------------------------------

    def forget(self, session: Session) -> None:
        """This client is gone; its tasks go on."""
        self._lacks_nothing(session)
        self.accepting.pop(session.identity, None)
        self.turned_away.pop(session.identity, None)
        self.quota.waiting -= sum(size for _, size in session.waiting)
        session.waiting.clear()


def _nested(task: m.Task) -> bool:
    """Whether a recovery has recoveries of its own, which nobody asks for."""
    recoveries = () if task.terms is None else task.terms.recoveries
    return any(each.terms is not None and each.terms.recoveries for each in recoveries)
