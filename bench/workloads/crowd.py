"""Ten thousand engines: what the controller's machine needs for each of them, and for a task.

The engines are simulated: each has done at once what it is given, and costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module

from ..harness import OURS, Figure, Workload

MANY, FEW = 10_000, 10
TASKS = 100_000


def sample(peer: str) -> dict[str, float]:
    """Microseconds per task, and per engine that comes."""
    engines = MANY if peer == OURS else FEW
    coming, working = import_module("bench.peers.core").crowd(engines, TASKS)
    return {"task": working / TASKS * 1e6, "engine": coming / engines * 1e6}


CROWD = Workload(
    name="crowd",
    figures={
        "task": Figure(
            "no-ops in the controller with 10,000 engines", "µs/task", targets={"ten_engines": 2.0}
        ),
        "engine": Figure("the coming of each of them", "µs", targets={"ten_engines": 2.0}),
    },
    sample=sample,
    quick=["ten_engines"],
    repeat=3,
)
