"""enginery: a cluster on this machine, all connections encrypted as always."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from enginery import Cluster

from ..workloads.chatter import ENGINES, ITEMS, LINES
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


def chatter(talk: Callable[[], int]) -> float:
    """Seconds that a map takes while every engine also does `talk`, whose output is complete."""
    with Cluster(n=ENGINES) as rc:
        lview, dview = rc.load_balanced_view(), rc[:]
        lview.map_sync(noop, range(10 * ENGINES))
        begin = time.perf_counter()
        talking = dview.apply_async(talk)
        results = lview.map_sync(noop, range(ITEMS))
        seconds = time.perf_counter() - begin
        talking.get()
        talking.wait_for_output(10)
        lines = sum(printed.count("\n") for printed in talking.stdout)
    if results != list(range(ITEMS)) or lines not in {0, ENGINES * LINES}:
        raise RuntimeError("wrong results")
    return seconds
