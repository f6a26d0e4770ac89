"""One no-op after the other: the time from a call to its result, when nothing else is going on."""

from __future__ import annotations

import time
from importlib import import_module
from statistics import median

from ..harness import Workload

CALLS = 2_000
WARM_UP = 200


def sample(peer: str) -> float:
    """Microseconds of a call, the median."""
    adapter = import_module(f"bench.peers.{peer}")
    times = []
    with adapter.caller() as call:
        for i in range(WARM_UP + CALLS):
            start = time.perf_counter()
            answer = call(i)
            times.append(time.perf_counter() - start)
            if answer != i:
                raise RuntimeError(f"{peer} gave {answer!r} for {i}")
    return median(times[WARM_UP:]) * 1e6


ROUNDTRIP = Workload(
    name="roundtrip",
    title="one call at a time (apply_sync of a no-op)",
    unit="µs",
    more_is_better=False,
    targets={"echo": 1.5},
    sample=sample,
)
