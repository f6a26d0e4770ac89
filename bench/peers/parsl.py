"""Parsl with its HighThroughputExecutor: one block on this machine, all on loopback."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import parsl
import psutil
from parsl import Config, HighThroughputExecutor, python_app
from parsl.providers import LocalProvider

from ..processes import those_without
from . import Map, Submit, calling, carrying


@contextmanager
def running(engines: int) -> Iterator[None]:
    """Parsl, until the end of the block."""
    executor = HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=engines,
        cores_per_worker=1e-6,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    config = Config(
        executors=[executor],
        strategy="none",
        usage_tracking=0,
        run_dir=tempfile.mkdtemp(),
        initialize_logging=False,
    )
    with parsl.load(config):
        yield


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """Python apps."""
    app = cache(python_app)
    with running(engines):
        yield lambda f, x: app(f)(x).result


def servers() -> list[psutil.Process]:
    """The interchange."""
    return those_without("process_worker_pool", "submit_scripts", "multiprocessing.")


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """Parsl has no map: a task per item."""
    with submitter(engines) as submit:
        yield lambda f, items: [get() for get in [submit(f, x) for x in items]]


@contextmanager
def grapher(engines: int) -> Iterator[tuple[Callable[..., Any], Callable[[Any], Any]]]:
    """Python apps with futures as arguments."""
    app = cache(python_app)
    with running(engines):
        yield lambda f, *args: app(f)(*args), lambda future: future.result()


caller = partial(calling, submitter)
carrier = partial(carrying, submitter)
