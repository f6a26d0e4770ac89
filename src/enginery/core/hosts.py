"""Large buffers that several engines of another host are sent: they go there once.

The supervisor of these engines *keeps* a copy in memory that they can open, and says where; each is
then told by reference. What is to be said to them meanwhile waits, so that all of it arrives in its
order. Where no supervisor answers (in time), they are sent the bytes, as engines without one are.

A copy is kept until every attempt for which it was made has ended: then its engine has opened it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import messages as m
from .engines import Place
from .events import Conn

if TYPE_CHECKING:
    from .controller import Controller, Supervisor

LEAST = 256 << 10
"""Bytes of a buffer from which on it is worth the way by the supervisor."""

PATIENCE = 5.0
"""Seconds that a supervisor has to answer, and one more for each `PACE` bytes."""

PACE = 1 << 20


class Parcel(NamedTuple):
    """What goes out on one connection, and where buffers of it lie already, by `id`."""

    conn: Conn
    messages: list[m.Message]
    lying: Mapping[int, m.Reference]


Outbox = Mapping[Any, list[m.Message]]
"""What is to be said, by connection."""

NOWHERE: Mapping[int, m.Reference] = {}


class User(NamedTuple):
    """An attempt that was, or is to be, given a copy."""

    place: Place
    life: bytes
    n: int

    @property
    def over(self) -> bool:
        """Whether it needs that no more."""
        return self.place.incarnation != self.life or self.n not in self.place.sent


class Copy:
    """What a supervisor keeps."""

    def __init__(self, number: int, buffers: Iterable[m.Buffer], conn: Conn, until: float) -> None:
        self.number = number
        self.buffers = tuple(buffers)
        self.conn = conn  # on which the supervisor was asked
        self.until = until
        self.lying: dict[int, m.Reference] | None = None  # by `id`, once it has answered
        self.users: list[User] = []

    def answered(self, segment: m.Segment | None, at: list[int]) -> None:
        """It is kept there, or nowhere."""
        self.lying = {}
        if segment is None or len(at) != len(self.buffers):
            return
        pairs = list(zip(self.buffers, at, strict=True))
        if all(0 <= offset <= segment.size - buffer.nbytes for buffer, offset in pairs):
            self.lying = {id(b): (segment, offset, b.nbytes) for b, offset in pairs}


class Hosts:
    """The copies on all hosts. `route` says what to send now of what is to be said."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._copies: dict[bytes, list[Copy]] = {}  # by supervisor
        self._held: dict[Conn, list[m.Message]] = {}  # what waits for an answer
        self._number = 0
        self._spared: set[bytes] = set()  # supervisors that keep more than is needed

    @property
    def copies(self) -> Iterator[Copy]:
        """All of them."""
        return (copy for copies in self._copies.values() for copy in copies)

    def deadline(self) -> float | None:
        """When an answer is given up."""
        if not self._copies:  # as ever on one host
            return None
        return min((copy.until for copy in self.copies if copy.lying is None), default=None)

    def answered(self, supervisor: Supervisor, kept: m.Kept) -> None:
        """A supervisor says where it keeps a copy."""
        for copy in self._copies.get(supervisor.identity, ()):
            if copy.number == kept.number and copy.lying is None:
                copy.answered(kept.segment, kept.at)

    def closed(self, conn: Conn) -> None:
        """A connection has ended: nothing more comes on it, and nothing is to be said there."""
        self._held.pop(conn, None)
        for copy in self.copies:
            if copy.conn == conn and copy.lying is None:
                copy.answered(None, [])

    @property
    def idle(self) -> bool:
        """Whether all can be sent as it is: no other host has a supervisor that keeps copies."""
        return not (self._controller.keepers or self._copies or self._held)

    # --- sending --------------------------------------------------------------------------------

    def route(self, outbox: Outbox, now: float) -> Iterator[Parcel]:
        """What to send: of the `outbox`, of what was held, and to supervisors."""
        if self._copies:
            self._look(now)
        asked = self._ask(outbox, now)
        for conn, messages in outbox.items():
            self._held.setdefault(conn, []).extend(messages)
        for conn in list(self._held):
            if all(copy.lying is not None for copy in self._copies_for(conn)):
                yield Parcel(conn, self._held.pop(conn), self._lying(conn))
        yield from asked

    def _look(self, now: float) -> None:
        """Give up what is not answered, and what is not needed any more."""
        for identity, copies in list(self._copies.items()):
            for copy in copies:
                copy.users = [user for user in copy.users if not user.over]
                if copy.lying is None and copy.until <= now:
                    copy.answered(None, [])
            needed = [copy for copy in copies if copy.users or copy.lying is None]
            if len(needed) < len(copies):
                self._spared.add(identity)
            if needed:
                self._copies[identity] = needed
            else:
                del self._copies[identity]

    def _ask(self, outbox: Outbox, now: float) -> list[Parcel]:
        """Have supervisors keep what several of their engines are to get."""
        wanted: dict[bytes, dict[int, tuple[m.Buffer, list[User]]]] = {}
        for conn, messages in outbox.items():
            supervisor = self._supervisor(conn)
            if supervisor is None:
                continue
            for buffer, user in self._uses(conn, messages):
                known = self._known(supervisor, buffer)
                if known is not None:
                    known.users.append(user)
                    continue
                buffers = wanted.setdefault(supervisor.identity, {})
                buffers.setdefault(id(buffer), (buffer, []))[1].append(user)
        asked = []
        for identity, found in wanted.items():
            supervisor = self._controller.supervisors[identity]
            several = [each for each in found.values() if len({u.place.id for u in each[1]}) > 1]
            if several:
                asked.append(self._keep(supervisor, several, now))
        spared, self._spared = self._spared, set()
        for identity in spared:
            there = self._controller.supervisors.get(identity)
            if there is not None and (lane := there.lanes.get("control")) is not None:
                asked.append(Parcel(lane, [m.Keep(0, (), self._live(identity))], NOWHERE))
        return asked

    def _keep(
        self, supervisor: Supervisor, several: list[tuple[m.Buffer, list[User]]], now: float
    ) -> Parcel:
        self._number = max(self._number + 1, int(now * 1e6))  # not one of a former controller
        buffers = [buffer for buffer, _ in several]
        until = now + PATIENCE + sum(buffer.nbytes for buffer in buffers) / PACE
        lane = supervisor.lanes["control"]
        copy = Copy(self._number, buffers, lane, until)
        copy.users = [user for _, users in several for user in users]
        self._copies.setdefault(supervisor.identity, []).append(copy)
        self._spared.discard(supervisor.identity)
        live = self._live(supervisor.identity)
        return Parcel(lane, [m.Keep(copy.number, copy.buffers, live)], NOWHERE)

    def _live(self, identity: bytes) -> list[int]:
        return [copy.number for copy in self._copies.get(identity, ())]

    def _supervisor(self, conn: Conn) -> Supervisor | None:
        """Who can keep something for the engine at this connection, which shares no memory here."""
        peer = self._controller.peers.get(conn)
        if peer is None or peer.shares or not isinstance(peer.party, Place):
            return None
        supervisor = self._controller.keepers.get(peer.party.identity)
        return supervisor if supervisor is not None and "control" in supervisor.lanes else None

    def _uses(self, conn: Conn, messages: list[m.Message]) -> Iterator[tuple[m.Buffer, User]]:
        place = self._controller.peers[conn].party
        assert isinstance(place, Place)
        for message in messages:
            if type(message) is not m.Run:
                continue
            for attempt in message.attempts:
                for buffer in large(attempt):
                    yield buffer, User(place, place.incarnation, attempt.n)

    def _known(self, supervisor: Supervisor, buffer: m.Buffer) -> Copy | None:
        for copy in self._copies.get(supervisor.identity, ()):
            if any(each is buffer for each in copy.buffers):
                return copy
        return None

    def _copies_for(self, conn: Conn) -> list[Copy]:
        """Those that attempts at this connection are to be given."""
        peer = self._controller.peers.get(conn)
        party = None if peer is None else peer.party
        return [copy for copy in self.copies if any(user.place is party for user in copy.users)]

    def _lying(self, conn: Conn) -> Mapping[int, m.Reference]:
        lying: dict[int, m.Reference] = {}
        for copy in self._copies_for(conn):
            lying |= copy.lying or NOWHERE
        return lying


def large(attempt: m.Attempt) -> Iterator[m.Buffer]:
    """The large buffers of an attempt: of its arguments, and of the values that it takes."""
    yield from (buffer for buffer in attempt.buffers if buffer.nbytes >= LEAST)
    values = list(attempt.inputs)
    while values:
        value = values.pop()
        values += value.parts
        yield from (buffer for buffer in value.buffers if buffer.nbytes >= LEAST)
