"""multiprocessing.Pool."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def submitter(engines: int) -> Iterator[Callable[..., Callable[[], Any]]]:
    """A function that submits `f(x)` and returns one that waits for its result."""
    with multiprocessing.Pool(engines) as pool:
        yield lambda f, x: pool.apply_async(f, (x,)).get
