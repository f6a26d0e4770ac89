"""The page of memory in which an engine notes what it starts and what it has finished.

It is shared with the process that forked the engine, so that after a SIGKILL somebody still knows
which of the attempts sent ahead had been started.
"""

from __future__ import annotations

import mmap


class Page:
    """Two numbers of `Attempt.n`: the last that was started, the last that has finished."""

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, 16)).cast("Q")  # anonymous and MAP_SHARED

    @property
    def started(self) -> int:
        """The number of the last attempt that was started; 0: none."""
        return self._numbers[0]

    @property
    def finished(self) -> int:
        """The number of the last attempt that has finished; 0: none."""
        return self._numbers[1]

    def start(self, n: int) -> None:
        """Note that attempt `n` starts."""
        self._numbers[0] = n

    def finish(self, n: int) -> None:
        """Note that attempt `n` has finished, however it ended."""
        self._numbers[1] = n

    def reset(self) -> None:
        """Begin anew, for the next life of the engine."""
        self._numbers[0] = self._numbers[1] = 0

    def __repr__(self) -> str:
        return f"<Page started {self.started}, finished {self.finished}>"
