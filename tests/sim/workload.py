"""What users do: they submit, abort, ask, fetch the results of others, stop engines, and leave."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING
from zlib import crc32

from enginery.core import messages as m
from enginery.core.names import content_hash
from enginery.schemes import SCHEMES

from .peers import ClientNode, Job

if TYPE_CHECKING:
    from .world import World

KINDS = ("error", "flaky", "kill", "endless", "changes")
"""What tasks do, besides ending well."""

TERMS = ("after", "follow", "priority", "timeout", "recovery", "time limit", "inputs")
"""What tasks ask for, besides to be run."""

PICKY = ("refused", "unfit")
"""How user code says that it will not run here."""

PRIORITIES = (-1.0, -1.0, 0.5, 0.5, 1.0, 1.0, 7.0, 7.0, inf, nan)
"""How urgent tasks are; the last is no number, and stands for 0."""

WHICH = ((True, False), (True, False), (True, False), (True, True), (False, True), (False, False))
"""Which ends of others count for a dependency: success, failure."""


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
        if self.random.random() < self.world.settings.targeted and self.client.engines:
            size = self.random.randint(1, len(self.client.engines))
            targets = tuple(self.random.sample(self.client.engines, size))
            if self.random.random() < 0.01:
                targets = (*targets, 99)
        if self.world.settings.chunks and self.random.random() < self.world.settings.chunks:
            self.chunks(targets)
        else:
            self.submit(self.amount(), targets=targets)

    def chunks(self, targets: tuple[int, ...]) -> None:
        """A few chunks of calls of one function."""
        world, random = self.world, self.random
        blob = random.choice(self.functions)
        tasks = []
        retries = random.randint(0, world.settings.retries)
        for _ in range(min(self.left, random.choice((1, 1, 1, 2, 3)))):
            id = f"{self.client.name}-{len(self.submitted) + 1}"
            items, grain = random.randint(1, world.settings.items), random.choice((1, 1, 4, 16))
            grains, size = -(-items // grain), random.randint(0, 20)
            chunk = m.Chunk(0, items, grain, tuple(size * (i + 1) for i in range(grains)))
            task = m.Task(
                id, content_hash(blob), bytes(size * grains), targets=targets, retries=retries,
                chunk=chunk,
            )  # fmt: skip
            self.items(id, [self.job(id) for _ in range(items)])
            world.ledger.submitted(self.client, task)
            self.submitted.append(id)
            tasks.append(task)
        if tasks:
            self.left -= len(tasks)
            self.client.submit(tasks, {content_hash(blob): blob})

    def items(self, id: str, jobs: list[Job]) -> None:
        """What the items of a chunk will do."""
        self.world.jobs[id] = Job()
        for item, job in enumerate(jobs):
            self.world.jobs[f"{id}.{item}"] = job

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
        share = world.settings.alike
        alike = (
            random.randint(0, world.settings.retries) if share and random.random() < share else -1
        )
        blob = random.choice(self.functions)
        for _ in range(count):
            if mixed:
                blob = random.choice(self.functions)
            hash = content_hash(blob)
            functions[hash] = blob
            id = f"{self.client.name}-{len(self.submitted) + 1}"
            retries = random.randint(0, world.settings.retries) if alike < 0 else alike
            retries = 0 if engine >= 0 else retries
            terms = None if alike >= 0 else self.terms(id, functions, engine >= 0)
            task = m.Task(
                id, hash, bytes(random.randint(0, 50)), world.buffers(id, self.data(id)),
                engine=engine, targets=targets, retries=retries, terms=terms,
            )  # fmt: skip
            world.jobs[id] = self.job(id)
            if terms is not None and terms.recoveries:
                chain = [self.failing(self.job(id)) for _ in range(3)]
                world.jobs[id] = self.failing(world.jobs[id])._replace(chain=tuple(chain))
            world.ledger.submitted(self.client, task)
            self.submitted.append(id)
            tasks.append(task)
        if tasks:
            self.left -= len(tasks)
            self.client.submit(tasks, functions)

    @staticmethod
    def data(id: str) -> bytes:
        """The large data of a task, which is the same for many of them."""
        return b"data of a search" if crc32(id[::-1].encode()) % 2 else f"data of {id}".encode()

    def job(self, id: str) -> Job:
        """What a task will do; who starts an endless one will abort it some time."""
        weights = self.world.settings.kinds
        kind = self.random.choices(list(weights), list(weights.values()))[0]
        seconds = self.random.expovariate(1 / self.world.settings.seconds)
        if kind == "endless":
            self.world.clock.after(self.random.expovariate(1.0), self.abort_those, [id], True)
        deaf = self.random.random() < self.world.settings.deaf
        picky = [name for name, p in self.world.settings.picky.items() if self.random.random() < p]
        outputs = self.random.choice((0, 0, 0, 1, 3))
        return Job(kind, seconds, outputs, deaf, picky[0] if picky else "")

    def failing(self, job: Job) -> Job:
        """Mostly what fails, so that there is something to recover from."""
        return job._replace(kind="error") if self.random.random() < 0.6 else job

    def terms(self, id: str, functions: dict[bytes, bytes], direct: bool) -> m.Terms | None:
        """What a task asks for; rarely what has no meaning for a direct request."""
        random, settings = self.random, self.world.settings
        odd = not direct or random.random() < 0.1
        wanted = {name for name, p in settings.terms.items() if random.random() < p}
        wanted = wanted if odd else wanted & {"inputs"}
        if not wanted:
            return None
        limit = random.expovariate(0.3 / settings.seconds) if "time limit" in wanted else 0.0
        limit = inf if limit and random.random() < 0.02 else limit
        return m.Terms(
            after=self.dependency((0, 1, 1, 2, 3, 6)) if "after" in wanted else None,
            follow=self.dependency((0, 1, 1, 1, 2)) if "follow" in wanted else None,
            timeout=random.choice((0.01, 1.0, 10.0, 200.0, inf)) if "timeout" in wanted else 0.0,
            priority=random.choice(PRIORITIES) if "priority" in wanted else 0.0,
            time_limit=limit,
            recoveries=self.recoveries(functions, limit) if "recovery" in wanted else (),
            inputs=self.inputs() if "inputs" in wanted else (),
        )

    def dependency(self, sizes: tuple[int, ...]) -> m.Dependency:
        """Mostly on tasks of one's own, that were submitted lately."""
        random = self.random
        ids = self.submitted[-random.choice((3, 10, 50)) :]
        if random.random() < 0.1:
            ids = list(self.world.ledger.tasks)[-100:]
        chosen = random.choices(ids, k=random.choice(sizes)) if ids else []
        if random.random() < 0.02:
            chosen.append("nobody-1")
        success, failure = random.choice(WHICH)
        return m.Dependency(tuple(chosen), random.random() < 0.6, success, failure)

    def inputs(self) -> tuple[str, ...]:
        """Tasks whose values one takes, each once."""
        return tuple(dict.fromkeys(self.dependency((0, 1, 1, 1, 2, 3, 9)).ids))

    def recoveries(self, functions: dict[bytes, bytes], limit: float) -> tuple[m.Task, ...]:
        """A chain of one to three tasks, each for when the one before has failed."""
        count = self.random.choice((1, 1, 1, 2, 2, 3))
        return tuple(self.recovery(functions, level, limit) for level in range(1, count + 1))

    def recovery(self, functions: dict[bytes, bytes], level: int, limit: float) -> m.Task:
        random = self.random
        blob = random.choice(self.functions)
        functions[content_hash(blob)] = blob
        odd = random.random() < 0.3  # it cannot wait for anything any more
        engines = self.client.engines if random.random() < 0.2 else []
        return m.Task(
            "", content_hash(blob), bytes([level]), retries=random.choice((0, 0, 1)),
            targets=tuple(random.sample(engines, 1)) if engines else (),
            terms=m.Terms(
                time_limit=limit, priority=random.choice((0.0, 0.0, 2.0)),
                after=self.dependency((1, 2)) if odd else None, timeout=0.1 if odd else 0.0,
            ) if random.random() < 0.5 else None,
        )  # fmt: skip

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
        ids = [id for id in ids if id in self.world.ledger.tasks]
        if self.client.alive and not self.leaving:
            self.world.ledger.aborting(ids)
            gently = running and self.random.random() < 0.3
            self.client.ask(m.Abort(ids, running, gently=gently))

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
        what = self.random.choice(
            ("status", "engines", "queues", "states", "tasks", "story", "explain")
        )
        ids = self.submitted[-3:] if what in {"states", "tasks", "story", "explain"} else []
        self.client.ask(m.Query(0, what, ids))

    def resubmit(self) -> None:
        """Run some tasks again, mostly finished ones of one's own."""
        told = [id for id in self.submitted[-60:] if self.world.ledger.knows(self.client, id)]
        if self.random.random() < 0.1:
            told = [id for id in self.submitted[-3:] if id in self.world.ledger.tasks]
        if self.random.random() < 0.2 and self.client.role == "client":
            told = list(self.world.ledger.ends)[-50:]
        if not told:
            return
        ids = self.random.sample(told, min(len(told), self.random.choice((1, 1, 2, 5))))
        if self.random.random() < 0.5:  # with what they take
            ledger = self.world.ledger
            taken = [i for id in ids for i in ledger.tasks[id].takes if i in ledger.ends]
            ids = list(dict.fromkeys([*ids, *taken]))
        new = [f"{self.client.name}-{len(self.submitted) + 1 + i}" for i in range(len(ids))]
        for old, id in zip(ids, new, strict=True):
            self.world.jobs[id] = self.world.jobs[old]
            if (chunk := self.world.ledger.tasks[old].task.chunk) is not None:
                jobs = [self.world.jobs[f"{old}.{item}"] for item in range(chunk.stop)]
                self.items(id, jobs)
                if any(job.kind == "endless" for job in jobs):
                    self.world.clock.after(1.0, self.abort_those, [id], True)
            if self.world.jobs[id].kind == "endless":
                self.world.clock.after(1.0, self.abort_those, [id], True)
        self.submitted += new
        self.client.ask(request := m.Resubmit(ids, new))
        self.world.ledger.asking(self.client, request)

    def purge(self) -> None:
        """Let finished tasks be forgotten."""
        random = self.random
        if random.random() < 0.5:
            ids = random.sample(self.submitted, min(len(self.submitted), 3))
            request = m.Purge(ids)
        elif random.random() < 0.5 and self.client.engines:
            request = m.Purge(engines=[random.choice(self.client.engines)])
        else:
            request = m.Purge(every=True)
        self.client.ask(request)
        self.world.ledger.asking(self.client, request)

    def choose(self) -> None:
        """Change the scheme; rarely to one that there is not."""
        if self.client.role == "client":
            self.client.ask(m.Choose(self.random.choice([*SCHEMES, "unheard of"])))

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
    "resubmit": User.resubmit,
    "purge": User.purge,
    "choose": User.choose,
    "command": User.command,
    "leave": User.leave,
}
