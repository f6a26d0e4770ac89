"""What is kept of finished tasks: while the program holds their results, and afterwards.

Counted are the client and the servers of a system, not its engines. Who needs more than a minute
for all tasks does fewer, and is scaled up to as many.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import psutil

from ..harness import Figure, Workload
from ..processes import megabytes
from .noop import noop

TASKS = 100_000
BATCH = 5_000
WARM_UP = 1_000
ENGINES = 2
ENOUGH = 60.0
"""Seconds after which no further batch begins."""

CALM = 1.0
PATIENCE = 10.0
"""Seconds without a change that count as the end of it, and how long that is waited for."""


def sample(peer: str) -> dict[str, float]:
    """MB above the start with the handles of all tasks, and after they were dropped."""
    adapter = import_module(f"bench.peers.{peer}")
    with adapter.submitter(ENGINES) as submit:
        for get in [submit(noop, i) for i in range(WARM_UP)]:
            get()
        del get
        counted = [psutil.Process(), *adapter.servers()]
        start = settled(counted)
        kept = finished(submit, peer)
        share = len(kept) / TASKS
        with_handles = settled(counted) - start
        kept.clear()
        without = settled(counted) - start
    return {"kept": with_handles / share, "dropped": without / share}


def finished(submit: Callable[..., Any], peer: str) -> list[Callable[[], Any]]:
    """The handles of as many tasks as there was time for, all of them done."""
    handles: list[Callable[[], Any]] = []
    begin = time.perf_counter()
    while len(handles) < TASKS and time.perf_counter() - begin < ENOUGH:
        first = len(handles)
        handles += [submit(noop, i) for i in range(first, first + BATCH)]
        if [get() for get in handles[first:]] != list(range(first, first + BATCH)):
            raise RuntimeError(f"{peer} gave wrong results")
    return handles


def settled(counted: Sequence[psutil.Process]) -> float:
    """Their memory in MB, once it has stopped to change."""
    gc.collect()
    deadline = time.monotonic() + PATIENCE
    last, since = megabytes(counted), time.monotonic()
    while time.monotonic() < min(deadline, since + CALM):
        time.sleep(0.1)
        now = megabytes(counted)
        if abs(now - last) > 0.5:
            last, since = now, time.monotonic()
    return last


MEMORY = Workload(
    name="memory",
    figures={
        "kept": Figure(
            "100,000 finished no-ops, handles kept: client and servers above the start",
            "MB",
            limit=150,
        ),
        "dropped": Figure("the same after the handles were dropped", "MB", limit=20),
    },
    sample=sample,
    quick=["pool", "executor"],
    heavy=["joblib", "dask", "ray", "parsl", "mpi", "ipyparallel"],
    repeat=3,
    patience=300,
)
