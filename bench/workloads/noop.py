"""No-op tasks, submitted one by one, then all results: what a system itself costs per task."""

from __future__ import annotations

import time
from importlib import import_module

from ..harness import Workload

TASKS = 10_000
ENGINES = 2
WARM_UP = 200


def noop(x: int) -> int:
    """Nothing but give back what came, so that results can be checked."""
    return x


def sample(peer: str) -> float:
    """Tasks per second, from the first submission to the last result."""
    adapter = import_module(f"bench.peers.{peer}")
    with adapter.submitter(ENGINES) as submit:
        for get in [submit(noop, i) for i in range(WARM_UP)]:
            get()
        start = time.perf_counter()
        waiting = [submit(noop, i) for i in range(TASKS)]
        results = [get() for get in waiting]
        seconds = time.perf_counter() - start
    if results != list(range(TASKS)):
        raise RuntimeError(f"{peer} gave wrong results")
    return TASKS / seconds


NOOP = Workload(
    name="noop",
    title="10,000 no-op tasks, one by one, 2 engines",
    unit="tasks/s",
    more_is_better=True,
    targets={"pool": 1.3, "executor": 4.0},
    sample=sample,
)
