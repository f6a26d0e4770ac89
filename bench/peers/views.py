"""What enginery and ipyparallel, whose views are called alike, need to run a workload.

Each function gets the context that starts a cluster of so many engines and gives a client.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..workloads.noop import noop
from . import Each, Everywhere, Map, Submit, all_answered

Start = Callable[[int], AbstractContextManager[Any]]


@contextmanager
def submitting(start: Start, engines: int) -> Iterator[Submit]:
    """`submitter`: tasks of a load-balanced view."""
    with start(engines) as rc:
        lview = rc.load_balanced_view()
        yield lambda f, x: lview.apply_async(f, x).get


@contextmanager
def calling(start: Start) -> Iterator[Callable[[int], Any]]:
    """`caller`: a task, waited for where it is submitted."""
    with start(1) as rc:
        lview = rc.load_balanced_view()
        yield lambda x: lview.apply_sync(noop, x)


@contextmanager
def mapping(start: Start, engines: int) -> Iterator[Map]:
    """`mapper`: a map of a load-balanced view."""
    with start(engines) as rc:
        yield rc.load_balanced_view().map_sync


@contextmanager
def carrying(start: Start, engines: int) -> Iterator[tuple[Each, Everywhere]]:
    """`carrier`: direct views of one engine each, and of all."""
    with start(engines) as rc:
        views, everyone = [rc[i] for i in rc.ids], rc[:]

        def each(f: Callable[..., Any], values: Sequence[Any]) -> list[Any]:
            waiting = [
                view.apply_async(f, value) for view, value in zip(views, values, strict=True)
            ]
            return [result.get() for result in waiting]

        yield each, everyone.apply_sync


def starting(start: Start, engines: int) -> float:
    """`start`: seconds from the beginning to a result of every engine."""
    begin = time.perf_counter()
    with start(engines) as rc:
        pids = rc[:].apply_sync(os.getpid)
        seconds = time.perf_counter() - begin
    all_answered(pids, engines)
    return seconds
