"""Tasks of very different length: the time until all are done, beside the best that could be.

Beside it stands what a scheduler without any cost would need that gives each task, in order, to
the engine that is free first. Nothing else than the way of a task to an engine and back may come
on top.
"""

from __future__ import annotations

import math
import random
import time
from importlib import import_module

from ..harness import Figure, Workload

ENGINES = 4
TASKS = 400
MEAN = 0.02
SPREAD = 1.0


def durations(tasks: int) -> list[float]:
    """Seconds of each task, log-normal, the same in every run."""
    chance = random.Random(1)
    mu = math.log(MEAN) - SPREAD**2 / 2
    return [chance.lognormvariate(mu, SPREAD) for _ in range(tasks)]


def sample(peer: str) -> dict[str, float]:
    """Seconds from the first submission to the last result."""
    adapter = import_module(f"bench.peers.{peer}")
    wanted = durations(TASKS)
    if peer == "greedy":
        return {"seconds": adapter.makespan(wanted, ENGINES)}
    with adapter.submitter(ENGINES) as submit:
        for get in [submit(sleep, 0.0) for _ in range(10 * ENGINES)]:
            get()
        start = time.perf_counter()
        waiting = [submit(sleep, seconds) for seconds in wanted]
        results = [get() for get in waiting]
        seconds = time.perf_counter() - start
    if results != wanted:
        raise RuntimeError(f"{peer} gave wrong results")
    return {"seconds": seconds}


def sleep(seconds: float) -> float:
    """A task, which gives back what it was given."""
    time.sleep(seconds)
    return seconds


MAKESPAN = Workload(
    name="makespan",
    figures={
        "seconds": Figure(
            "400 tasks of 20 ms on average, log-normal, 4 engines", "s", targets={"greedy": 1.03}
        )
    },
    sample=sample,
    quick=["greedy", "executor"],
    heavy=["dask", "ray", "ipyparallel"],
)
