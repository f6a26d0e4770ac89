"""A map over items of very different length, with default chunks: do they still balance?

What makes a map of tiny items fast, large chunks, is what makes one of uneven items slow.
"""

from __future__ import annotations

import time
from importlib import import_module

from ..harness import Figure, Workload
from .makespan import ENGINES, durations, sleep

ITEMS = 200


def sample(peer: str) -> dict[str, float]:
    """Seconds of the map, and how many times the greedy schedule of the same items that is."""
    from ..peers import greedy

    items = durations(ITEMS)
    with import_module(f"bench.peers.{peer}").mapper(ENGINES) as run:
        run(sleep, [0.0] * 10 * ENGINES)
        start = time.perf_counter()
        results = run(sleep, items)
        seconds = time.perf_counter() - start
    if results != items:
        raise RuntimeError(f"{peer} gave wrong results")
    return {"greedy": seconds / greedy.makespan(items, ENGINES)}


UNEVEN = Workload(
    name="uneven",
    figures={
        "greedy": Figure(
            "map of 200 sleeps of 20 ms on average, log-normal, default chunks, 4 engines",
            "x greedy",
            limit=1.1,
        )
    },
    sample=sample,
    quick=["pool", "executor"],
    heavy=["joblib", "dask", "ray", "parsl", "mpi", "ipyparallel"],
)
