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

from typing import TYPE_CHECKING, NamedTuple

from . import entries as e
from . import messages as m
from . import queries, roles
from .dispatch import aborts_at
from .engines import Place
from .events import Effect, Log, Send
from .pools import chunk_id, is_share_of, stands_for
from .replay import Replay
from .sessions import Session
from .work import HAD

if TYPE_CHECKING:
    from .controller import Controller
    from .tasks import Record

UNTOLD = 600.0
"""Seconds for which it counts that an engine has gone untold: so long a client may be away."""

RETURN = 10.0
"""Seconds that engines have to come back to a controller that was started again."""

UNHEARD = 1000
"""Clients that may have come without a word of it in the journal."""

RESTARTED = "the controller was started again before it was sent to its engine"
"""What became of direct requests that no engine has: they are not in the journal."""

NO_FUNCTION = "its engine lacked the function, which the controller does not know any more"
"""What became of direct requests whose engine had them and could not start them."""


class Held(NamedTuple):
    """What a life of an engine says it has."""

    place: Place
    life: bytes
    n: int
    id: str
    attempt: int
    name: str
    stage: int


class Recovery:
    """What is still to be found out; `over` when it is."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._work = controller.work
        self.over = True
        self.doubt = False  # the journal may lack what happened last
        self.untold: e.Untold | None = None  # that an engine has gone, and what it had is not known
        self._known: dict[int, int] = {}  # place -> the last `n` that it is known to be sent
        self._disputed: list[Held] = []
        # Engines got these, and have them no more: the journal may lack that they have ended there.
        self._gone: list[Record] = []
        self._claimed: dict[str, Session] = {}  # tasks of which nobody has said anything yet

    # --- from the journal -----------------------------------------------------------------------

    def restore(self, replay: Replay, complete: bool, now: float, out: list[Effect]) -> None:
        """Take up what was left; `complete` if nothing can be missing at the journal's end."""
        self.over = False
        self.doubt = self._controller.journal.doubt = not complete
        if self.doubt:
            self._work.doubtful = {}
            self._work.forgotten.update(replay.gone, *replay.owed.values())
        if replay.untold is not None and now - replay.untold.at < UNTOLD:
            self.untold = replay.untold
        controller, work = self._controller, self._work
        numbers = [replay.begin.sessions, *(came.number for came in replay.clients.values())]
        controller.session_count = max(numbers) + (UNHEARD if self.doubt else 0)
        for id in sorted(replay.lives):
            self._place(replay.lives[id], now)
        controller.over.update(replay.over)
        for came in replay.clients.values():
            self._session(came, now)
        if replay.begin.scheme in controller.schemes:
            controller.choose(replay.begin.scheme)
        work.placement.paused = self.doubt
        for merged in work.chunks.restore(replay.tasks, replay.divided, replay.shares):
            del replay.tasks[merged]
            replay.again.pop(merged, None)
        for record in replay.tasks.values():
            work.know(record)
        every = {**replay.gone, **replay.tasks}
        open = [record for record in replay.tasks.values() if record.outcome is None]
        for record in open:  # with the values that it takes, of which the history may drop some
            work.restore(record, every, replay.kept)
        self._history(replay)
        self._tasks(replay, open, every, now)
        for hash, blob in replay.functions.items():
            work.functions.keep(hash, blob)
        work.restore_numbers(replay.numbers, replay.begin.numbers)
        fields = {"engines": len(replay.lives), "clients": len(replay.clients)}
        fields |= {"unfinished": work.unfinished, "doubt": self.doubt}
        out.append(Log("info", "controller.restored", fields))
        self._look(now, out)

    def _place(self, life: e.Life, now: float) -> None:
        place = self._controller.new_place(life.place)
        hello = m.Hello(
            0, "", "engine", "tasks", life.place, life.incarnation, life.host, life.pid,
            python=life.python,
        )  # fmt: skip
        place.begin(hello, life.since)
        place.recorded = True
        place.here = place.silent = not life.over
        if place.here:
            self._work.here[place.id] = place
            place.give_up_at = now + RETURN
            self._controller.leaving[place.id] = place

    def _session(self, came: e.Came, now: float) -> None:
        session = Session(came.number, came.identity, came.id, came.role)
        session.submitted = session.taken = session.accepted = came.accepted
        session.silent = came.role in roles.WORKERS
        session.away_since = now
        self._controller.sessions[session.identity] = session
        self._controller.away[session.identity] = session

    def _tasks(
        self, replay: Replay, open: list[Record], every: dict[str, Record], now: float
    ) -> None:
        """Those that have not ended, as they were."""
        work = self._work
        work.had = {r.spec.id for r in open if r.spec.id in replay.had and not r.spec.function}
        for record in [record for record in open if record.direct]:
            work.restore_direct(record, now)
        open = [record for record in open if not record.direct]
        for record in open:
            if record.state == "sent" and not work.places[record.place].here:
                self._miss(now)  # the disk was full when it was to be written what became of it
                record.state, record.place, record.n = "waiting", -1, 0
        for record in sorted((r for r in open if r.state == "sent"), key=lambda r: r.n):
            work.restore_sent(record)
            self._known[record.place] = record.n
        for place in work.places.values():  # as nobody was ever told before
            place.n = max(place.n, int(now * 1e6))
        again = [every[id] for id in reversed(replay.again)]
        for record in (*again, *(r for r in open if r.spec.id not in replay.again)):
            if record.outcome is None and record.state not in {"sent", "divided"}:
                work.restore_waiting(record, every, replay.waits.get(record.spec.id, ()), now)
        if self.doubt:
            work.doubtful = {r.spec.id: False for r in open if r.state in {"waiting", "held"}}

    def _history(self, replay: Replay) -> None:
        """Those that have, as far as they are kept; their clients may lack any of them."""
        sessions, work = self._controller.sessions, self._work
        done = [record for record in replay.tasks.values() if record.outcome is not None]
        for record in sorted(done, key=lambda r: r.finished):
            work.restore_done(record)
        work.history.ended = replay.ended
        for record in (*replay.purged, *done):
            assert record.outcome is not None
            replay.owed.setdefault(record.owner, {})[record.spec.id] = record.outcome
        for owner, outcomes in replay.owed.items():
            if (session := sessions.get(owner)) is not None:
                for outcome in outcomes.values():
                    self._controller.delivery.keep(session, outcome)

    # --- from engines ---------------------------------------------------------------------------

    def holds(self, place: Place, told: m.Holds, now: float, out: list[Effect]) -> None:
        """A life that the journal knows says what it has of what it was given."""
        work = self._work
        place.silent = False
        place.results = place.durable = place.acked = told.seq
        place.clears = told.clears
        place.n = max(place.n, told.seen)
        has = {(id, attempt) for _, id, attempt, *_ in told.attempts}
        ids = {id for id, _ in has}
        numbers = {n: attempt for n, _, attempt, *_ in told.attempts}  # a share is told by these
        for record in reversed(list(place.sent.values())):
            there = (record.spec.id, record.attempt) in has
            if not there and numbers.get(record.n) != record.attempt:
                work.never_had(place, record, now)
                if self.doubt and record.n <= told.seen and record.spec.id not in ids:
                    self._gone.append(record)
        done = -sum(1 for n, *_ in told.attempts if not n)
        items = iter(told.items)
        for n, id, attempt, name, stage in told.attempts:
            if "." in id:
                share, part = place.sent.get(n), next(items, (0, 0))
                if share is not None and is_share_of(share, id, attempt):
                    continue
                if not stands_for(work.tasks.get(id), part):
                    known, number = id in work.tasks, n or done
                    if known or self._adopt_share(place, number, id, attempt, part):
                        done += not n
                    else:
                        self._refuse(Held(place, place.incarnation, n, id, attempt, name, 0), out)
                    continue
            known = work.tasks.get(id)
            here = known is not None and place.has(known)
            if known is None or not here or attempt > known.attempt:
                life, number = place.incarnation, n or done
                self._hear(Held(place, life, number, id, attempt, name, stage), out)
                done += not n
            elif n not in place.sent:  # it has ended, or was called back and sent here once more
                place.renumber(known, n or done)
                done += not n
        for record in work.never_sent(place):
            had = record.spec.id in work.had  # then this life had told of it, and it may have ended
            work.give_away(record, HAD if had else RESTARTED, had, now, forget=False)
        place.sort()
        if (lane := place.lanes.get("control")) is not None:  # some were aborted meanwhile
            out.extend(Send(lane, abort) for abort in aborts_at(place))
        self._look(now, out)

    def _hear(self, held: Held, out: list[Effect]) -> None:
        """A life has an attempt that is not known to be there."""
        record = self._work.tasks.get(held.id)
        # Of what is not sent anywhere, the result of the latest attempt has been heard.
        last = 0 if record is None else record.attempt + (record.state != "sent")
        if record is None and self.doubt and held.id not in self._work.forgotten:
            self._adopt(held)
        elif record is None or record.outcome is not None:
            self._refuse(held, out)  # it has ended
        elif not (self.doubt or record.direct):
            self._refuse(held, out)  # the journal knows where its last attempt is
        elif held.attempt > record.attempt and record.place in {-1, held.place.id}:
            self._adopt(held)
        elif held.n > 0:
            self._disputed.append(held)
            self._work.disputed[held.place.id, held.id, held.attempt] = None
        elif held.attempt >= last and record.place >= 0:
            self._adopt(held)  # it has run here, and its result follows

    def _adopt(self, held: Held) -> None:
        self._work.adopt(
            held.place, held.n, held.id, held.attempt,
            name=held.name, stage=held.stage, owner=self._owner(held.id),
        )  # fmt: skip

    def _adopt_share(
        self, place: Place, n: int, id: str, attempt: int, items: tuple[int, int]
    ) -> bool:
        """Take up items that were not known to be there; a journal that is whole knows them all."""
        return self.doubt and self._work.chunks.adopt(place, n, id, attempt, items=items)

    def _refuse(self, held: Held, out: list[Effect]) -> None:
        """Nobody wants an attempt that a life has."""
        if held.n > 0:
            held.place.stale.append((held.id, held.n))
            if (lane := held.place.lanes.get("control")) is not None:
                out.append(Send(lane, held.place.abort_stale()))

    def lacks(self, place: Place, record: Record, now: float, out: list[Effect]) -> None:
        """A life cannot start an attempt, of which nobody here knows more than that it has it."""
        id, n, attempt = record.spec.id, record.n, record.attempt
        self._will_not_run(record, NO_FUNCTION, now)
        self._refuse(Held(place, place.incarnation, n, id, attempt, "", 0), out)

    def declined(self, place: Place, result: m.Result, now: float) -> bool:
        """Whether a life will not run what only it has told of."""
        record = self._work.tasks.open(result.id)
        if record is None or not place.has(record) or record.aborting:
            return False
        latest = record.attempt == result.attempt and result.status in {"refused", "unfit"}
        if latest and record.spec.id in self._work.had:
            self._will_not_run(record, result.reason, now)
            return True
        return False

    def _will_not_run(self, record: Record, reason: str, now: float) -> None:
        """An engine will not run an attempt of which nobody here knows more than that it has it.

        If only engines have told of that task, nobody waits for it, and no attempt was before this
        one, it is forgotten: its client will submit it.
        """
        id, work, again = record.spec.id, self._work, record.attempt > 1
        others = id in work.conditions.graph.edges or id in self._controller.delivery.watchers
        forget = id in work.had and not (again or others or record.aborting)
        work.give_away(record, HAD if again else reason, again, now, forget=forget)

    def _settle_disputes(self, now: float, out: list[Effect]) -> None:
        """All have said what they have: a task that several have is with the last of them."""
        work = self._work
        for held in sorted(self._disputed, key=lambda held: held.attempt):
            place, record = held.place, work.tasks.get(held.id)
            if not place.here or place.incarnation != held.life:
                continue
            if record is None or record.outcome is not None or held.attempt <= record.attempt:
                self._refuse(held, out)
                continue
            self._adopt(held)
            place.sort()
            work.joined(place)
            result = work.disputed[place.id, held.id, held.attempt]
            if result is not None and not self.declined(place, result, now):
                work.result(place, result, now)  # it has ended meanwhile
        self._disputed.clear()
        work.disputed.clear()

    def _owner(self, id: str) -> bytes:
        """The client of a task of this id, or nobody."""
        client = id.rpartition("-")[0]
        sessions = self._controller.sessions.values()
        return next((s.identity for s in sessions if s.id == client), b"")

    def lost(self, place: Place, now: float, out: list[Effect]) -> None:
        """A life that the journal knows will not say anything any more."""
        death, known = place.death, self._known.get(place.id, 0)
        if death is None or death.started > known:
            self._miss(now)
        self._look(now, out)

    def _miss(self, now: float) -> None:
        """Nobody will say any more what this life had, beyond what the journal knows."""
        if self.doubt:
            self.untold = e.Untold(now, True)
            self._controller.journal.note(self.untold)

    # --- from clients ---------------------------------------------------------------------------

    def claim(self, session: Session, told: m.Claim, now: float, out: list[Effect]) -> None:
        """A client says which outcomes it lacks; what it submitted later, it will say again."""
        if not session.silent:
            if not session.submitted:  # nothing is known of this client any more
                session.sent = told.sent
            return
        accepted = max(session.accepted, told.accepted)
        session.submitted = session.taken = session.accepted = session.told = accepted
        session.sent = told.sent
        ended = self._work.just_ended()  # of these it is told anyway
        for id in told.ids:
            if not self._controller.delivery.owe_unclaimed(session, id) and id not in ended:
                self._claim(session, id)
        for id in told.asked:  # that was to run again, and has
            self._controller.delivery.owe_unclaimed(session, id)
        session.claimed.update(told.ids, told.asked, told.watches)
        if not told.more:
            for id in told.watches:
                if not self._controller.delivery.owe_unclaimed(session, id):  # it was its own
                    self._claim(session, id, mine=False)
            session.silent, session.repeats = False, True
            if session.taken >= session.sent:
                self.repeated(session, now, out)
        if self.over:
            self._answer_claims()
        self._look(now, out)

    def repeated(self, session: Session, now: float, out: list[Effect]) -> None:
        """A client has said again all that it had sent: nothing else is lacked."""
        self._unwanted(session, now, out)
        session.repeats = False
        had = [o for o in session.may_lack() if chunk_id(o.id) not in session.claimed]
        self._work.fetched(session.identity, had)
        self._controller.delivery.claimed(session)

    def _unwanted(self, session: Session, now: float, out: list[Effect]) -> None:
        """What a client does not lack has ended, if the journal knows of that or not."""
        if not self.doubt:
            return
        for record in list(self._work.tasks.values()):
            mine = record.owner == session.identity and record.outcome is None
            if mine and chunk_id(record.spec.id) not in session.claimed:
                self._controller.intake.stop([record], True, now, out)

    def _claim(self, session: Session, id: str, mine: bool = True) -> None:
        delivery, record = self._controller.delivery, self._work.tasks.get(id)
        if record is None and mine:
            self._claimed[id] = session
        elif record is None:
            delivery.owe(session, m.Outcome(id, "expired"))
        elif queries.visible(self._work, session, id) is not None:
            if mine:
                self._work.own(record, session.identity)
            if record.outcome is None and record.owner == session.identity:
                return  # it will be told
            delivery.fetch(session, record)
        else:
            self._unknown(session, id)

    # --- the end --------------------------------------------------------------------------------

    def _look(self, now: float, out: list[Effect]) -> None:
        """Whether all have said what they hold."""
        work = self._work
        if self.over or any(place.silent for place in work.places.values()):
            return
        self.over = True
        self._settle_disputes(now, out)
        for record in self._gone:
            work.doubt(record, now)
        self._gone.clear()
        doubtful, work.doubtful = work.doubtful, None
        work.forgotten.clear()
        work.untold = self.untold is not None
        if self.untold is not None:
            for id, again in (doubtful or {}).items():
                if (again or self.untold.open) and id in work.tasks:  # else it has ended
                    work.doubt(work.tasks[id], now)
            self.untold = e.Untold(self.untold.at, False)
            work.journal.note(self.untold)
        self._answer_claims()
        if self.doubt:
            work.journal.doubt = False
            work.journal.begin_anew()
        if work.placement.paused:
            work.placement.paused = False
            for place in work.places.values():
                work.joined(place)

    def _answer_claims(self) -> None:
        """Nobody will say any more of tasks that clients lack and that nobody has told of."""
        claimed, self._claimed = self._claimed, {}
        for id, session in claimed.items():
            if id in self._work.tasks:
                self._controller.delivery.fetch(session, self._work.tasks[id])
            else:
                self._unknown(session, id)

    def _unknown(self, session: Session, id: str) -> None:
        facts = {"reason": RESTARTED, "started": self.doubt}
        self._controller.delivery.owe(session, m.Outcome(id, "lost", facts=facts))
