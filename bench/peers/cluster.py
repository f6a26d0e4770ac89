"""enginery: a cluster on this machine as it is by default, all connections encrypted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil

from enginery import Cluster

from ..processes import those_without
from ..workloads.chatter import ENGINES, ITEMS, LINES
from ..workloads.noop import noop
from . import searching, views


def cluster(engines: int) -> Cluster:
    """What gives a client with all engines there."""
    return Cluster(n=engines)


submitter = partial(views.submitting, cluster)
caller = partial(views.calling, cluster)
mapper = partial(views.mapping, cluster)
searcher = partial(searching, mapper)
carrier = partial(views.carrying, cluster)
start = partial(views.starting, cluster)


def servers() -> list[psutil.Process]:
    """The controller."""
    return those_without("enginery engine", "enginery.controller.store", "resource_tracker")


@contextmanager
def grapher(engines: int) -> Iterator[tuple[Callable[..., Any], Callable[[Any], Any]]]:
    """Tasks whose arguments are results of others, which need not be there yet."""
    with cluster(engines) as rc:
        yield rc.load_balanced_view().apply_async, lambda result: result.get()


def chatter(talk: Callable[[], int]) -> float:
    """Seconds that a map takes while every engine also does `talk`, whose output is complete."""
    with cluster(ENGINES) as rc:
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
