"""concurrent.futures.ProcessPoolExecutor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial

from . import Map, Submit, calling, carrying, no_servers


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """`submit`."""
    with ProcessPoolExecutor(engines) as executor:
        yield lambda f, x: executor.submit(f, x).result


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """`map`, whose chunks are single items by default."""
    with ProcessPoolExecutor(engines) as executor:
        yield lambda f, items: list(executor.map(f, items))


servers = no_servers
caller = partial(calling, submitter)
carrier = partial(carrying, submitter)
