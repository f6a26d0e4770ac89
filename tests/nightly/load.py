"""Work that goes on while something is broken, and what has come of it when that is over.

Each task notes its start on disk before it does anything else, as in `tests.faults.killing`, so
that how often each has started is not taken on trust.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from enginery import Client, ControllerLost
from enginery.client.results import AsyncResult
from tests.faults.killing import Counts, note, right, starts

PATIENCE = 120.0
"""Seconds that everything has to end after the last fault."""


def slow(directory: str, item: int) -> tuple[int, int]:
    """Take 20 to 80 ms, and give what only this item gives."""
    note(directory, item)
    time.sleep((20 + item * 7919 % 61) / 1000)
    return item, right(item)


class Load:
    """A map of so many items."""

    def __init__(self, rc: Client, directory: Path, items: int, retries: int) -> None:
        self.rc, self.items, self.directory = rc, items, directory
        directory.mkdir()
        view = rc.load_balanced_view(retries=retries)
        self.result: AsyncResult = view.map_async(
            partial(slow, str(directory)), range(items), ordered=False, return_exceptions=True,
            chunksize=1,
        )  # fmt: skip
        self.errors: list[BaseException] = []

    def begun(self) -> None:
        """Wait until it is well on its way."""
        assert self.rc.link.wait(lambda: self.result.progress >= self.items // 50, PATIENCE)

    def started(self) -> Counter[int]:
        """How often each item has started."""
        return Counter(item for items in starts(self.directory).values() for item in items)

    def counts(self) -> Counts:
        """Wait for the end, and count."""
        assert self.result.wait(PATIENCE), f"{self.result!r} hangs"
        times = self.started()
        values = [value for value in self.result if not isinstance(value, BaseException)]
        self.errors = [error for error in self.result if isinstance(error, BaseException)]
        given = Counter(item for item, _ in values)
        counts = Counts(
            lost=self.items - len(given) - len(self.errors),
            duplicated=sum(n > 1 for n in given.values()),
            unexpected=sum(value != right(item) for item, value in values) + len(self.errors),
            recovered=sum(times[item] > 1 for item in given),
        )
        print(", ".join(f"{name} {n}" for name, n in counts._asdict().items()))
        return counts


def until(rc: Client, done: Callable[[], bool]) -> float:
    """Wait for something that the client is told; seconds that it took."""
    since = time.monotonic()
    while True:
        try:
            assert rc.link.wait(done, PATIENCE)
        except ControllerLost:  # at once, as long as nobody is there: look again soon
            assert time.monotonic() - since < PATIENCE
            time.sleep(0.02)
        else:
            return time.monotonic() - since


def told(counts: Counts) -> str:
    """The counts as one cell of a table."""
    return ", ".join(f"{name} {n}" for name, n in counts._asdict().items())
