"""The page of memory in which an engine notes what it starts and what it has finished.

It is shared with the process that forked the engine, so that after a SIGKILL somebody still knows
which of the attempts sent ahead had been started, and which items of a share.
"""

from __future__ import annotations

import mmap

ITEM = 2
"""The cell of `Page.cells` that has the item of a share that was begun last."""


class Page:
    """Two numbers of `Attempt.n`: the last that was started, the last that has finished.

    Of one that is a share, also which of its items was begun last.
    """

    def __init__(self) -> None:
        self.cells = memoryview(mmap.mmap(-1, 24)).cast("Q")  # anonymous and MAP_SHARED

    @property
    def started(self) -> int:
        """The number of the last attempt that was started; 0: none."""
        return self.cells[0]

    @property
    def finished(self) -> int:
        """The number of the last attempt that has finished; 0: none."""
        return self.cells[1]

    @property
    def item(self) -> int:
        """The item of a share that was begun last, if the last attempt was at a share."""
        return self.cells[ITEM]

    def start(self, n: int, item: int = 0) -> None:
        """Note that attempt `n` starts, with this item."""
        self.cells[ITEM] = item
        self.cells[0] = n

    def finish(self, n: int) -> None:
        """Note that attempt `n` has finished, however it ended."""
        self.cells[1] = n

    def reset(self) -> None:
        """Begin anew, for the next life of the engine."""
        for cell in range(3):
            self.cells[cell] = 0

    def __repr__(self) -> str:
        return f"<Page started {self.started}, finished {self.finished}>"
