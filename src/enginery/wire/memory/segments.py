"""One memory file, at its owner and at those who open it.

    token (16 bytes), zeros up to 64, the buffers, each at a multiple of 64

The token is drawn anew each time a segment is filled, and is part of what names it: so a reference
that has come too late, to a descriptor or to memory that is used for something else by now, is
found out, and gives nobody another one's bytes.

A segment is opened by a number that another process has said, so what is there is looked at first:
it must be a memory file of ours, of a process of the same user, of the stated size, and sealed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from ...core.messages import Segment
from ...error import MemoryUnavailable
from . import raw

NAME = "enginery"
TOKEN = 16
HEADER = ALIGNED = 64

# Linux's numbers; Python has names for all but the last, and on Linux alone.
_ADD_SEALS, _GET_SEALS = 1033, 1034
_SEAL_SHRINK, _SEAL_GROW, _SEAL_WRITE, _SEAL_FUTURE_WRITE = 2, 4, 8, 16
_SIZES = _SEAL_SHRINK | _SEAL_GROW
_OPENING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def places(sizes: Sequence[int]) -> list[int]:
    """Where buffers of these sizes lie; the last is where the next one would."""
    here, found = HEADER, []
    for size in sizes:
        found.append(here)
        here += size + -size % ALIGNED
    return [*found, here]


def is_short(fd: int) -> bool:
    """Whether this process is short of descriptors, seen by the number of a new one.

    Numbers are given from the lowest; the last quarter is left to the user's own code.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and fd > soft - soft // 4


@cache
def can_write_again() -> bool:
    """Whether this kernel (Linux 5.1) has a seal that leaves the owner its writable mapping."""
    fd = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        fcntl.fcntl(fd, _ADD_SEALS, _SEAL_FUTURE_WRITE)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def reopened(fd: int) -> int:
    """Another descriptor of the same file, for reading, which has no lock on it."""
    return os.open(f"/proc/self/fd/{fd}", _OPENING)


class Own:
    """A segment of this process. `fill` it, `lend` it, and close it when it is not needed.

    Raises OSError when it cannot be had; nothing is left then.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.token = b""
        self.sizes: tuple[int, ...] = ()  # of the buffers in it
        self.likeness = 0  # of these, see `arena`
        self.again = can_write_again()
        self._memory: Any = None  # its mapping
        self._lent: weakref.ref[Any] | None = None
        self._touched = False  # the pages are in the mapping, too
        self.fd = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            if is_short(self.fd):
                raise OSError("this process is short of descriptors")
            os.ftruncate(self.fd, size)
            if self.again:
                self._memory = raw.mapped(self.fd, size, writable=True)
        except BaseException:
            self.close()
            raise

    @property
    def free(self) -> bool:
        """Whether nobody here has it, nor anything that was lent of it."""
        return self._lent is None or self._lent() is None

    @property
    def places(self) -> list[int]:
        """Where the buffers in it lie."""
        return places(self.sizes)

    @property
    def name(self) -> Segment:
        """By which others may open it."""
        return Segment(os.getpid(), self.fd, self.size, self.token)

    def lend(self, ended: Callable[[], None] | None = None) -> memoryview:
        """A view of all of it; it is not `free` while a part of that lives, then `ended` is told.

        The telling may come at any time, in any thread.
        """
        memory = self._lent() if self._lent is not None else None
        if memory is None:
            # An object of its own, of which all views are: their end is its end.
            memory = type(self._memory).from_buffer(self._memory)
            self._lent = weakref.ref(memory, ended and (lambda _: ended()))
        return memoryview(memory).cast("B").toreadonly()

    def claim(self) -> bool:
        """Take it to fill it again; False while another process has it open."""
        if not self.again:
            return False
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def fill(self, views: Sequence[memoryview]) -> None:
        """Write these, one after the other; of a segment that was filled before, after `claim`."""
        sizes = tuple(view.nbytes for view in views)
        if self.token:
            self._fill_again(views, sizes)
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        else:
            # write() gets fresh pages in half the time that a mapping does.
            for view, at in zip(views, places(sizes), strict=False):
                _write(self.fd, view, at)
            self.token = os.urandom(TOKEN)
            _write(self.fd, memoryview(self.token), 0)
            if self.again:
                fcntl.fcntl(self.fd, _ADD_SEALS, _SIZES | _SEAL_FUTURE_WRITE)
            else:
                fcntl.fcntl(self.fd, _ADD_SEALS, _SIZES | _SEAL_WRITE)
                self._memory = _mapped_for_reading(self.fd, self.size)
        self.sizes = sizes

    def _fill_again(self, views: Sequence[memoryview], sizes: tuple[int, ...]) -> None:
        base, ends = ctypes.addressof(self._memory), places(sizes)
        self.token = os.urandom(TOKEN)
        if not self._touched:
            self._touched = True
            raw.populate(base, ends[-1])
        raw.copy(memoryview(self.token), base)
        for view, at in zip(views, ends, strict=False):
            raw.copy(view, base + at)

    def holds(self, views: Sequence[memoryview]) -> bool:
        """Whether these very bytes are in it."""
        if tuple(view.nbytes for view in views) != self.sizes:
            return False
        base, ends = ctypes.addressof(self._memory), places(self.sizes)
        return all(raw.same(view, base + at) for view, at in zip(views, ends, strict=False))

    def close(self) -> None:
        """Give it up; what others have open stays theirs, and views of it stay good."""
        self._memory = None
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was never made
            self.close()


def _write(fd: int, view: memoryview, at: int) -> None:
    while view.nbytes:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done


def _mapped_for_reading(fd: int, size: int) -> Any:
    """Map what is sealed for good; older kernels take no descriptor for that which could write."""
    reading = reopened(fd)
    try:
        return raw.mapped(reading, size)
    finally:
        os.close(reading)


# --- that of another process -------------------------------------------------------------------


def opened(segment: Segment) -> int:
    """A descriptor of a segment of another process, which the owner cannot fill again meanwhile.

    It may only be read and mapped for reading. MemoryUnavailable when it is not what is named.
    """
    path = f"/proc/{segment.pid}/fd/{segment.fd}"
    try:
        if os.stat(f"/proc/{segment.pid}").st_uid != os.geteuid():
            raise _wrong(segment, "its process is another user's")
        if not os.readlink(path).startswith(f"/memfd:{NAME}"):
            raise _wrong(segment, "it is no memory file")
        fd = os.open(path, _OPENING)
    except OSError as error:
        raise _wrong(segment, error.strerror or str(error)) from None
    try:
        _check(fd, segment)
    except OSError as error:
        os.close(fd)
        raise _wrong(segment, error.strerror or str(error)) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check(fd: int, segment: Segment) -> None:
    seals = fcntl.fcntl(fd, _GET_SEALS)  # of what is no memory file: EINVAL
    if seals & _SIZES != _SIZES or not seals & (_SEAL_WRITE | _SEAL_FUTURE_WRITE):
        raise _wrong(segment, "it is not sealed")
    if os.fstat(fd).st_size != segment.size:
        raise _wrong(segment, "it has another size")
    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    if len(segment.token) != TOKEN or os.pread(fd, TOKEN, 0) != segment.token:
        raise _wrong(segment, "it holds something else by now")


def _wrong(segment: Segment, why: str) -> MemoryUnavailable:
    return MemoryUnavailable(f"memory {segment.fd} of process {segment.pid} cannot be used: {why}")
