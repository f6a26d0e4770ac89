"""How large buffers come to many hosts: the first has them from the controller, others from those.

If each host had them from the controller, they would pass its line as many times as there are
hosts. So who has them lends them, to one host after the other, and the time that it takes grows as
the logarithm of their number. A host that cannot fetch them from another one is sent them by the
controller after all; so is from then on who could not twice, and whom two could not reach lends
nothing. Who takes much longer than it should keeps others waiting no more.
"""

from __future__ import annotations

from ipaddress import ip_address
from math import inf
from typing import TYPE_CHECKING

from . import messages as m
from .events import Conn

if TYPE_CHECKING:
    from .hosts import Copy

WORTH = 4 << 20
"""Bytes from which on hosts lend them to others."""

MANY = 3
"""Hosts from which on they do."""

SLOW = 10.0
"""Seconds after which one that does not have them yet is one of several that get them."""

LINE = 12_500_000
"""Bytes a second, those of a line of 100 Mbit/s, that it has besides."""

FAILURES = 2
"""So many with different others, and it is not tried again."""


class Reach:
    """Which supervisors could not fetch what others lend. Those that come back begin anew."""

    def __init__(self) -> None:
        self._failed: set[tuple[bytes, bytes]] = set()  # who could not, and from whom

    def failed(self, borrower: bytes, lender: bytes) -> None:
        """It could not be had there."""
        self._failed.add((borrower, lender))

    def lends(self, supervisor: bytes) -> bool:
        """Whether it is worth it to lend at this one."""
        return sum(lender == supervisor for _, lender in self._failed) < FAILURES

    def borrows(self, supervisor: bytes) -> bool:
        """Whether this one is to fetch from others."""
        return sum(borrower == supervisor for borrower, _ in self._failed) < FAILURES

    def forget(self, supervisor: bytes) -> None:
        """It has come back, or is gone for good."""
        self._failed = {pair for pair in self._failed if supervisor not in pair}


class Source:
    """Who has the buffers: a supervisor on this connection, at its door, or the controller."""

    def __init__(
        self, keeper: bytes = b"", conn: Conn | None = None, door: m.Door | None = None
    ) -> None:
        self.keeper, self.conn, self.door = keeper, conn, door
        self.readers = 0
        self.free_at = 0.0  # when another one may have them besides

    def free(self, now: float) -> bool:
        """Whether somebody may have them here now."""
        return not self.readers or self.free_at <= now


class Spread:
    """Some buffers on their way to the supervisors that are to keep a copy of them.

    Nothing here holds a copy, and so the buffers, beyond its time.
    """

    def __init__(self, size: int, reach: Reach) -> None:
        self._patience = SLOW + size / LINE
        self._reach = reach
        self._controller = Source()
        self._hosts: list[Source] = []
        self._waiting: list[Copy] = []
        self._under_way: dict[int, Source] = {}  # by the numbers of copies
        self._failed: set[int] = set()  # those that could not be had from another host

    @property
    def over(self) -> bool:
        """Whether nobody waits for them any more."""
        return not (self._waiting or self._under_way)

    @property
    def lenders(self) -> list[bytes]:
        """The supervisors at which others have them."""
        return [host.keeper for host in self._hosts]

    def lends(self, copy: Copy) -> bool:
        """Whether the supervisor of this one is to lend them."""
        return bool(self._waiting) and self._reach.lends(copy.keeper)

    def deadline(self) -> float:
        """When the next source is free, if nobody says anything."""
        if not self._waiting:
            return inf
        times = [self._controller.free_at]
        if any(map(self._borrows, self._waiting)):
            times += [host.free_at for host in self._hosts]
        return min(times)

    def _borrows(self, copy: Copy) -> bool:
        return copy.number not in self._failed and self._reach.borrows(copy.keeper)

    def add(self, copy: Copy) -> None:
        """One more is to have them."""
        self._waiting.append(copy)

    def due(self, now: float) -> list[tuple[Copy, m.Door | None]]:
        """Who is to have them now, and where; None: from the controller."""
        # The last is the controller: it has other things to do.
        free = [source for source in (*self._hosts, self._controller) if source.free(now)]
        found: list[tuple[Copy, m.Door | None]] = []
        waiting, self._waiting = self._waiting, []
        for copy in waiting:
            borrows = self._borrows(copy)
            source = next((each for each in free if borrows or each is self._controller), None)
            if source is None:
                self._waiting.append(copy)
                continue
            free.remove(source)
            source.readers += 1
            source.free_at = now + self._patience
            self._under_way[copy.number] = source
            found.append((copy, source.door))
        return found

    def answered(self, copy: Copy, kept: m.Kept) -> bool:
        """A supervisor has said whether it has them; False when it is tried in another way."""
        source = self._under_way.pop(copy.number, None)
        if source is None:
            return False  # it cannot know that it was to be asked
        source.readers -= 1
        if kept.segment is not None:
            if kept.door is not None and self._reach.lends(copy.keeper) and _can_be(kept.door):
                self._hosts.append(Source(copy.keeper, copy.conn, kept.door))
            return True
        if kept.door is None or source is self._controller:
            return True
        if source in self._hosts:  # else it has gone meanwhile
            self._reach.failed(copy.keeper, source.keeper)
            self._hosts = [host for host in self._hosts if self._reach.lends(host.keeper)]
        self._failed.add(copy.number)
        self._waiting.insert(0, copy)
        return False

    def drop(self, copy: Copy) -> None:
        """It is not to have them any more."""
        if (source := self._under_way.pop(copy.number, None)) is not None:
            source.readers -= 1
        elif copy in self._waiting:
            self._waiting.remove(copy)

    def closed(self, conn: Conn) -> None:
        """A connection has ended, and its supervisor lends nothing."""
        self._hosts = [host for host in self._hosts if host.conn != conn]


def _can_be(door: m.Door) -> bool:
    """Whether this can be a door of another host: others are sent to no name, and not to loopback.

    A name would be looked up by the thread that also answers their heartbeats.
    """
    scheme, _, address = door.address.partition("://")
    host, _, port = address.rpartition(":")
    try:
        ip = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return scheme == "tcp" and port.isdecimal() and not (ip.is_loopback or ip.is_unspecified)
