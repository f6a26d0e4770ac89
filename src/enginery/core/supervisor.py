"""The supervisor's machine: which engine of this host has a life, and who begins the next.

One place per engine. A life that ends by itself is reported with its cause and, where that is
wanted, replaced at once; one that dies again and again before it has begun anything is not. An
engine that was asked to stop stays away.
"""

from __future__ import annotations

from collections import deque
from signal import Signals
from typing import Any

from ..version import PROTOCOL
from . import messages as m
from .engine import RESTART, STOPPED, STUCK, STUCK_REASON
from .events import (
    Closed,
    Died,
    Effect,
    Event,
    Fork,
    Forked,
    KeepCopy,
    Log,
    Opened,
    Received,
    Send,
    Stop,
)

SHORT_LIFE = 2.0
"""Seconds: who dies younger than this, and without having begun anything, cannot start."""

SHORT_LIVES = 5
"""So many short lives in a row of one place, and it is left empty."""


class Seat:
    """A place on this host and its life of now."""

    def __init__(self, place: bytes) -> None:
        self.place = place
        self.incarnation = b""
        self.alive = False
        self.since = 0.0
        self.lives = 0
        self.short = 0


class Supervisor:
    """See the module's theory."""

    def __init__(
        self, identity: bytes, places: list[bytes], *, host: str, pid: int, version: str,
        replace: bool = True,
    ) -> None:  # fmt: skip
        self.identity = identity
        self.host, self.pid, self.version = host, pid, version
        self.replace = replace
        self.patience = 0.0  # seconds that a new connection may take; 0: as many as usual
        self.memory: m.Segment | None = None  # what engines may open
        self.seats = {place: Seat(place) for place in places}
        self.order = tuple(places)
        self.joined = False
        self.stopping = False
        self.exits: deque[m.Exited] = deque(maxlen=SHORT_LIVES * len(places))  # the latest

    def begin(self, now: float) -> list[Effect]:
        """Begin the first life of every engine."""
        return [self._fork(seat, now) for seat in self.seats.values()]

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What follows from this event."""
        out: list[Effect] = []
        match event:
            case Opened(conn="control"):
                hello = m.Hello(
                    PROTOCOL, self.version, "supervisor", "control", self.identity,
                    host=self.host, pid=self.pid, places=self.order, patience=self.patience,
                    memory=self.memory, keeps=self.memory is not None,
                )  # fmt: skip
                out.append(Send("control", hello))
            case Closed(conn="control"):
                self.joined = False
            case Received(conn="control", message=message):
                self._received(message, now, out)
            case Forked(place=place, incarnation=incarnation, pid=pid):
                seat = self.seats[place]
                seat.alive, seat.incarnation, seat.since = True, incarnation, now
                out.append(Log("info", "engine.forked", {"pid": pid, "life": seat.lives}))
            case Died():
                self._died(event, now, out)
        return out

    def deadline(self) -> float | None:
        """Never: it acts on events alone."""
        return None

    def _received(self, message: m.Message, now: float, out: list[Effect]) -> None:
        match message:
            case m.Welcome():
                self.joined = True
                # All of them: the last connection may have lost some, and twice does no harm.
                out.extend(Send("control", exited) for exited in self.exits)
            case m.Keep():
                out.append(KeepCopy(message))
            case m.Again():
                out.extend(self.handle(Opened("control"), now))
            case m.Goodbye(reason=reason):
                self.stopping = True
                out.append(Stop(0, reason or "the controller stops"))
            case m.Refused(reason=reason):
                out.append(Stop(1, reason))

    def _died(self, event: Died, now: float, out: list[Effect]) -> None:
        seat = self.seats[event.place]
        seat.alive = False
        age = now - seat.since
        in_vain = age < SHORT_LIFE and event.started == 0 and event.status != RESTART
        seat.short = seat.short + 1 if in_vain else 0
        hopeless = seat.short >= SHORT_LIVES
        again = self.replace and event.status != STOPPED and not hopeless and not self.stopping
        reason = "stopped" if event.status in {STOPPED, RESTART} else cause(event.status)
        facts: dict[str, Any] = {"uptime": age, **event.facts}
        if hopeless:
            facts["short_lives"] = seat.short
        exited = m.Exited(
            event.place, event.incarnation, event.started, event.finished, reason, again, facts,
            event.item,
        )  # fmt: skip
        self.exits.append(exited)
        if self.joined:
            out.append(Send("control", exited))
        if again:
            out.append(self._fork(seat, now))
        elif hopeless:
            fields = {"reason": reason, "lives": seat.lives}
            out.append(Log("error", "engine.cannot_start", fields))
        if not again and not any(s.alive for s in self.seats.values()):
            failed = 1 if hopeless else 0
            out.append(Stop(failed, _in_vain(reason) if hopeless else "every engine has ended"))

    def _fork(self, seat: Seat, now: float) -> Fork:
        """The next life of a place; its name counts the lives, so it is new and still secret."""
        seat.lives += 1
        seat.alive, seat.since = True, now
        seat.incarnation = seat.place[:8] + seat.lives.to_bytes(4, "big") + bytes(4)
        return Fork(seat.place, seat.incarnation)


def _in_vain(reason: str) -> str:
    return (
        f"each has ended {SHORT_LIVES} times in a row as it began, the last time by {reason}\n"
        "  What an engine prints and raises as it begins is above."
    )


def cause(status: int) -> str:
    """An exit status in words."""
    if status == STUCK:
        return STUCK_REASON
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {-status} ({Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
