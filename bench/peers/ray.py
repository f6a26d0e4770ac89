"""Ray on this machine, without its dashboard; it is told that there are as many CPUs as engines."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

import psutil
import ray
from ray.util.multiprocessing import Pool

from ..processes import those_without
from . import Each, Everywhere, Map, Search, Submit, all_answered, calling

LOOPBACK = "127.0.0.2"
"""Ray takes 127.0.0.1 as a wish that it find out the address of this machine."""

STORE = 1_500_000_000
"""Bytes of shared memory for objects."""


@contextmanager
def running(engines: int) -> Iterator[None]:
    """Ray, until the end of the block."""
    ray.init(
        num_cpus=engines,
        include_dashboard=False,
        object_store_memory=STORE,
        log_to_driver=False,
        _node_ip_address=LOOPBACK,
        _temp_dir=tempfile.gettempdir(),
    )
    try:
        yield
    finally:
        ray.shutdown()


@ray.remote(num_cpus=1)
class Engine:
    """A process that does what it is told."""

    def call(self, f: Callable[..., Any], *args: Any) -> Any:
        """The result of `f`."""
        return f(*args)


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """Remote functions."""
    remote = cache(ray.remote)
    with running(engines):
        yield lambda f, x: partial(ray.get, remote(f).remote(x))


def servers() -> list[psutil.Process]:
    """All but the workers, which call themselves after what they do."""
    return those_without("ray::")


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """The pool of Ray, which has chunks; remote functions have none."""
    with running(engines), Pool(engines) as pool:
        yield pool.map


@contextmanager
def searcher(engines: int) -> Iterator[Search]:
    """Remote functions; the data are put into the store once, and passed by reference."""
    remote = cache(ray.remote)
    with running(engines):

        def search(f: Callable[..., Any], data: Any, items: Sequence[Any]) -> list[Any]:
            there = ray.put(data)
            return list(ray.get([remote(f).remote(there, x) for x in items]))

        yield search


@contextmanager
def carrier(engines: int) -> Iterator[tuple[Each, Everywhere]]:
    """Actors; what is large is put into the store once, and passed by reference."""
    with running(engines):
        actors = [Engine.remote() for _ in range(engines)]

        def each(f: Callable[..., Any], values: Sequence[Any]) -> list[Any]:
            sent = [ray.put(value) if hasattr(value, "nbytes") else value for value in values]
            return list(
                ray.get([a.call.remote(f, value) for a, value in zip(actors, sent, strict=True)])
            )

        def everywhere(f: Callable[..., Any], value: Any) -> list[Any]:
            there = ray.put(value)
            return list(ray.get([actor.call.remote(f, there) for actor in actors]))

        yield each, everywhere


@contextmanager
def grapher(engines: int) -> Iterator[tuple[Callable[..., Any], Callable[[Any], Any]]]:
    """Remote functions with references as arguments."""
    remote = cache(ray.remote)
    with running(engines):
        yield lambda f, *args: remote(f).remote(*args), ray.get


def start(engines: int) -> float:
    """Seconds from `ray.init(...)` to an answer of as many actors."""
    begin = time.perf_counter()
    with running(engines):
        actors = [Engine.remote() for _ in range(engines)]
        pids = ray.get([actor.call.remote(os.getpid) for actor in actors])
        seconds = time.perf_counter() - begin
    all_answered(pids, engines)
    return seconds


caller = partial(calling, submitter)
