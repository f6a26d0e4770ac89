"""What users do: they submit, abort, ask, fetch the results of others, stop engines, and leave."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING

from enginery.core import messages as m
from enginery.core.names import content_hash

from .peers import ClientNode, Job

if TYPE_CHECKING:
    from .world import World

KINDS = ("error", "flaky", "kill", "endless")
"""What tasks do, besides ending well."""


class User:
    """Who sits at a client: acts at random times until all tasks are submitted."""

    def __init__(self, world: World, client: ClientNode) -> None:
        self.world = world
        self.client = client
        self.random = world.random
        self.left = world.settings.tasks  # to be submitted
        self.submitted: list[str] = []
        self.leaving = False
        own = [f"function of {client.name}".encode()] if client.role == "client" else []
        self.functions = [*world.functions, *own]
        world.clock.after(world.startup(), self.act)

    def act(self) -> None:
        """Do something, and decide when to do the next thing."""
        world, random = self.world, self.random
        if world.calm or not self.client.alive or self.leaving:
            return
        weights = world.settings.actions
        name = random.choices(list(weights), list(weights.values()))[0]
        if self.client.frozen <= world.clock.now:
            world.actions[name] += 1
            ACTIONS[name](self)
        if self.left or random.random() < 0.9:
            world.clock.after(random.expovariate(1 / world.settings.pace), self.act)

    # --- submitting -----------------------------------------------------------------------------

    def balanced(self) -> None:
        """Some tasks for any engine, or for any of some engines."""
        targets: tuple[int, ...] = ()
        if self.random.random() < 0.3 and self.client.engines:
            size = self.random.randint(1, len(self.client.engines))
            targets = tuple(self.random.sample(self.client.engines, size))
        self.submit(self.amount(), targets=targets)

    def direct(self) -> None:
        """Some requests for one engine; rarely for one that does not exist."""
        engines = self.client.engines
        engine = self.random.choice(engines) if engines else 0
        if self.random.random() < 0.02:
            engine = 99
        self.submit(self.amount(), engine=engine)

    def amount(self) -> int:
        """How many tasks are submitted together."""
        return min(self.left, self.random.randint(1, self.world.settings.burst))

    def submit(self, count: int, *, engine: int = -1, targets: tuple[int, ...] = ()) -> None:
        """Submit so many tasks of one function or of several."""
        world, random = self.world, self.random
        if self.client.role == "task":
            engine = -1
        tasks, functions = [], {}
        mixed = random.random() < 0.3
        blob = random.choice(self.functions)
        for _ in range(count):
            if mixed:
                blob = random.choice(self.functions)
            hash = content_hash(blob)
            functions[hash] = blob
            id = f"{self.client.name}-{len(self.submitted) + 1}"
            retries = 0 if engine >= 0 else random.randint(0, world.settings.retries)
            task = m.Task(
                id, hash, bytes(random.randint(0, 50)), engine=engine, targets=targets,
                retries=retries,
            )  # fmt: skip
            world.jobs[id] = self.job(id)
            world.ledger.submitted(self.client, task)
            self.submitted.append(id)
            tasks.append(task)
        if tasks:
            self.left -= len(tasks)
            self.client.submit(tasks, functions)

    def job(self, id: str) -> Job:
        """What a task will do; who starts an endless one will abort it some time."""
        weights = self.world.settings.kinds
        kind = self.random.choices(list(weights), list(weights.values()))[0]
        seconds = self.random.expovariate(1 / self.world.settings.seconds)
        if kind == "endless":
            self.world.clock.after(self.random.expovariate(1.0), self.abort_those, [id], True)
        return Job(kind, seconds, self.random.choice((0, 0, 0, 1, 3)))

    # --- the rest -------------------------------------------------------------------------------

    def abort(self) -> None:
        """Abort some tasks, mostly recent ones of one's own."""
        ids = self.submitted[-self.random.randint(1, 40) :]
        if self.random.random() < 0.2 and self.client.role == "client":
            ids = list(self.world.ledger.tasks)
        if ids:
            count = self.random.randint(1, min(5, len(ids)))
            self.abort_those(self.random.sample(ids, count), self.random.random() < 0.5)

    def abort_those(self, ids: list[str], running: bool) -> None:
        """Abort these."""
        if self.client.alive and not self.leaving:
            self.world.ledger.aborting(ids)
            self.client.ask(m.Abort(ids, running))

    def fetch(self) -> None:
        """Ask for the result of any task, also of another client."""
        if self.client.role == "client" and self.world.ledger.tasks:
            self.fetch_those([self.random.choice(list(self.world.ledger.tasks))])

    def fetch_those(self, ids: list[str]) -> None:
        """Ask for these results."""
        self.client.ask(query := m.Query(0, "fetch", ids))
        self.world.ledger.fetching(self.client, query)

    def query(self) -> None:
        """Ask how things are."""
        what = self.random.choice(("status", "engines", "queues", "states", "tasks", "story"))
        ids = self.submitted[-3:] if what in {"states", "tasks", "story"} else []
        self.client.ask(m.Query(0, what, ids))

    def command(self) -> None:
        """Interrupt, clear, end or restart an engine."""
        if self.client.role != "client" or not self.client.engines:
            return
        engines = [self.random.choice(self.client.engines)]
        commands = [
            m.Signal(SIGINT, engines), m.Signal(SIGTERM, engines), m.Clear(engines),
            m.Shutdown(engines, restart=True), m.Shutdown(engines),
        ]  # fmt: skip
        self.client.ask(self.random.choices(commands, [4, 1, 4, 2, 0.3])[0])

    def leave(self) -> None:
        """Go as soon as all is accepted; the tasks go on."""
        if self.random.random() < 0.1:
            self.leaving = True
            self.world.clock.after(0.0, self.go, self.world.clock.now + 5.0)

    def go(self, latest: float) -> None:
        """Say goodbye, as `Client.close` does."""
        clock = self.world.clock
        if self.client.core.pending_bytes and clock.now < latest:
            clock.after(0.1, self.go, latest)
        else:
            self.client.leave()


ACTIONS: dict[str, Callable[[User], None]] = {
    "balanced": User.balanced,
    "direct": User.direct,
    "abort": User.abort,
    "fetch": User.fetch,
    "query": User.query,
    "command": User.command,
    "leave": User.leave,
}
