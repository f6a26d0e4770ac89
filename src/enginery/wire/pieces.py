"""Long frames in pieces, so that nobody has to let in a frame longer than a piece.

libzmq collects a frame whole before it looks who sends it: the longest frame that is let in is what
a stranger can make us hold. Pieces are also encrypted, sent and decrypted at the same time, each by
its own thread, where a long frame would go through these steps one after the other.

A message with a long frame begins with one that says in how many pieces each of the others comes.
A process that only passes a buffer on keeps it in pieces, as a tuple.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import MsgspecError, msgpack

from ..error import ProtocolError

PIECE = 1 << 17
"""Bytes of a frame at most, and of each piece of a longer one but the last.

Only a frame that is whole counts as a sign of life, and over 1 Mbit/s this takes a second. Longer
ones are no faster.
"""

MARK = b"\xc1"
"""How such a message begins; msgpack never does."""


def cut(frames: list[Any]) -> list[Any]:
    """Give the frames to send, none of them longer than `PIECE`; nothing is copied."""
    if not any(map(_is_long, frames)):
        return frames
    parts = [_pieces(frame) for frame in frames]
    counts = msgpack.encode([len(pieces) for pieces in parts])
    return [MARK + counts, *(piece for pieces in parts for piece in pieces)]


def joined(frames: Sequence[Any], whole: bool) -> Sequence[Any]:
    """Give the frames that were cut; unless `whole`, all but the first stay tuples of pieces.

    Raises ProtocolError when what the first says is not what comes.
    """
    if frames[0][:1] != MARK:
        return frames
    try:
        counts = msgpack.decode(frames[0][1:], type=list[int])
    except MsgspecError as error:
        raise ProtocolError(f"malformed pieces: {error}") from None
    if not counts or min(counts) < 1 or sum(counts) != len(frames) - 1:
        raise ProtocolError("other pieces than were promised")
    parts: list[Any] = []
    start = 1
    for count in counts:
        pieces = tuple(frames[start : start + count])
        start += count
        if count == 1:
            parts.append(pieces[0])
        else:
            parts.append(b"".join(pieces) if whole or not parts else pieces)
    return parts


def _is_long(frame: Any) -> bool:
    return type(frame) is tuple or memoryview(frame).nbytes > PIECE


def _pieces(frame: Any) -> Sequence[Any]:
    if type(frame) is tuple:
        return frame
    view = memoryview(frame)
    if view.nbytes <= PIECE:
        return (frame,)
    view = view.cast("B")
    return [view[start : start + PIECE] for start in range(0, len(view), PIECE)]
