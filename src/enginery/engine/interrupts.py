"""KeyboardInterrupt in the user code of one attempt, and nowhere else.

An interrupt names an attempt. The control thread notes the name and sends the main thread SIGURG,
which nothing else uses and which does nothing by default; its handler raises only while that very
attempt runs. A request that comes a moment too early is kept until the attempt runs; one that
comes too late finds its attempt gone and never matches again. SIGINT from outside interrupts
whatever user code runs. What the two handlers must not do is raise in the engine's own code: so
`run` marks the beginning and the end of user code by single assignments, between which and the
`except` there is no point where Python looks for signals.

User code calls the engine, too: it prints. There a `Shield` holds the interrupt back until the call
is over, for an exception between any two lines could leave a lock taken for ever.

A signal that comes just before the main thread blocks in a system call is seen only after that: so
the control thread repeats it until it was heard.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

Key = tuple[str, int]  # task id and attempt

REQUEST = signal.SIGURG


class Shield:
    """While it is up, in the main thread, nothing interrupts; what wanted to, does so after."""

    def __init__(self, raise_held: Callable[[], None], thread: int) -> None:
        self._raise_held = raise_held
        self._thread = thread
        self._depth = 0
        self.held = False  # something wanted to interrupt

    @property
    def up(self) -> bool:
        """Whether an interrupt is to be held back now."""
        return self._depth > 0

    def __enter__(self) -> None:
        if threading.get_ident() == self._thread:
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() == self._thread:
            self._depth -= 1
            if self.held and not self._depth:
                self.held = False
                self._raise_held()


class Interrupts:
    """Who runs, and who is to be interrupted. Made in the main thread, which runs user code."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self.running: Key | None = None  # whose user code runs; None: none does
        self.requested: Key | None = None  # what is to be interrupted
        self.shield = Shield(self._raise_held, self._thread)

    def install(self) -> None:
        """Handle SIGINT and the interrupts of `request` in this process, not in its forks."""
        signal.signal(signal.SIGINT, self._on_sigint)
        signal.signal(REQUEST, self._on_request)
        os.register_at_fork(after_in_child=self._forked)

    def request(self, key: Key) -> None:
        """Interrupt this attempt if it runs or is about to; called from any thread."""
        self.requested = key
        signal.pthread_kill(self._thread, REQUEST)

    @property
    def pending(self) -> bool:
        """Whether what was asked to be interrupted runs, and does not know it yet."""
        running = self.running
        return running is not None and running == self.requested

    def repeat(self) -> None:
        """Send the signal again, if it has not been heard; called from any thread."""
        if self.pending:
            signal.pthread_kill(self._thread, REQUEST)

    def run(self, key: Key, code: Callable[[], None]) -> BaseException | None:
        """Run user code that interrupts may hit; what it raised, or None."""
        self.shield.held = False
        try:
            self.running = key
            self.heed(key)
            code()
            self.running = None
        except BaseException as error:  # told to the client, as this attempt's failure
            self.running = None
            return error
        return None

    def heed(self, key: Key) -> None:
        """Raise KeyboardInterrupt if that was asked for before this attempt's code ran."""
        if self.requested == key:
            self._raise()

    def _raise(self) -> None:
        if self.requested == self.running:
            self.requested = None
        raise KeyboardInterrupt

    def _raise_held(self) -> None:
        if self.running is not None:
            self._raise()

    def _on_request(self, signum: int, frame: FrameType | None) -> None:
        if self.running is not None and self.requested == self.running:
            self._interrupt()

    def _on_sigint(self, signum: int, frame: FrameType | None) -> None:
        if self.running is not None:
            self._interrupt()

    def _interrupt(self) -> None:
        if self.shield.up:
            self.shield.held = True
        else:
            self._raise()

    def _forked(self) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(REQUEST, signal.SIG_DFL)
