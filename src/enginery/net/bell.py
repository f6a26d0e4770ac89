"""Signals as something to wait for.

A handler in Python runs between two steps of the main thread. One that comes just before that
thread begins to wait would be heard only after it; and while the main thread runs user code, not
at all. So the numbers of signals go into a pipe, as they come, for whoever polls it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType


class Bell:
    """A pipe into which every signal that Python handles is written; made in the main thread."""

    def __init__(
        self, signals: Iterable[int], also: Callable[[int, FrameType | None], None] | None = None
    ) -> None:
        self.signals = frozenset(signals)
        self._read, self._write = os.pipe()
        for fd in (self._read, self._write):
            os.set_blocking(fd, False)
        for signum in self.signals:
            signal.signal(signum, also or _ignore)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._read

    def heard(self) -> set[int]:
        """Which of `signals` have come since this was last asked."""
        try:
            return set(os.read(self._read, 4096)) & self.signals
        except BlockingIOError:
            return set()

    def stays_here(self) -> None:
        """Ring in this process alone: in its forks these signals do what they usually do.

        They are held back while it forks, or one that comes at once would ring here, as the pipe
        is shared.
        """
        held = threading.local()
        handlers = {signum: signal.getsignal(signum) for signum in self.signals}

        def before() -> None:
            held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, self.signals)

        def after() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)

        def in_fork() -> None:
            signal.set_wakeup_fd(-1)
            for signum, handler in handlers.items():
                if signal.getsignal(signum) is handler:  # else user code has set another
                    signal.signal(signum, signal.SIG_DFL)
            after()

        os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_fork)

    def close(self) -> None:
        """Close the pipe; the handlers stay."""
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)


def _ignore(signum: int, frame: FrameType | None) -> None:
    """What is to be done is done by who hears the bell."""


def heeded(signals: Iterable[int]) -> list[int]:
    """Those signals that who started this process has not told it to ignore, as `nohup` does."""
    return [signum for signum in signals if signal.getsignal(signum) is not signal.SIG_IGN]
