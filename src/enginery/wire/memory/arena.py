"""The segments of one process: filled, lent, and filled again when nobody has them any more.

What was lent is a view, and everything that needs the memory holds a part of that view: the message
that is kept until the other side has it, a frame that is being sent. When the last part is gone,
nobody here needs the segment; when its exclusive lock can be had, nobody anywhere does.

The same bytes sent again are not copied again: comparing takes no longer than copying into pages
that are there, ends at the first difference, and needs no second piece of memory. What is compared
is known by samples: arrays that differ often begin alike.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Sequence

from .segments import ALIGNED, HEADER, Own, places

IDLE_BYTES = 1 << 30
"""Bytes of segments at most that are kept although nothing of them is lent; one always is."""

IDLE_TIME = 10.0
"""Seconds without use after which none of these is kept."""

IDLE = 64
"""How many at most."""

COMPARED = 2
"""Segments at most, the last used first, that are compared with what is to go."""

SAMPLE, SAMPLES = 1024, 16
"""Bytes of a sample, and about how many are taken."""


class Arena:
    """See the module's theory. Any thread may call."""

    def __init__(self, idle_bytes: int = IDLE_BYTES) -> None:
        self.idle_bytes = idle_bytes
        self._segments: list[Own] = []  # the last used last
        self._lock = threading.Lock()
        self._used = 0.0  # when something was lent last
        self._pid = os.getpid()

    def lend(self, views: Sequence[memoryview]) -> tuple[Own, memoryview] | None:
        """Put these (of plain bytes) into one segment, and give a view of all of it.

        Nothing else is put there while a part of the view lives. None when no memory can be had.
        """
        if self._pid != os.getpid():  # a fork: these segments are another process's
            return None
        likeness = _likeness(views)
        try:
            with self._lock:
                segment = self._same(views, likeness) or self._filled(views, likeness)
                view = segment.lend(self.trim)
                self._used = time.monotonic()
                self._trim()
        except (OSError, MemoryError):
            return None
        return segment, view

    def look(self) -> float | None:
        """Give up what has been idle for long; seconds until to look again, None: no need."""
        if not self._segments:
            return None
        rest = self._used + IDLE_TIME - time.monotonic()
        if rest > 0:
            return rest
        if self._pid != os.getpid():
            return None
        with self._lock:
            idle = [segment for segment in self._segments if segment.free]
            for segment in idle:
                # What another process has open would not be free, and may be sent again.
                if not segment.again or segment.claim():
                    self._segments.remove(segment)
        return IDLE_TIME if self._segments else None

    def close(self) -> None:
        """Give up all; what is lent stays good for who has it."""
        with self._lock:
            self._segments.clear()

    def _same(self, views: Sequence[memoryview], likeness: int) -> Own | None:
        """A segment that holds these bytes already."""
        alike = [segment for segment in reversed(self._segments) if segment.likeness == likeness]
        for segment in alike[:COMPARED]:
            if segment.holds(views):
                self._segments.remove(segment)
                self._segments.append(segment)
                return segment
        return None

    def _filled(self, views: Sequence[memoryview], likeness: int) -> Own:
        size = places([view.nbytes for view in views])[-1]
        segment = self._claimed(size) or Own(_roomy(size))
        segment.fill(views)
        segment.likeness = likeness
        self._segments.append(segment)  # one that could not be filled is gone
        return segment

    def _claimed(self, size: int) -> Own | None:
        """Take the smallest that is free, large enough, and not much too large."""
        fitting = [s for s in self._segments if size <= s.size <= 2 * size and s.free]
        for segment in sorted(fitting, key=lambda segment: segment.size):
            if segment.claim():
                self._segments.remove(segment)
                return segment
        return None

    def trim(self) -> None:
        """Give up what is idle beyond the limits, the last used last."""
        if self._lock.acquire(blocking=False):  # else somebody is at it
            try:
                self._trim()
            finally:
                self._lock.release()

    def _trim(self) -> None:
        idle = [segment for segment in self._segments if segment.free]
        total, number = sum(segment.size for segment in idle), len(idle)
        for segment in idle[:-1]:  # the last is kept, however large
            if total <= self.idle_bytes and number <= IDLE:
                return
            self._segments.remove(segment)
            total, number = total - segment.size, number - 1


def _likeness(views: Sequence[memoryview]) -> int:
    """A number that is the same for the same bytes, and soon found."""
    sizes = [view.nbytes for view in views]
    found, step = zlib.crc32(repr(sizes).encode()), sum(sizes) // SAMPLES + 1
    for view in views:
        for at in range(max(0, view.nbytes - SAMPLE), 0, -step):
            found = zlib.crc32(view[at : at + SAMPLE], found)
    return found


def _roomy(size: int) -> int:
    """A size at which segments are made, so that they fit again; pages not used cost nothing."""
    step = max(ALIGNED * HEADER, 1 << max(0, size.bit_length() - 3))
    return size + -size % step
