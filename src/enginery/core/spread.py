"""How large buffers come to many hosts: the first has them from the controller, others from those.

If each host had them from the controller, they would pass its line as many times as there are
hosts. So who has them lends them, to one host after the other, and the time that it takes grows as
the logarithm of their number. A host that cannot fetch them from another one is sent them by the
controller after all, and who could not be reached lends nothing any more. Who is slow keeps nobody
else waiting.
"""

from __future__ import annotations

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
"""Seconds after which a host that does not have them yet is one of several that get them."""


class Source:
    """Who has the buffers: the supervisor that keeps this copy, at its door, or the controller."""

    def __init__(self, copy: Copy | None = None, door: m.Door | None = None) -> None:
        self.copy, self.door = copy, door
        self.free_at = 0.0  # when the next one may have them, if the last has not said so before


class Spread:
    """Some buffers on their way to the supervisors that are to keep a copy of them.

    Those that are `unreached` are not to lend them.
    """

    def __init__(self, unreached: set[bytes]) -> None:
        self._unreached = unreached
        self._controller = Source()
        self._hosts: list[Source] = []
        self._waiting: list[Copy] = []
        self._under_way: dict[int, Source] = {}  # by the numbers of copies
        self._failed: set[int] = set()  # those that could not be had from another host

    @property
    def over(self) -> bool:
        """Whether nobody waits for them any more."""
        return not (self._waiting or self._under_way)

    def lends(self, copy: Copy) -> bool:
        """Whether the supervisor of this one is to lend them."""
        return bool(self._waiting) and copy.keeper not in self._unreached

    def deadline(self) -> float:
        """When the next source is free, if nobody says anything."""
        times = [self._controller.free_at] if self._waiting else [inf]
        if any(copy.number not in self._failed for copy in self._waiting):
            times += [host.free_at for host in self._hosts]
        return min(times)

    def add(self, copy: Copy) -> None:
        """One more is to have them."""
        self._waiting.append(copy)

    def due(self, now: float) -> list[tuple[Copy, m.Door | None]]:
        """Who is to have them now, and where; None: from the controller."""
        found = []
        for copy in list(self._waiting):
            # The last is the controller: it has other things to do.
            hosts = () if copy.number in self._failed else self._hosts
            free = (each for each in (*hosts, self._controller) if each.free_at <= now)
            if (source := next(free, None)) is not None:
                source.free_at = now + SLOW
                self._waiting.remove(copy)
                self._under_way[copy.number] = source
                found.append((copy, source.door))
        return found

    def answered(self, copy: Copy, kept: m.Kept) -> bool:
        """A supervisor has said whether it has them; False when it is tried in another way."""
        source = self._under_way.pop(copy.number, None)
        if source is None:
            return False  # it cannot know that it was to be asked
        source.free_at = 0.0
        if kept.segment is not None and kept.door is not None:
            self._hosts.append(Source(copy, kept.door))
        if kept.segment is not None or kept.door is None or source.copy is None:
            return True
        self._unreached.add(source.copy.keeper)
        self._hosts = [host for host in self._hosts if host is not source]
        self._failed.add(copy.number)
        self._waiting.insert(0, copy)
        return False

    def drop(self, copy: Copy) -> None:
        """It is not to have them any more."""
        if (source := self._under_way.pop(copy.number, None)) is not None:
            source.free_at = 0.0
        elif copy in self._waiting:
            self._waiting.remove(copy)

    def closed(self, conn: Conn) -> None:
        """A connection has ended, and its supervisor lends nothing."""
        self._hosts = [host for host in self._hosts if host.copy and host.copy.conn != conn]
