"""No system at all: each task goes to the engine that is free first, at no cost."""

from __future__ import annotations

from heapq import heapreplace


def makespan(durations: list[float], engines: int) -> float:
    """Seconds until the last task is done."""
    free = [0.0] * engines
    for seconds in durations:
        heapreplace(free, free[0] + seconds)
    return max(free)
