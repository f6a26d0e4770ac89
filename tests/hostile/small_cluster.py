"""A cluster of machines without sockets: one controller, two honest engines, one honest client.

Strangers speak to its controller by `hear`; the honest are served by `work` and say by `story` what
has become of their tasks, so that a test can tell whether anybody was able to disturb them.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from enginery.core import events as e
from enginery.core import laws
from enginery.core import messages as m
from enginery.core.client import Client
from enginery.core.controller import Controller, Limits
from enginery.core.engine import Engine
from enginery.core.names import content_hash
from enginery.schemes import SCHEMES
from enginery.version import PROTOCOL

BLOB = b"the function of honest people"
FUNCTION = content_hash(BLOB)
LANES = ("tasks", "control")
OURS = frozenset({"engine 0", "engine 1", "client"})

Machine = Engine | Client


def sent(effects: list[e.Effect], kind: type[m.Message]) -> list[Any]:
    """The messages of this kind that these effects send."""
    messages = (effect.message for effect in effects if isinstance(effect, e.Send))
    return [message for message in messages if isinstance(message, kind)]


def drops(effects: list[e.Effect]) -> list[e.Conn]:
    """The connections that these effects cut."""
    return [effect.conn for effect in effects if isinstance(effect, e.Drop)]


class SmallCluster:
    """See the module's text; connections of the honest are (name, lane)."""

    def __init__(self, seed: int = 0, **limits: Any) -> None:
        self.random = Random(seed)
        self.now = 1000.0
        self._strangers = 0
        self.controller = Controller("c", "0", SCHEMES["leastload"](), Limits(**limits))
        about = {"host": "h", "pid": 1, "version": "0", "python": "3"}
        self.client = Client(self.secret(), **about)
        self.honest: dict[str, Machine] = {"client": self.client}
        self.started: dict[str, m.Attempt] = {}
        self.outcomes: dict[str, list[m.Outcome]] = {}
        self.wanted: dict[str, bytes] = {}
        for name in ("engine 0", "engine 1"):
            self.honest[name] = Engine(self.secret(), self.secret(), **about)
        for name, machine in self.honest.items():
            for lane in LANES:
                self._from_machine(name, machine.handle(e.Opened(lane), self.now))

    def secret(self) -> bytes:
        """128 bits that nobody else knows."""
        return self.random.randbytes(16)

    # --- for strangers --------------------------------------------------------------------------

    def hear(self, conn: e.Conn, role: str, *messages: m.Message) -> list[e.Effect]:
        """The controller hears this from a stranger; what it does about it, to whomever."""
        effects: list[e.Effect] = []
        for message in messages:
            effects += self.controller.handle(e.Received(conn, role, message), self.now)
        self._from_controller(effects)
        return effects

    def closed(self, conn: e.Conn) -> list[e.Effect]:
        """A stranger's connection is gone; what the controller does about it."""
        effects = self.controller.handle(e.Closed(conn), self.now)
        self._from_controller(effects)
        return effects

    def hello(self, kind: Any, lane: Any = "tasks", **fields: Any) -> m.Hello:
        """A hello of somebody new."""
        fields = {"identity": self.secret(), "incarnation": self.secret()} | fields
        return m.Hello(PROTOCOL, "0", kind, lane, **fields)

    def come(self, role: str, kind: str, **fields: Any) -> e.Conn:
        """A stranger comes and says hello; gives its connection."""
        self._strangers += 1
        conn = (f"stranger {self._strangers}", "tasks")
        self.hear(conn, role, self.hello(kind, **fields))
        return conn

    def party(self, conn: e.Conn) -> Any:
        """Whom the controller takes the peer on a connection for; None: nobody."""
        peer = self.controller.peers.get(conn)
        return peer.party if peer else None

    # --- the honest -----------------------------------------------------------------------------

    def submit(self, count: int, engine: int = -1) -> list[str]:
        """The client asks for so many tasks; gives their ids."""
        ids = [f"{self.client.id}-{len(self.wanted) + i}" for i in range(1, count + 1)]
        tasks = [
            m.Task(id, FUNCTION, id.encode(), engine=engine, targets=(0, 1) if engine < 0 else ())
            for id in ids
        ]
        self.wanted.update((id, b"done " + id.encode()) for id in ids)
        event = e.Submitted(tasks, {FUNCTION: BLOB})
        self._from_machine("client", self.client.handle(event, self.now))
        return ids

    def work(self) -> bool:
        """Each engine finishes what it runs; whether there was anything."""
        started, self.started = self.started, {}
        for name, attempt in started.items():
            value = b"done " + attempt.arguments
            result = m.Result(attempt.id, attempt.attempt, "ok", value)
            self._from_machine(name, self.honest[name].handle(e.Finished(result), self.now))
        return bool(started)

    def tick(self) -> None:
        """The controller sees what time it is."""
        self._from_controller(self.controller.handle(e.Tick(), self.now))

    def finish(self) -> None:
        """Everything that the client has asked for is done, and right, and told once."""
        while self.work():
            self.now += 0.01
            self.tick()
        laws.check(self.controller)
        for id in [id for id in self.wanted if self._guessed(id)]:
            [outcome] = self.outcomes.pop(id)
            assert "another client has a task of this id" in outcome.facts["reason"]
            del self.wanted[id]
        got = {id: [o.value for o in outcomes] for id, outcomes in self.outcomes.items()}
        assert got == {id: [value] for id, value in self.wanted.items()}

    def _guessed(self, id: str) -> bool:
        """Whether a stranger had a task of this id before the honest client did."""
        record = self.controller.work.tasks.get(id)
        return record is not None and record.owner != self.client.identity

    def story(self) -> list[Any]:
        """What the controller knows of the honest and what they have not done, in plain values."""
        work = self.controller.work
        session = self.controller.sessions.get(self.client.identity)
        undone = self.wanted.keys() - self.outcomes.keys()
        tasks = [work.tasks[id] for id in sorted(undone) if id in work.tasks]
        return [
            [(t.spec.id, t.state, t.place, t.attempt, t.aborting, t.spent) for t in tasks],
            [(p.here, p.incarnation, p.lanes.copy()) for p in self._places()],
            session and (session.submitted, session.accepted, session.lanes.copy(), session.role),
        ]

    def _places(self) -> list[Any]:
        engines = (machine for machine in self.honest.values() if isinstance(machine, Engine))
        return [self.controller.by_identity[engine.place] for engine in engines]

    # --- carrying out ---------------------------------------------------------------------------

    def _from_machine(self, name: str, effects: Iterable[e.Effect]) -> None:
        role = "client" if name == "client" else "engine"
        for effect in effects:
            match effect:
                case e.Send(conn=lane, message=message):
                    received = e.Received((name, lane), role, message)
                    self._from_controller(self.controller.handle(received, self.now))
                case e.Start(attempt=attempt):
                    self.started[name] = attempt
                case e.Delivered(outcomes=outcomes):
                    for outcome in outcomes:
                        self.outcomes.setdefault(outcome.id, []).append(outcome)

    def _from_controller(self, effects: Iterable[e.Effect]) -> None:
        for effect in effects:
            match effect:
                case e.Send(conn=(name, lane), message=message) if name in OURS:
                    received = e.Received(lane, "controller", message)
                    self._from_machine(name, self.honest[name].handle(received, self.now))
                case e.Drop(conn=(name, _)):
                    assert name not in OURS, "an honest connection was dropped"
