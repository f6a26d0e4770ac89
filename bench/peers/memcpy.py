"""No system at all: the bytes are copied once for each engine, in one process, and used there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import Each, Everywhere


@contextmanager
def carrier(engines: int) -> Iterator[tuple[Each, Everywhere]]:
    """To each a copy of its own; to all one, which they could share."""
    yield each, lambda f, value: [f(value.copy())] * engines


def each(f: Callable[..., Any], values: Sequence[Any]) -> list[Any]:
    """Copy what is large: the argument, or else the result."""
    return [copied(f(copied(value))) for value in values]


def copied(value: Any) -> Any:
    """An array of its own."""
    return value.copy() if hasattr(value, "copy") else value
