"""What a seed draws before anything happens: the cluster, its limits, and what can go wrong.

Swarm testing: each seed leaves most faults and most kinds of work out altogether, and each has a
rate of its own. A bug that needs two faults and the absence of a third is found this way.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from math import exp, log
from random import Random
from typing import Any

from enginery.core.ahead import AUTO
from enginery.core.controller import Limits
from enginery.core.quota import CREDIT
from enginery.schemes import SCHEMES, LeastLoad, Load, Scheme

from .faults import FAULTS, RESTARTS
from .workload import ACTIONS, KINDS, PICKY, TERMS


class Highest(Scheme):
    """A scheme as users write them: always the last engine."""

    name = "highest"

    def choose(self, engines: Collection[Load]) -> Load:
        """The one with the highest id."""
        return max(engines, key=lambda e: e.id)


@dataclass
class Settings:
    """One history's conditions."""

    supervised: list[int] = field(default_factory=list)  # engines of each supervisor
    loners: int = 0
    clients: int = 1
    tasks: int = 100  # of each client
    pace: float = 0.1  # seconds between two actions of a client, on average
    burst: int = 10  # tasks submitted at a time, at most
    targeted: float = 0.3  # which share of these may go to some engines only
    alike: float = 0.0  # which share differs in its arguments alone
    seconds: float = 0.01  # a task takes, on average
    retries: int = 3  # of a task, at most
    chunks: float = 0.0  # which share of submissions are chunks
    items: int = 10  # of a chunk, at most
    functions: int = 4
    actions: dict[str, float] = field(default_factory=dict)  # what clients do, by weight
    kinds: dict[str, float] = field(default_factory=dict)  # what tasks do, by weight
    terms: dict[str, float] = field(default_factory=dict)  # what they ask for, in which share
    picky: dict[str, float] = field(default_factory=dict)  # which share will not run everywhere
    deaf: float = 0.0  # which share does not heed an interrupt
    faults: dict[str, float] = field(default_factory=dict)  # per second
    horizon: float = 10.0  # seconds until all faults stop
    delay: tuple[float, float] = (0.001, 0.001)
    turn: float = 0.0  # seconds that the controller's loop takes, at most
    scheme: Scheme = field(default_factory=LeastLoad)
    limits: Limits = field(default_factory=Limits)
    constants: dict[str, Any] = field(default_factory=dict)
    journal: str = ""  # its name; without one the controller is not killed
    sync: float = 0.005  # seconds until what was written is on disk, on average
    large: float = 0.0  # which share of tasks, and of results, has a buffer of its own


TIGHT: dict[str, tuple[int, int]] = {
    "sessions.WINDOW": (200, 5000),
    "sessions.BATCH": (1, 8),
    "client.ROUND": (1, 8),
    "engines.AHEAD": (1, 6),
    "engines.AHEAD_BYTES": (100, 2000),
    "engine.FUNCTION_BYTES": (100, 700),
    "sessions.OUTPUT_DUE": (1, 2000),
    "intake.TELL_BYTES": (300, 3000),
    "client.GOT_LATER": (1, 8),
    "dispatch.ACK_LATER": (1, 8),
    "dispatch.ACK_BYTES": (300, 3000),
    "controller.FORGET_CLIENT": (3, 30),
}
"""Constants of the core that are drawn so small, at times, that they matter."""


WRITTEN: dict[str, tuple[int, int]] = {
    "journal.PART": (1, 20),
    "journal.GROWTH": (300, 30_000),
    "journal.LONG": (1000, 60_000),
    "client.CLAIM": (1, 20),
}
"""The same, that matter where there is a journal."""


def draw_journal(s: Settings, random: Random) -> None:
    """Let the controller have a journal, and need it, most of the time."""
    if random.random() < 0.3:
        return
    s.journal = "journal"
    s.sync = random.choice((0.0, 0.005, 0.005, 0.1, 1.0))
    if s.faults or random.random() < 0.5:
        s.faults |= _some(random, RESTARTS, 0.35, 0.02, 3.0)
    s.constants |= {
        name: random.randint(low, high)
        for name, (low, high) in WRITTEN.items()
        if random.random() < 0.25
    }
    s.large = random.choice((0.0, 0.2, 0.9))
    if random.random() < 0.3:  # results of direct requests that are not written
        s.constants |= {"work.LARGE": 15, "account.LARGE": 15}
        s.constants |= {"engines.HELD": random.randint(1, 20), "engines.HELD_FOR": random.random()}


def draw(random: Random) -> Settings:
    """The conditions of a seed."""
    s = Settings()
    chance = random.random
    s.supervised = [random.randint(1, 4) for _ in range(random.choice((0, 1, 1, 1, 2)))]
    s.loners = random.randint(0 if s.supervised else 2, 2)
    s.clients = random.randint(1, 4)
    s.tasks = int(_between(random, 10, 1500))
    s.burst = int(_between(random, 1, 100))
    s.pace = _between(random, 0.01, 0.5)
    s.seconds = _between(random, 0.00005, 0.2)
    s.retries = random.choice((0, 1, 3, 3))
    s.functions = random.randint(1, 8)
    s.actions = {"balanced": 10.0, **_some(random, ACTIONS, 0.5, 0.1, 5.0)}
    s.kinds = {"ok": 20.0, **_some(random, KINDS, 0.3, 0.1, 3.0)}
    s.horizon = _between(random, 2.0, 60.0)
    s.faults = {} if chance() < 0.05 else _some(random, list(FAULTS)[:-1], 0.35, 0.02, 3.0)
    base = random.choice((0.0001, 0.0001, 0.001, 0.02, 0.2))
    s.delay = (base, base * random.choice((0.1, 1.0, 5.0)))
    s.turn = random.choice((0.0, 0.001, 0.02))
    if chance() < 0.8:
        s.terms = _some(random, TERMS, 0.4, 0.05, 0.9)
        s.picky = _some(random, PICKY, 0.2, 0.05, 0.9)
        s.deaf = random.choice((0.0, 0.0, 0.2))
    s.scheme = random.choice((LeastLoad, LeastLoad, Highest, *SCHEMES.values()))()
    s.limits = Limits(
        hwm=random.choice((AUTO, AUTO, 1, 2, 64, 0)),
        record_limit=random.choice((100_000, 100_000, 0, 10, 100)),
        record_bytes=random.choice((256 << 20, 256 << 20, 3000)),
        function_bytes=random.choice((256 << 20, 256 << 20, 100, 600)),
        budget=random.choice((1 << 30, 1 << 30, 1000, 20_000)),
    )
    s.constants = {
        name: random.randint(low, high) for name, (low, high) in TIGHT.items() if chance() < 0.25
    }
    s.constants["once.LEAST"] = 1
    if "sessions.WINDOW" in s.constants:  # a client confirms before its window is full
        s.constants["client.GOT_BYTES"] = s.constants["sessions.WINDOW"] - 1
    scarce = 0.25 if s.limits.budget > 20_000 else 0.75
    credit = random.randint(300, 10_000) if chance() < scarce else CREDIT
    s.limits = replace(s.limits, credit=credit, queue=random.choice((0, 0, 1, 20, 300)))
    if chance() < 0.5:
        recent, block = random.randint(0, 20), random.randint(1, 8)
        s.constants |= {"history.RECENT": recent, "history.BLOCK": block}
    if chance() < 0.2:  # the last of the faults; nobody is refused, who would then never be told
        s.faults["weigh"] = _between(random, 0.02, 3.0)
        s.constants["controller.CUTS"] = 1 << 30
    return s


def add_bundles(s: Settings, random: Random) -> None:
    """Let most of the work be brief calls that are alike, of which engines get several together."""
    s.supervised = s.supervised or [random.randint(1, 4)]
    s.loners = 0
    s.seconds = _between(random, 0.000003, 0.00003)
    s.kinds = {"ok": 50.0, **_some(random, ("error", "flaky", "kill"), 0.3, 0.1, 1.0)}
    s.burst = int(_between(random, 20, 300))
    s.functions = random.randint(1, 2)
    s.tasks = int(_between(random, 100, 800))
    s.pace = _between(random, 0.01, 0.1)
    s.targeted, s.alike = random.choice((0.0, 0.0, 0.1)), random.choice((0.5, 0.9))
    s.terms = _some(random, TERMS, 0.1, 0.01, 0.1)
    s.picky = _some(random, PICKY, 0.1, 0.01, 0.1)
    s.retries = random.choice((0, s.retries))
    s.limits = replace(s.limits, hwm=AUTO)
    s.constants["alike.FEWEST"] = random.choice((1, 2, 4))
    s.constants["placement.ROW"] = random.choice((20, 50, 100))


def add_chunks(s: Settings, random: Random) -> None:
    """Let part of the work be chunks."""
    s.chunks = random.choice((0.2, 0.5, 0.9))
    s.items = int(_between(random, 2, 100))
    s.seconds = _between(random, 0.00003, 0.02)
    s.retries = random.choice((0, 0, s.retries))
    s.limits = replace(s.limits, hwm=random.choice((AUTO, 8, 8, s.limits.hwm)))
    s.faults.setdefault("kill engine", 0.5)
    s.constants["paces.EXPERIENCE"] = random.choice((1, 1, 4))
    s.constants["paces.SHARE"] = random.choice((300, 1000, 5000, 90_000))  # less than `ahead.SHORT`


def _between(random: Random, low: float, high: float) -> float:
    """From low to high, each order of magnitude as likely as the next."""
    return exp(random.uniform(log(low), log(high)))


def _some(
    random: Random, names: Collection[str], share: float, low: float, high: float
) -> dict[str, float]:
    """Some of these names, each with a weight."""
    return {name: _between(random, low, high) for name in names if random.random() < share}
