"""How users have values of their own types sent: as other values, whose buffers are not copied."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def register_type(cls: type[T], can: Callable[[T], Any], uncan: Callable[[Any], T]) -> None:
    """Send values of this very class as what `can` gives of them; `uncan` makes one of that there.

    Arrays, and what is wrapped in a `pickle.PickleBuffer` (a `mmap`, a column of a table), are not
    copied on the way (from 16 KiB on), and arrive read-only. It holds in this process. Call it in
    the module that defines the class, which engines import, so that it holds there too, for
    results; or on the engines: `rc[:].apply_sync(enginery.register_type, cls, can, uncan)`.
    Subclasses are sent as before. TypeError when `cls` is no class, or one of the two cannot be
    called.

    >>> class Grid:
    ...     def __init__(self, cells):
    ...         self.cells = cells
    >>> register_type(Grid, lambda grid: grid.cells, Grid)
    """
    if not isinstance(cls, type):
        raise TypeError(f"{cls!r} is no class")
    for function in (can, uncan):
        if not callable(function):
            raise TypeError(f"{function!r} cannot be called")

    def reduce(value: T) -> tuple[Callable[[Any], T], tuple[Any]]:
        return uncan, (can(value),)

    copyreg.pickle(cls, reduce)
