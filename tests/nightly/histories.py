"""What the simulator plays in the background of all other runs: they mostly wait."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import count
from math import inf
from multiprocessing import active_children
from multiprocessing.pool import Pool

from tests.sim.__main__ import Report, play_many

from .scale import scaled

START = date.today().toordinal() * 1_000_000
"""The first seed: another one each day, as what is found in a night is mended afterwards."""

EVENTS = scaled(100_000_000)
"""Events that are played in a night, if there is time for them."""

NICE = 19


class Histories:
    """Histories that are played from now on until the `end`."""

    def __init__(self) -> None:
        self._enough = threading.Event()
        self._until = inf
        self._report = Report()
        # Not in the thread: what other tests have open then would stay open in these processes.
        before = set(active_children())
        self._pool: Pool | None = Pool(os.cpu_count() or 1, os.nice, (NICE,))
        self._players = set(active_children()) - before
        self._thread = threading.Thread(target=self._play, args=(self._pool,), name="histories")
        self._thread.start()

    def _play(self, pool: Pool) -> None:
        def enough(report: Report) -> bool:
            over = report.events >= EVENTS or time.monotonic() >= self._until
            return self._enough.is_set() and over

        self._report = play_many(pool, count(START), enough)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the processors alone while the block measures how long something takes."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, signum: int) -> None:
        for player in self._players:
            if player.is_alive() and player.pid is not None:
                os.kill(player.pid, signum)

    def end(self, until: float = 0.0) -> Report:
        """Play no more than is wanted, and not beyond `until`; what has come of it."""
        self._until = until
        self._enough.set()
        self._thread.join()
        if self._pool is not None:
            self._pool.join()
            self._pool = None  # which closes its pipes
            self._players.clear()
        return self._report
