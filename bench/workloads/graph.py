"""Tasks that depend on others, beside as many that do not: what a dependency costs the controller.

Only the controller's machine is measured, with engines and a client that cost next to nothing. A
graph is to cost as much as it has edges, whatever its shape.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterable, Sequence

from enginery.core import messages as m
from enginery.core.controller import Controller, Limits
from enginery.core.events import Effect, Received, Send
from enginery.core.names import content_hash
from enginery.schemes import LeastLoad
from enginery.version import PROTOCOL

from ..harness import OURS, Workload

TASKS = 100_000
ENGINES = 4
TOGETHER = 4096
"""Tasks in one submission."""

BLOB = b"def f(): ..."
FUNCTION = content_hash(BLOB)


def chain(i: int) -> Sequence[int]:
    """Each after the one before."""
    return range(max(i - 1, 0), i)


def star(i: int) -> Sequence[int]:
    """All after the first, and the last after all."""
    return range(min(i, 1)) if i < TASKS - 1 else range(TASKS - 1)


def tree(i: int) -> Sequence[int]:
    """Each after one half as old: two after each."""
    return [(i - 1) // 2] if i else []


def tangle(i: int) -> Sequence[int]:
    """Each after ten others, drawn among all the earlier ones."""
    return random.Random(i).sample(range(i), min(i, 10))


class Bench:
    """A controller with one client and engines that have done everything at once."""

    def __init__(self) -> None:
        limits = Limits(record_limit=2 * TASKS, record_bytes=1 << 40, budget=1 << 40)
        self.core = Controller("c", "0", LeastLoad(), limits)
        self.ended: list[str] = []  # how tasks ended
        self.results = dict.fromkeys(range(ENGINES), 0)
        self.todo: list[tuple[int, m.Results]] = []
        for i in range(ENGINES):
            secret = bytes([i]) * 16
            for lane in ("tasks", "control"):
                hello = m.Hello(PROTOCOL, "0", "engine", lane, secret, secret)
                self.hear((i, lane), "engine", hello)
        self.hear("client", "client", m.Hello(PROTOCOL, "0", "client", "tasks", b"c" * 16))
        self.hear("client", "client", m.Define(FUNCTION, BLOB))

    def hear(self, conn: object, role: str, message: m.Message) -> None:
        """A message arrives; the work that follows from it is noted."""
        effects: list[Effect] = []
        self.core.feed(Received(conn, role, message), 0.0, effects)
        self.core.settle(0.0, effects)
        self.do(effects)

    def do(self, effects: Iterable[Effect]) -> None:
        """Engines are done with what they get; the client has what it gets."""
        got = 0
        for effect in effects:
            if not isinstance(effect, Send):
                continue
            match effect.message:
                case m.Run(attempts=attempts):
                    engine: int = effect.conn[0]  # type: ignore[index]
                    self.results[engine] += 1
                    results = [m.Result(a.id, a.attempt, "ok", b"") for a in attempts]
                    self.todo.append((engine, m.Results(self.results[engine], results)))
                case m.Deliver(seq=seq, outcomes=outcomes):
                    got = seq
                    self.ended += [outcome.status for outcome in outcomes]
        if got:
            self.hear("client", "client", m.Got(got))

    def run(self) -> None:
        """Until there is nothing left to do; all that is there is read in one turn."""
        while self.todo:
            todo, self.todo = self.todo, []
            effects: list[Effect] = []
            for engine, results in todo:
                self.core.feed(Received((engine, "tasks"), "engine", results), 0.0, effects)
            self.core.settle(0.0, effects)
            self.do(effects)


def sampler(shape: Callable[[int], Sequence[int]]) -> Callable[[str], float]:
    """Measures this shape, or as many tasks without any edge."""

    def sample(peer: str) -> float:
        """Microseconds per task, from its submission to its outcome."""
        tasks = []
        for i in range(TASKS):
            names = tuple(f"t-{before}" for before in shape(i)) if peer == OURS else ()
            terms = m.Terms(after=m.Dependency(names)) if names else None
            tasks.append(m.Task(f"t-{i}", FUNCTION, b"x" * 100, terms=terms))
        bench = Bench()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)  # as the controller's process does
        start = time.perf_counter()
        for seq, at in enumerate(range(0, TASKS, TOGETHER), 1):
            bench.hear("client", "client", m.Submit(seq, tasks[at : at + TOGETHER]))
        bench.run()
        seconds = time.perf_counter() - start
        if bench.ended != ["ok"] * TASKS:
            raise RuntimeError(f"{len(bench.ended)} tasks have ended")
        return seconds / TASKS * 1e6

    return sample


def workload(shape: Callable[[int], Sequence[int]], title: str) -> Workload:
    """One shape beside independent tasks."""
    return Workload(
        name=shape.__name__,
        title=f"100,000 tasks in the controller: {title}",
        unit="µs/task",
        more_is_better=False,
        targets={"independent": 3.0},
        sample=sampler(shape),
        repeat=3,
    )


GRAPHS = [
    workload(chain, "a chain"),
    workload(star, "a star, and back to one"),
    workload(tree, "a binary tree"),
    workload(tangle, "10 random edges each"),
]
