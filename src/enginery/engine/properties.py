"""The properties of an engine: a dictionary that the user fills, and by which tasks choose.

Whatever changes is told to the controller, so that a task which no engine would run is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any


class Properties(MutableMapping[str, Any]):
    """A dictionary; `changes` counts how often it was changed, and `tell` is called each time."""

    def __init__(self) -> None:
        self.changes = 0
        self.tell: Callable[[int], None] = lambda changes: None
        self._values: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"a property has a text as its name, not {key!r}")
        self._values[key] = value
        self._changed()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._changed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def _changed(self) -> None:
        self.changes += 1
        self.tell(self.changes)
