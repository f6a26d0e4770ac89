"""Engines, supervisors and clients: each drives one real machine, as the real process does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.client import Client
from enginery.core.engine import Engine
from enginery.core.supervisor import Supervisor

from .network import Batch, Connection
from .nodes import Outbox, Peer
from .shares import Share

if TYPE_CHECKING:
    from .cluster import Cluster

FACTS: dict[str, Any] = {"host": "host", "pid": 1, "version": "0"}


class Job(NamedTuple):
    """What a task does when it runs."""

    kind: str = "ok"  # ok, error, flaky (an error half of the time), kill (its engine), endless,
    # changes (the engine's properties)
    seconds: float = 0.01
    outputs: int = 0
    deaf: bool = False  # an interrupt does not end it
    picky: str = ""  # refused: by half of the engines; unfit: fit for some properties only
    chain: tuple[Job, ...] = ()  # what its recoveries do

    def stage(self, level: int) -> Job:
        """What it does at first (0), or as its `level`th recovery."""
        return self.chain[level - 1] if level else self


def level_of(attempt: m.Attempt | m.Task) -> int:
    """Which recovery of its task this runs, by its arguments; 0: the task itself."""
    return attempt.arguments[0] if attempt.arguments else 0


@dataclass
class Page:
    """What an engine shares with its supervisor: the number it has started, and finished, last."""

    started: int = 0
    finished: int = 0
    item: int = 0


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
        self.share: Share | None = None
        self.tick_at: float | None = None
        self.changes = 0  # of the properties
        self.unfit_at = 0
        self.welcomes = 0
        self.loaded: set[bytes] = set()
        self.doomed: set[tuple[bytes, int]] = set()  # what an abort has reached in time
        self.unread: list[tuple[Connection, Batch]] = []  # while user code runs, nobody reads
        self.news = False  # the same of the ends and beginnings of that connection

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
            case e.Received(message=m.Welcome()):
                self.welcomes += 1
        effects = super().hear(event, outbox)
        self.wake()
        return effects

    @property
    def absorbed(self) -> bool:
        """Whether the thread that connects for tasks runs user code."""
        return self.cluster.absorbed and (self.running is not None or self.share is not None)

    def arrived(self, connection: Connection, batch: Batch) -> None:
        """What comes for tasks is read between tasks."""
        if connection.lane == "tasks" and (self.absorbed or self.unread):
            self.unread.append((connection, batch))
        else:
            super().arrived(connection, batch)

    def tell_news(self, lane: str) -> None:
        """So are the ends and beginnings of that connection, after what came before them."""
        if lane == "tasks" and (self.absorbed or self.unread):
            self.news = True
        else:
            super().tell_news(lane)

    def look(self) -> None:
        """User code has ended."""
        while self.unread and self.alive and not self.absorbed:
            super().arrived(*self.unread.pop(0))
        if self.news and not (self.unread or self.absorbed):
            self.news = False
            super().tell_news("tasks")

    def wake(self) -> None:
        """See when the machine wants to be woken."""
        deadline = self.core.deadline()
        assert deadline is None or isfinite(deadline), "nobody can wait until then"
        if deadline is not None and (self.tick_at is None or deadline < self.tick_at):
            self.tick_at = deadline
            self.cluster.clock.at(deadline, self.tick, deadline)

    def tick(self, due: float) -> None:
        """The deadline has come, or it has moved."""
        clock = self.cluster.clock
        if not self.alive or self.tick_at != due:
            return
        if self.frozen > clock.now:
            clock.at(self.frozen, self.tick, due)
            return
        self.tick_at = None
        deadline = self.core.deadline()
        if deadline is not None and deadline <= clock.now:
            self.handle(e.Tick())
            deadline = self.core.deadline()
            assert deadline is None or deadline > clock.now, "a tick moves the deadline"
        else:
            self.wake()

    def change(self) -> None:
        """The user changes the properties."""
        if self.alive:
            self.changes += 1
            self.cluster.note(f"{self.name} has other properties, number {self.changes}")
            self.handle(e.Changed(self.changes))

    def refusal(self, id: str, picky: str) -> str:
        """Whether this engine will not run a task now: "refused", "unfit" or not at all."""
        number = crc32(id.encode())
        if picky == "refused":
            return picky if (number >> self.core.id % 16) & 1 else ""
        return picky if picky and (number + self.changes) % 3 else ""

    def carry_out(self, effects: Iterable[e.Effect]) -> None:
        """Start, interrupt, stop."""
        for effect in effects:
            match effect:
                case e.Start(attempt=attempt) if attempt.chunk is not None:
                    self.share = Share(self, attempt)
                    self.share.begin()
                case e.Start(attempt=attempt):
                    self.start(attempt)
                case e.Divide(n=n):
                    assert self.share is not None, "what is divided is a share"
                    self.share.cut(n)
                case e.Load(hash=hash):
                    self.loaded.add(hash)
                case e.Forget(hash=hash):
                    self.loaded.remove(hash)
                case e.Interrupt(id=id, attempt=number):
                    run = self.running
                    if run is not None and (run.id, run.attempt) == (id, number):
                        self.interrupt(run)
                    elif self.share is not None and self.share.is_named(id, number):
                        self.share.interrupt()
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
        self.began = self.cluster.clock.now
        self.page.started = attempt.n
        job = self.job(attempt)
        refusal = self.refusal(attempt.id, job.picky)
        self.cluster.observer.started(self, attempt, refusal)
        if refusal:
            self.cluster.note(f"{self.name} will not run {attempt.id}: {refusal}")
            self.unfit_at = self.changes  # before it looked
            self.cluster.clock.after(job.seconds / 10, self.finish, attempt, refusal)
            return
        self.cluster.note(f"{self.name} starts {attempt.id}")
        if job.kind != "endless":
            status = "ok"
            if job.kind == "error" or (job.kind == "flaky" and self.cluster.random.random() < 0.5):
                status = "error"
            self.cluster.clock.after(job.seconds, self.finish, attempt, status)

    def job(self, attempt: m.Attempt) -> Job:
        """What this is to do."""
        return self.cluster.jobs[attempt.id].stage(level_of(attempt))

    def interrupt(self, run: m.Attempt) -> None:
        """User code is interrupted, and ends by that if it heeds it."""
        if not self.job(run).deaf:
            self.cluster.clock.after(0.001, self.finish, run, "error")

    def finish(self, attempt: m.Attempt, status: m.Ended) -> None:
        """User code ends."""
        clock = self.cluster.clock
        if not self.alive or self.running is not attempt:
            return
        if self.frozen > clock.now:
            clock.at(self.frozen, self.finish, attempt, status)
            return
        job = self.job(attempt)
        if job.kind == "kill" and status == "ok":
            self.cluster.note(f"{attempt.id} kills its engine")
            self.exit(-11)
            return
        refusal = status in {"refused", "unfit"}
        outputs: list[m.Message] = [
            m.Output(attempt.id, attempt.attempt, i, "stdout", "text")
            for i in range(0 if refusal else job.outputs)
        ]
        if outputs and "control" in self.core.joined:
            self.flush({"control": outputs})
        if job.kind == "changes" and not refusal:
            self.change()
        self.running = None
        self.page.finished = attempt.n
        self.cluster.observer.finished(self, attempt, status)
        value = value_of(attempt.id, status, level_of(attempt))
        buffers = self.cluster.buffers(f"result of {attempt.id}", value)
        result = m.Result(attempt.id, attempt.attempt, status, value, buffers, len(outputs))
        result.stage = attempt.stage
        result.started, result.completed = self.began, clock.now
        if refusal:
            result.reason, result.changes = f"{status} by {self.name}", self.unfit_at
        self.handle(e.Finished(result))
        self.look()

    def exit(self, status: int) -> None:
        """The process ends; `status` as `os.waitstatus_to_exitcode`."""
        if self.alive:
            self.cluster.note(f"{self.name} ends with status {status}")
            self.die()
            if self.above is not None:
                self.cluster.clock.after(self.cluster.notice(), self.above.died, self, status)


def value_of(id: str, status: str, level: int = 0) -> bytes:
    """What a task gives, or its `level`th recovery."""
    return f"{status} of {id}{f', recovery {level}' if level else ''}".encode()


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
        died = e.Died(
            engine.place, incarnation, status, page.started, page.finished, item=page.item
        )
        self.handle(died)

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
        """It does not say hello too often."""
        for lane, batch in outbox.items():
            if self.wires[lane]:
                wire = self.wires[lane][-1]
                wire.hellos += sum(isinstance(message, m.Hello) for message in batch)
                assert wire.hellos <= 5, "a client says hello when it has noticed, or is asked"
        super().flush(outbox)

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
