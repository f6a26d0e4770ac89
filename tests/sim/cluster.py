"""Nodes and network together: the stage on which the simulator and the transcripts play."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any
from unittest.mock import patch
from zlib import crc32

from enginery.core import bundles, chunks, replay, tasks, work
from enginery.core import messages as m
from enginery.core.controller import Limits
from enginery.core.events import Answered
from enginery.schemes import LeastLoad, Scheme

from . import story
from .network import Clock, Connection, Pipe
from .nodes import ControllerNode, Peer
from .peers import ClientNode, EngineNode, Job, SupervisorNode


class Observer:
    """Who wants to know what really happens; `ledger.Ledger` does."""

    def started(self, engine: EngineNode, attempt: m.Attempt, refusal: str = "") -> None:
        """User code begins, or declines to run (refused, unfit)."""

    def finished(self, engine: EngineNode, attempt: m.Attempt, status: str) -> None:
        """User code has ended, or declined to run (refused, unfit)."""

    def moving(self, record: tasks.Record, move: str, engine: int, cause: str) -> None:
        """The controller is about to change the state of a task."""

    def item_started(self, engine: EngineNode, attempt: m.Attempt, item: int, no: str) -> None:
        """An item of a share begins, or declines to run."""

    def item_finished(self, engine: EngineNode, attempt: m.Attempt, item: int, status: str) -> None:
        """An item of a share has ended, or declined to run."""

    def delivered(
        self, client: ClientNode, outcomes: list[m.Outcome], outputs: list[m.Output]
    ) -> None:
        """A user is told."""

    def answered(self, client: ClientNode, answer: Answered) -> None:
        """A request of a user is answered."""


class Moves(dict[Any, Any]):
    """The table of transitions, which counts how often each is used."""

    def __init__(self) -> None:
        super().__init__(tasks.TRANSITIONS)
        self.count: Counter[Any] = Counter()

    def __getitem__(self, key: Any) -> Any:
        self.count[key] += 1
        return super().__getitem__(key)


class Cluster:
    """A controller and whoever connects to it. Times are in seconds."""

    def __init__(
        self, random: Random, *, limits: Limits, scheme: Scheme | None = None,
        delay: tuple[float, float] = (0.001, 0.0), constants: dict[str, Any] | None = None,
        journal: str = "",
    ) -> None:  # fmt: skip
        self.clock = Clock()
        self.random = random
        self.delay = delay  # of the network: at least, and more at most
        self.constants = constants or {}  # "module.NAME" of `enginery.core` -> value
        self.jobs: dict[str, Job] = {}
        self.absorbed = False  # engines that run user code do not read what comes for tasks
        self.large = 0.0  # which share of tasks, and of results, has a buffer of its own
        self.names: dict[bytes, str] = {}  # of functions, for the story
        self.observer = Observer()
        self.trace: list[str] | None = None
        self.events = 0
        self.drops = 0
        self.moves = Moves()
        self.limits = limits
        self.scheme = scheme or LeastLoad()
        self.controller = ControllerNode(self, journal)
        self.engines: list[EngineNode] = []  # all lives, also those that are over
        self.supervisors: list[SupervisorNode] = []
        self.clients: list[ClientNode] = []

    @contextmanager
    def playing(self) -> Iterator[None]:
        """While this cluster is the one that plays: its constants hold, its moves are counted."""
        with ExitStack() as stack:
            for name, value in self.constants.items():
                stack.enter_context(patch(f"enginery.core.{name}", value))
            stack.enter_context(patch.object(tasks, "TRANSITIONS", self.moves))
            told = self._told_record()
            for module in (work, chunks, replay, bundles):
                stack.enter_context(patch.object(module, "Record", told))
            stack.enter_context(patch.object(bundles.Bundle, "move", self._told_bundle()))
            yield

    def buffers(self, of: str, data: bytes) -> tuple[m.Buffer, ...]:
        """The buffers of a task, or of a result: these bytes, or none."""
        return (m.Buffer(data),) if crc32(of.encode()) % 100 < 100 * self.large else ()

    # --- who there is ---------------------------------------------------------------------------

    def supervisor(self, engines: int) -> SupervisorNode:
        """A host with so many engines."""
        name = f"supervisor {'ABCDEFGH'[len(self.supervisors)]}"
        node = SupervisorNode(self, name, [self.secret() for _ in range(engines)])
        self.supervisors.append(node)
        node.begin()
        return node

    def loner(self) -> EngineNode:
        """An engine without a supervisor."""
        node = EngineNode(self, self.secret(), self.secret(), None)
        self.engines.append(node)
        node.begin()
        return node

    def client(self, name: str, role: str = "client") -> ClientNode:
        """A client."""
        node = ClientNode(self, name, role)
        self.clients.append(node)
        node.begin()
        return node

    def secret(self) -> bytes:
        """128 bits."""
        return self.random.randbytes(16)

    # --- the world around -----------------------------------------------------------------------

    def connection(self, peer: Peer, lane: str) -> Connection:
        """A new connection between a peer and the controller."""
        link = Connection(peer, lane)
        link.era = self.controller.era
        link.up = Pipe(self.clock, self.random, link, self.controller, self.delay)
        link.down = Pipe(self.clock, self.random, link, peer, self.delay)
        return link

    def startup(self) -> float:
        """Seconds from the begin of a process to its first connection."""
        return 0.01

    def backoff(self) -> float:
        """Seconds until a lost connection is replaced."""
        return 0.02

    def turn(self) -> float:
        """Seconds that the controller's loop takes to come round."""
        return 0.0

    def notice(self) -> float:
        """Seconds until the end of a process is noticed."""
        return 0.001

    def sync(self) -> float:
        """Seconds until what was written is on disk."""
        return 0.005

    def restarts_now(self, complete: bool) -> None:
        """The controller is about to go on from its journal."""

    def restarted(self, complete: bool) -> None:
        """It has taken up its journal."""

    def examine(self) -> None:
        """After each event of the controller; `world.World` lets the laws be checked here."""

    # --- the story ------------------------------------------------------------------------------

    def tell(self, sender: str, receiver: str, message: m.Message) -> None:
        """Somebody has heard something."""
        self.note(f"{sender} → {receiver}: {story.words(message, self.names)}")

    def note(self, text: str) -> None:
        """Something has happened."""
        if self.trace is not None:
            self.trace.append(f"{self.clock.now:9.4f}  {text}")

    def _told_record(self) -> type[tasks.Record]:
        note, observer, told = self.note, self.observer, self.trace is not None

        class Told(tasks.Record):
            """A task whose moves are observed, and part of the story."""

            __slots__ = ()

            def move(self, move: Any, now: float, cause: str = "", engine: int = -1) -> None:
                before = self.state
                observer.moving(self, move, engine, cause)
                super().move(move, now, cause, engine)
                if not told:
                    return
                where = f", engine {engine}" if engine >= 0 else ""
                price = ", a retry is spent" if move == "retry" else ""
                note(f"    {self.spec.id}: {before} → {self.state} ({cause or move}{where}{price})")

        return Told

    def _told_bundle(self) -> Callable[..., None]:
        """The moves of a bundle, observed as those of its tasks."""
        note, observer, told, move_all = self.note, self.observer, self.trace, bundles.Bundle.move

        def move(
            bundle: bundles.Bundle, move: Any, now: float, cause: str, engine: int = -1
        ) -> None:
            before = bundle.state
            for record in bundle.look():
                observer.moving(record, move, engine, cause)
            move_all(bundle, move, now, cause, engine)
            if told is not None:
                where = f", engine {engine}" if engine >= 0 else ""
                note(f"    {' '.join(bundle.ids)}: {before} → {bundle.state} ({cause}{where})")

        return move
