"""A hundred calls that all get the same large array, as those of a search do.

Each system has it the way that it recommends: in its store, scattered, as a file in memory, or as a
part of the function.
"""

from __future__ import annotations

import time
from importlib import import_module
from statistics import median
from typing import Any

from ..harness import Figure, Workload
from .data import MEGABYTES, array

ENGINES = 2
CALLS = 100
ROUNDS = 5


def look(numbers: Any, i: int) -> int:
    """One number of the array."""
    return int(numbers[i])


def sample(peer: str) -> dict[str, float]:
    """Seconds of the median round, and of the first; the array is another one in each."""
    adapter = import_module(f"bench.peers.{peer}")
    times = []
    with adapter.searcher(ENGINES) as search:
        search(look, array(0)[:CALLS], range(CALLS))  # each engine imports what it needs
        for i in range(1, ROUNDS + 1):
            numbers = array(i)
            start = time.perf_counter()
            found = search(look, numbers, range(CALLS))
            times.append(time.perf_counter() - start)
            if list(found) != list(range(i, i + CALLS)):
                raise RuntimeError(f"{peer} gave wrong results")
    return {"time": median(times), "first": times[0]}


SEARCH = Workload(
    name="search",
    figures={
        "time": Figure(f"{CALLS} calls that get the same array of {MEGABYTES} MB", "s"),
        "first": Figure("the same for the first time", "s"),
    },
    sample=sample,
    quick=["pool"],
    heavy=["joblib", "dask", "ray", "ipyparallel"],
)
