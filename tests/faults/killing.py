"""Killing engines while a map runs, and what is to be seen of it from outside.

Each task notes its start on disk, in a file of its process, before it does anything else: what was
started, how often and where, is not taken on trust from the cluster. What has come of the map is
told in the four counts that Jepsen prints.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from enginery import Client, Cluster
from enginery.client.results import AsyncResult

PATIENCE = 30.0
"""Seconds that a replacement, or the next result of a map, may take on a busy machine."""


def note(directory: str, item: int) -> None:
    """Note that this item starts; one `write`, so a kill leaves all of the line or nothing."""
    fd = os.open(f"{directory}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"%d\n" % item)
    os.close(fd)


def noted(directory: str, item: int) -> tuple[int, int]:
    """Take 5 to 20 ms, and give what only this item gives."""
    note(directory, item)
    time.sleep((5 + item * 7919 % 16) / 1000)
    return item, right(item)


def right(item: int) -> int:
    """What this item is to give."""
    return item * item + 1


def starts(directory: Path) -> dict[int, list[int]]:
    """The items that each process has started, in their order."""
    return {int(p.name): list(map(int, p.read_text().split())) for p in directory.iterdir()}


class Counts(NamedTuple):
    """Of the items of a map: how many never ended, ended twice, wrongly, well at another start."""

    lost: int
    duplicated: int
    unexpected: int
    recovered: int


class Watched:
    """A map whose values are taken by a thread as they arrive, and what it was given."""

    def __init__(self, result: AsyncResult) -> None:
        self.result = result
        self.values: list[tuple[int, int]] = []
        self.errors: list[Any] = []
        self._reader = threading.Thread(target=self._read, name="reader")
        self._reader.start()

    def _read(self) -> None:
        for value in self.result:
            (self.errors if isinstance(value, BaseException) else self.values).append(value)

    def end(self) -> None:
        """Wait until all of it has been given, as long as there is any progress."""
        known = -1
        while not self.result.wait(PATIENCE):
            assert self.result.progress > known, f"{self.result!r} hangs"
            known = self.result.progress
        self._reader.join()

    def item(self, error: Any) -> int:
        """The item that an error is of."""
        item: int = error.item
        return item

    def counts(self, times: Counter[int]) -> Counts:
        """The four counts; `times` is how often each item has started."""
        given = Counter([item for item, _ in self.values] + [self.item(e) for e in self.errors])
        counts = Counts(
            lost=self.result.total - len(given),
            duplicated=sum(n > 1 for n in given.values()),
            unexpected=sum(value != right(item) for item, value in self.values),
            recovered=sum(times[item] > 1 for item, _ in self.values),
        )
        print(", ".join(f"{name} {n}" for name, n in counts._asdict().items()))
        return counts


@contextmanager
def watched(result: AsyncResult) -> Iterator[Watched]:
    """Take the values of a map while the block runs; then the map is over, in whatever way."""
    watch = Watched(result)
    try:
        yield watch
        watch.end()
    finally:
        if not result.ready():
            result.abort(running=True)
            watch.end()


def kill_engines(rc: Client, result: AsyncResult, kills: int, seed: int, notes: Path) -> list[int]:
    """SIGKILL random engines that have noted something, spread over the time of a map; their pids.

    Each time it waits for the replacement, and looks whether all ids are as they were.
    """
    chance = random.Random(seed)
    link, ids = rc.link, rc.ids
    killed = []
    for k in range(kills):
        due = result.total * (k + 1) // (kills + 2)
        assert link.wait(lambda due=due: result.progress >= due, PATIENCE), f"{result!r} hangs"
        victim = link.engines[chance.choice(ids)]  # it may have come to be a moment ago
        assert link.wait((notes / str(victim.pid)).exists, PATIENCE), f"{victim} starts nothing"
        link.wait(lambda: False, chance.uniform(0, 0.02))  # somewhere in a task, not at its start
        os.kill(victim.pid, signal.SIGKILL)
        killed.append(victim.pid)

        def replaced(id: int = victim.id, life: str = victim.incarnation) -> bool:
            return id in link.engines and link.engines[id].incarnation != life

        assert link.wait(replaced, PATIENCE), f"engine {victim.id} was not replaced"
        assert rc.ids == ids
    assert not result.ready(), "the engines were killed too late to disturb anything"
    return killed


def kill_controller(cluster: Cluster) -> None:
    """SIGKILL, and wait until another one is there."""
    before = cluster.controller_pid
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 2 * PATIENCE
    while not cluster.running or cluster.controller.pid == before:
        assert time.monotonic() < deadline, "it is not started again"
        cluster.controller.wait(0.05)
