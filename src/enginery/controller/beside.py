"""The large buffers of a journal, in files beside it: several in one, each with a head in front.

The disk is waited for once per file, however many buffers go there at a time, so small ones share
one, a *pack*, as long as there is room in it. A pack goes when nothing in it is named any more.
What is left of one that is mostly empty is written anew the next time that it is named, and then
that pack goes, too.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import Any

import msgspec

from ..core import messages as m
from ..error import JournalError
from ..wire.memory import raw

LEAST = 64 << 10
"""Bytes from which on a buffer stands here."""

PACK = 16 << 20
"""Bytes of a pack; a larger buffer is one by itself."""

SPARSE = 4
"""A pack of which less than this part is named is to go."""

HEAD = Struct(">4sI")
"""In front of a buffer: the marker, and its checksum."""

MARKER = b"\xa5EB\n"


class Where(msgspec.Struct, array_like=True, frozen=True):
    """Where a buffer stands: in this file, from this byte on, behind its head.

    It is named by the record that names it first, and which of the buffers of that one it is.
    """

    name: str
    file: str
    at: int
    nbytes: int

    @property
    def record(self) -> int:
        """The record that names it first."""
        return int(self.name.partition("-")[0])

    @property
    def end(self) -> int:
        """Bytes that the file has at least."""
        return self.at + HEAD.size + self.nbytes


Stored = tuple[Where, m.Buffer]


class Beside:
    """What stands there. The loop gives places away and takes them back; any thread may `store`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._there: set[str] = set()  # buffers that have a place, by name
        self._named: dict[int, dict[str, Where]] = {}  # by the segment that names them
        self._pack = ""
        self._end = 0  # of what is in it
        # A controller before may have left files of records that never counted, of the same names.
        self._life = os.urandom(4).hex()

    def begin(self, segment: int, named: dict[str, Where] | None = None) -> None:
        """This segment names these buffers, which stand there, and others from now on."""
        self._named[segment] = named or {}
        self._there.update(self._named[segment])

    def place(self, buffer: m.Buffer, name: str) -> tuple[Where, bool]:
        """The place of this buffer; whether it has just got it, and this `name`."""
        where: Where | None = buffer.stored
        if where is not None and where.name in self._there:
            return where, False
        if not self._pack or self._end + buffer.nbytes > PACK:
            self._pack, self._end = f"{name}.{self._life}.buffer", 0
        where = buffer.stored = Where(name, self._pack, self._end, buffer.nbytes)
        self._end = where.end
        self._there.add(name)
        return where, True

    def name(self, places: Iterable[Where]) -> int:
        """The last segment names these; bytes of those that it has not named before."""
        known = self._named[max(self._named)]
        news = {where.name: where for where in places if where.name not in known}
        known.update(news)
        return sum(where.nbytes for where in news.values())

    def remove(self, segments: Iterable[int]) -> None:
        """These segments are no more, and nothing is that no other one names."""
        for segment in segments:
            self._named.pop(segment, None)
        kept = {name: where for named in self._named.values() for name, where in named.items()}
        size: dict[str, int] = {}
        for where in kept.values():
            size[where.file] = size.get(where.file, 0) + where.nbytes
        sparse = set[str]()
        if self._pack not in size:
            self._pack = ""
        for path in self._directory.glob("*.buffer"):
            if path.name not in size:
                unlink(path)
            elif path.name != self._pack and SPARSE * size[path.name] < path.stat().st_size:
                sparse.add(path.name)
        self._there &= {name for name, where in kept.items() if where.file not in sparse}

    def lose(self) -> None:
        """What has a place may not be there: all is to be written anew."""
        self._there.clear()
        self._pack = ""

    def store(self, buffers: Iterable[Stored]) -> None:
        """Write these, and wait until they are on disk."""
        files: dict[str, int] = {}
        try:
            for where, buffer in buffers:
                if where.file not in files:
                    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                    files[where.file] = os.open(self._directory / where.file, flags, 0o600)
                _write(files[where.file], where.at, buffer.pieces)
            for file in files.values():
                os.fdatasync(file)
        finally:
            for file in files.values():
                os.close(file)


def _write(file: int, at: int, pieces: tuple[Any, ...]) -> None:
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    for piece in (HEAD.pack(MARKER, checksum), *pieces):
        view = memoryview(piece).cast("B")
        while view.nbytes:
            written = os.pwrite(file, view, at)
            at, view = at + written, view[written:]


def stored(directory: Path, where: Where) -> m.Buffer | None:
    """The buffer that stands there; None if it was not written to its end.

    No descriptor stays open: there may be many of these. Raises OSError when it cannot be read, and
    JournalError when it is not as it was written.
    """
    path = directory / where.file
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # whatever else goes wrong does not say that it was never written
        return None
    try:
        if os.fstat(file).st_size < where.end:
            return None
        content = memoryview(raw.mapped(file, where.end)).cast("B").toreadonly()[where.at :]
    finally:
        os.close(file)
    head, data = content[: HEAD.size], content[HEAD.size :]
    if head == bytes(HEAD.size):  # what stands behind it was written, and it was not
        return None
    if head != HEAD.pack(MARKER, zlib.crc32(data)):
        raise JournalError(
            f"{path} is damaged: its checksum is wrong\n"
            "  It is an argument or a result of a task.\n"
            "  To begin without all that was known: ipcontroller --fresh"
        )
    buffer = m.Buffer(data)
    buffer.stored = where
    return buffer


def unlink(path: Path) -> None:
    """Remove a file, if that can be; otherwise it is tried again some time."""
    with contextlib.suppress(OSError):
        path.unlink()
