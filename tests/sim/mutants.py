"""Bugs made by hand: would the simulator find them?

A mutant changes the real machines in one place, as a slip of the pen might. Each must be caught by
some history within a bounded number of seeds. One that survives shows what the simulator does not
see. `python -m tests.sim.mutants` tries them all and tells which seed caught each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from inspect import getsource
from textwrap import dedent
from typing import Any
from unittest.mock import patch

from enginery.core import (
    client,
    controller,
    delivery,
    engine,
    engines,
    functions,
    intake,
    placement,
    sessions,
    work,
)

from .world import World

SEEDS = 400
"""Histories in which a mutant must be caught."""

RARE = {"the former life still has its say"}
"""Those that take thousands of histories: hunted by hand, not in every run of the tests."""

Mutant = tuple[type, str, str, str]
"""A class, one of its methods, and what is changed there: text, and what stands in its stead."""

MUTANTS: dict[str, Mutant] = {
    "any result counts": (
        work.Work, "result",
        "or place.sent.get(record.n) is not record", "or False",
    ),
    "a retry is not counted": (
        work.Work, "result",
        "record.spent += 1", "pass",
    ),
    "a task that had not started counts as started": (
        work.Work, "lose",
        "started = death is None or record.n <= death.started", "started = True",
    ),
    "a task that had started counts as not started": (
        work.Work, "lose",
        "started = death is None or record.n <= death.started",
        "started = death is None or record.n < death.started",
    ),
    "a function is not released": (
        work.Work, "end",
        "self.functions.release(spec.function)", "pass",
    ),
    "an aborted task still counts as waiting": (
        placement.Placement, "remove",
        "self._waits_no_more()", "pass",
    ),
    "a line without an engine is not looked at again": (
        placement.Placement, "changed",
        "self._hopeful[key] = None", "pass",
    ),
    "one more than hwm": (
        placement.Placement, "room",
        "place.load < self.hwm", "place.load <= self.hwm",
    ),
    "direct requests overtake each other": (
        engines.Place, "put",
        "self.queue.append(record)", "self.queue.appendleft(record)",
    ),
    "a result is forgotten when it is said": (
        engine.Engine, "_welcome",
        'out.extend(Send("tasks", results) for results in self.unacked)', "pass",
    ),
    "an engine runs again what arrives again": (
        engine.Engine, "_received",
        "if attempt.n > self.seen:", "if True:",
    ),
    "who is given up keeps its queue": (
        engine.Engine, "_drop_work",
        "self.queue.clear()", "pass",
    ),
    "an abort that overtakes its task is forgotten": (
        engine.Engine, "_abort",
        "if n > self.begun:", "if n <= self.seen and n > self.begun:",
    ),
    "unaccepted submissions are not said again": (
        client.Client, "_welcome",
        "self._send(submit, out)", "pass",
    ),
    "an outcome that arrives again is told again": (
        client.Client, "_deliver",
        "if message.seq == self.delivered + 1:", "if True:",
    ),
    "unconfirmed deliveries are not said again": (
        sessions.Session, "resume",
        "out.extend(Send(conn, deliver) for deliver, _ in self.under_way)", "pass",
    ),
    "submissions after a gap are taken": (
        intake.Intake, "submit",
        "if message.seq > session.submitted + 1:", "if False:",
    ),
    "an engine that stays away is not given up": (
        controller.Controller, "_closed",
        "self.leaving[party.id] = party", "pass",
    ),
    "a life that is over is taken back": (
        controller.Controller, "_over",
        "self.over[incarnation] = None", "pass",
    ),
    "an abort is not repeated to an engine that reconnects": (
        controller.Controller, "_engine_hello",
        "if doomed:", "if False:",
    ),
    "lost work is not sent again": (
        controller.Controller, "_engine_hello",
        "r.n > hello.seen", "False",
    ),
    "a needed function is thrown away": (
        functions.Functions, "_shrink",
        "if h not in self.needed", "if True",
    ),
    "what comes back waits behind the others": (
        placement.Placement, "put_back",
        "appendleft(record)", "append(record)",
    ),
    "a result too many is taken for acked": (
        engine.Engine, "_received",
        "self.unacked[0].seq <= seq", "self.unacked[0].seq <= seq + 1",
    ),
    "a delivery too many is taken for confirmed": (
        sessions.Session, "got",
        "[0].seq <= seq", "[0].seq <= seq + 1",
    ),
    "who waits for a task is not told that it has come": (
        delivery.Delivery, "ended",
        "[owner, *watchers]", "[owner]",
    ),
    "a request that comes again is carried out again": (
        controller.Controller, "_from_client",
        "message.number in session.answers", "False",
    ),
    "everybody who asks says hello": (
        client.Client, "_received",
        "if lane not in self.greeting", "if True",
    ),
    "the former life still has its say": (
        engine.Engine, "_received",
        "if lane in self.stale and isinstance(message, FOR_ONE_LIFE):", "if False:",
    ),
    "an engine is given up twice": (
        engine.Engine, "_received",
        "elif given_up == self.incarnation:", "else:",
    ),
}  # fmt: skip


def mutated(mutant: Mutant) -> Callable[..., Any]:
    """The method with the bug in it."""
    owner, name, text, instead = mutant
    source = dedent(getsource(getattr(owner, name)))
    if source.count(text) != 1:
        raise LookupError(f"{owner.__name__}.{name} does not have {text!r} once")
    module = sys.modules[owner.__module__]
    space: dict[str, Any] = {}
    code = "from __future__ import annotations\n" + source.replace(text, instead)
    exec(compile(code, f"<{name}, mutated>", "exec"), vars(module), space)
    method: Callable[..., Any] = space[name]
    return method


def hunt(name: str, seeds: range = range(SEEDS)) -> tuple[int, str] | None:
    """The first seed that catches this mutant, and what it says; None when none does."""
    owner, method, _, _ = MUTANTS[name]
    with patch.object(owner, method, mutated(MUTANTS[name])):
        for seed in seeds:
            try:
                World(seed).run()
            except Exception as error:  # whatever is raised has caught it
                return seed, f"{type(error).__name__}: {error}"
    return None


def main() -> int:
    """Hunt them all, or those that are named."""
    survivors = 0
    for name in sys.argv[1:] or MUTANTS:
        began = time.monotonic()
        caught = hunt(name, range(SEEDS * 50 if name in RARE else SEEDS))
        survivors += caught is None
        what = "SURVIVES" if caught is None else f"seed {caught[0]:>3}: {caught[1][:90]}"
        print(f"{name:<55} {time.monotonic() - began:5.1f} s  {what}", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
