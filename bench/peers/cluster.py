"""enginery: a cluster on this machine as it is by default, all connections encrypted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

from enginery import Cluster

from ..processes import those_without
from ..workloads.chatter import ENGINES, ITEMS, LINES
from ..workloads.noop import noop
from . import Each, Everywhere, Map, Submit, all_answered


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """Tasks of a load-balanced view."""
    with Cluster(n=engines) as rc:
        lview = rc.load_balanced_view()
        yield lambda f, x: lview.apply_async(f, x).get


def servers() -> list[psutil.Process]:
    """The controller."""
    return those_without("enginery engine", "resource_tracker")


@contextmanager
def caller() -> Iterator[Callable[[int], Any]]:
    """A task, waited for where it is submitted."""
    with Cluster(n=1) as rc:
        lview = rc.load_balanced_view()
        yield lambda x: lview.apply_sync(noop, x)


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """A map of a load-balanced view."""
    with Cluster(n=engines) as rc:
        yield rc.load_balanced_view().map_sync


@contextmanager
def carrier(engines: int) -> Iterator[tuple[Each, Everywhere]]:
    """Direct views: of one engine each, and of all."""
    with Cluster(n=engines) as rc:
        views, everyone = [rc[i] for i in rc.ids], rc[:]

        def each(f: Callable[..., Any], values: Sequence[Any]) -> list[Any]:
            waiting = [
                view.apply_async(f, value) for view, value in zip(views, values, strict=True)
            ]
            return [result.get() for result in waiting]

        yield each, everyone.apply_sync


@contextmanager
def grapher(engines: int) -> Iterator[tuple[Callable[..., Any], Callable[[Any], Any]]]:
    """Tasks whose arguments are results of others, which need not be there yet."""
    with Cluster(n=engines) as rc:
        yield rc.load_balanced_view().apply_async, lambda result: result.get()


def start(engines: int) -> float:
    """Seconds from `Cluster(...)` to a result of every engine."""
    begin = time.perf_counter()
    with Cluster(n=engines) as rc:
        pids = rc[:].apply_sync(os.getpid)
        seconds = time.perf_counter() - begin
    all_answered(pids, engines)
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
