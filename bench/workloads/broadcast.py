"""One large array to every engine: what more engines cost, when they all get the same."""

from __future__ import annotations

import time
from importlib import import_module
from statistics import median

from ..harness import Figure, Workload
from .data import array, expected, total, warm_up

NUMBERS_OF_ENGINES = (2, 4, 8)
ROUNDS = 7


def sample(peer: str) -> dict[str, float]:
    """Seconds of the median round with 2, 4 and 8 engines, and how much longer 8 take than 2.

    And of the first with 8: see `data`.
    """
    adapter = import_module(f"bench.peers.{peer}")
    figures: dict[str, float] = {}
    for engines in NUMBERS_OF_ENGINES:
        times = []
        with adapter.carrier(engines) as (each, everywhere):
            warm_up(each, engines)
            for i in range(ROUNDS):
                numbers = array(i)
                start = time.perf_counter()
                totals = everywhere(total, numbers)
                times.append(time.perf_counter() - start)
                if list(totals) != [expected(i)] * engines:
                    raise RuntimeError(f"{peer} gave wrong results")
        figures[str(engines)] = median(times)
    return figures | {"first": times[0], "growth": figures["8"] / figures["2"]}


BROADCAST = Workload(
    name="broadcast",
    figures={
        str(engines): Figure(
            f"an array of 100 MB to all of {engines} engines", "s", targets={"ray": 1}
        )
        for engines in NUMBERS_OF_ENGINES
    }
    | {
        "first": Figure("the same to 8 for the first time", "s"),
        "growth": Figure("how many times longer to 8 engines than to 2", "x", limit=1.5),
    },
    sample=sample,
    quick=["pool", "memcpy"],
    heavy=["joblib", "dask", "ray", "mpi", "ipyparallel"],
    patience=240,
)
