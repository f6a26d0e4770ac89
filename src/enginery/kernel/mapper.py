"""What `mec.mapper(...)` gives: a way to map, with its options settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Mapper:
    """Has `map`, with the engines and the blocking that it was made with."""

    def __init__(self, map: Callable[..., Any], options: dict[str, Any]) -> None:
        self._map, self._options = map, options

    def map(self, f: Callable[..., Any], *sequences: Any) -> Any:
        """Call `f` on each item, or on an item of each of several sequences."""
        return self._map(f, *sequences, **self._options)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"<Mapper {options}>"
