"""The controller's machine alone, with engines and a client that cost next to nothing."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Sequence

from enginery.core import messages as m
from enginery.core.controller import Controller, Limits
from enginery.core.events import Effect, Received, Send
from enginery.core.names import content_hash
from enginery.schemes import LeastLoad
from enginery.version import PROTOCOL

ENGINES = 4
TOGETHER = 4096
"""Tasks in one submission."""

BLOB = b"def f(): ..."
FUNCTION = content_hash(BLOB)


class Machine:
    """A controller with one client and engines that have done everything at once."""

    def __init__(self, engines: int = ENGINES) -> None:
        limits = Limits(record_limit=1 << 40, record_bytes=1 << 40, budget=1 << 40)
        self.core = Controller("c", "0", LeastLoad(), limits)
        self.ended: list[str] = []  # how tasks ended
        self.results = dict.fromkeys(range(engines), 0)
        self.todo: list[tuple[int, m.Results]] = []
        for i in range(engines):
            secret = i.to_bytes(16, "big")
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


def timed(machine: Machine, tasks: Sequence[m.Task]) -> float:
    """Seconds from the first submission of these tasks to the last outcome."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)  # as the controller's process does
    start = time.perf_counter()
    for seq, at in enumerate(range(0, len(tasks), TOGETHER), 1):
        machine.hear("client", "client", m.Submit(seq, list(tasks[at : at + TOGETHER])))
    machine.run()
    seconds = time.perf_counter() - start
    if machine.ended != ["ok"] * len(tasks):
        raise RuntimeError(f"{len(machine.ended)} tasks have ended")
    return seconds


def graph(before: Iterable[Sequence[int]]) -> float:
    """Seconds that tasks take; `before`: what each of them is after."""
    tasks = []
    for i, earlier in enumerate(before):
        names = tuple(f"t-{j}" for j in earlier)
        terms = m.Terms(after=m.Dependency(names)) if names else None
        tasks.append(m.Task(f"t-{i}", FUNCTION, b"x" * 100, terms=terms))
    return timed(Machine(), tasks)


def crowd(engines: int, number: int) -> tuple[float, float]:
    """Seconds in which so many engines come, and that so many tasks then take."""
    start = time.perf_counter()
    machine = Machine(engines)
    seconds = time.perf_counter() - start
    return seconds, timed(machine, [m.Task(f"t-{i}", FUNCTION, b"x" * 100) for i in range(number)])
