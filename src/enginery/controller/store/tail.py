"""The journal, followed while it is written, by a process that only reads.

A segment is opened as soon as it is seen, so that what the controller removes can still be read to
its end. A large buffer that stands beside it is not read here: see `loaded`.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import msgpack

from ...core import messages as m
from ...core.entries import Turn
from ...error import JournalError
from ..beside import Where, stored
from ..journal import IN_RECORD, LONGEST, MAGIC, MARKER, RECORD, Head, unframed

CHUNK = 4 << 20
"""Bytes that are read at a time."""

MUCH = 1 << 20
"""Bytes for which nobody need wait for more."""

WRITTEN = 2.0
"""Seconds after which a buffer has its file."""

BEHIND = 1 << 30
"""Bytes that may wait to be read; beyond, what is left out is told by the next account."""


class Position(NamedTuple):
    """How far a journal was read: the segment, and the last record in it."""

    segment: int = -1
    record: int = 0


class Segment:
    """A file of the journal, open."""

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        self.path = path
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.offset = 0

    @property
    def size(self) -> int:
        """Its bytes, now."""
        return os.fstat(self.file).st_size

    def close(self) -> None:
        """Close it."""
        os.close(self.file)


class Tail:
    """The records of the journal of this name in a directory, after a position.

    `missed` is set when something was not, or could not be read; who is told resets it.
    """

    def __init__(self, directory: Path, name: str, position: Position) -> None:
        self.position = position
        self.missed = False
        self._directory = directory
        self._name = name
        self._open: deque[Segment] = deque()
        self._last = -1  # the latest segment that was opened
        self._decode = msgpack.Decoder(Turn, ext_hook=_buffer).decode
        self._begin()

    def _begin(self) -> None:
        """Take up where somebody has left."""
        self.look()
        segment, record = self.position
        while self._open and self._open[0].number < segment:
            self._open.popleft().close()  # read to its end before
        first = self._open[0].number if self._open else -1
        if first != segment and first != record + 1:
            self.missed = True

    def look(self) -> None:
        """Open what there is by now."""
        numbers = sorted(
            int(path.stem) for path in self._directory.glob("*.log") if path.stem.isdigit()
        )
        for number in numbers:
            if number <= self._last:
                continue
            path = self._directory / f"{number:012}.log"
            try:
                segment = Segment(number, path)
            except FileNotFoundError:  # it was removed meanwhile
                continue
            if not self._ours(segment):
                segment.close()
                if number == numbers[-1]:
                    return  # it may just have begun
                continue
            self._open.append(segment)
            self._last = number
        self._catch_up()

    def _ours(self, segment: Segment) -> bool:
        """Whether it says that it belongs to this journal."""
        content = os.pread(segment.file, 4096, 0)
        record = unframed(content, len(MAGIC)) if content.startswith(MAGIC) else None
        if record is None:
            return False
        try:
            return msgpack.decode(record[1], type=Head).name == self._name
        except msgspec.MsgspecError:
            return False

    @property
    def unread(self) -> int:
        """Bytes that wait to be read."""
        return sum(segment.size - segment.offset for segment in self._open)

    @property
    def behind(self) -> bool:
        """Whether there is enough to go on at once."""
        return self.unread > MUCH

    def _catch_up(self) -> None:
        """Leave out segments while too much waits; the last one begins with all that matters."""
        while len(self._open) > 1 and self.unread > BEHIND:
            self._open.popleft().close()
            self.missed = True

    def read(self) -> Iterator[Turn]:
        """The turns of about a chunk; none when all has been read.

        Whoever uses one has to look at `missed` first, and afterwards at `position`.
        """
        self.look()
        while self._open:
            segment, size = self._open[0], CHUNK
            if segment.size < segment.offset:  # another one was written in its place
                segment.offset, self.missed = 0, True
                self.position = Position()
            found = False
            while True:
                content = os.pread(segment.file, size, segment.offset)
                for turn in self._turns(segment, content):
                    found = True
                    yield turn
                needed = _length(content) if not found else 0
                if found or needed <= size:
                    break
                size = needed
            if found:
                return
            if len(self._open) == 1:
                return
            self.missed |= bool(len(content))  # it has no end that can be read
            self._open.popleft().close()
            self._enter(self._open[0])

    def _enter(self, segment: Segment) -> None:
        """Go on with this one."""
        if segment.number != self.position.record + 1:
            self.missed = True  # it was written by who knew less, or more
        self.position = Position(segment.number, segment.number - 1)

    def _turns(self, segment: Segment, content: bytes) -> Iterator[Turn]:
        """Those that stand in these bytes as a whole and are new."""
        at = 0
        if not segment.offset:
            at = segment.offset = len(MAGIC)
            if self.position.segment != segment.number:
                self._enter(segment)
        while (record := unframed(content, at)) is not None:
            number, payload = record
            at += RECORD.size + len(payload)
            segment.offset += RECORD.size + len(payload)
            if number <= self.position.record:
                continue
            self.missed |= number != self.position.record + 1
            self.position = Position(segment.number, number)
            try:
                yield self._decode(payload)
            except msgspec.MsgspecError:
                self.missed = True

    def close(self) -> None:
        """Close the files."""
        while self._open:
            self._open.popleft().close()


def _length(content: bytes) -> int:
    """Bytes that the record takes that begins here, if it can be told."""
    if len(content) < RECORD.size:
        return 0
    marker, length, _, _ = RECORD.unpack_from(content)
    return RECORD.size + length if marker == MARKER and length <= LONGEST else 0


def _buffer(code: int, data: memoryview) -> m.Buffer:
    """A buffer of the journal; one that stands beside it has only its size and place."""
    if code == IN_RECORD:
        return m.Buffer(bytes(data))
    buffer = m.Buffer(b"")
    buffer.stored = msgpack.decode(data, type=Where)
    buffer.nbytes = buffer.stored.nbytes
    return buffer


def loaded(directory: Path, buffer: m.Buffer) -> m.Buffer | None:
    """The same with its bytes; None when they are not there any more.

    They come a little later than the record that names them.
    """
    where: Where | None = buffer.stored
    if where is None:
        return buffer
    deadline = time.monotonic() + WRITTEN
    while True:
        try:
            found = stored(directory, where)
        except JournalError:  # it is told to who starts a controller
            return None
        if found is not None:
            return found
        if time.monotonic() > deadline or not _is_named(directory, where):
            return None
        time.sleep(0.02)  # nobody tells us


def _is_named(directory: Path, where: Where) -> bool:
    """Whether the record that names this buffer first is still kept by the controller."""
    segments = [int(path.stem) for path in directory.glob("*.log") if path.stem.isdigit()]
    return bool(segments) and min(segments) <= where.record
