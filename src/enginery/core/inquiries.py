"""Questions that engines answer themselves, also while user code runs: passed on, and collected.

The controller asks each engine on its control lane and waits for all of them a little while; who
asked gets one answer, with those engines named that have said nothing. A value is passed on as it
came: what an engine says of itself is for the command that asked to make sense of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypedDict

from msgspec import Struct

from . import messages as m
from .engines import Place
from .events import Effect, Send
from .sessions import Session, too_many


class Usage(TypedDict):
    """What a process uses: bytes of memory, and how many its group may have (0: any number)."""

    memory: int
    memory_limit: int


class Frame(TypedDict):
    """A line of code that is being run."""

    file: str
    line: int | None
    function: str
    source: str


class Thread(TypedDict):
    """What a thread is doing, the innermost last; `below` are the frames that run the others."""

    name: str
    main: bool
    frames: list[Frame]
    below: list[Frame]


class Stacks(TypedDict):
    """What an engine is doing: the task, if there is one, and every thread, the main one first."""

    task: str
    name: str
    threads: list[Thread]


class About(Usage):
    """A process and its surroundings; `time` is that of its clock, sizes are in bytes."""

    time: float
    host: str
    pid: int
    python: str
    executable: str
    enginery: str
    packages: dict[str, str]
    cwd: str
    disk_free: int
    open_files: int
    open_files_hard: int
    cpus: int


class EndOfLog(TypedDict):
    """The last lines of a log."""

    path: str
    lines: list[str]


ANSWERS: Final[dict[str, Any]] = {
    "usage": Usage,
    "stacks": Stacks,
    "about": About,
    "log": EndOfLog,
}
"""What can be asked of engines, and of which form the answers are (`roles` says who may ask)."""

PATIENCE: Final = {"usage": 1.0, "stacks": 2.0, "about": 5.0, "log": 2.0}
"""Seconds that engines have to answer."""


class Inquiry(Struct):
    """One question of one client, and the engines that have not answered it."""

    session: Session
    number: int
    until: float
    left: dict[int, Place]
    answers: dict[int, Any] = {}


class Inquiries:
    """Those that are open, by the number under which engines know them."""

    def __init__(self) -> None:
        self.open: dict[int, Inquiry] = {}
        self._numbers = 0

    def ask(
        self, session: Session, query: m.Query, places: Iterable[Place], now: float,
        out: list[Effect],
    ) -> None:  # fmt: skip
        """Ask these engines; `answered` or `tick` tell what came of it."""
        known = ((each.session, each.number) for each in self.open.values())
        if (session, query.number) in known:
            return  # it was asked again on a new connection
        asking = [each.session for each in self.open.values()]
        reason = too_many(asking, session, "{} are being put to engines already")
        if reason:
            _tell(session, m.Refused(reason, "EngineryError", query.number), out)
            return
        self._numbers += 1
        left = {place.id: place for place in places if "control" in place.lanes}
        until = now + PATIENCE[query.what]
        self.open[self._numbers] = Inquiry(session, query.number, until, left)
        question = m.Query(self._numbers, query.what, query.ids, verbose=query.verbose)
        out.extend(Send(place.lanes["control"], question) for place in left.values())
        if not left:
            self._end(self._numbers, out)

    def answered(self, place: Place, reply: m.Reply, out: list[Effect]) -> None:
        """An engine has answered; what comes too late is of no use to anybody."""
        inquiry = self.open.get(reply.number)
        if inquiry is not None and inquiry.left.pop(place.id, None) is not None:
            inquiry.answers[place.id] = reply.value
            if not inquiry.left:
                self._end(reply.number, out)

    def lost(self, place: Place, out: list[Effect]) -> None:
        """This engine will not answer."""
        for number, inquiry in list(self.open.items()):
            if inquiry.left.pop(place.id, None) is not None and not inquiry.left:
                self._end(number, out)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return min((inquiry.until for inquiry in self.open.values()), default=None)

    def tick(self, now: float, out: list[Effect]) -> None:
        """Answer what was to be answered by now."""
        for number in [n for n, inquiry in self.open.items() if inquiry.until <= now]:
            self._end(number, out)

    def _end(self, number: int, out: list[Effect]) -> None:
        inquiry = self.open.pop(number)
        told = {"answers": inquiry.answers, "silent": sorted(inquiry.left)}
        _tell(inquiry.session, m.Reply(inquiry.number, told), out)


def _tell(session: Session, answer: m.Message, out: list[Effect]) -> None:
    """Who is not connected asks again when he is."""
    if (conn := session.lanes.get("control")) is not None:
        out.append(Send(conn, answer))
