"""One history: from the seed to the verdict."""

from __future__ import annotations

from collections import Counter
from math import inf
from random import Random
from typing import Any

from enginery.core import laws
from enginery.core import messages as m
from enginery.core.client import GOT_LATER
from enginery.core.dispatch import ACK_LATER
from enginery.core.events import Measured
from enginery.core.tasks import Record

from .broken import Broken
from .cluster import Cluster
from .faults import FAULTS, RESTARTS
from .ledger import Ledger
from .nodes import Peer
from .peers import EngineNode, Job
from .settings import Settings, add_bundles, add_chunks, draw, draw_journal
from .strangers import Liar
from .workload import User

NAMES = ("ann", "bob", "cay", "dan")

ABSORBED = {1}
"""Which seeds of three have engines that read nothing while they run user code, as real ones."""

EVENTS = 1_000_000
"""A history that needs more than this does not come to rest."""

CHUNKED = {1}
"""Which seeds of eight have chunks; what the others play is what it was before there were any."""

BUNDLED = {3, 7}
"""Which have many bundles."""

PATIENCE = 600.0
"""Seconds without any fault in which at least one more task must end."""


class World(Cluster):
    """A cluster, its users, and their bad luck."""

    def __init__(
        self, seed: int, *, trace: bool = False, every: int = 1000, journal: bool = True
    ) -> None:
        random = Random(seed)
        self.seed = seed
        self.settings: Settings = draw(random)
        if seed % 8 in CHUNKED:
            add_chunks(self.settings, random)
            every = min(every, 500)
        if seed % 8 in BUNDLED:
            add_bundles(self.settings, Random(f"the bundles of {seed}"))
        s = self.settings
        fewest = Random(f"the columns of {seed}").choice((1, 2, 4))
        s.constants.setdefault("alike.FEWEST", fewest)
        if journal:
            draw_journal(s, Random(f"the journal of {seed}"))
        super().__init__(
            random, limits=s.limits, scheme=s.scheme, delay=s.delay, journal=s.journal,
            constants=s.constants | {"controller.public_name": self.public_name},
        )  # fmt: skip
        self.trace = [] if trace else None
        self.large = s.large
        self.absorbed = seed % 3 in ABSORBED
        self.every = every  # events between two checks of all laws
        self.next_check = every
        self.calm = False
        self.ledger = self.observer = Ledger(self)
        self.functions = [f"function {i}".encode() * 5 for i in range(s.functions)]
        self.users: list[User] = []
        self.actions: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.victims: Counter[tuple[str, str]] = Counter()  # (fault, what the engine was doing)

    # --- what the stage leaves open ---------------------------------------------------------------

    def public_name(self, secret: bytes, size: int) -> str:
        """What the controller calls a client: the ids of its tasks begin with that."""
        return next(client.name for client in self.clients if client.core.identity == secret)

    def startup(self) -> float:
        """Seconds from the begin of a process to its first connection."""
        return self.random.random() * 0.2

    def backoff(self) -> float:
        """Seconds until a lost connection is replaced."""
        return self.random.random() * (0.02 if self.random.random() < 0.7 else 2.0)

    def turn(self) -> float:
        """Seconds that the controller's loop takes to come round."""
        return self.settings.turn * self.random.random()

    def notice(self) -> float:
        """Seconds until the end of a process is noticed."""
        return self.random.random() * (0.005 if self.random.random() < 0.8 else 0.5)

    def sync(self) -> float:
        """Seconds until what was written is on disk."""
        return self.random.random() * 2 * self.settings.sync

    def restarts_now(self, complete: bool) -> None:
        """The controller is about to go on from its journal."""
        self.ledger.restarts_now(complete)

    def restarted(self, complete: bool) -> None:
        """It has taken up its journal; what that lacks was never decided."""
        laws.check(self.controller.core)
        self.ledger.restarted(complete)

    def examine(self) -> None:
        """Check all laws now and then."""
        self.ledger.turned()
        if self.events >= self.next_check:
            self.next_check = self.events + self.every
            laws.check(self.controller.core)
            self.ledger.check_waiting()
            if self.events > EVENTS:
                raise Broken("lost: this does not come to rest")

    def peers(self) -> list[Peer]:
        """Who is connected, or tries to be."""
        everyone: list[Peer] = [*self.engines, *self.supervisors, *self.clients]
        return [peer for peer in everyone if peer.alive]

    def lied(self, outcome: m.Outcome) -> bool:
        """Whether an engine that lies may have said so."""
        return any(
            isinstance(e, Liar) and (outcome.id, outcome.attempt) in e.entrusted
            for e in self.engines
        )

    @property
    def forgets(self) -> bool:
        """Whether the controller gives clients up so soon that it happens."""
        return "controller.FORGET_CLIENT" in self.constants

    def notice_fault(self, fault: str, engine: EngineNode) -> None:
        """Count what an engine was doing when it was hit."""
        core = engine.core
        doing = "waiting" if core.queue else "running" if core.current else "idle"
        self.victims[fault, doing] += 1
        if core.unacked:
            self.victims[fault, "unacked"] += 1

    # --- the history ------------------------------------------------------------------------------

    def run(self) -> None:
        """Play; raises `Broken`, `BrokenLaw` or whatever a machine raises."""
        with self.playing():
            self._set_up()
            self.clock.run(self.settings.horizon)
            self._calm_down()
            self._finish()
            self._leave()

    def _set_up(self) -> None:
        s = self.settings
        for engines in s.supervised:
            self.supervisor(engines)
        for _ in range(s.loners):
            self.loner()
        for name in NAMES[: s.clients]:
            role = "task" if self.random.random() < 0.15 else "client"
            self.users.append(User(self, self.client(name, role)))
        for name in s.faults:
            self._schedule(name)

    def _schedule(self, fault: str) -> None:
        self.clock.after(self.random.expovariate(self.settings.faults[fault]), self._hit, fault)

    def _hit(self, fault: str) -> None:
        if not self.calm:
            self.note(f"*** {fault}")
            self.faults[fault] += (FAULTS | RESTARTS)[fault](self)
            self._schedule(fault)

    def _calm_down(self) -> None:
        """From now on nothing bad happens, and nobody submits anything."""
        self.note("*** all faults stop")
        self.calm = True
        for engine in self.engines:
            if isinstance(engine, Liar):
                engine.exit(-9)
        for id, job in self.jobs.items():
            entry = self.ledger.tasks.get(id)
            levels = set(entry.levels.values()) if entry is not None else set()
            if self.ledger.items.has_begun(id):
                levels.add(0)
            first, *chain = [
                calmed(job.stage(level), level in levels) for level in range(len(job.chain) + 1)
            ]
            self.jobs[id] = first._replace(chain=tuple(chain))
        for peer in self.peers():
            peer.heal()
        self.controller.disk.full = False
        if self.controller.alive:
            self.controller.handle(Measured(0))
        for engine in self.engines:
            engine.change()  # everything fits everywhere now, and this says so
        self.clock.run(self.clock.now + 60.0)  # the frozen awake, connections come back
        self.operator = User(self, self.client("operator"))
        self.operator.left = 0
        self.clock.run(self.clock.now + 5.0)

    def _finish(self) -> None:
        """Until all is done; what can end in no other way is aborted."""
        last, most, fewest = self.clock.now, 0, inf
        while unfinished := self._unfinished():
            ended = sum(n for (_, move), n in self.moves.count.items() if move == "end")
            if ended > most or len(unfinished) < fewest:  # of the shares of a map, too; or is told
                last, most, fewest = self.clock.now, ended, len(unfinished)
            if self.clock.now - last > PATIENCE:
                raise Broken(f"lost: {unfinished[:5]} hang")
            if not any(e.alive for e in self.engines):
                self.loner()
            if stuck := [id for id in unfinished if self._hopeless(id)]:
                self.operator.abort_those(stuck, True)
            self.clock.run(self.clock.now + 5.0)
        self.operator.fetch_those([id for id, e in self.ledger.tasks.items() if not e.client.alive])
        due = inf
        while due:  # who is far away may be told of a few at a time
            self.clock.run(self.clock.now + PATIENCE)
            sessions = self.controller.core.sessions.values()
            before, due = due, sum(len(session.due) for session in sessions)
            if due >= before:
                break
        self.ledger.check()

    def _unfinished(self) -> list[str]:
        waiting = dict.fromkeys(e.task.id for e in self.ledger.missing())
        tasks = self.controller.core.work.tasks.values()
        return list(waiting | dict.fromkeys(r.spec.id for r in tasks if r.outcome is None))

    def _hopeless(self, id: str) -> bool:
        """Whether only an abort can end it: it is endless, or its engines will not run it."""
        work = self.controller.core.work
        record = work.tasks.get(id)
        if record is None or record.outcome is not None or record.interrupting:
            return False
        if record.pool is not None:
            return self._is_endless(record)
        job = self.jobs[id]
        if any(each.kind == "endless" for each in (job, *job.chain)):
            return True
        if self.ledger.tasks[id].timeout == inf:
            return True  # it was to wait, whatever happens
        places = [work.places[i] for i in record.spec.targets]
        return bool(places) and not any(p.here or p.awaited for p in places)

    def _is_endless(self, record: Record) -> bool:
        """Whether an item of a chunk, or of a share, does not end by itself."""
        chunk = record.spec.chunk
        assert chunk is not None
        name = record.spec.id.partition(".")[0]
        items = range(chunk.start, chunk.stop)
        if any(self.jobs[f"{name}.{item}"].kind == "endless" for item in items):
            return True
        places = [self.controller.core.work.places.get(i) for i in record.spec.targets]
        return bool(places) and not any(p and (p.here or p.awaited) for p in places)

    def _leave(self) -> None:
        """All clients leave. Then nothing may be left in any memory."""
        for client in self.clients:
            if client.alive:
                _nothing(repr(client), vars(client.core), (
                    "unsent", "unaccepted", "unsent_bytes", "unaccepted_bytes",
                    "unsent_tasks", "unaccepted_tasks", "lacking", "functions",
                    "needed", "outstanding", "requests", "held",
                ))  # fmt: skip
                session = self.controller.core.sessions[client.core.identity]
                _nothing(repr(session), vars(session), (
                    "unaccepted", "unaccepted_bytes", "unaccepted_tasks", "held", "due",
                    "due_bytes", "output_due", "dropped", "fetching",
                ))  # fmt: skip
                if len(session.under_way) > GOT_LATER:
                    raise Broken(f"unexpected: {session!r} waits for too many to be confirmed")
                client.leave()
        self.clock.run()
        self._check_memory()

    def _check_memory(self) -> None:
        core = self.controller.core
        laws.check(core)
        work = core.work
        _nothing("controller", vars(core), ("leaving", "stale", "heirs"))
        _nothing("intake", vars(core.intake), ("lacking", "accepting"))
        _nothing("delivery", vars(core.delivery), ("sessions", "watchers", "_owing"))
        _nothing("work", vars(work), ("ended",))
        _nothing("dispatch", vars(work.dispatch), ("touched",))
        _nothing("the quota", vars(work.quota), ("bytes", "tasks", "shares", "waiting"))
        _nothing("graph", vars(work.conditions.graph), ("edges",))
        _nothing("conditions", vars(work.conditions), ("moved",))
        _nothing("work", {"needed": work.functions.needed}, ("needed",))
        lines = {"lines": any(work.placement.lines.values())}
        _nothing("placement", {"waiting": work.placement.waiting} | lines, ("waiting", "lines"))
        for place in work.places.values():
            _nothing(repr(place), vars(place), (
                "_queue", "_sent", "_besides", "sent_bytes", "load", "backlog",
            ))  # fmt: skip
        if set(work.tasks) != {record.spec.id for record in work.history}:
            raise Broken("unexpected: a task is kept that is not in the history")
        if work.functions.bytes > max(work.functions.limit, 0):
            raise Broken("unexpected: more functions are kept than fit")
        here = {p.id for p in work.places.values() if p.here}
        alive = {e.core.id for e in self.engines if e.alive}
        if here != alive:
            raise Broken(f"unexpected: engines {here} are registered, {alive} live")
        for engine in self.engines:
            if engine.alive:
                _nothing(repr(engine.core), vars(engine.core), ("queue", "current"))
                if len(engine.core.unacked) > ACK_LATER:
                    raise Broken(f"unexpected: {engine.core!r} waits for too many to be acked")


def calmed(job: Job, begun: bool) -> Job:
    """What a task does once nothing bad happens any more; it goes on with what it has begun."""
    if job.kind == "kill" or (job.kind == "endless" and not begun):
        job = Job()
    return job._replace(picky="")


def _nothing(whose: str, state: dict[str, Any], names: tuple[str, ...]) -> None:
    """These are empty."""
    for name in names:
        if state[name]:
            raise Broken(f"unexpected: {name} is left in {whose}: {state[name]!r}"[:300])
