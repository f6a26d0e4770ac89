"""enginery: a cluster on this machine, all connections encrypted as always."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from enginery import Cluster

from ..workloads.makespan import sleep
from ..workloads.noop import noop


@contextmanager
def submitter(engines: int) -> Iterator[Callable[..., Callable[[], Any]]]:
    """A function that submits `f(x)` and returns one that waits for its result."""
    with Cluster(n=engines, hwm=64) as rc:
        lview = rc.load_balanced_view()
        yield lambda f, x: lview.apply_async(f, x).get


@contextmanager
def caller() -> Iterator[Callable[[int], Any]]:
    """A function that has one engine call a no-op with `x`, and returns what that gave."""
    with Cluster(n=1) as rc:
        lview = rc.load_balanced_view()
        yield lambda x: lview.apply_sync(noop, x)


def start(engines: int) -> float:
    """Seconds from `Cluster(...)` to a result of every engine."""
    begin = time.perf_counter()
    with Cluster(n=engines) as rc:
        pids = rc[:].apply_sync(os.getpid)
        seconds = time.perf_counter() - begin
    if len(set(pids)) != engines:
        raise RuntimeError(f"{engines} engines were wanted, processes {pids} answered")
    return seconds


def makespan(durations: list[float], engines: int) -> float:
    """Seconds from the submission of these sleeps to the last result."""
    with Cluster(n=engines) as rc:
        lview = rc.load_balanced_view()
        lview.map_sync(sleep, [0.0] * 10 * engines)
        begin = time.perf_counter()
        results = lview.map_sync(sleep, durations)
        seconds = time.perf_counter() - begin
    if results != durations:
        raise RuntimeError("wrong results")
    return seconds
