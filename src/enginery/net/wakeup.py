"""A way for another thread, or a signal handler, to wake who waits at a poller."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class Wakeup:
    """A descriptor that is readable from `set` until `clear`."""

    def __init__(self) -> None:
        # Reentrant, for a signal handler may call `set` while the same thread is in it.
        self._lock = threading.RLock()
        if hasattr(os, "eventfd"):
            self._read = self._write = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._read, self._write = os.pipe()
            os.set_blocking(self._read, False)
            os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """The descriptor to wait at; -1 when closed."""
        return self._read

    def set(self) -> None:
        """Make it readable; may be called by anyone, at any time, also after `close`."""
        with self._lock, suppress(BlockingIOError):  # it is full: so it is readable
            if self._write >= 0:
                os.write(self._write, b"\1\0\0\0\0\0\0\0")

    def clear(self) -> None:
        """Make it not readable, however often it was set."""
        with suppress(BlockingIOError):  # it was not set
            while len(os.read(self._read, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Close its descriptors; again is fine."""
        with self._lock:
            fds, self._read, self._write = {self._read, self._write}, -1, -1
            for fd in fds - {-1}:
                os.close(fd)
