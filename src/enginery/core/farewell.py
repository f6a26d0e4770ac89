"""The end of a controller: it says goodbye, and stays until all have left, or for a moment.

It must not be the one that hangs up. What ZeroMQ has received and nobody has read yet, it forgets
when the connection ends: a peer that is slow to wake would wait for a controller that is no more.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import messages as m
from .events import Closed, Conn, Effect, Event, Log, Received, Send, Stop

MOMENT = 1.0
"""Seconds that the others have to leave."""


class Farewell:
    """Who was told `why` the controller ends, and has not left yet."""

    def __init__(self, why: str, now: float) -> None:
        self.why = why
        self.deadline = now + MOMENT
        self.staying: set[Conn] = set()

    def tell(self, conns: Iterable[Conn], out: list[Effect]) -> None:
        """Say goodbye on these connections, on each once."""
        for conn in conns:
            if conn not in self.staying:
                self.staying.add(conn)
                out.append(Send(conn, m.Goodbye(self.why)))

    def feed(self, event: Event, out: list[Effect]) -> None:
        """Nothing is done any more for those who still say something."""
        match event:
            case Received(conn=conn):
                self.tell([conn], out)
            case Closed(conn=conn):
                self.staying.discard(conn)

    def settle(self, now: float, out: list[Effect]) -> None:
        """Stop, if that can be."""
        if self.staying and now < self.deadline:
            return
        out.append(Log("info", "controller.stopped", {"why": self.why}))
        out.append(Stop(0, self.why))
