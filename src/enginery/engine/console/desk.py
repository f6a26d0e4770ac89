"""What is typed at the consoles of an engine, until the main thread runs it.

The engine's machine says when it is whose turn (`core.engine`): so consoles wait for tasks, tasks
for consoles, and never do two things run at once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ...core.events import Typed, TypedEnded

if TYPE_CHECKING:
    from ...core import messages as m
    from ..interrupts import Key
    from ..life import Life

Guarded = Callable[[Callable[[], None]], BaseException | None]
"""Runs user code that may be interrupted, as this input and no other; what it raised, or None."""


class Work(Protocol):
    """One input."""

    def run(self, guarded: Guarded) -> None:
        """Run it, in the main thread."""


class Desk:
    """See the module's theory. `submit`, `withdraw` and `interrupt` are for the other threads."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.on_stop: Callable[[], None] | None = None  # told when the life of the engine ends
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._count = 0
        self._waiting: dict[int, Work] = {}
        self._running = 0
        self._due = 0

    @property
    def open(self) -> bool:
        """Whether this process is an engine that runs what is typed, and not a fork of one."""
        return os.getpid() == self._pid and self.life.exit_code is None

    def submit(self, work: Work) -> int:
        """Have this run in its turn; its number."""
        with self._lock:
            self._count += 1
            number = self._count
            self._waiting[number] = work
        self.life.handle(Typed(number), None)
        return number

    def stopped(self) -> None:
        """The life of this engine is over; called from any thread, or a signal's handler."""
        if self.on_stop is not None:
            self.on_stop()

    def withdraw(self, number: int) -> bool:
        """Do not run this any more; whether that was in time."""
        with self._lock:
            return self._waiting.pop(number, None) is not None

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the input that runs, if one does; never in a task."""
        if (number := self._running) != 0:
            self.life.interrupts.request(key_of(number))
            self.life.lanes["control"].wake()  # to look whether it was heard

    # --- the main thread -----------------------------------------------------------------------

    def call(self, number: int) -> None:
        """It is the turn of this input; called from any thread."""
        self._due = number
        self.life.lanes["tasks"].wake()

    def serve(self) -> m.Attempt | None:
        """Run the input whose turn it is, if there is one; the attempt to run next."""
        number, self._due = self._due, 0
        if not number:
            return None
        with self._lock:
            work = self._waiting.pop(number, None)
            self._running = number if work is not None else 0
        if work is not None:
            work.run(lambda code: self._guarded(number, code))
            self._running = 0
        return self.life.handle(TypedEnded(), self.life.lanes["tasks"])

    def _guarded(self, number: int, code: Callable[[], None]) -> BaseException | None:
        error = self.life.interrupts.run(key_of(number), code)
        if os.getpid() != self._pid:  # a process that user code has forked, and let go on
            os._exit(0 if error is None else 1)
        return error


def key_of(number: int) -> Key:
    """The name of an input, for interrupts."""
    return ("", number)
