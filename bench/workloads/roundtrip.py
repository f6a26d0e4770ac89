"""One no-op after the other: the time from a call to its result, when nothing else is going on."""

from __future__ import annotations

import time
from importlib import import_module
from statistics import median, quantiles

from ..harness import Figure, Workload

CALLS = 2_000
WARM_UP = 200


def sample(peer: str) -> dict[str, float]:
    """Microseconds of a call: the median, and what 99 of 100 do not exceed."""
    times = []
    with import_module(f"bench.peers.{peer}").caller() as call:
        for i in range(WARM_UP + CALLS):
            start = time.perf_counter()
            answer = call(i)
            times.append(time.perf_counter() - start)
            if answer != i:
                raise RuntimeError(f"{peer} gave {answer!r} for {i}")
    counted = times[WARM_UP:]
    return {"median": median(counted) * 1e6, "p99": quantiles(counted, n=100)[98] * 1e6}


ROUNDTRIP = Workload(
    name="roundtrip",
    figures={
        "median": Figure("one no-op at a time: the median", "µs", targets={"echo": 1.2}),
        "p99": Figure("one no-op at a time: 99 of 100 within", "µs", targets={"relay": 2}),
    },
    sample=sample,
    quick=["echo", "relay", "pool", "executor"],
    heavy=["joblib", "dask", "ray", "parsl", "mpi", "ipyparallel"],
)
