"""The controller's journal: files of a directory, and a thread that sees to their being on disk.

The file `whole` stands beside them while everything that happened is written there, on disk or on
its way. A *segment* begins where everything is written anew, and is named by its first record. A
record is

    marker (4 bytes), length (4), checksum (4), number (8), the turn in msgpack

and stands there as a whole or, if it is the last one of its segment, in part: then it does not
count. A buffer that is large stands in another file (`beside`), which is written by the thread
before the record counts as being on disk. Where it is missing, the journal ends before the record:
neither it nor anything after it was ever on disk, and all who were to rely on it know.

The loop appends, so that whatever happens to the process, the kernel has all that was said; the
thread waits for the disk, for many records at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from msgspec import msgpack

from ..core import messages as m
from ..core.entries import Turn
from ..core.events import Append, Event, JournalFailed, Synced, Trim
from ..error import ClusterError, JournalError
from ..net import private
from ..net.wakeup import Wakeup
from .beside import LEAST, Beside, Stored, Where, stored, unlink

MAGIC = b"enginery journal 1\n"
MARKER = b"\xa5EJ\n"
RECORD = Struct(">4sIIQ")

LONGEST = 1 << 31
"""Bytes of a record at most."""

TOGETHER = 0.005
"""Seconds for which records are collected before the disk is waited for, without any hurry."""

IN_RECORD, IN_FILE = 3, 4  # the extension codes of a buffer: in the record, beside it


class Head(msgspec.Struct, frozen=True):
    """The first record of a segment."""

    name: str  # of the journal, the same in all its segments
    boot: str  # of the machine: what the kernel had is still there while this is the same
    ports: tuple[int, int] = (0, 0)  # for clients and engines


class Found(msgspec.Struct):
    """What was left by the last controller: `turns` gives it, in its order, and is read once."""

    head: Head
    turns: Iterator[Turn]
    last: int = 0  # number of the last record, when all are read
    complete: bool = True  # whether nothing can be missing at its end; the same


class Journal:
    """The journal in this directory, which belongs to one controller at a time (ClusterError)."""

    def __init__(self, directory: Path) -> None:
        private.make_directory(directory.parent)
        self.directory = private.make_directory(directory)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ClusterError(
                f"another controller writes the journal in {directory}\n"
                "  Stop it first (ipcluster stop), or give this one a --cluster-id of its own."
            ) from None
        self._whole = directory / "whole"  # is there while nothing is missing in what is written
        self.head = Head(os.urandom(8).hex(), boot_id())
        self._file = -1  # of the segment that is written
        self._size = 0
        self.weight = 0  # the same, with the buffers that it names
        self._beside = Beside(directory)
        self._waiting: deque[_Waiting] = deque()  # for the disk
        self._changed = threading.Condition()
        self._failing = False  # since when everything was written anew for the last time
        self._vain: list[int] = []  # segments that were begun meanwhile
        self._hurry = self._ended = False
        self._to_wake = False  # the thread sleeps, and should not
        self._news: deque[Event] = deque()
        self._bell = Wakeup()
        self._thread = threading.Thread(target=self._serve, name="enginery-journal", daemon=True)

    # --- what was left --------------------------------------------------------------------------

    def find(self) -> Found | None:
        """What the last controller left here, if anything."""
        segments = self._segments()
        while segments and (head := read_head(self._path(segments[0]))) is None:
            begun = Reader(self._path(segments.pop(0)), self.directory)
            begun.check_rest(begun.path.read_bytes())  # nothing in it counts, or it is damaged
        if not segments or head is None:
            return None
        found = Found(head, iter(()))
        found.turns = self._turns(segments, found)
        return found

    def _turns(self, segments: list[int], found: Found) -> Iterator[Turn]:
        found.complete = found.head.boot == self.head.boot and self._whole.exists()
        buffers = Buffers()
        for number in segments:
            reader = Reader(self._path(number), self.directory, buffers)
            for turn in reader:
                if reader.missing:
                    self._cut(reader, [each for each in segments if each > number])
                    found.complete, found.last = False, reader.number - 1
                    return
                found.complete &= reader.number == found.last + 1 or not found.last
                found.last = reader.number
                yield turn
            found.complete &= reader.whole
            self._beside.begin(number, reader.beside)
            with open(self._path(number), "rb") as file:
                os.fsync(file.fileno())  # so it can be relied upon as any other that is durable

    def _cut(self, reader: Reader, later: list[int]) -> None:
        """End the journal before the record that was read last."""
        self._whole.unlink(missing_ok=True)
        for segment in reversed(later):
            self._path(segment).unlink()
        with open(reader.path, "r+b") as file:
            file.truncate(reader.begin)
            os.fsync(file.fileno())
        sync_directory(self.directory)

    def _segments(self) -> list[int]:
        names = [path.stem for path in self.directory.glob("*.log")]
        return sorted(int(name) for name in names if name.isdigit())

    def _path(self, segment: int) -> Path:
        return self.directory / f"{segment:012}.log"

    def forget(self) -> None:
        """Begin without it."""
        for path in (*self.directory.glob("*.log"), *self.directory.glob("*.buffer")):
            path.unlink()

    # --- writing --------------------------------------------------------------------------------

    def start(self, name: str, ports: tuple[int, int]) -> None:
        """Begin to write, under this name; `ports` are where the controller listens."""
        self.head = msgspec.structs.replace(self.head, name=name, ports=ports)
        self._thread.start()

    def append(self, effect: Append) -> None:
        """Write a record. What goes wrong is told by an event, as is that it is on disk."""
        beside: list[Stored] = []
        named: list[Where] = []

        def packed(value: Any) -> msgpack.Ext:
            if type(value) is not m.Buffer:
                raise TypeError(f"a {type(value).__name__} cannot stand in the journal")
            if value.nbytes < LEAST:
                return msgpack.Ext(IN_RECORD, bytes(value))
            where, new = self._beside.place(value, f"{effect.number}-{len(beside)}")
            if new:
                beside.append((where, value))
            named.append(where)
            return msgpack.Ext(IN_FILE, msgpack.encode(where))

        payload = msgpack.encode(effect.turn, enc_hook=packed)
        try:
            if effect.anew or self._file < 0:
                self._open(effect.number)
            written = _write(self._file, framed(effect.number, payload))
        except OSError as error:
            self._failed(error)
            return
        self._size += written
        self.weight += written
        if named:
            self.weight += self._beside.name(named)
        record = _Waiting(effect.number, self._file, self._size, self.weight, beside)
        self._await_disk(record, effect.urgent)

    def _open(self, number: int) -> None:
        """Begin a segment; the one before is closed once it is on disk."""
        if self._failing:  # nothing that was written since counts, and its room is needed
            self._remove(self._vain)
            self._vain = [number]
        path = self._path(number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        before, self._file = self._file, os.open(path, flags, 0o600)
        self._size = 0
        self._beside.begin(number)
        if before >= 0:
            self._await_disk(_Waiting(0, before, 0, 0, [], last=True))
        self._size = _write(self._file, MAGIC + framed(0, msgpack.encode(self.head)))
        self.weight = self._size
        sync_directory(self.directory)

    def trim(self, effect: Trim) -> None:
        """Remove what is not of the segment that begins with this record, or of a later one.

        That one tells everything that is known.
        """
        self._failing, self._vain = False, []
        with contextlib.suppress(OSError):
            if effect.whole:
                self._whole.touch(0o600)
            else:  # what it tells is in doubt, whoever goes on from it
                self._whole.unlink(missing_ok=True)
        self._remove([number for number in self._segments() if number < effect.before])

    def _remove(self, segments: list[int]) -> None:
        """Remove these segments, and all buffers that no other one names."""
        for segment in segments:
            unlink(self._path(segment))
        self._beside.remove(segments)

    def _await_disk(self, record: _Waiting, urgent: bool = False) -> None:
        """Leave this to the thread; it is to be woken only when it would not come by itself."""
        with self._changed:
            self._to_wake |= not self._waiting or (urgent and not self._hurry)
            self._waiting.append(record)
            self._hurry |= urgent

    def wake(self) -> None:
        """Have the disk waited for, by a thread: call it when all of a turn was sent.

        Each send lets go of Python's lock. A thread that was woken before would take it, and what
        is to be sent would wait for that thread.
        """
        if self._to_wake:
            self._to_wake = False
            with self._changed:
                self._changed.notify()

    def _failed(self, error: OSError) -> None:
        """Nothing after this counts, until there is a new segment."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
        self._tell(JournalFailed(_reason(error)))

    def _tell(self, event: Event) -> None:
        self._news.append(event)
        self._bell.set()

    # --- waiting for the disk -------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when there are `events`."""
        return self._bell.fileno()

    def events(self) -> Iterator[Event]:
        """What has become of what was appended."""
        self._bell.clear()
        while self._news:
            event = self._news.popleft()
            if isinstance(event, JournalFailed):
                self._failing = True
                self._beside.lose()
                with contextlib.suppress(OSError):
                    self._whole.unlink()
            yield event

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                self._changed.wait_for(lambda: self._hurry or self._ended, TOGETHER)
                waiting, self._waiting = self._waiting, deque()
                self._hurry = False
            try:
                last = self._sync(waiting)
            except Exception as error:  # whatever it is: what waited is not on the disk
                self._tell(JournalFailed(_reason(error)))
            else:
                if last is not None:
                    self._tell(Synced(last.number, last.weight, last.size))
            del waiting  # the next may come much later, and until then that would stay in memory
            last = None

    def _sync(self, waiting: deque[_Waiting]) -> _Waiting | None:
        """All of these on disk; gives the last record among them."""
        last = None
        with contextlib.ExitStack() as over:
            for each in waiting:
                if each.last:
                    over.callback(os.close, each.file)
            self._beside.store(stored for each in waiting for stored in each.beside)
            for each in waiting:
                if each.last:
                    os.fdatasync(each.file)
                else:
                    last = each
            if last is not None:
                os.fdatasync(last.file)
        return last

    # --- the end --------------------------------------------------------------------------------

    def close(self, remove: bool) -> None:
        """Write no more; `remove` what there is if nobody is to go on from here."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._bell.close()
        if self._file >= 0:
            os.close(self._file)
        if remove:
            shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock)


class _Waiting(msgspec.Struct):
    """A record that is not known to be on disk; or, as the `last` one, the end of its file."""

    number: int
    file: int
    size: int  # bytes of the segment up to it
    weight: int  # the same, with the buffers that it names
    beside: list[Stored]
    last: bool = False


Buffers = WeakValueDictionary[str, m.Buffer]
"""Large buffers that were read and are still needed, by name: what many tasks get is read once."""


class Reader:
    """The turns of a segment, as far as they were written.

    After each, `number` is that of its record, `begin` where this stands, and `missing` whether a
    large buffer was not written; in the end, `offset` is where the next one will be, `whole`
    whether nothing follows, and `beside` has the places of the large buffers. Raises
    JournalError for what was damaged after it had been written.
    """

    def __init__(self, path: Path, directory: Path, buffers: Buffers | None = None) -> None:
        self.path = path
        self.begin = self.offset = 0
        self.number = 0
        self.whole = True
        self.missing = False
        self.beside: dict[str, Where] = {}
        self._directory = directory
        self._buffers = Buffers() if buffers is None else buffers
        self._decode = msgpack.Decoder(Turn, ext_hook=self._buffer).decode

    def __iter__(self) -> Iterator[Turn]:
        content = self.path.read_bytes()
        self.offset = len(MAGIC) if content.startswith(MAGIC) else 0
        while (record := unframed(content, self.offset)) is not None:
            number, payload = record
            self.begin, self.missing = self.offset, False
            if number:
                try:
                    turn = self._decode(payload)
                except msgspec.MsgspecError as error:
                    raise self._damaged(number, str(error)) from None
                self.number = number
            self.offset += RECORD.size + len(payload)
            if number:
                yield turn
        self.check_rest(content)

    def check_rest(self, content: bytes) -> None:
        """See whether anything follows; JournalError if that is a record."""
        self.whole = self.offset == len(content)
        after = content.find(MARKER, self.offset + 1)
        while after >= 0:
            if unframed(content, after) is not None:
                raise self._damaged(self.number + 1, "its checksum is wrong, and others follow it")
            after = content.find(MARKER, after + 1)

    def _damaged(self, number: int, why: str) -> JournalError:
        return JournalError(
            f"record {number} of the journal is damaged, at byte {self.offset} of {self.path}: "
            f"{why}\n"
            "  So it is not known what was done after it. What came before it can be had again by\n"
            "  cutting the file there; to begin without all of it: ipcontroller --fresh"
        )

    def _buffer(self, code: int, data: memoryview) -> m.Buffer:
        if code == IN_RECORD:
            return m.Buffer(bytes(data))
        where = msgpack.decode(data, type=Where)
        self.beside[where.name] = where
        buffer = self._buffers.get(where.name) or stored(self._directory, where)
        if buffer is None:
            self.missing = True
            return m.Buffer(b"")
        self._buffers[where.name] = buffer
        return buffer


def read_head(path: Path) -> Head | None:
    """What a segment says of itself; None if that was not written to its end."""
    with open(path, "rb") as file:
        content = file.read(4096)
    record = unframed(content, len(MAGIC)) if content.startswith(MAGIC) else None
    if record is None:
        return None
    with contextlib.suppress(msgspec.MsgspecError):
        return msgpack.decode(record[1], type=Head)
    return None


def framed(number: int, payload: bytes) -> bytes:
    """A record."""
    checksum = zlib.crc32(payload, zlib.crc32(number.to_bytes(8, "big")))
    return RECORD.pack(MARKER, len(payload), checksum, number) + payload


def unframed(content: bytes, offset: int) -> tuple[int, memoryview] | None:
    """Number and payload of the record that stands there, if one does, as a whole."""
    if len(content) - offset < RECORD.size:
        return None
    marker, length, checksum, number = RECORD.unpack_from(content, offset)
    start = offset + RECORD.size
    if marker != MARKER or length > LONGEST or len(content) - start < length:
        return None
    payload = memoryview(content)[start : start + length]
    if zlib.crc32(payload, zlib.crc32(number.to_bytes(8, "big"))) != checksum:
        return None
    return number, payload


def _write(file: int, data: Any) -> int:
    """Write all of it; the number of bytes."""
    view = memoryview(data).cast("B")
    done = 0
    while done < view.nbytes:
        done += os.write(file, view[done:])
    return done


def _reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def sync_directory(directory: Path) -> None:
    """Have the names in this directory on disk."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def boot_id() -> str:
    """A name of the machine's time since it was started; "" when that cannot be had."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
