"""Large buffers that engines of another host are sent more than once: they go there once, or twice.

The supervisor of these engines *keeps* a copy in memory that they can open, and says where; each is
then told by reference. So it is with what several get in one turn, and with what was sent to that
host before, such as the data of a search, also where the function holds them. The work waits
meanwhile, so that all of it arrives in its order. Where no supervisor answers (in time), they are
sent the bytes, as engines without one are. To many hosts they go from host to host (`spread`).

A copy is kept until every attempt for which it was made has ended: then its engine has opened it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from . import messages as m
from .engines import Place
from .events import Conn
from .spread import MANY, WORTH, Reach, Spread

if TYPE_CHECKING:
    from .controller import Controller, Supervisor

LEAST = 256 << 10
"""Bytes of a buffer from which on it is worth the way by the supervisor."""

PATIENCE = 5.0
"""Seconds that a supervisor has to answer, and one more for each `PACE` bytes."""

PACE = 1 << 17
"""The slowest line that is of use, of 1 Mbit/s. Who is gone is found out by the connection."""

LOOK = 0.1
"""Seconds between two looks at which copies are needed."""


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
    """What a supervisor keeps for some attempts."""

    def __init__(
        self, number: int, buffers: Iterable[m.Buffer], users: list[User], supervisor: Supervisor
    ) -> None:
        self.number = number
        self.buffers = tuple(buffers)
        self.users = users
        self.keeper = supervisor.identity
        self.conn = supervisor.lanes["control"]  # on which the supervisor is asked
        self.until = inf  # it has not been asked
        self.lying: dict[int, m.Reference] | None = None  # by `id`, once it has answered
        self.spread: Spread | None = None  # on its way from host to host
        self.lent = False  # while it is: others have it from here

    @property
    def size(self) -> int:
        """Bytes of it."""
        return sum(buffer.nbytes for buffer in self.buffers)

    @property
    def spreading(self) -> bool:
        """Whether other hosts are still to have what it holds."""
        return self.spread is not None and not self.spread.over

    @property
    def needed(self) -> bool:
        """Whether an attempt needs it, or another host, or nobody knows yet."""
        return bool(self.users) or self.lying is None or self.spreading

    def give_up(self) -> None:
        """It will not be kept."""
        if self.spread is not None:
            self.spread.drop(self)
        self.answered(None, [])

    def answered(self, segment: m.Segment | None, at: list[int]) -> None:
        """It is kept there, or nowhere."""
        self.lying = {}
        if segment is None or len(at) != len(self.buffers):
            return
        pairs = list(zip(self.buffers, at, strict=True))
        if all(0 <= offset <= segment.size - buffer.nbytes for buffer, offset in pairs):
            self.lying = {id(b): (segment, offset, b.nbytes) for b, offset in pairs}


Held = tuple[list[m.Message], tuple[Copy, ...]]
"""Work that waits (see `Use.messages`), and what it waits for."""


class Hosts:
    """The copies on all hosts. `route` says what to send now of what is to be said."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._copies: dict[bytes, list[Copy]] = {}  # by supervisor
        # What was sent to each host, by `id`, as long as there is any work with it.
        self._sent: dict[bytes, WeakValueDictionary[int, m.Buffer]] = {}
        self._spreads: dict[tuple[int, ...], Spread] = {}  # by the `id` of each buffer
        self._held: dict[Conn, deque[Held]] = {}
        self._number = 0
        self._spared: set[bytes] = set()  # supervisors that keep more than is needed, perhaps
        self._mute: set[bytes] = set()  # those that have not answered in time
        self._reach = Reach()
        self.host_to_host = True  # whether they may give them to each other
        self._looked = 0.0

    @property
    def copies(self) -> Iterator[Copy]:
        """All of them."""
        return (copy for copies in self._copies.values() for copy in copies)

    def deadline(self) -> float | None:
        """When an answer is given up."""
        if not self._held:  # as ever on one host
            return None
        times = [copy.until for copy in self.copies if copy.lying is None]
        times += [spread.deadline() for spread in self._spreads.values()]
        return min((each for each in times if each < inf), default=None)

    def met(self, supervisor: Supervisor) -> None:
        """A supervisor of another host is there, perhaps again: it is told what is needed."""
        self._spared.add(supervisor.identity)
        self._mute.discard(supervisor.identity)
        self._reach.forget(supervisor.identity)

    def left(self, supervisor: Supervisor) -> None:
        """A supervisor is gone for good."""
        self._sent.pop(supervisor.identity, None)
        self._mute.discard(supervisor.identity)
        self._reach.forget(supervisor.identity)

    def answered(self, supervisor: Supervisor, kept: m.Kept) -> None:
        """A supervisor says where it keeps a copy."""
        self._mute.discard(supervisor.identity)
        for copy in self._copies.get(supervisor.identity, ()):
            if copy.number == kept.number and copy.lying is None:
                if copy.spread is None or copy.spread.answered(copy, kept):
                    copy.answered(kept.segment, kept.at)
                else:
                    copy.until = inf

    def closed(self, conn: Conn) -> None:
        """A connection has ended: nothing more comes on it, and nothing is to be said there."""
        self._held.pop(conn, None)
        for spread in self._spreads.values():
            spread.closed(conn)
        for copy in self.copies:
            if copy.conn == conn and copy.lying is None:
                copy.give_up()

    @property
    def idle(self) -> bool:
        """Whether all can be sent as it is: no other host has a supervisor that keeps copies."""
        return not (self._controller.keepers or self._copies or self._held)

    # --- sending --------------------------------------------------------------------------------

    def route(self, outbox: Outbox, now: float) -> Iterator[Parcel]:
        """What to send: of the `outbox`, of what was held, and to supervisors.

        Work for one engine goes in its order; what else is to be said to it does not wait.
        """
        if self._copies and now >= min(self._looked + LOOK, self.deadline() or now + LOOK):
            self._looked = now
            self._look(now)
        asked = self._ask(outbox, now)
        for conn in [conn for conn in self._held if conn not in outbox]:
            yield from self._released(conn)
        for conn, messages in outbox.items():
            if conn not in self._held:
                yield Parcel(conn, messages, NOWHERE)
                continue
            waiting = {id(message) for work, _ in self._held[conn] for message in work}
            if others := [message for message in messages if id(message) not in waiting]:
                yield Parcel(conn, others, NOWHERE)
            yield from self._released(conn)
        yield from asked

    def _released(self, conn: Conn) -> Iterator[Parcel]:
        """The work at this connection that waits for nothing more."""
        held, peer = self._held[conn], self._controller.peers.get(conn)
        place = peer.party if peer is not None and isinstance(peer.party, Place) else None
        if place is None:
            held.clear()  # that life of the engine is over, or it has another connection
        while place is not None and held and all(copy.lying is not None for copy in held[0][1]):
            work, copies = held.popleft()
            lying = {id: at for copy in copies for id, at in (copy.lying or NOWHERE).items()}
            if work := _wanted(work, place):
                yield Parcel(conn, work, lying)
        if not held:
            del self._held[conn]

    def _look(self, now: float) -> None:
        """Give up what is not answered, and what is not needed any more."""
        for identity, copies in list(self._copies.items()):
            for copy in copies:
                copy.users = [user for user in copy.users if not user.over]
                if copy.lying is None and copy.until <= now:
                    copy.give_up()
                    self._mute.add(identity)
                elif copy.lying is None and copy.until == inf and not copy.users:
                    copy.give_up()
            needed = [copy for copy in copies if copy.needed]
            if len(needed) < len(copies):
                self._spared.add(identity)
            if needed:
                self._copies[identity] = needed
            else:
                del self._copies[identity]

    def _ask(self, outbox: Outbox, now: float) -> list[Parcel]:
        """Hold work with large buffers; have supervisors keep what several engines are to get."""
        uses = [use for conn, messages in outbox.items() for use in self._uses(conn, messages)]
        wanted: dict[bytes, dict[int, tuple[m.Buffer, list[User]]]] = {}
        for use in uses:
            for buffer, user in use.buffers:
                assert use.supervisor is not None
                if self._known(use.supervisor, buffer) is None:
                    buffers = wanted.setdefault(use.supervisor.identity, {})
                    buffers.setdefault(id(buffer), (buffer, []))[1].append(user)
        asked = []
        for key in [key for key, spread in self._spreads.items() if spread.over]:
            # It holds no buffer, and an `id` may be another one's by now.
            self._spared.update(self._spreads.pop(key).lenders)
        hosts = Counter(id for found in wanted.values() for id in found)
        for identity, found in wanted.items():
            alike: dict[tuple[User, ...], list[m.Buffer]] = {}
            sent = self._sent.setdefault(identity, WeakValueDictionary())
            for buffer, users in found.values():
                several = len({user.place.id for user in users}) > 1
                if several or id(buffer) in sent or self._is_for_many(buffer, hosts):
                    alike.setdefault(tuple(users), []).append(buffer)
                sent[id(buffer)] = buffer
            supervisor = self._controller.supervisors[identity]
            for those, group in alike.items():
                copy = self._copy(supervisor, group, list(those), now)
                key = tuple(map(id, group))
                if key not in self._spreads and any(self._is_for_many(b, hosts) for b in group):
                    self._spreads[key] = Spread(copy.size, self._reach)
                if (spread := self._spreads.get(key)) is not None:
                    copy.spread = spread
                    spread.add(copy)
                else:
                    asked.append(self._keep(copy, now))
        for spread in self._spreads.values():
            asked += [self._keep(copy, now, door) for copy, door in spread.due(now)]
        for use in uses:
            self._hold(use)
        for identity in list(self._spared):
            there = self._controller.supervisors.get(identity)
            if there is None:
                self._spared.discard(identity)
            elif (lane := there.lanes.get("control")) is not None:
                self._spared.discard(identity)
                live, lent = self._live(identity), self._lent(identity)
                asked.append(Parcel(lane, [m.Keep(0, (), live, lent=lent)], NOWHERE))
        return asked

    def _is_for_many(self, buffer: m.Buffer, hosts: Mapping[int, int]) -> bool:
        """Whether it is worth it that hosts give it to each other; so many get it, by `id`."""
        return self.host_to_host and hosts[id(buffer)] >= MANY and buffer.nbytes >= WORTH

    def _copy(
        self, supervisor: Supervisor, buffers: list[m.Buffer], users: list[User], now: float
    ) -> Copy:
        self._number = max(self._number + 1, int(now * 1e6))  # not one of a former controller
        copy = Copy(self._number, buffers, users, supervisor)
        self._copies.setdefault(supervisor.identity, []).append(copy)
        return copy

    def _keep(self, copy: Copy, now: float, door: m.Door | None = None) -> Parcel:
        """Have a supervisor keep this, which it is sent, or fetches at a door."""
        others = [each for each in self._copies[copy.keeper] if each is not copy]
        ahead = sum(each.size for each in others if each.lying is None and each.until < inf)
        copy.until = now + PATIENCE + (ahead + copy.size) / PACE
        copy.lent = copy.spread is not None and copy.spread.lends(copy)
        keep = m.Keep(copy.number, copy.buffers, self._live(copy.keeper))
        keep.lent = self._lent(copy.keeper)
        if door is not None:
            keep.buffers, keep.door = (), door
            keep.sizes = tuple(buffer.nbytes for buffer in copy.buffers)
        return Parcel(copy.conn, [keep], NOWHERE)

    def _live(self, identity: bytes) -> list[int]:
        return [copy.number for copy in self._copies.get(identity, ())]

    def _lent(self, identity: bytes) -> list[int]:
        copies = self._copies.get(identity, ())
        return [copy.number for copy in copies if copy.lent and copy.spreading]

    def _uses(self, conn: Conn, messages: list[m.Message]) -> Iterator[Use]:
        """The work for an engine that may have to wait, and what is large of it."""
        peer = self._controller.peers.get(conn)
        if peer is None or not isinstance(place := peer.party, Place):
            return
        supervisor = self._controller.keepers.get(place.identity) if peer.keeps else None
        if supervisor is not None and (
            "control" not in supervisor.lanes or supervisor.identity in self._mute
        ):
            supervisor = None
        if supervisor is None and conn not in self._held:
            return
        functions: dict[bytes, m.Define] = {}
        for message in messages:
            if type(message) is m.Define and any(_large(message.buffers)):
                functions[message.hash] = message
            elif type(message) is m.Run:
                brought: dict[bytes, m.Define] = {}
                buffers: list[tuple[m.Buffer, User]] = []
                attempts = message.one_by_one()
                for attempt in attempts if supervisor is not None else ():
                    user = User(place, place.incarnation, attempt.n)
                    function = functions.get(attempt.function)
                    if function is not None and not _awaited(function, attempts[0].n, place):
                        brought[function.hash] = function
                        buffers += [(buffer, user) for buffer in _large(function.buffers)]
                    buffers += [(buffer, user) for buffer in large(attempt)]
                yield Use(conn, supervisor, [*brought.values(), message], buffers)

    def _hold(self, use: Use) -> None:
        """Let work wait for the copies that it is to be given, and for work before it."""
        copies: dict[int, Copy] = {}
        for buffer, user in use.buffers:
            assert use.supervisor is not None
            copy = self._known(use.supervisor, buffer)
            if copy is not None:
                copies[copy.number] = copy
                if user not in copy.users:
                    copy.users.append(user)
        if copies or use.conn in self._held:
            self._held.setdefault(use.conn, deque()).append((use.messages, tuple(copies.values())))

    def _known(self, supervisor: Supervisor, buffer: m.Buffer) -> Copy | None:
        for copy in self._copies.get(supervisor.identity, ()):
            if any(each is buffer for each in copy.buffers):
                return copy
        return None


class Use(NamedTuple):
    """Work for an engine, and its large buffers.

    In front of its `Run` come those functions that it brings and that hold some of them.
    """

    conn: Conn
    supervisor: Supervisor | None  # that is asked to keep it
    messages: list[m.Message]
    buffers: list[tuple[m.Buffer, User]]


def _awaited(function: m.Define, first: int, place: Place) -> bool:
    """Whether work before the `first` of these attempts, which the engine has already, may wait for
    this function: it has asked for it.
    """
    before = {r.spec.function for n, r in place.sent.items() if n < first}
    return function.hash in before or b"" in before  # of which only an engine has told


def _wanted(work: list[m.Message], place: Place) -> list[m.Message]:
    """What is still wanted of this: some of it may have been aborted meanwhile."""
    *functions, run = work
    assert isinstance(run, m.Run)
    sent = place.sent
    attempts = [attempt for attempt in run.one_by_one() if attempt.n in sent]
    needed = {attempt.function for attempt in attempts}
    wanted: list[m.Message] = []
    for function in functions:
        assert isinstance(function, m.Define)
        if function.hash in needed:
            wanted.append(function)
        else:
            place.known.discard(function.hash)  # it comes with the next attempt that needs it
    return [*wanted, m.Run(attempts)] if attempts else []


def large(attempt: m.Attempt) -> Iterator[m.Buffer]:
    """The large buffers of an attempt: of its arguments, and of the values that it takes."""
    yield from _large(attempt.buffers)
    values = list(attempt.inputs)
    while values:
        value = values.pop()
        values += value.parts
        yield from _large(value.buffers)


def _large(buffers: Iterable[m.Buffer]) -> Iterator[m.Buffer]:
    return (buffer for buffer in buffers if buffer.nbytes >= LEAST)
