"""Segments of other processes, mapped: they stay so for a moment, though nobody looks at them.

To bring the pages of 100 MB into a mapping takes longer than to copy them, and their owner soon
fills the same memory with something else. So the mapping, a *window*, is kept, and a lock on the
segment only while somebody has a view: the owner may fill it meanwhile. Who opens it the next time
looks through the window that is there, if it shows the token that is expected.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from typing import Any

from ...core.messages import Segment
from . import raw
from .segments import HEADER, TOKEN, opened, reopened

BYTES = 1 << 29
"""Bytes of windows at most that are kept."""

NUMBER = 64
"""How many at most."""

IDLE_TIME = 2.0
"""Seconds after it was opened last that one is kept: nobody else can use its pages."""

Key = tuple[int, int]
"""Device and inode."""


class Windows:
    """See the module's theory. Any thread may call."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[Any, float]] = OrderedDict()  # with when it was opened
        self._bytes = 0
        self._lock = threading.Lock()

    def view(self, segment: Segment) -> memoryview:
        """All of a segment, read-only, which its owner does not fill while a part of this lives.

        MemoryUnavailable when it is not what is named. A process can have so many mappings (65,530
        by default), and each view takes one or two; beyond that it is copied.
        """
        fd = opened(segment)
        try:
            try:
                with self._lock:
                    seen: Any = self._seen(fd, segment)
            except OSError:
                self.close()  # that is room, too
                seen = _read(fd, segment.size)
        finally:
            os.close(fd)
        return memoryview(seen).cast("B").toreadonly()

    def look(self) -> float | None:
        """Close what was not opened lately; seconds until to look again, None: no need."""
        if not self._kept:
            return None
        with self._lock:
            now = time.monotonic()
            while self._kept:
                _, opened_at = next(iter(self._kept.values()))
                if opened_at + IDLE_TIME > now:
                    return opened_at + IDLE_TIME - now
                self._drop_oldest()
        return None

    def close(self) -> None:
        """Keep none; those through which somebody looks stay open."""
        with self._lock:
            while self._kept:
                self._drop_oldest()

    def _seen(self, fd: int, segment: Segment) -> Any:
        """What is in a window, with the lock that this descriptor has."""
        lock = raw.mapped(fd, HEADER)  # it lasts as long as any mapping of this descriptor
        window = self._window(fd, segment)
        seen = type(window).from_buffer(window)  # its own object, of which all views are
        seen.lock = lock
        return seen

    def _window(self, fd: int, segment: Segment) -> Any:
        stat = os.fstat(fd)
        key = stat.st_dev, stat.st_ino
        window, _ = self._kept.pop(key, (None, 0.0))
        if window is not None:
            self._bytes -= len(window)
        if window is None or len(window) != segment.size or bytes(window[:TOKEN]) != segment.token:
            without_lock = reopened(fd)
            try:
                window = raw.mapped(without_lock, segment.size)
            finally:
                os.close(without_lock)
        if segment.size <= BYTES:
            self._keep(key, window)
        return window

    def _keep(self, key: Key, window: Any) -> None:
        """Keep this one, and of those that were opened last as many as may be."""
        self._kept[key] = window, time.monotonic()
        self._bytes += len(window)
        while self._bytes > BYTES or len(self._kept) > NUMBER:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        window, _ = self._kept.popitem(last=False)[1]
        self._bytes -= len(window)


def _read(fd: int, size: int) -> bytearray:
    """All of a file; one call reads 2 GiB at most."""
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        done += os.preadv(fd, [view[done:]], done)
    return data
