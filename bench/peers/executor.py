"""concurrent.futures.ProcessPoolExecutor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def submitter(engines: int) -> Iterator[Callable[..., Callable[[], Any]]]:
    """A function that submits `f(x)` and returns one that waits for its result."""
    with ProcessPoolExecutor(engines) as executor:
        yield lambda f, x: executor.submit(f, x).result
