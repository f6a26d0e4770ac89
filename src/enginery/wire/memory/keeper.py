"""What the controller holds: memory of its peers, opened as messages arrive that refer to it.

Each segment is held for as long as anything of its payload is kept. To others the controller names
its own descriptor; so a sender may end, and its memory lives on until nobody needs it.

What is referred to again meanwhile, such as the data that each task of a search gets, is the same
buffer: it is written into the journal once, and goes to another host twice at most (`core.hosts`).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakValueDictionary

from ...core import messages as m
from ...error import MemoryUnavailable
from . import raw
from .probe import Probe
from .segments import is_short, opened

BLOCK = 512
"""Bytes by which `stat` counts what a file has."""


class Keeper:
    """See the module's text; unless `wanted`, nobody shares memory with this controller."""

    def __init__(self, wanted: bool = True) -> None:
        self.probe = Probe(wanted)
        self._held: WeakValueDictionary[m.Segment, Held] = WeakValueDictionary()
        if wanted:
            _raise_descriptor_limit()

    def meet(self, message: m.Message) -> None:
        """Look at what a peer says first; a probe that cannot be opened is struck out."""
        if type(message) is m.Hello:
            message.memory = self.probe.found(message.memory)

    def borrowing(self, pid: int) -> Callable[[m.Segment], Held]:
        """What opens the segments of this process, which has shown its probe.

        It raises MemoryUnavailable for another's, and for what is not as it is said to be.
        """

        def borrow(segment: m.Segment) -> Held:
            if segment.pid != pid:
                raise MemoryUnavailable(f"memory of process {segment.pid}, named by {pid}")
            held = self._held.get(segment)
            if held is None:
                held = self._held[segment] = Held(segment)
            return held

        return borrow


class Held:
    """A segment that another process has filled.

    It takes one descriptor. When these run short it is mapped instead, and goes as frames.
    """

    def __init__(self, segment: m.Segment) -> None:
        self._fd = -1
        self._size = segment.size
        self._view: memoryview | None = None
        self._buffers: WeakValueDictionary[tuple[int, int], m.Buffer] = WeakValueDictionary()
        self._fd = opened(segment)
        self._there = os.fstat(self._fd).st_blocks * BLOCK
        self.name: m.Segment | None = m.Segment(os.getpid(), self._fd, segment.size, segment.token)
        if is_short(self._fd):
            self._view, self.name = self.view(), None
            self._close()

    def view(self) -> memoryview:
        """All of it, read-only; MemoryUnavailable when it cannot be mapped."""
        if self._view is not None:
            return self._view
        try:
            return memoryview(raw.mapped(self._fd, self._size)).cast("B").toreadonly()
        except OSError as error:
            raise MemoryUnavailable(f"memory cannot be mapped: {error.strerror}") from None

    def buffer(self, offset: int, nbytes: int) -> m.Buffer:
        """A part of it, which is not mapped until somebody needs its bytes.

        MemoryUnavailable when it has fewer bytes than that in all: a file may seem to have any
        number, and whoever reads them, such as the journal, would take for ever.
        """
        if nbytes > self._there:
            raise MemoryUnavailable(f"memory of which {self._there} bytes are there, not {nbytes}")
        buffer = self._buffers.get((offset, nbytes))
        if buffer is None:
            buffer = m.Buffer(None, HeldPart(self, offset, nbytes))
            self._buffers[offset, nbytes] = buffer
        return buffer

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self._close()


class HeldPart:
    """A buffer in a segment that the controller holds."""

    __slots__ = ("_held", "_offset", "nbytes", "reference")

    def __init__(self, held: Held, offset: int, nbytes: int) -> None:
        self._held, self._offset = held, offset
        self.nbytes = nbytes
        self.reference: m.Reference | None = None
        if held.name is not None:
            self.reference = (held.name, offset, nbytes)

    def view(self) -> memoryview:
        """Its bytes."""
        return self._held.view()[self._offset : self._offset + self.nbytes]


def _raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as it may: each payload it keeps takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
