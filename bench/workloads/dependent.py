"""Tasks that take the results of others as arguments: a reduction in pairs, and a long chain."""

from __future__ import annotations

import time
from importlib import import_module

from ..harness import Figure, Workload
from .noop import noop

LEAVES = 1_024
LINKS = 500
ENGINES = 2
WARM_UP = 50

HEAVY = ["dask", "ray", "parsl"]
"""Those whose tasks can be given what another task is yet to return."""


def add(x: int, y: int) -> int:
    """A node of the tree."""
    return x + y


def increase(x: int) -> int:
    """A link of the chain."""
    return x + 1


def reduction(peer: str) -> dict[str, float]:
    """Seconds from the first leaf to the sum of all."""
    with import_module(f"bench.peers.{peer}").grapher(ENGINES) as (submit, get):
        for x in [submit(add, submit(noop, i), i) for i in range(WARM_UP)]:
            get(x)
        start = time.perf_counter()
        level = [submit(noop, i) for i in range(LEAVES)]
        while len(level) > 1:
            level = [submit(add, x, y) for x, y in zip(level[::2], level[1::2], strict=True)]
        answer = get(level[0])
        seconds = time.perf_counter() - start
    if answer != sum(range(LEAVES)):
        raise RuntimeError(f"{peer} gave {answer!r}")
    return {"seconds": seconds}


def chain(peer: str) -> dict[str, float]:
    """Seconds from the first link to the result of the last."""
    with import_module(f"bench.peers.{peer}").grapher(ENGINES) as (submit, get):
        for x in [submit(increase, submit(noop, i)) for i in range(WARM_UP)]:
            get(x)
        start = time.perf_counter()
        last = submit(increase, 0)
        for _ in range(LINKS - 1):
            last = submit(increase, last)
        answer = get(last)
        seconds = time.perf_counter() - start
    if answer != LINKS:
        raise RuntimeError(f"{peer} gave {answer!r}")
    return {"seconds": seconds}


REDUCTION = Workload(
    name="reduction",
    figures={
        "seconds": Figure(
            "a tree of 2,047 tasks: 1,024 leaves, summed in pairs", "s", targets={"ray": 0.35}
        )
    },
    sample=reduction,
    heavy=HEAVY,
)

CHAIN_OF_RESULTS = Workload(
    name="relayrace",
    figures={
        "seconds": Figure(
            "500 tasks, each with the result of the one before", "s", targets={"ray": 0.75}
        )
    },
    sample=chain,
    heavy=HEAVY,
)
