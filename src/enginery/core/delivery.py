"""What clients are told of tasks: outcomes and output, to who submitted and to who else asked.

Something becomes *due* to a session here, and goes out once per turn; that it arrives is seen to in
`sessions`.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import messages as m
from .bundles import Bundle, Unit
from .engines import Place
from .events import Effect, Log
from .pools import chunk_id, is_chunk
from .sessions import Session
from .tasks import Record

FRESH = 0.05
"""How much of what is due to a client has to be new, for it to be worth to look there again."""


class Delivery:
    """The sessions, and to which of them something became due.

    At most `limit` bytes of outcomes wait for clients that take none. Beyond that the client to
    whom most is due loses values, the oldest first: it is told that they are not kept any more.
    When it has none left that are worth it, it is left alone until enough is `FRESH`.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.due_bytes = 0  # of all clients
        self.expired = 0  # outcomes that have lost their values, ever
        self.sessions: dict[bytes, Session] = {}
        self.watchers: dict[str, list[Session]] = {}  # who else waits for a task
        self._owing: dict[bytes, Session] = {}  # sessions to which something became due

    def owe(self, session: Session, item: m.Outcome | m.Done) -> None:
        """This becomes due to this client."""
        session.due.append(item)
        self.touch(session)

    def keep(self, session: Session, outcome: m.Outcome) -> None:
        """This client may lack it, and has not said what it does."""
        self.due_bytes += session.keep(outcome)

    def claimed(self, session: Session) -> None:
        """It has said that."""
        self.due_bytes -= session.has_claimed()

    def owe_unclaimed(self, session: Session, id: str) -> bool:
        """A client lacks a task; False if what has become of it is not among what it may lack."""
        part = session.unclaimed.get(id, {})
        for each in sorted(part, key=lambda each: each == id):  # a chunk after its shares
            self.owe(session, part[each])
        return id in part

    def touch(self, session: Session) -> None:
        """More may go out to this client than before."""
        self._owing[session.identity] = session

    def ended(self, unit: Unit) -> None:
        """An outcome becomes due to the task's client, and to who else asked for it."""
        item = unit.done if type(unit) is Bundle else unit.outcome
        assert item is not None
        if self.watchers and type(item) is m.Outcome:  # nobody asked for what is in a bundle
            for watcher in self.watchers.pop(item.id, ()):
                watcher.fetching.remove(item.id)
                self.owe(watcher, item)
        if type(unit) is not Bundle and unit.pool is not None and not unit.pool.of(unit):
            unit.pool.told += 1
            for watcher in self.watchers.get(unit.pool.id, ()):
                self.owe(watcher, item)
        owner = self.sessions.get(unit.owner)
        if owner is None:
            return
        if owner.silent or owner.repeats:
            for outcome in unit.outcomes:
                if chunk_id(outcome.id) in owner.claimed:
                    self.owe(owner, outcome)
                else:  # it may lack it
                    self.keep(owner, outcome)
        else:
            owner.due.append(item)
            self._owing[unit.owner] = owner

    def output(self, place: Place, record: Record | None, output: m.Output) -> None:
        """A task has written something, if that is still what is known to run there."""
        if record is None:
            self._farmed(place, output)
            return
        session = self.sessions.get(record.owner)
        if session is None or record.attempt != output.attempt:
            return
        if place.id != (record.place if record.outcome is None else record.outcome.engine):
            return
        self._owe_output(session, place, output)

    def _farmed(self, place: Place, output: m.Output) -> None:
        """A task of the pure scheme has written something; its id tells whose it is."""
        client = output.id.rpartition("-")[0]
        for session in self.sessions.values():
            if session.id == client and session.farming:
                self._owe_output(session, place, output)

    def _owe_output(self, session: Session, place: Place, output: m.Output) -> None:
        output.engine = place.id
        session.owe_output(output)
        self.touch(session)

    def fetch(self, session: Session, record: Record) -> None:
        """Deliver a task's outcome to this client too, when it is there; of a chunk, all."""
        id = record.spec.id
        pool = record.pool if is_chunk(record) else None
        if pool is not None:
            for outcome in pool.outcomes():
                self.owe(session, outcome)
        if record.outcome is not None and not (pool is not None and pool.untold):
            self.owe(session, record.outcome)
        elif record.owner != session.identity and id not in session.fetching:
            session.fetching.add(id)
            self.watchers.setdefault(id, []).append(session)

    def pump(self, out: list[Effect]) -> Iterator[Session]:
        """Send what is due; gives those to whom something was."""
        owing, self._owing = self._owing, {}
        for session in owing.values():
            self.due_bytes -= session.due_bytes
            session.pump(out)
            self.due_bytes += session.due_bytes
            yield session
        while self.due_bytes > self.limit:
            biggest = max(self.sessions.values(), key=lambda session: session.due_bytes)
            before = biggest.due_bytes
            if biggest.fresh_bytes <= FRESH * before:
                return
            expired = biggest.expire(max(self.due_bytes - self.limit, before // 4))
            self.due_bytes += biggest.due_bytes - before
            if not expired:
                return
            if not biggest.expired:
                out.append(Log("warning", "client.expired", {"client": biggest.id}))
            biggest.expired += expired
            self.expired += expired

    def forget(self, session: Session) -> None:
        """Nothing is owed to this client any more."""
        self._owing.pop(session.identity, None)
        if self.sessions.pop(session.identity, None) is not None:
            self.due_bytes -= session.due_bytes
        for id in session.fetching:
            self.watchers[id].remove(session)
            if not self.watchers[id]:
                del self.watchers[id]
