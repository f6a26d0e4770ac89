"""Large arrays: one to each engine as an argument, and one from each as a result.

Every argument is another one, so nobody gains from having seen it before. Who uses memory again is
slower at first, so the first round is told, too. The floor is a copy of the same bytes in one
process. NumPy is imported where it is used: other workloads do not need it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from statistics import median
from typing import Any

from ..harness import Figure, Workload

MEGABYTES = 100
NUMBERS = MEGABYTES * 1_000_000 // 8
PAGE = 512
"""Numbers in a page of memory."""

ENGINES = 2
ROUNDS = 9


def array(seed: int) -> Any:
    """100 MB, told from others by what they start with."""
    import numpy

    return numpy.arange(seed, seed + NUMBERS)


def total(numbers: Any) -> int:
    """A sum for which each page of the memory has to be there, and little more."""
    return int(numbers[::PAGE].sum())


def expected(seed: int) -> int:
    """The total of `array(seed)`, without making it."""
    taken = range(seed, seed + NUMBERS, PAGE)
    return (taken[0] + taken[-1]) * len(taken) // 2


@cache
def kept(seed: int) -> Any:
    """An array that an engine makes when it is asked for the first time."""
    return array(seed)


def warm_up(each: Callable[..., Sequence[Any]], engines: int) -> None:
    """Have every engine import what it needs; two of some systems may have been one."""
    for _ in range(5):
        each(kept, [0] * engines)


def rates(times: Sequence[float]) -> dict[str, float]:
    """MB per second of all engines together, of the median round and of the first."""
    megabytes = ENGINES * MEGABYTES
    return {"rate": megabytes / median(times), "first": megabytes / times[0]}


def argument(peer: str) -> dict[str, float]:
    """MB per second that reach the engines together."""
    times = []
    with import_module(f"bench.peers.{peer}").carrier(ENGINES) as (each, _):
        warm_up(each, ENGINES)
        for i in range(ROUNDS):
            seeds = [2 * i, 2 * i + 1]
            arrays = [array(seed) for seed in seeds]
            start = time.perf_counter()
            totals = each(total, arrays)
            times.append(time.perf_counter() - start)
            if list(totals) != [expected(seed) for seed in seeds]:
                raise RuntimeError(f"{peer} gave wrong results")
    return rates(times)


def result(peer: str) -> dict[str, float]:
    """MB per second that come back from the engines together."""
    times = []
    with import_module(f"bench.peers.{peer}").carrier(ENGINES) as (each, _):
        warm_up(each, ENGINES)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            arrays = each(kept, [0] * ENGINES)
            totals = [total(numbers) for numbers in arrays]
            times.append(time.perf_counter() - start)
            if totals != [expected(0)] * ENGINES or any(len(a) != NUMBERS for a in arrays):
                raise RuntimeError(f"{peer} gave wrong results")
            del arrays
    return rates(times)


def workload(name: str, title: str, sample: Callable[[str], dict[str, float]]) -> Workload:
    """One direction."""
    return Workload(
        name=name,
        figures={
            "rate": Figure(title, "MB/s", more_is_better=True, targets={"ray": 1}),
            "first": Figure("the same for the first time", "MB/s", more_is_better=True),
        },
        sample=sample,
        quick=["pool", "executor", "memcpy"],
        heavy=["joblib", "dask", "ray", "parsl", "mpi", "ipyparallel"],
    )


ARGUMENT = workload("argument", "an array of 100 MB to each of 2 engines", argument)
RESULT = workload("result", "an array of 100 MB from each of 2 engines", result)
