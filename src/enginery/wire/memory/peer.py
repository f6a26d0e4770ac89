"""What an engine or a client lends to the controller, and borrows from it."""

from __future__ import annotations

from ...core import messages as m
from ...error import MemoryUnavailable
from .arena import Arena
from .probe import Probe
from .segments import Own
from .windows import Windows

LEAST = 256 * 1024
"""Bytes of buffers from which on a payload is put into shared memory."""

Buffers = tuple[m.Buffer, ...]


class Memory:
    """See the module's text. Any thread may call; the one that reads the socket borrows."""

    def __init__(self) -> None:
        self.probe = Probe()
        self.controller = 0  # its process id, when it shares memory with this process
        self.supervisor = 0  # that of an engine, which may keep what a controller elsewhere sends
        self._arena = Arena()
        self._windows = Windows()

    def meet(self, message: m.Message) -> None:
        """Look at what a controller says first; a probe that cannot be opened is struck out."""
        if type(message) is m.Welcome:
            message.memory = self.probe.found(message.memory)
            self.controller = 0 if message.memory is None else message.memory.pid

    def trust(self, probe: m.Segment | None) -> bool:
        """Open what the process of this probe lends from now on, if that can be."""
        found = self.probe.found(probe)
        self.supervisor = 0 if found is None else found.pid
        return found is not None

    def lend(self, buffers: Buffers) -> Buffers:
        """Copy buffers that are large, all together, into memory that others can open.

        They themselves when they are not, or where this cannot be done.
        """
        if not self.controller or sum(buffer.nbytes for buffer in buffers) < LEAST:
            return buffers
        lent = self._arena.lend([memoryview(buffer.data).cast("B") for buffer in buffers])
        if lent is None:
            return buffers
        segment, view = lent
        return tuple(
            m.Buffer(None, Lent(segment, view, at, buffer.nbytes))
            for buffer, at in zip(buffers, segment.places, strict=False)
        )

    def borrow(self, segment: m.Segment) -> Borrowed | Missing:
        """Map what the controller or the supervisor has; MemoryUnavailable when it is another's."""
        if not segment.pid or segment.pid not in {self.controller, self.supervisor}:
            raise MemoryUnavailable(f"process {segment.pid} is not the controller")
        try:
            return Borrowed(self._windows.view(segment))
        except (MemoryUnavailable, OSError, MemoryError) as error:
            return Missing(str(error) or "there is no memory left")  # told to who needs it

    def look(self) -> float | None:
        """Give back what has been idle for a while; seconds until to look again, None: no need."""
        rests = self._arena.look(), self._windows.look()
        return min((rest for rest in rests if rest is not None), default=None)

    def close(self) -> None:
        """Give up what nobody else has."""
        self.controller = 0
        self.probe.close()
        self._arena.close()
        self._windows.close()


class Lent:
    """A buffer in a segment of this process, which stays open meanwhile."""

    __slots__ = ("_segment", "_view", "nbytes", "reference")

    def __init__(self, segment: Own, view: memoryview, offset: int, nbytes: int) -> None:
        self._segment = segment
        self._view = view[offset : offset + nbytes]
        self.nbytes = nbytes
        self.reference: m.Reference | None = (segment.name, offset, nbytes)

    def view(self) -> memoryview:
        """Its bytes."""
        return self._view


class Borrowed:
    """A segment of another process; what is made of it keeps it."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def buffer(self, offset: int, nbytes: int) -> m.Buffer:
        """A part of it."""
        return m.Buffer(self._view[offset : offset + nbytes])


class Missing:
    """A segment that could not be opened; who looks into a buffer of it is told why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def buffer(self, offset: int, nbytes: int) -> m.Buffer:
        """One without its bytes."""
        return m.Buffer(None, MissingPart(self._why, nbytes))


class MissingPart:
    """A buffer whose bytes cannot be had."""

    __slots__ = ("_why", "nbytes", "reference")

    def __init__(self, why: str, nbytes: int) -> None:
        self._why, self.nbytes = why, nbytes
        self.reference: m.Reference | None = None

    def view(self) -> memoryview:
        """Raise MemoryUnavailable."""
        raise MemoryUnavailable(self._why)
