"""A map over many tiny items, with the chunks that each system makes by itself."""

from __future__ import annotations

import time
from importlib import import_module
from statistics import median

from ..harness import Figure, Workload
from .noop import noop

ITEMS = 10_000
ENGINES = 2
ROUNDS = 20
ENOUGH = 3.0
"""Seconds after which no further round begins."""


def sample(peer: str) -> dict[str, float]:
    """Items per second, of the median map, after a first one that does not count."""
    times: list[float] = []
    with import_module(f"bench.peers.{peer}").mapper(ENGINES) as run:
        begin = time.perf_counter()
        while len(times) < 2 or (len(times) <= ROUNDS and time.perf_counter() - begin < ENOUGH):
            start = time.perf_counter()
            results = run(noop, range(ITEMS))
            times.append(time.perf_counter() - start)
            if results != list(range(ITEMS)):
                raise RuntimeError(f"{peer} gave wrong results")
    return {"rate": ITEMS / median(times[1:])}


MAP = Workload(
    name="map",
    figures={
        "rate": Figure(
            "map of 10,000 no-ops, default chunks, 2 engines",
            "items/s",
            more_is_better=True,
            limit=1_000_000,
        )
    },
    sample=sample,
    quick=["pool", "executor"],
    heavy=["joblib", "dask", "ray", "parsl", "mpi", "ipyparallel"],
    patience=240,
)
