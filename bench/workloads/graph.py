"""Tasks that depend on others, beside as many that do not: what a dependency costs the controller.

Only the controller's machine is measured, with engines and a client that cost next to nothing. A
graph is to cost as much as it has edges, whatever its shape.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from importlib import import_module

from ..harness import OURS, Figure, Workload

TASKS = 100_000


def chain(i: int) -> Sequence[int]:
    """Each after the one before."""
    return range(max(i - 1, 0), i)


def star(i: int) -> Sequence[int]:
    """All after the first, and the last after all."""
    return range(min(i, 1)) if i < TASKS - 1 else range(TASKS - 1)


def tree(i: int) -> Sequence[int]:
    """Each after one half as old: two after each."""
    return [(i - 1) // 2] if i else []


def tangle(i: int) -> Sequence[int]:
    """Each after ten others, drawn among all the earlier ones."""
    return random.Random(i).sample(range(i), min(i, 10))


def workload(shape: Callable[[int], Sequence[int]], title: str) -> Workload:
    """One shape beside independent tasks."""

    def sample(peer: str) -> dict[str, float]:
        """Microseconds per task, from its submission to its outcome."""
        machine = import_module("bench.peers.core")
        before = (shape(i) if peer == OURS else () for i in range(TASKS))
        return {"cost": machine.graph(before) / TASKS * 1e6}

    title = f"100,000 tasks in the controller: {title}"
    return Workload(
        name=shape.__name__,
        figures={"cost": Figure(title, "µs/task", targets={"independent": 3.0})},
        sample=sample,
        quick=["independent"],
        repeat=3,
    )


GRAPHS = [
    workload(chain, "a chain"),
    workload(star, "a star, and back to one"),
    workload(tree, "a binary tree"),
    workload(tangle, "10 random edges each"),
]
