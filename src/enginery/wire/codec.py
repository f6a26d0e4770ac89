"""Batches of messages as frames, and back: msgpack, with large buffers as frames of their own.

In the batch a `Buffer` is an extension value that holds the number of its frame. A buffer that
several tasks of a batch share is sent once. Long frames travel in pieces (`wire.pieces`).

What arrives here may come from anyone with a key, so `decode` answers everything it cannot
understand with `ProtocolError` and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from msgspec import MsgspecError, msgpack

from ..core.messages import AnyMessage, Buffer, Hello, Message
from ..error import ProtocolError, VersionMismatch
from ..version import PROTOCOL
from . import pieces

_BUFFER = 1  # the extension code of a buffer
_HELLO_TAG = "!"


def encode(messages: Sequence[Message]) -> list[Any]:
    """Give the frames of a batch: the messages, then the data of each buffer, not copied.

    Raises TypeError for what is no message and UnicodeEncodeError for text with lone surrogates.
    """
    frames: list[Any] = [b""]
    numbers: dict[int, int] = {}

    def number(value: Any) -> msgpack.Ext:
        if type(value) is not Buffer:
            raise TypeError(f"a {type(value).__name__} cannot stand in a message")
        index = numbers.get(id(value))
        if index is None:
            index = numbers[id(value)] = len(numbers)
            frames.append(value.data)
        return msgpack.Ext(_BUFFER, index.to_bytes(4, "big"))

    frames[0] = msgpack.encode(messages, enc_hook=number)
    if len(frames) == 1 and len(frames[0]) <= pieces.PIECE:
        return frames
    return pieces.cut(frames)


def decode(frames: Sequence[Any], whole: bool = True) -> list[Message]:
    """Give the messages of a batch; `frames` are bytes or memoryviews.

    Buffers that came in pieces are put together, unless they need not be `whole`; no other is
    copied.

    Raises ProtocolError for anything malformed, and VersionMismatch when it begins with the
    `Hello` of another version of the protocol.
    """
    if not frames:
        raise ProtocolError("a message without frames")
    frames = pieces.joined(frames, whole)
    try:
        messages = _decoder.decode(frames)
    except (MsgspecError, UnicodeError, RecursionError) as error:
        _refuse_other_version(frames[0])
        raise ProtocolError(f"malformed batch: {error}") from None
    if messages and type(messages[0]) is Hello and messages[0].protocol != PROTOCOL:
        raise _mismatch(messages[0].protocol)
    return messages


class _Decoder(threading.local):
    """One decoder per thread, for building one costs as much as decoding a hundred tasks."""

    def __init__(self) -> None:
        self._frames: Sequence[Any] = ()
        self._buffers: dict[int, Buffer] = {}
        self._decode = msgpack.Decoder(list[AnyMessage], ext_hook=self._buffer).decode

    def decode(self, frames: Sequence[Any]) -> list[Message]:
        if len(frames) == 1:
            return list(self._decode(frames[0]))
        self._frames = frames
        try:
            messages = self._decode(frames[0])
            if len(self._buffers) != len(frames) - 1:
                raise ProtocolError("frames that no message of the batch mentions")
        finally:
            self._frames, self._buffers = (), {}
        return list(messages)

    def _buffer(self, code: int, data: memoryview) -> Buffer:
        index = int.from_bytes(data, "big")
        if code != _BUFFER or len(data) != 4 or index >= len(self._frames) - 1:
            raise ProtocolError(f"a buffer (code {code}, number {index}) that was not sent")
        buffer = self._buffers.get(index)
        if buffer is None:
            buffer = self._buffers[index] = Buffer(self._frames[index + 1])
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
