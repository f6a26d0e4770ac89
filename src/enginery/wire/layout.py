"""How a pickled value is laid out: some bytes, and the large buffers beside them.

Pickle, given a file, never copies what is large: buffers of arrays come out of band (PEP 574), and
`bytes` of 64 KiB and more are handed to `write` as they are. So the pickle of a value is a list of
chunks and a list of buffers; the large ones of both become frames of their own, and everything
else is joined:

    0x01, length of the head (4 bytes), head, padding, small buffers each padded, rest of the pickle

The head says what lies where. A value without anything but its pickle has none of this and is the
bare pickle, which begins with 0x80. When either is large, such as that of a million strings, it is
the last frame, and 0x02 is left in its place.

Buffers that travel inside are kept apart from the pickle too: so they arrive as views of
immutable bytes, and arrays of any size arrive read-only.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pickle import PickleBuffer
from typing import Any

from msgspec import Struct, msgpack

from ..core.messages import Buffer

INSIDE = 16 * 1024
"""Bytes from which on a buffer travels as a frame of its own."""

APART = 256 * 1024
"""Bytes from which on what is not a buffer travels as a frame of its own, too."""

DIRECT = 64 * 1024
"""Bytes from which on pickle writes `bytes` by themselves (its frame size)."""

Import = tuple[str, str, tuple[str, ...]]
"""Where to get something by name: module, qualified name in it or "", submodules in use."""


class Head(Struct, array_like=True):
    """What lies where, and which names go with the functions in a value.

    A place is a size (inside, in this order) or -1 - k (frame number k).
    """

    buffers: list[int] = []  # places
    stream: list[int] = []  # places
    names: list[str] = []  # of the values that follow the first one in the stream
    imports: dict[str, Import] = {}
    stores: list[str] = []
    withheld: dict[str, str] = {}
    live: bool = False

    def is_empty(self) -> bool:
        """Whether the value is no more than its pickle."""
        return not (self.names or self.imports or self.stores or self.withheld or self.live)


class Chunks(list[Any]):
    """What pickle writes, as it comes."""

    __slots__ = ()
    write = list.append


class TooLargeError(Exception):
    """A value takes more bytes than it may."""


class Meter:
    """A file that only counts, and raises TooLargeError as soon as the limit is passed."""

    __slots__ = ("left", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = self.left = limit

    def write(self, data: Any) -> None:
        """Count these bytes."""
        self._spend(len(data))

    def take(self, buffer: PickleBuffer) -> None:
        """Count this buffer."""
        self._spend(memoryview(buffer).nbytes)

    def _spend(self, nbytes: int) -> None:
        self.left -= nbytes
        if self.left < 0:
            raise TooLargeError(f"it is larger than {self.limit / 1024:.0f} KiB")


def pack(
    chunks: Sequence[Any], buffers: Sequence[PickleBuffer], head: Head, inside: float = INSIDE
) -> tuple[bytes, tuple[Buffer, ...]]:
    """Lay out a pickle; buffers of less than `inside` bytes go into the bytes."""
    frames: list[Buffer] = []
    small: list[Any] = []
    for buffer in buffers:
        data = buffer.raw()
        if data.nbytes < inside:
            small += (data, bytes(-data.nbytes % 16))
            head.buffers.append(data.nbytes)
        else:
            frames.append(Buffer(data))
            head.buffers.append(-len(frames))
    rest: list[Any] = []
    for chunk, direct in large_chunks(chunks):
        if direct and len(chunk) >= inside:
            frames.append(Buffer(chunk))
            head.stream.append(-len(frames))
        else:
            rest.append(chunk)
            head.stream.append(len(chunk))
    if not small and len(rest) == len(chunks) and head.is_empty():
        return b"".join(rest), tuple(frames)
    start = msgpack.encode(head)
    padding = bytes(-(5 + len(start)) % 16)
    start = b"\x01" + len(start).to_bytes(4, "big") + start + padding
    return b"".join((start, *small, *rest)), tuple(frames)


def apart(data: bytes, frames: tuple[Buffer, ...]) -> tuple[bytes, tuple[Buffer, ...]]:
    """The same, with the data as a frame if it is large."""
    return (data, frames) if len(data) < APART else (b"\x02", (*frames, Buffer(data)))


def unpack(data: bytes, frames: Sequence[Buffer]) -> tuple[Head, Any, list[memoryview]]:
    """Give the head, a file to unpickle from, and the buffers, read-only."""
    views = [memoryview(frame.data).toreadonly() for frame in frames]
    whole = views.pop() if data[:1] == b"\x02" else data
    if whole[:1] != b"\x01":
        return Head(), _file(whole, 0), views
    here = 5 + int.from_bytes(whole[1:5], "big")
    head = msgpack.decode(whole[5:here], type=Head)
    here += -here % 16
    inside = memoryview(whole)
    buffers = []
    for place in head.buffers:
        buffers.append(inside[here : here + place] if place >= 0 else views[-1 - place])
        here += place + -place % 16 if place > 0 else 0
    if all(place >= 0 for place in head.stream):
        return head, _file(whole, here), buffers
    pieces = []
    for place in head.stream:
        pieces.append(inside[here : here + place] if place >= 0 else views[-1 - place].cast("B"))
        here += max(place, 0)
    return head, _Pieces(pieces), buffers


def _file(data: bytes | memoryview, start: int) -> Any:
    """A file over the rest of this, which shares its memory."""
    if not isinstance(data, bytes):
        return _Pieces([data[start:]])
    file = io.BytesIO(data)
    file.seek(start)
    return file


def large_chunks(chunks: Sequence[Any]) -> Iterator[tuple[Any, bool]]:
    """Give each chunk, and whether it is the user's own bytes, as the chunk before it announces.

    Were this ever wrong, the stream would still be right: it is only cut at other places.
    """
    before = b""
    for chunk in chunks:
        size = len(chunk)
        yield (
            chunk,
            size >= DIRECT
            and (
                before[-8:] == size.to_bytes(8, "little")  # BINBYTES8, BYTEARRAY8, BINUNICODE8
                or (
                    size < 1 << 32 and before[-4:] == size.to_bytes(4, "little")
                )  # BINBYTES, BINUNICODE
            ),
        )
        before = chunk


class _Pieces:
    """A file over pieces of memory; what pickle reads into its own memory is copied just once."""

    def __init__(self, pieces: list[memoryview]) -> None:
        self._pieces = pieces[::-1]

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        done = 0
        while done < view.nbytes and self._pieces:
            piece = self._pieces.pop()
            part = piece[: view.nbytes - done]
            view[done : done + part.nbytes] = part
            done += part.nbytes
            if part.nbytes < piece.nbytes:
                self._pieces.append(piece[part.nbytes :])
        return done

    def read(self, size: int) -> bytes:
        if self._pieces and self._pieces[-1].nbytes >= size:  # else it is copied twice
            piece = self._pieces[-1]
            self._pieces[-1] = piece[size:]
            return bytes(piece[:size])
        target = bytearray(size)
        return bytes(target[: self.readinto(target)])

    def readline(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n") and (byte := self.read(1)):
            line += byte
        return bytes(line)
