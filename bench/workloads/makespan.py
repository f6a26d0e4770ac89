"""Tasks of very different length: the time until all are done, beside the best that could be.

Beside it stands what a scheduler without any cost would need that gives each task, in order, to
the engine that is free first. With `hwm=1`, the default, nothing else than the way of a task to an
engine and back may come on top.
"""

from __future__ import annotations

import math
import random
import time
from importlib import import_module

from ..harness import Workload

ENGINES = 4
TASKS = 400
MEAN = 0.02
SPREAD = 1.0


def durations() -> list[float]:
    """Seconds of each task, log-normal, the same in every run."""
    chance = random.Random(1)
    mu = math.log(MEAN) - SPREAD**2 / 2
    return [chance.lognormvariate(mu, SPREAD) for _ in range(TASKS)]


def sample(peer: str) -> float:
    """Seconds from the first submission to the last result."""
    seconds: float = import_module(f"bench.peers.{peer}").makespan(durations(), ENGINES)
    return seconds


def sleep(seconds: float) -> float:
    """A task, which gives back what it was given."""
    time.sleep(seconds)
    return seconds


MAKESPAN = Workload(
    name="makespan",
    title="400 tasks of 20 ms on average, log-normal, 4 engines",
    unit="s",
    more_is_better=False,
    targets={"greedy": 1.05},
    sample=sample,
)
