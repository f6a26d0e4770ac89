"""Engines, supervisors and clients: each drives one real machine, as the real process does."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.client import Client
from enginery.core.engine import Engine
from enginery.core.supervisor import Supervisor

from .nodes import Outbox, Peer

if TYPE_CHECKING:
    from .cluster import Cluster

FACTS: dict[str, Any] = {"host": "host", "pid": 1, "version": "0"}


class Job(NamedTuple):
    """What a task does when it runs."""

    kind: str = "ok"  # ok, error, flaky (an error half of the time), kill (its engine), endless
    seconds: float = 0.01
    outputs: int = 0


@dataclass
class Page:
    """What an engine shares with its supervisor: the number it has started, and finished, last."""

    started: int = 0
    finished: int = 0


class EngineNode(Peer):
    """One life of an engine."""

    def __init__(
        self, cluster: Cluster, place: bytes, incarnation: bytes, above: SupervisorNode | None,
        life: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(cluster)
        self.place = place
        self.life = life
        self.above = above
        self.core: Engine = Engine(place, incarnation, python="3", **FACTS)
        self.page = Page()
        self.running: m.Attempt | None = None
        self.loaded: set[bytes] = set()
        self.doomed: set[tuple[bytes, int]] = set()  # what an abort has reached in time

    @property
    def name(self) -> str:  # type: ignore[override]
        """As the controller numbers it, once it does; then which life of it this is."""
        id = self.core.id
        return f"engine {id if id >= 0 else '?'}.{self.life}"

    def hear(self, event: e.Event, outbox: Outbox) -> list[e.Effect]:
        """Note which attempts must not start any more, then as ever."""
        core = self.core
        match event:
            case e.Received(conn=lane, message=m.Abort(numbers=numbers)) if lane not in core.stale:
                self.doomed.update((core.incarnation, n) for n in numbers if n > core.begun)
        return super().hear(event, outbox)

    def carry_out(self, effects: Iterable[e.Effect]) -> None:
        """Start, interrupt, stop."""
        for effect in effects:
            match effect:
                case e.Start(attempt=attempt):
                    self.start(attempt)
                case e.Load(hash=hash):
                    self.loaded.add(hash)
                case e.Forget(hash=hash):
                    self.loaded.remove(hash)
                case e.Interrupt(id=id, attempt=number):
                    run = self.running
                    if run is not None and (run.id, run.attempt) == (id, number):
                        self.cluster.clock.after(0.001, self.finish, run, "error")
                case e.Kill(signum=signum):
                    self.exit(-signum)
                case e.Stop(code=code):
                    self.exit(code)

    def start(self, attempt: m.Attempt) -> None:
        """User code begins."""
        assert self.running is None, "an engine runs one attempt at a time"
        assert attempt.function in self.loaded, "a task starts when its function is there"
        life = self.core.incarnation
        assert (life, attempt.n) not in self.doomed, "what was aborted in time does not start"
        self.running = attempt
        self.page.started = attempt.n
        self.cluster.observer.started(self, attempt)
        self.cluster.note(f"{self.name} starts {attempt.id}")
        job = self.cluster.jobs[attempt.id]
        if job.kind != "endless":
            status = "ok"
            if job.kind == "error" or (job.kind == "flaky" and self.cluster.random.random() < 0.5):
                status = "error"
            self.cluster.clock.after(job.seconds, self.finish, attempt, status)

    def finish(self, attempt: m.Attempt, status: m.Ended) -> None:
        """User code ends."""
        clock = self.cluster.clock
        if not self.alive or self.running is not attempt:
            return
        if self.frozen > clock.now:
            clock.at(self.frozen, self.finish, attempt, status)
            return
        job = self.cluster.jobs[attempt.id]
        if job.kind == "kill" and status == "ok":
            self.cluster.note(f"{attempt.id} kills its engine")
            self.exit(-11)
            return
        outputs: list[m.Message] = [
            m.Output(attempt.id, attempt.attempt, i, "stdout", "text") for i in range(job.outputs)
        ]
        if outputs and "control" in self.core.joined:
            self.flush({"control": outputs})
        self.running = None
        self.page.finished = attempt.n
        self.cluster.observer.finished(self, attempt, status)
        value = value_of(attempt.id, status)
        result = m.Result(attempt.id, attempt.attempt, status, value, outputs=job.outputs)
        result.completed = clock.now
        self.handle(e.Finished(result))

    def exit(self, status: int) -> None:
        """The process ends; `status` as `os.waitstatus_to_exitcode`."""
        if self.alive:
            self.cluster.note(f"{self.name} ends with status {status}")
            self.die()
            if self.above is not None:
                self.cluster.clock.after(self.cluster.notice(), self.above.died, self, status)


def value_of(id: str, status: str) -> bytes:
    """What a task gives."""
    return f"{status} of {id}".encode()


class SupervisorNode(Peer):
    """Forks the engines of a host, and tells how they end."""

    lanes = ("control",)

    def __init__(self, cluster: Cluster, name: str, places: list[bytes]) -> None:
        super().__init__(cluster)
        self.name = name
        self.core: Supervisor = Supervisor(cluster.secret(), places, **FACTS)
        self.engines: dict[bytes, EngineNode] = {}

    def begin(self) -> None:
        """Fork the first engines, and connect."""
        super().begin()
        self.carry_out(self.core.begin(self.cluster.clock.now))

    def carry_out(self, effects: Iterable[e.Effect]) -> None:
        """Fork engines."""
        for effect in effects:
            match effect:
                case e.Fork(place=place, incarnation=incarnation):
                    last = self.engines.get(place)
                    life = last.life + 1 if last else 1
                    engine = EngineNode(self.cluster, place, incarnation, self, life)
                    self.engines[place] = engine
                    self.cluster.engines.append(engine)
                    self.cluster.note(f"{self.name} begins life {life} of an engine")
                    self.handle(e.Forked(place, incarnation, 1))
                    engine.begin()
                case e.Stop():
                    self.die()

    def died(self, engine: EngineNode, status: int) -> None:
        """The operating system says that an engine has ended."""
        clock = self.cluster.clock
        if not self.alive:
            return
        if self.frozen > clock.now:
            clock.at(self.frozen, self.died, engine, status)
            return
        page = engine.page
        started = engine.core.incarnation  # of this process: the machine may have begun again
        incarnation = self.core.seats[engine.place].incarnation
        assert started[:12] == incarnation[:12], "one life of a place at a time"
        self.handle(e.Died(engine.place, incarnation, status, page.started, page.finished))

    def kill(self) -> None:
        """The supervisor is killed, and its engines end with it."""
        self.die()
        for engine in self.engines.values():
            engine.exit(-9)


class ClientNode(Peer):
    """A client; what it does, its user decides (`workload`)."""

    def __init__(self, cluster: Cluster, name: str, role: str = "client") -> None:
        super().__init__(cluster)
        self.name = name
        self.role = role
        self.core: Client = Client(cluster.secret(), python="3", **FACTS)
        self.engines: list[int] = []
        self.requests = 0
        self.left = False

    def submit(self, tasks: list[m.Task], functions: dict[bytes, bytes]) -> None:
        """The user wants these done."""
        self.handle(e.Submitted(tasks, functions))

    def ask(self, message: Any) -> None:
        """The user wants this said."""
        self.requests += 1
        message.number = self.requests
        self.handle(e.Asked(message))

    def flush(self, outbox: Outbox) -> None:
        """What is sent is a copy: the machine at the other end may change what it has got."""
        for lane, batch in outbox.items():
            if self.wires[lane]:
                wire = self.wires[lane][-1]
                wire.hellos += sum(isinstance(message, m.Hello) for message in batch)
                assert wire.hellos <= 5, "a client says hello when it has noticed, or is asked"
        copies = {lane: [_copy(message) for message in batch] for lane, batch in outbox.items()}
        super().flush(copies)

    def carry_out(self, effects: Iterable[e.Effect]) -> None:
        """News for the user."""
        for effect in effects:
            match effect:
                case e.Delivered(outcomes=outcomes, outputs=outputs):
                    self.cluster.observer.delivered(self, outcomes, outputs)
                case e.EnginesChanged(engines=engines):
                    self.engines = [engine.id for engine in engines]
                case e.Answered():
                    self.cluster.observer.answered(self, effect)
                case e.Stop(why=why):
                    raise AssertionError(f"{self.name} was told to stop: {why}")

    def leave(self) -> None:
        """Say goodbye, and end."""
        if self.alive:
            self.flush({"tasks": [m.Goodbye("closed")]})
            self.left = True
            self.alive = False
            for wires in self.wires.values():
                for wire in wires:
                    wire.close()


def _copy(message: m.Message) -> m.Message:
    if isinstance(message, m.Submit):
        return m.Submit(message.seq, [copy(task) for task in message.tasks])
    return copy(message) if isinstance(message, m.Abort) else message
