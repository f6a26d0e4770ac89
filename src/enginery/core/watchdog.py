"""What is done when the controller's process needs more memory than it may have.

The core counts what it keeps, but ZeroMQ keeps more: of a message all that has come so far, whether
or not it ever ends, messages that are not read yet, and what a peer does not take. So the process
is weighed, the more often the less room there is, and when it is too heavy, the connections that
ZeroMQ holds most for are cut, as many as it takes. When that is not where the memory is, nothing
more is accepted or taken (`Quota.strained`) until there is room again.
"""

from __future__ import annotations

from .events import Conn, Measured
from .quota import Quota, megabytes

SPEED = 2e9
"""Bytes a second by which peers may make the process larger."""

PAUSE = 0.01, 1.0
"""Seconds between two weighings, at least and at most."""

FLOOR = 4 << 20
"""Bytes from which a connection is worth cutting."""

GRACE = 0.2
"""Seconds in which the memory of what was cut comes free."""

PATIENCE = 1.0
"""Seconds for which it may be too heavy before nothing more is taken."""

EASE = 0.95
"""The part of the limit below which more is taken again."""

CUTS = 3
"""How often in turn somebody is cut off for its weight before it is not let in any more."""


class Watchdog:
    """See the module's theory; `limit` is in bytes."""

    def __init__(self, limit: int, quota: Quota) -> None:
        self.limit = limit
        self.quota = quota
        self.cut_at = float("-inf")
        self.heavy_since: float | None = None

    def heavy(self, resident: int) -> bool:
        """Whether the process is too large."""
        return resident > self.limit

    def pause(self, resident: int) -> float:
        """Seconds until it should be weighed again."""
        return min(max((self.limit - resident) / SPEED, PAUSE[0]), PAUSE[1])

    def weigh(self, measured: Measured, now: float) -> dict[Conn, int]:
        """The connections to cut, and what ZeroMQ holds for each."""
        over = measured.resident - self.limit
        if over <= 0:
            self.heavy_since = None
            if measured.resident < EASE * self.limit:
                self.quota.strained = ""
            return {}
        if self.heavy_since is None:
            self.heavy_since = now
        if now < self.cut_at + GRACE:
            return {}
        culprits: dict[Conn, int] = {}
        for conn, size in sorted(measured.held.items(), key=lambda item: -item[1]):
            if size < FLOOR or over <= 0:
                break
            culprits[conn] = size
            over -= size
        if culprits:
            self.cut_at = now
        elif now >= self.heavy_since + PATIENCE:
            self.quota.strained = (
                f"it needs {megabytes(measured.resident)} of memory, and may have "
                f"{megabytes(self.limit)}"
            )
        return culprits


def why(size: int) -> str:
    """Why a connection that so much is held for is cut."""
    return f"the memory is full, and {megabytes(size)} of it are under way on this connection"


REFUSAL = (
    "each time that this was connected, it filled the controller's memory with what was under way; "
    "send less at a time, or give the controller more: c.IPController.memory_limit"
)
