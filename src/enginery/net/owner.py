"""The process that started this one, and whether it still lives."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from .wakeup import Wakeup


class Owner:
    """Watches the parent of this process, which has told its id as `pid`.

    An id alone proves nothing: when the parent died early, a stranger may have it by now. It is
    the owner's exactly as long as it is the id of our parent.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._wakeup = Wakeup()
        self._pidfd = -1
        # Without one: this is not Linux, or an old one; or it is gone, which the next lines tell.
        with suppress(AttributeError, OSError):
            self._pidfd = os.pidfd_open(pid)
        # Asked after opening: if it is our parent now, it was what the pidfd was opened for.
        if os.getppid() != pid:
            self._close_pidfd()
            self._wakeup.set()

    def fileno(self) -> int:
        """A descriptor that is readable once the owner is gone.

        Where there are no pidfds, `gone` must be called now and then to make it so.
        """
        return self._pidfd if self._pidfd >= 0 else self._wakeup.fileno()

    def gone(self) -> bool:
        """Whether the owner has ended."""
        if self._pidfd < 0 and os.getppid() != self.pid:
            self._wakeup.set()
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Stop watching; again is fine."""
        self._close_pidfd()
        self._wakeup.close()

    def _close_pidfd(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
