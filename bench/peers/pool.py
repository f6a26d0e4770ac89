"""multiprocessing.Pool, its workers forked."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.synchronize import Barrier

from . import Map, Submit, all_answered, calling, carrying, no_servers, searching

FORK = multiprocessing.get_context("fork")
met: Barrier
"""In a worker of `start`: where each waits for all, so that none answers twice."""


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """`apply_async`."""
    with FORK.Pool(engines) as pool:
        yield lambda f, x: pool.apply_async(f, (x,)).get


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """`map`."""
    with FORK.Pool(engines) as pool:
        yield pool.map


def start(engines: int) -> float:
    """Seconds from `Pool(...)` to the moment when every worker has one task."""
    begin = time.perf_counter()
    with FORK.Pool(engines, meet_at, (FORK.Barrier(engines),)) as pool:
        pids = pool.map(answer, range(engines), chunksize=1)
        seconds = time.perf_counter() - begin
    all_answered(pids, engines)
    return seconds


def meet_at(barrier: Barrier) -> None:
    """Remember it in a worker."""
    global met  # noqa: PLW0603
    met = barrier


def answer(_: int) -> int:
    """Wait for all the others."""
    met.wait(60)
    return os.getpid()


servers = no_servers
caller = partial(calling, submitter)
carrier = partial(carrying, submitter)
searcher = partial(searching, mapper)
