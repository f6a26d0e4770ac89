"""The ids of the last tasks of a client, in little room.

As strings they would lie scattered among what goes with the results, and hold all that memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

MOST = 10_000
"""Ids that are remembered."""


class Remembered:
    """Ids, oldest first; all are the name of one client and a number."""

    def __init__(self) -> None:
        self._client = ""
        self._numbers = array("Q")

    def append(self, id: str) -> None:
        """Remember another one."""
        self._client, _, number = id.rpartition("-")
        self._numbers.append(int(number))
        if len(self._numbers) >= 2 * MOST:
            del self._numbers[:-MOST]

    def extend(self, ids: Iterable[str]) -> None:
        """Remember others."""
        for id in ids:
            self.append(id)

    def __len__(self) -> int:
        return min(len(self._numbers), MOST)

    def __iter__(self) -> Iterator[str]:
        return (f"{self._client}-{number}" for number in self._numbers[-MOST:])

    def __getitem__(self, index: int) -> str:
        return f"{self._client}-{self._numbers[-MOST:][index]}"
