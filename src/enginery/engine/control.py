"""The control thread of an engine: it answers while user code runs, and sends what that prints."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from types import FrameType

import zmq

from ..core import messages as m
from ..core.engine import STOPPED
from ..core.events import Event, Received, Tick
from ..core.supervisor import cause
from ..error import ConnectionFileError, NoControllerError
from ..net.bell import Bell
from ..net.owner import Owner
from .about import answer
from .leave import leave_at_once
from .life import Life
from .search import Search
from .streams import LIMIT, PIECE

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

INTERVAL = 0.05
"""Seconds between two messages with output of a running attempt, or two signals to it."""

SETTLE = 0.005
"""Seconds that the first output has to become a line, or its attempt to end."""

ROUNDS = LIMIT // PIECE
"""Batches of output that are sent before it listens again: as much as may wait at once."""

LINGER = 0.5
"""Seconds that the last messages have to leave, when the engine ends."""

GRACE = 1.0
"""Seconds that user code has to end when it is interrupted because the engine ends."""

TIDY = 2.0
"""Seconds after which it looks for idle shared memory, for the main thread may be busy."""

REJOIN = 76
"""Exit code of a life that ends because the connection file names another controller now."""

NO_CONTROLLER = 3
"""Exit code when no controller was found in time."""


class Control(threading.Thread):
    """See the module's theory. An engine without a supervisor has a `search`, maybe an `owner`.

    To be made and closed in the main thread. A signal to end is heard here, for the main thread
    may be busy; it has the handler all the same, in case user code has taken the bell away.
    """

    def __init__(
        self, life: Life, search: Search | None = None, owner: Owner | None = None
    ) -> None:
        super().__init__(name="enginery-control", daemon=True)
        self.life = life
        self.lane = life.lanes["control"]
        self.memory = life.lanes["tasks"].memory
        self.search = search
        self.owner = owner
        self.bell = Bell(STOP_SIGNALS, self._stopped)
        self.bell.stays_here()
        self.lane.poller.register(self.bell.fileno(), zmq.POLLIN)
        if owner is not None:
            self.lane.poller.register(owner.fileno(), zmq.POLLIN)
        self.unsent: list[m.Output] = []
        self.flushed = 0.0
        self.noticed = 0.0  # when output was first seen to wait; 0: none does
        self.deadline = 0.0

    def _stopped(self, signum: int, frame: FrameType | None = None) -> None:
        self.life.stop(-signum, signal.Signals(signum).name)

    def close(self) -> None:
        """Leave nothing behind, once the thread has ended. To be called in the main thread."""
        self.lane.close(LINGER)
        self.bell.close()

    def run(self) -> None:
        """Serve until the main thread is done; end the process if it does not get done."""
        self.life.streams.taker = threading.get_ident()
        try:
            while not self.life.over.is_set():
                self._turn()
            while not self._flush():
                pass
            if self.search is not None:  # else the supervisor tells, and knows more
                code = self.life.exit_code or STOPPED
                self.lane.send([m.Goodbye("stopped" if code == STOPPED else cause(code))])
        except BaseException:
            # Without this thread the engine is deaf: say so in its own output, and end.
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)

    def _turn(self) -> None:
        ready = self.lane.wait(self._timeout())
        if self.memory is not None:
            self.memory.look()
        self.life.interrupts.repeat()
        if self.bell.fileno() in ready:
            for signum in self.bell.heard():
                self._stopped(signum)
        if self._tick_due:
            self._handle(Tick())
        self.lane.send_posted()
        for event in self.lane.events(ready):
            self._handle(event)
        if self.owner is not None and self.owner.fileno() in ready:
            self.lane.poller.unregister(self.owner.fileno())
            self.life.stop(STOPPED, "its owner has ended")
        if self.search is not None:
            self._look_for_controller(self.search)
        if self.life.exit_code is not None:
            self._see_to_the_end(self.life.exit_code)
        self._flush_if_due()

    @property
    def _tick_due(self) -> bool:
        deadline = self.life.machine.deadline()
        return deadline is not None and time.monotonic() >= deadline

    def _handle(self, event: Event) -> None:
        if isinstance(event, Received) and isinstance(event.message, m.Query):
            query = event.message
            self.lane.send([m.Reply(query.number, answer(query.what, self.life))])
            return
        attempt = self.life.handle(event, self.lane)
        if attempt is not None:
            self.life.hand_over(attempt)

    def _look_for_controller(self, search: Search) -> None:
        now = time.monotonic()
        search.joined("control" in self.life.machine.joined, now)
        search.failed = self.lane.failed
        if search.alone_since is None:
            return
        try:
            if search.look(now) is not None:
                self.life.stop(REJOIN, "the connection file names another controller")
            search.check(now)
        except (NoControllerError, ConnectionFileError) as error:
            self.life.stop(NO_CONTROLLER, str(error))

    def _see_to_the_end(self, code: int) -> None:
        """The main thread has `GRACE` seconds from now on."""
        now = time.monotonic()
        if not self.deadline:
            self.deadline = now + GRACE
        elif now >= self.deadline:
            self.life.log("warning", "engine.killed", why="user code did not end")
            if self.life.namespace.console is not None:
                self.life.namespace.console.place.remove()
            leave_at_once(code)

    # --- output --------------------------------------------------------------------------------

    @property
    def _output_waits(self) -> bool:
        joined = "control" in self.life.machine.joined
        return joined and bool(self.unsent or self.life.streams.waiting)

    def _flush_if_due(self) -> None:
        streams = self.life.streams
        streams.reachable("control" in self.life.machine.joined)
        if not self._output_waits:
            self.noticed = 0.0
            return
        now = time.monotonic()
        self.noticed = self.noticed or now
        if streams.waiting >= PIECE or streams.ended or now >= self._flush_at():
            self._flush()

    def _flush_at(self) -> float:
        return max(self.flushed + INTERVAL, self.noticed + SETTLE)

    def _flush(self) -> bool:
        """Send what there is; what cannot be sent now is kept for the next time.

        False when there is still more: user code may print as fast as it is sent, and this thread
        has to listen, too. It is due at once.
        """
        self.flushed, self.noticed = time.monotonic(), 0.0
        for _ in range(ROUNDS):
            if not (self.unsent or self.life.streams.waiting):
                return True
            self.unsent = self.unsent or self.life.streams.take()
            if not self.lane.send(self.unsent):
                return True
            self.unsent = []
        self.flushed = self.noticed = float("-inf")
        return False

    def _timeout(self) -> float:
        now = time.monotonic()
        due = [now + TIDY]
        if self._output_waits:
            due.append(self._flush_at())
        if self.search is not None and self.search.interval is not None:
            due.append(now + self.search.interval)
        if self.life.interrupts.pending:
            due.append(now + INTERVAL)
        if self.deadline:
            due.append(self.deadline)
        if (deadline := self.life.machine.deadline()) is not None:
            due.append(deadline)
        return max(0.0, min(due) - now)
