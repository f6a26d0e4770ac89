"""Virtual time, and connections that behave as TCP's do.

A connection has two pipes. What is sent into a pipe arrives in order, after a delay. When the
connection is cut, each pipe still brings some of what is in it and loses the rest; after that its
reader is told of the end. What somebody sends who does not know yet of the cut is lost as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any, Protocol

Batch = Sequence[Any]
"""Messages that are sent together."""

END: Batch = ()
"""What a reader gets last."""


class Clock:
    """Virtual time: what is to happen, and when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, action: Callable[..., object], *args: Any) -> None:
        """Do this then (now, if that is past); what is due at one time is done in this order."""
        self._count += 1
        heappush(self._agenda, (when, self._count, action, args))

    def after(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Do this in so many seconds."""
        self.at(self.now + delay, action, *args)

    def run(self, until: float = inf) -> None:
        """Let time pass until then, or until nothing is left to happen."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= until:
            when, _, action, args = heappop(agenda)
            self.now = max(self.now, when)
            action(*args)
        if until is not inf:
            self.now = max(self.now, until)


class Reader(Protocol):
    """A process that reads connections."""

    frozen: float  # it does nothing until then

    def arrived(self, connection: Connection, batch: Batch) -> None:
        """Messages have arrived."""

    def ended(self, connection: Connection) -> None:
        """Everything that arrived has been read, and no more will come."""


class Pipe:
    """One direction of a connection."""

    __slots__ = (
        "arrived", "base", "clock", "clogged", "connection", "jitter", "last", "limit", "random",
        "reader", "sent", "under_way",
    )  # fmt: skip

    def __init__(
        self, clock: Clock, random: Random, connection: Connection, reader: Reader,
        delay: tuple[float, float],
    ) -> None:  # fmt: skip
        self.clock = clock
        self.random = random
        self.connection = connection
        self.reader = reader
        self.base, self.jitter = delay  # seconds of delay: at least, and more at most
        self.under_way: deque[tuple[int, Batch]] = deque()
        self.sent = self.arrived = 0
        self.limit: float = inf  # what was sent after this one is lost
        self.last = 0.0  # when the last one will arrive
        self.clogged = 0.0  # nothing comes through until then

    def send(self, batch: Batch) -> None:
        """These will arrive after some time, unless the connection is cut."""
        if self.limit is not inf:
            return
        self.sent += 1
        self._push(self.sent, batch, self.base + self.jitter * self.random.random())

    def _push(self, serial: int, batch: Batch, delay: float) -> None:
        self.under_way.append((serial, batch))
        self.last = max(self.clock.now + delay, self.last)
        self.clock.at(self.last, self._arrive)

    def _arrive(self) -> None:
        hold = max(self.clogged, self.reader.frozen)
        if hold > self.clock.now:
            self.last = max(self.last, hold)
            self.clock.at(hold, self._arrive)
            return
        serial, batch = self.under_way.popleft()
        if batch is END:
            self.reader.ended(self.connection)
        elif serial <= self.limit:
            self.arrived = serial
            self.reader.arrived(self.connection, batch)

    def cut(self, delay: float, keep: int | None = None) -> None:
        """Lose a suffix: what was sent after number `keep`, or at random; then comes the end."""
        self.limit = self.random.randint(self.arrived, self.sent) if keep is None else keep
        self._push(self.sent + 1, END, delay)


class Connection:
    """Between a peer and the controller, for one lane; the controller knows it by this object."""

    __slots__ = ("announced", "down", "era", "hellos", "lane", "over", "peer", "role", "up")

    def __init__(self, peer: Any, lane: str) -> None:
        self.peer = peer
        self.lane = lane
        self.role: str = peer.role  # what the peer's key says
        self.up: Pipe
        self.down: Pipe
        self.era = 0  # the life of the controller that it leads to
        self.announced = False  # the peer's machine knows of it
        self.hellos = 0
        self.over = False  # the peer has read its end

    @property
    def whole(self) -> bool:
        """Whether it has not been cut."""
        return self.up.limit is inf

    def cut(self, up_delay: float = 0.0, down_delay: float = 0.0) -> None:
        """Break it; the controller and the peer learn of it so many seconds later."""
        if self.whole:
            self.up.cut(up_delay)
            self.down.cut(down_delay)

    def close(self) -> None:
        """The peer ends it in good order: all that it has sent arrives."""
        if self.whole:
            self.up.cut(0.0, keep=self.up.sent)
            self.down.cut(0.0)

    def __repr__(self) -> str:
        return f"{self.peer.name}/{self.lane}"
