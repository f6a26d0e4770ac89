"""Who shares the host with this process.

Two processes share memory when each has opened a *probe* of the other: a segment with nothing in
it. A peer names its own in its `Hello`; the controller answers by its own in the `Welcome` if it
could open that one; the peer says `Shares` if it could open that, too. Whatever stands in the way
(another host or container, another user, another system) shows then, and frames are used.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from ...core.messages import Segment
from ...error import MemoryUnavailable
from .segments import HEADER, Own, opened


class Probe:
    """What others open to show that they share the host; unless `wanted`, nobody does."""

    def __init__(self, wanted: bool = True) -> None:
        self._segment: Own | None = None
        if wanted and sys.platform == "linux":
            with suppress(OSError):  # then there is none, and frames are used
                segment = Own(HEADER)
                segment.fill([])
                self._segment = segment

    @property
    def name(self) -> Segment | None:
        """By which others may open it; None where nobody can."""
        return None if self._segment is None else self._segment.name

    def found(self, other: Segment | None) -> Segment | None:
        """This probe of another process, if it is one that can be opened; else None."""
        if self._segment is None or other is None:
            return None
        try:
            os.close(opened(other))
        except MemoryUnavailable:
            return None
        return other

    def close(self) -> None:
        """Nobody can open it from now on."""
        self._segment = None
