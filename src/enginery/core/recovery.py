"""A controller starts again: what the journal tells is restored, and the rest asked of others.

Engines may still run what they were given, so each life that the journal knows is taken for one
whose connections have just broken. It comes back and says what it holds (`Holds`), or is given up
after a while, as ever. A client says which outcomes it lacks (`Claim`).

A journal that was not written to its end (the machine has failed, or the disk) is a matter of
*doubt*: a task of which it says that it waits, or that only its client knows, may have been sent to
an engine all the same. Then nothing is given out until every life has said what it holds. If one
never does, such tasks may have been started there: each costs a retry, or ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import entries as e
from . import messages as m
from . import queries, roles
from .engines import Place
from .events import Effect, Log, Send
from .pools import is_share_of
from .replay import Replay
from .sessions import Session

if TYPE_CHECKING:
    from .controller import Controller

RETURN = 10.0
"""Seconds that engines have to come back to a controller that was started again."""

UNHEARD = 1000
"""Clients that may have come without a word of it in the journal."""

RESTARTED = "the controller was started again before it was sent to its engine"
"""What became of direct requests that no engine has: they are not in the journal."""

IN_DOUBT = "it may have been started on an engine that has not come back to the controller"
"""What became of tasks of which neither journal nor engine says."""


class Recovery:
    """What is still to be found out; `over` when it is."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._work = controller.work
        self.over = True
        self.doubt = False  # the journal may lack what happened last
        self._missing = False  # so may what an engine had that never came back
        self._known: dict[int, int] = {}  # place -> the last `n` that it is known to be sent
        self._claimed: dict[str, Session] = {}  # tasks of which nobody has said anything yet

    # --- from the journal -----------------------------------------------------------------------

    def restore(self, replay: Replay, complete: bool, now: float, out: list[Effect]) -> None:
        """Take up what was left; `complete` if nothing can be missing at the journal's end."""
        self.over = False
        self.doubt = not complete
        controller, work = self._controller, self._work
        numbers = [replay.begin.sessions, *(came.number for came in replay.clients.values())]
        controller.session_count = max(numbers) + (UNHEARD if self.doubt else 0)
        for hash, blob in replay.functions.items():
            work.functions.add(hash, blob)
        for id in sorted(replay.lives):
            self._place(replay.lives[id], now)
        for incarnation in replay.over:
            controller.is_over(incarnation)
        for came in replay.clients.values():
            self._session(came, now)
        if replay.begin.scheme in controller.schemes:
            controller.choose(replay.begin.scheme)
        work.placement.paused = self.doubt
        self._tasks(replay, now)
        self._history(replay)
        work.restore_numbers(replay.numbers)
        fields = {"engines": len(replay.lives), "clients": len(replay.clients)}
        fields |= {"unfinished": work.unfinished, "doubt": self.doubt}
        out.append(Log("info", "controller.restored", fields))
        self._look(now)

    def _place(self, life: e.Life, now: float) -> None:
        place = self._controller.place_of(life.place)
        hello = m.Hello(
            0, "", "engine", "tasks", life.place, life.incarnation, life.host, life.pid,
            python=life.python,
        )  # fmt: skip
        place.begin(hello, life.since)
        place.recorded = True
        place.here = place.silent = not life.over
        if place.here:
            place.give_up_at = now + RETURN
            self._controller.leaving[place.id] = place

    def _session(self, came: e.Came, now: float) -> None:
        session = Session(came.number, came.identity, came.id, came.role)
        session.submitted = session.taken = session.accepted = came.accepted
        session.silent = came.role in roles.WORKERS
        session.away_since = now
        self._controller.sessions[session.identity] = session
        self._controller.away[session.identity] = session

    def _tasks(self, replay: Replay, now: float) -> None:
        """Those that have not ended, as they were."""
        work = self._work
        for id in work.chunks.restore(replay.tasks, replay.divided):
            del replay.tasks[id]
            replay.again.pop(id, None)
        every = {**replay.gone, **replay.tasks}
        for record in replay.tasks.values():
            work.know(record)
        open = [record for record in replay.tasks.values() if record.outcome is None]
        for record in open:
            work.restore(record, every, replay.kept)
        for record in sorted((r for r in open if r.state == "sent"), key=lambda r: r.n):
            work.restore_sent(record)
            self._known[record.place] = record.n
        again = [every[id] for id in reversed(replay.again)]
        for record in (*again, *(r for r in open if r.spec.id not in replay.again)):
            if record.outcome is None and record.state not in {"sent", "divided"}:
                work.restore_waiting(record, every, replay.waits.get(record.spec.id, ()), now)
        if self.doubt:
            work.doubtful = {r.spec.id: None for r in open if r.state in {"waiting", "held"}}

    def _history(self, replay: Replay) -> None:
        """Those that have, as far as they are kept; what else a client may lack waits for it."""
        sessions, work = self._controller.sessions, self._work
        done = [record for record in replay.tasks.values() if record.outcome is not None]
        for record in sorted(done, key=lambda r: r.finished):
            for id in work.restore_done(record):
                old = replay.tasks[id]
                assert old.outcome is not None
                replay.owed.setdefault(old.owner, {})[id] = old.outcome
        work.history.ended = replay.ended
        for owner, outcomes in replay.owed.items():
            if (session := sessions.get(owner)) is not None:
                session.unclaimed = {i: o for i, o in outcomes.items() if i not in work.tasks}

    # --- from engines ---------------------------------------------------------------------------

    def holds(self, place: Place, told: m.Holds, now: float, out: list[Effect]) -> None:
        """A life that the journal knows says what it has of what it was given."""
        work = self._work
        place.silent = False
        place.results = place.durable = place.acked = told.seq
        place.clears = told.clears
        place.n = max(place.n, told.seen)
        has = {(id, attempt) for _, id, attempt, _ in told.attempts}
        for record in reversed(list(place.sent.values())):
            if (record.spec.id, record.attempt) not in has:
                work.never_had(place, record, now)
        stale = m.Abort([], numbers=[])
        done = -sum(1 for n, *_ in told.attempts if not n)
        items = iter(told.items)
        for n, id, attempt, name in told.attempts:
            if "." in id:
                share, part = place.sent.get(n), next(items, (0, 0))
                if share is not None and is_share_of(share, id, attempt):
                    continue
                number = n or done
                if id in work.tasks or work.chunks.adopt(place, number, id, attempt, items=part):
                    done += not n
                elif n:
                    stale.ids.append(id)
                    stale.numbers.append(n)
                continue
            known = work.tasks.get(id)
            if known is not None and place.sent.get(known.n) is known:
                continue
            if known is None or (known.state in {"waiting", "held"} and attempt > known.attempt):
                work.adopt(place, n or done, id, attempt, name=name, owner=self._owner(id))
                done += not n
            elif n:
                stale.ids.append(id)
                stale.numbers.append(n)
        place.sent = dict(sorted(place.sent.items()))
        if stale.ids and (lane := place.lanes.get("control")) is not None:
            out.append(Send(lane, stale))
        self._look(now)

    def _owner(self, id: str) -> bytes:
        """The client of a task of this id, or nobody."""
        client = id.rpartition("-")[0]
        sessions = self._controller.sessions.values()
        return next((s.identity for s in sessions if s.id == client), b"")

    def lost(self, place: Place, now: float) -> None:
        """A life that the journal knows will not say anything any more."""
        death, known = place.death, self._known.get(place.id, 0)
        if death is None or death.started > known:
            self._missing = True
        self._look(now)

    # --- from clients ---------------------------------------------------------------------------

    def claim(self, session: Session, told: m.Claim, now: float) -> None:
        """A client says which outcomes it lacks; what it submitted later, it will say again."""
        if not session.silent:
            return
        accepted = max(session.accepted, told.accepted)
        session.submitted = session.taken = session.accepted = session.told = accepted
        session.sent = told.sent
        for id in told.ids:
            self._claim(session, id)
        if not told.more:
            session.silent = False
            session.unclaimed = {}
        self._look(now)

    def _claim(self, session: Session, id: str) -> None:
        delivery, record = self._controller.delivery, self._work.tasks.get(id)
        if (outcome := session.unclaimed.get(id)) is not None:
            delivery.owe(session, outcome)
        elif record is None:
            self._claimed[id] = session
        elif queries.visible(self._work, session, id) is not None:
            delivery.fetch(session, record)
        else:
            self._unknown(session, id)

    # --- the end --------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Whether all have said what they hold."""
        work = self._work
        if self.over or any(place.silent for place in work.places.values()):
            return
        self.over = True
        doubtful, work.doubtful = work.doubtful, None
        if self._missing and doubtful:
            for id in [id for id in doubtful if id in work.tasks]:
                work.doubt(work.tasks[id], IN_DOUBT, now)
        claimed, self._claimed = self._claimed, {}
        for id, session in claimed.items():
            if id in work.tasks:
                self._controller.delivery.fetch(session, work.tasks[id])
            else:
                self._unknown(session, id)
        if work.placement.paused:
            work.placement.paused = False
            for place in work.places.values():
                work.joined(place)

    def _unknown(self, session: Session, id: str) -> None:
        facts = {"reason": RESTARTED, "started": self.doubt}
        self._controller.delivery.owe(session, m.Outcome(id, "lost", facts=facts))
