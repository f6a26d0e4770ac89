"""joblib, whose processes are those of loky."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from . import Each, Everywhere, Map, Search, Submit, calling, no_servers


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """joblib has nothing for single tasks; loky's executor has."""
    executor = get_reusable_executor(max_workers=engines, timeout=None)
    yield lambda f, x: executor.submit(f, x).result
    executor.shutdown(wait=True)


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """`Parallel`, with its batches."""
    with Parallel(n_jobs=engines) as parallel:
        yield lambda f, items: list(parallel(delayed(f)(x) for x in items))


@contextmanager
def searcher(engines: int) -> Iterator[Search]:
    """`Parallel`, which shares large arrays as memory-mapped files."""
    with Parallel(n_jobs=engines) as parallel:
        yield lambda f, data, items: list(parallel(delayed(f)(data, x) for x in items))


@contextmanager
def carrier(engines: int) -> Iterator[tuple[Each, Everywhere]]:
    """`Parallel`, which shares large arrays as memory-mapped files."""
    with Parallel(n_jobs=engines) as parallel:
        yield (
            lambda f, values: list(parallel(delayed(f)(value) for value in values)),
            lambda f, value: list(parallel(delayed(f)(value) for _ in range(engines))),
        )


servers = no_servers
caller = partial(calling, submitter)
