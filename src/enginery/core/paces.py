"""How long the calls of a map take, and how many of them an engine is given at a time.

Nothing is known of a function at first: its items go out one by one. From then on a share is worth
about `SHARE`: much more than what it costs to send one, and so little that nobody waits for it. It
grows with experience, to a quarter of all items so far at most, for a few brief items say little of
the others; and an item that kills its engine takes along what was done and not told yet. Towards
the end of a map shares get smaller, so that all engines end at about the same time, but never so
small that sending them would take longer than their items do.

Items that take about as long as a share or longer are so given out one by one, and only to an
engine that has nothing else (`ahead`), as if each were a task of its own.
"""

from __future__ import annotations

from math import ceil

from msgspec import Struct

from .ahead import FUNCTIONS, LEAST, MOST, WORTH

SHARE = 1000
"""Microseconds that a share is to take."""

SMALL = 200
"""The same at the end of a map, at least."""

EXPERIENCE = 4
"""A share has at most one in so many of all items that were heard of."""

ITEMS = 1 << 16
"""Items of one share at most."""

SHORTEST = 0.02
"""Microseconds that an item counts as at least."""


class Pace(Struct):
    """Of one function: microseconds that an item takes, and how many have been heard of."""

    item: float
    heard: int


class Paces:
    """The pace of each function. One that is slower than thought counts at once; one that is faster
    counts by half, since what takes long now and then had better not stand in a long row.
    """

    def __init__(self) -> None:
        self._paces: dict[bytes, Pace] = {}

    def heard(self, function: bytes, seconds: float, items: int) -> bool:
        """So many items took so long; whether they were thought to be brief, and are not."""
        item = max(SHORTEST, seconds * 1e6 / items)  # in this order nan is no time
        pace = self._paces.get(function)
        if pace is None:
            self._paces[function] = Pace(item, items)
            if len(self._paces) > FUNCTIONS:
                del self._paces[next(iter(self._paces))]
            return False
        surprise = pace.item < WORTH <= item
        pace.item = max(item, pace.item / 2)
        pace.heard = 1 if item >= WORTH else min(pace.heard + items, ITEMS)
        return surprise

    def expected(self, function: bytes, items: int) -> int:
        """Microseconds that so many items are thought to take."""
        pace = self._paces.get(function)
        if pace is None:
            return MOST
        return max(LEAST, ceil(min(pace.item * items, MOST)))

    def share(self, function: bytes, left: int, engines: int, last: bool) -> int:
        """How many of the items that are left go to one of these engines now.

        `last` says that nothing else waits.
        """
        pace = self._paces.get(function)
        if pace is None:
            return 1
        size = min(SHARE / pace.item, pace.heard // EXPERIENCE, ITEMS)
        if last:
            size = min(size, max(left / max(engines, 1), SMALL / pace.item))
        return max(1, min(int(size), left))
