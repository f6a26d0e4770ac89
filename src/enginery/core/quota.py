"""How much room unfinished tasks take up, in all and of each client, and how much they may.

What is over the limit is not *accepted*: its client keeps it, runs out of credit, and waits. Three
rules see to it that nobody pays for another one's appetite, and that none fills the memory:

* over the limit, a client that holds little itself (a `SHARE` of all) is still accepted, so who
  submits a few tasks does not notice that somebody has submitted millions;
* who does not fetch what is due to it is accepted no more, and it alone;
* each client may have sent as much as its credit beyond what is accepted, and all together (but
  the one who has most) not more than `CREDITS` such credits: what comes then is not taken at all,
  and its client is told to keep it (`Room`). So who comes under many names gets no more for it.

A large buffer that several tasks of a client have counts once (`once`).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import messages as m
from .once import Once

CREDIT = 64 << 20
"""Bytes that a client may have submitted and not accepted, at most; one submission always goes."""

LEAST_CREDIT = 1 << 20
"""The same where there is room for little."""

CREDITS = 4
"""Credits that all clients together may use up, beyond the limit."""

SHARE = 16
"""The part of all room that one client may always use, and that its credit is of it."""


class Share:
    """What one client holds of the room."""

    __slots__ = ("bytes", "once", "tasks")

    def __init__(self) -> None:
        self.bytes = 0
        self.tasks = 0
        self.once = Once()  # large buffers of its tasks

    def __repr__(self) -> str:
        return f"<Share {self.tasks} tasks, {self.bytes} bytes>"


class Quota:
    """See the module's theory. `queue` is a number of tasks; 0: any."""

    def __init__(self, budget: int, queue: int = 0, credit: int = CREDIT) -> None:
        self.budget = budget
        self.queue = queue
        self.credit = min(credit, max(budget // SHARE, LEAST_CREDIT))
        self.credit_tasks = max(1, queue // SHARE) if queue else 0
        self.bytes = 0  # of tasks that are not done, and of the values that they take
        self.tasks = 0
        self.shares: dict[bytes, Share] = {}  # of clients that have any
        self.waiting = 0  # bytes of what has arrived and is not taken yet
        self.strained = ""  # why there is no room, whatever is counted here

    def take(
        self, owner: bytes, size: int, tasks: int = 1, buffers: Sequence[m.Buffer] = ()
    ) -> None:
        """So many tasks of this client are there, with these large buffers among their bytes."""
        if not tasks:
            return
        share = self.shares.get(owner)
        if share is None:
            share = self.shares[owner] = Share()
        if buffers:
            size -= share.once.add(buffers)
        share.bytes += size
        share.tasks += tasks
        self.bytes += size
        self.tasks += tasks

    def grow(self, owner: bytes, size: int, buffers: Sequence[m.Buffer]) -> None:
        """A task of this client is larger than it had seemed to be, and has these buffers."""
        share = self.shares[owner]
        size -= share.once.add(buffers)
        share.bytes += size
        self.bytes += size

    def give_back(
        self, owner: bytes, size: int, buffers: Sequence[m.Buffer] = (), tasks: int = 1
    ) -> None:
        """So many of them have ended."""
        share = self.shares[owner]
        if buffers:
            size -= share.once.remove(buffers)
        share.bytes -= size
        share.tasks -= tasks
        if not share.tasks:
            del self.shares[owner]
        self.bytes -= size
        self.tasks -= tasks

    # --- what follows ---------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether only those are accepted that hold little."""
        return self.bytes > self.budget or 0 < self.queue <= self.tasks or bool(self.strained)

    def refusal(self, owner: bytes, due: int = 0) -> str:
        """Why no more of this client is accepted, to whom so many bytes are due; "": it is."""
        if self.strained:
            return self.strained
        if due > CREDITS * self.credit:
            return f"this client has not fetched {megabytes(due)} of results"
        if not self.full:
            return ""
        share = self.shares.get(owner)
        if share is None or (
            share.bytes <= self.budget // SHARE
            and (not self.queue or share.tasks <= self.queue // SHARE)
        ):
            return ""
        return self._told()

    def floods(self, size: int, tasks: int) -> bool:
        """Whether one client has so much that is not accepted that its credit allows no more."""
        return size > self.credit or 0 < self.credit_tasks < tasks

    def lacking(self, owner: bytes, besides: int = 0) -> str:
        """Why nothing at all of this client is taken now; "" when there is room.

        There are so many bytes `besides` tasks. What one client has does not stand in others' way.
        """
        if self.strained:
            return self.strained
        size, tasks = self.bytes + self.waiting + besides, self.tasks
        if self._fits(size, tasks):
            return ""
        biggest = max(share.bytes for share in self.shares.values()) if self.shares else 0
        longest = max(share.tasks for share in self.shares.values()) if self.shares else 0
        mine = self.shares.get(owner, Share())
        size -= biggest if mine.bytes < biggest else 0
        tasks -= longest if mine.tasks < longest else 0
        if self._fits(size, tasks):
            return ""
        return self._told()

    def _told(self) -> str:
        """That it is full, in words."""
        room = f"{self.queue:,} tasks and {megabytes(self.budget)}" if self.queue else ""
        return (
            f"its queue is full: {self.tasks:,} tasks of {megabytes(self.bytes)} have not ended, "
            f"and there is room for {room or megabytes(self.budget)}"
        )

    def _fits(self, size: int, tasks: int) -> bool:
        """Whether so much is within the limit and what all together may have sent beyond it."""
        if size > self.budget + CREDITS * self.credit:
            return False
        return not self.queue or tasks <= self.queue + CREDITS * self.credit_tasks

    def __repr__(self) -> str:
        return f"<Quota {self.tasks} tasks, {self.bytes} of {self.budget} bytes>"


def megabytes(size: int) -> str:
    """A number of bytes, for people."""
    return f"{size / 1e6:,.1f} MB"
