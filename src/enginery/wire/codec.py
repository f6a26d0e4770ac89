"""Batches of messages as frames, and back: msgpack, with large buffers as frames of their own.

In the batch a `Buffer` is an extension value that holds the number of its frame. A buffer that
several tasks of a batch share is sent once. Long frames travel in pieces (`wire.pieces`). To who
shares memory with the sender, a buffer that lies there goes as another extension value, which says
where.

What arrives here may come from anyone with a key, so `decode` answers everything it cannot
understand with `ProtocolError` and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import MsgspecError, msgpack

from ..core.messages import (
    AnyMessage,
    Buffer,
    Exited,
    Hello,
    Message,
    Query,
    Reference,
    Reply,
    Segment,
)
from ..error import MemoryUnavailable, ProtocolError, VersionMismatch
from ..version import PROTOCOL
from . import pieces

_BUFFER, _REFERENCE = 1, 2  # the extension codes of a buffer: in a frame, in shared memory
_HELLO_TAG = "!"

OPEN: Mapping[type, str] = {Exited: "facts", Query: "where", Reply: "value"}
"""Messages with a field that holds anything."""

NESTED = frozenset({dict, list, tuple})

DEPTH = 32
"""How deep that may be nested: it goes through what is written with recursion."""


class Opened(Protocol):
    """A segment of another process, opened."""

    def buffer(self, offset: int, nbytes: int) -> Buffer:
        """A part of it."""


Borrow = Callable[[Segment], Opened]
"""What opens a segment that a message refers to; raises MemoryUnavailable when that cannot be."""


def encode(
    messages: Sequence[Message],
    by_reference: bool = False,
    lying: Mapping[int, Reference] | None = None,
) -> list[Any]:
    """Give the frames of a batch: the messages, then the data of each buffer, not copied.

    With `by_reference`, the receiver shares memory: what lies there has no frame. Nor has a buffer
    that is `lying` in memory of somebody else on the receiver's host, by its `id`.

    Raises TypeError for what is no message and UnicodeEncodeError for text with lone surrogates.
    """
    frames: list[Any] = [b""]
    numbers: dict[int, int] = {}

    def number(value: Any) -> msgpack.Ext:
        if type(value) is not Buffer:
            raise TypeError(f"a {type(value).__name__} cannot stand in a message")
        if by_reference and value.part is not None and value.part.reference is not None:
            return msgpack.Ext(_REFERENCE, msgpack.encode(value.part.reference))
        if lying and (reference := lying.get(id(value))) is not None:
            return msgpack.Ext(_REFERENCE, msgpack.encode(reference))
        index = numbers.get(id(value))
        if index is None:
            index = numbers[id(value)] = len(numbers)
            frames.append(value.data)
        return msgpack.Ext(_BUFFER, index.to_bytes(4, "big"))

    frames[0] = msgpack.encode(messages, enc_hook=number)
    if len(frames) == 1 and len(frames[0]) <= pieces.PIECE:
        return frames
    return pieces.cut(frames)


def decode(
    frames: Sequence[Any], whole: bool = True, borrow: Borrow | None = None
) -> list[Message]:
    """Give the messages of a batch; `frames` are bytes or memoryviews.

    Buffers that came in pieces are put together, unless they need not be `whole`; no other is
    copied. `borrow` is given when the sender shares memory.

    Raises ProtocolError for anything malformed, and VersionMismatch when it begins with the
    `Hello` of another version of the protocol.
    """
    if not frames:
        raise ProtocolError("a message without frames")
    frames = pieces.joined(frames, whole)
    try:
        messages = _decoder.decode(frames, borrow)
    except (MsgspecError, UnicodeError, RecursionError) as error:
        _refuse_other_version(frames[0])
        raise ProtocolError(f"malformed batch: {error}") from None
    for message in messages:
        field = OPEN.get(type(message))
        if field is not None and not _is_flat(getattr(message, field), DEPTH):
            raise ProtocolError(f"malformed batch: {field} is nested more than {DEPTH} deep")
    if messages and type(messages[0]) is Hello and messages[0].protocol != PROTOCOL:
        raise _mismatch(messages[0].protocol)
    return messages


def _is_flat(value: Any, depth: int) -> bool:
    """Whether nothing in it is nested deeper than that."""
    if type(value) is dict:
        value = (*value, *value.values())
    elif type(value) not in NESTED:
        return True
    inner = [each for each in value if type(each) in NESTED]  # which goes through most at once
    return depth > 0 and all(_is_flat(each, depth - 1) for each in inner)


def sayable(text: str) -> str:
    """The same, with lone surrogates, which no message can hold, written as "\\udc80".

    Names of files have them where these are no UTF-8.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def all_sayable(value: Any) -> Any:
    """The same for every text in lists, tuples and dicts."""
    if isinstance(value, str):
        return sayable(value)
    if isinstance(value, dict):
        return {all_sayable(key): all_sayable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [all_sayable(each) for each in value]
    return value


class _Decoder(threading.local):
    """One decoder per thread, for building one costs as much as decoding a hundred tasks."""

    def __init__(self) -> None:
        self._frames: Sequence[Any] = ()
        self._buffers: dict[int, Buffer] = {}
        self._borrow: Borrow | None = None
        self._opened: dict[Segment, Opened] = {}
        self._referred: dict[bytes, Buffer] = {}
        self._decode = msgpack.Decoder(list[AnyMessage], ext_hook=self._buffer).decode

    def decode(self, frames: Sequence[Any], borrow: Borrow | None) -> list[Message]:
        if len(frames) == 1 and borrow is None:
            return list(self._decode(frames[0]))
        self._frames, self._borrow = frames, borrow
        try:
            messages = self._decode(frames[0])
            if len(self._buffers) != len(frames) - 1:
                raise ProtocolError("frames that no message of the batch mentions")
        finally:
            self._frames, self._borrow = (), None
            if self._buffers:
                self._buffers = {}
            if self._opened:
                self._opened, self._referred = {}, {}
        return list(messages)

    def _buffer(self, code: int, data: memoryview) -> Buffer:
        if code == _REFERENCE:
            return self._refer(bytes(data))
        index = int.from_bytes(data, "big")
        if code != _BUFFER or len(data) != 4 or index >= len(self._frames) - 1:
            raise ProtocolError(f"a buffer (code {code}, number {index}) that was not sent")
        buffer = self._buffers.get(index)
        if buffer is None:
            buffer = self._buffers[index] = Buffer(self._frames[index + 1])
        return buffer

    def _refer(self, data: bytes) -> Buffer:
        """A buffer in memory of the sender; each segment is opened once."""
        if (buffer := self._referred.get(data)) is not None:
            return buffer
        if self._borrow is None:
            raise MemoryUnavailable("a reference to memory from who does not share any")
        segment, offset, nbytes = msgpack.decode(data, type=Reference)
        if not (offset >= 0 and nbytes >= 0 and offset + nbytes <= segment.size):
            raise MemoryUnavailable("a reference to what is outside of its memory")
        opened = self._opened.get(segment)
        if opened is None:
            opened = self._opened[segment] = self._borrow(segment)
        buffer = self._referred[data] = opened.buffer(offset, nbytes)
        return buffer


_decoder = _Decoder()


def _refuse_other_version(batch: Any) -> None:
    """Raise VersionMismatch if this is a Hello whose number we know and whose rest we do not."""
    try:
        match msgpack.decode(batch):
            case [[tag, int(theirs), *_], *_] if tag == _HELLO_TAG and type(theirs) is int:
                if theirs != PROTOCOL:
                    raise _mismatch(theirs)
    except (MsgspecError, UnicodeError, RecursionError):
        return


def _mismatch(theirs: int) -> VersionMismatch:
    return VersionMismatch(f"protocol {theirs} there, protocol {PROTOCOL} here", theirs)
