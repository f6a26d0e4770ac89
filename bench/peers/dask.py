"""dask.distributed: a LocalCluster of processes with one thread each. Its scheduler is in here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from distributed import Client, LocalCluster

from . import Each, Everywhere, Map, Search, Submit, all_answered, calling, no_servers


@contextmanager
def client_of(engines: int) -> Iterator[Client]:
    """A client of so many workers."""
    with (
        LocalCluster(
            n_workers=engines,
            processes=True,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=True,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """`submit`, told not to look for equal calls."""
    with client_of(engines) as client:
        yield lambda f, x: client.submit(f, x, pure=False).result


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """`map`: a task per item."""
    with client_of(engines) as client:
        yield lambda f, items: client.gather(client.map(f, items, pure=False))


@contextmanager
def searcher(engines: int) -> Iterator[Search]:
    """The data are scattered first."""
    with client_of(engines) as client:

        def search(f: Callable[..., Any], data: Any, items: Sequence[Any]) -> list[Any]:
            there = client.scatter(data, broadcast=True, hash=False)
            return list(client.gather([client.submit(f, there, x, pure=False) for x in items]))

        yield search


@contextmanager
def carrier(engines: int) -> Iterator[tuple[Each, Everywhere]]:
    """What is large is scattered first, then passed as a future."""
    with client_of(engines) as client:
        workers = list(client.scheduler_info(n_workers=-1)["workers"])

        def each(f: Callable[..., Any], values: Sequence[Any]) -> list[Any]:
            futures = []
            for value, worker in zip(values, workers, strict=True):
                if hasattr(value, "nbytes"):
                    value = client.scatter(value, workers=[worker], hash=False)
                futures.append(client.submit(f, value, workers=[worker], pure=False))
            return list(client.gather(futures))

        def everywhere(f: Callable[..., Any], value: Any) -> list[Any]:
            there = client.scatter(value, broadcast=True, hash=False)
            futures = [client.submit(f, there, workers=[w], pure=False) for w in workers]
            return list(client.gather(futures))

        yield each, everywhere


@contextmanager
def grapher(engines: int) -> Iterator[tuple[Callable[..., Any], Callable[[Any], Any]]]:
    """`submit` with futures as arguments."""
    with client_of(engines) as client:
        yield partial(client.submit, pure=False), lambda future: future.result()


def start(engines: int) -> float:
    """Seconds from `LocalCluster(...)` to an answer of every worker."""
    begin = time.perf_counter()
    with client_of(engines) as client:
        client.wait_for_workers(engines)
        pids = list(client.run(os.getpid).values())
        seconds = time.perf_counter() - begin
    all_answered(pids, engines)
    return seconds


servers = no_servers
caller = partial(calling, submitter)
