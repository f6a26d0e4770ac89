"""ipyparallel, from PyPI: a cluster on this machine as it is by default."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ipyparallel
import psutil

from ..processes import those_without
from ..workloads.noop import noop
from . import Each, Everywhere, Map, Submit, all_answered


@contextmanager
def client_of(engines: int) -> Iterator[ipyparallel.Client]:
    """A client with all engines there."""
    with ipyparallel.Cluster(n=engines, log_level=40) as rc:
        yield rc


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """Tasks of a load-balanced view."""
    with client_of(engines) as rc:
        lview = rc.load_balanced_view()
        yield lambda f, x: lview.apply_async(f, x).get


def servers() -> list[psutil.Process]:
    """The processes of the controller."""
    return those_without("ipyparallel.engine", "resource_tracker")


@contextmanager
def caller() -> Iterator[Callable[[int], Any]]:
    """A task, waited for where it is submitted."""
    with client_of(1) as rc:
        lview = rc.load_balanced_view()
        yield lambda x: lview.apply_sync(noop, x)


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """A map of a load-balanced view."""
    with client_of(engines) as rc:
        yield rc.load_balanced_view().map_sync


@contextmanager
def carrier(engines: int) -> Iterator[tuple[Each, Everywhere]]:
    """Direct views: of one engine each, and of all."""
    with client_of(engines) as rc:
        views, everyone = [rc[i] for i in rc.ids], rc[:]

        def each(f: Callable[..., Any], values: Sequence[Any]) -> list[Any]:
            waiting = [
                view.apply_async(f, value) for view, value in zip(views, values, strict=True)
            ]
            return [result.get() for result in waiting]

        yield each, everyone.apply_sync


def start(engines: int) -> float:
    """Seconds from `Cluster(...)` to a result of every engine."""
    begin = time.perf_counter()
    with client_of(engines) as rc:
        pids = rc[:].apply_sync(os.getpid)
        seconds = time.perf_counter() - begin
    all_answered(pids, engines)
    return seconds
