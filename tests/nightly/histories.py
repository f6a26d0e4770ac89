"""What the simulator plays in the background of all other runs: they mostly wait."""

from __future__ import annotations

import os
import threading
from itertools import count
from multiprocessing.pool import Pool

from tests.sim.__main__ import Report, play_many

START = 1_000_000
"""The first seed: those before are for the tests of each commit."""

FEWEST = 100
"""Histories that are played in any case."""

NICE = 19


class Histories:
    """Histories that are played from now on until the `end`."""

    def __init__(self) -> None:
        self._enough = threading.Event()
        self._report = Report()
        # Not in the thread: what other tests have open then would stay open in these processes.
        self._pool: Pool | None = Pool(os.cpu_count() or 1, os.nice, (NICE,))
        self._thread = threading.Thread(target=self._play, args=(self._pool,), name="histories")
        self._thread.start()

    def _play(self, pool: Pool) -> None:
        def enough(report: Report) -> bool:
            return self._enough.is_set() and report.histories >= FEWEST

        self._report = play_many(pool, count(START), enough)

    def end(self) -> Report:
        """Play no more; what has come of it."""
        self._enough.set()
        self._thread.join()
        if self._pool is not None:
            self._pool.join()
            self._pool = None  # which closes its pipes
        return self._report
