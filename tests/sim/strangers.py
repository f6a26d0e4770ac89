"""An engine that lies: it has a good key, knows the ids of tasks, and says what it likes.

Every message is valid in form. It may spoil the tasks that are given to it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from enginery.core import events as e
from enginery.core import messages as m
from enginery.version import PROTOCOL

from .network import Batch
from .nodes import Outbox
from .peers import EngineNode

if TYPE_CHECKING:
    from .world import World


class Liar(EngineNode):
    """See the module's docstring."""

    byzantine = True

    def __init__(self, world: World) -> None:
        super().__init__(world, world.secret(), world.secret(), None)
        self.world = world
        self.seq = 0
        self.entrusted: set[tuple[str, int]] = set()  # tasks and attempts that it may spoil
        self.items: set[tuple[str, int]] = set()  # items of chunks
        self.held: list[m.Attempt] = []

    def hear(self, event: e.Event, outbox: Outbox) -> list[e.Effect]:
        """Say hello like everybody, and remember what it is given."""
        random = self.world.random
        match event:
            case e.Opened(conn=lane):
                outbox[lane] = [self.hello(lane)]
            case e.Received(conn=lane, message=m.Again()):
                if random.random() < 0.5:
                    self.core.incarnation = self.world.secret()
                self.seq = 0
                self.held.clear()
                outbox[lane] = [self.hello(lane)]
            case e.Received(message=m.Welcome(id=id)):
                self.core.id = int(id)
            case e.Received(message=m.Run() as run):
                self.held += run.one_by_one()
        return []

    def carry_out(self, effects: Iterable[e.Effect]) -> None:
        """Nothing."""

    def note_work(self, batch: Batch) -> None:
        """It is being sent this."""
        for message in batch:
            if isinstance(message, m.Run):
                self.entrusted.update((a.id, a.attempt) for a in message.one_by_one())
                for attempt in message.one_by_one():
                    if (chunk := attempt.chunk) is not None:
                        name = attempt.id.partition(".")[0]
                        self.items.update((name, i) for i in range(chunk.start, chunk.stop))

    def hello(self, lane: Any, seen: int = 0) -> m.Hello:
        """As an honest engine says it."""
        return m.Hello(PROTOCOL, "0", "engine", lane, self.place, self.core.incarnation, seen=seen)

    def lie(self) -> None:
        """Say one or more things that are not so."""
        random = self.world.random
        for _ in range(random.randint(1, 4)):
            self.flush({random.choice(self.lanes): [self.invention()]})

    def invention(self) -> m.Message:
        """Any valid message with any content."""
        random, secret = self.world.random, self.world.secret
        tasks = self.world.controller.core.work.tasks.values()
        running = [(r.spec.id, r.attempt) for r in tasks if r.state == "sent"]
        if running and random.random() < 0.5:
            id, attempt = random.choice(running)
        else:
            id = random.choice(list(self.world.jobs) or ["nothing-1"])
            attempt = random.randint(0, 3)
        if self.held and random.random() < 0.5:
            mine = random.choice(self.held)
            id, attempt = mine.id, mine.attempt
        number = random.choice((-1, 0, 1, 2, 10**9))
        seq = self.seq + 1 if random.random() < 0.7 else number
        status: m.Ended = random.choice(("ok", "error", "aborted", "overtime", "refused", "unfit"))
        kind: Any = random.choice(("engine", "supervisor", "client"))
        lane: Any = random.choice(self.lanes)
        results = [m.Result(id, attempt, status, b"a lie") for _ in range(random.randint(1, 3))]
        if "." in id:
            for result in results:
                result.items, result.running = random.randint(-1, 9), random.randint(-1, 3)
        inventions: list[m.Message] = [
            m.Results(seq, results),
            m.Output(id, attempt, number, "stdout", "a lie"),
            m.Need((secret(),)),
            m.Hello(PROTOCOL, "0", kind, lane, secret(), secret(), places=(secret(),)),
            m.Hello(PROTOCOL, "0", "engine", lane, secret(), secret()),
            self.hello(lane, seen=max(number, 0)),
            m.Exited(secret(), secret(), number, number, "a lie", replaced=True),
            m.Goodbye("a lie"),
            m.Reply(number, "a lie"),
            m.Submit(1, []), m.Abort([id], running=True), m.Query(1, "status"), m.Got(number),
            m.Shutdown(controller=True), m.Define(secret(), b"a lie"), m.Acked(number, "a lie"),
            m.Welcome("a lie", 0), m.Again(), m.Changed(number), m.Changed(random.randint(1, 9)),
            m.Resubmit([id], ["nothing-2"]), m.Purge(every=True), m.Choose("lru"),
        ]  # fmt: skip
        weights = [8, 3, 1, 1, 1, 1] + [1] * (len(inventions) - 6)
        chosen = random.choices(inventions, weights)[0]
        if isinstance(chosen, m.Results) and number == 1:
            ids, times = [id] * len(results), [0.0] * len(results)
            ran = m.Ran(ids, [b"a lie"] * len(results), times, times, [0] * len(results))
            chosen = m.Results(seq, results, ran)
        self.seq += isinstance(chosen, m.Results) and seq > self.seq
        return chosen
