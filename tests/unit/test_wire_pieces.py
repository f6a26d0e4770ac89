"""Long frames are cut without a copy, put together as they were, and refused when they lie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from enginery.core import messages as m
from enginery.error import ProtocolError
from enginery.wire import codec
from enginery.wire.pieces import MARK, PIECE, cut, joined

SIZES = st.sampled_from([0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7])


def filled(size: int, byte: int) -> bytes:
    """So many bytes, the last of which differs."""
    return bytes([byte]) * (size - 1) + b"\xff" if size else b""


def task(*data: Any, arguments: bytes = b"") -> m.Task:
    return m.Task("t", b"h", arguments, tuple(map(m.Buffer, data)))


@given(st.lists(SIZES, min_size=1, max_size=4))
def test_frames_come_back_as_they_were_and_none_is_long(sizes: list[int]) -> None:
    frames = [filled(size, i) for i, size in enumerate(sizes)]
    sent = cut(list(frames))
    assert max(memoryview(frame).nbytes for frame in sent) <= PIECE
    assert [bytes(frame) for frame in joined(sent, whole=True)] == frames


def test_short_frames_are_sent_as_they_are() -> None:
    frames = [b"a", bytes(PIECE)]
    assert cut(frames) is frames
    assert joined(frames, whole=True) is frames


def test_nothing_is_copied_to_be_cut() -> None:
    data = bytearray(2 * PIECE)
    _, *pieces = cut([b"head", data])
    data[PIECE] = 7
    assert pieces[2][0] == 7


def test_the_controller_passes_pieces_on() -> None:
    data = filled(2 * PIECE + 5, 3)
    sent = codec.encode([m.Submit(1, [task(data, b"short")])])
    [submit] = codec.decode(sent, whole=False)
    assert isinstance(submit, m.Submit)
    long, short = submit.tasks[0].buffers
    assert [len(piece) for piece in long.data] == [PIECE, PIECE, 5]
    assert (long.nbytes, short.data) == (len(data), b"short")
    attempt = m.Attempt(1, "t", 1, b"h", b"", submit.tasks[0].buffers)
    again = codec.encode([m.Run([attempt])])
    assert sum(piece is frame for piece in long.data for frame in again) == 3
    [run] = codec.decode(again)
    assert isinstance(run, m.Run)
    assert [buffer.data for buffer in run.attempts[0].buffers] == [data, b"short"]


def test_a_batch_that_is_long_itself_is_cut() -> None:
    submit = m.Submit(1, [task(arguments=filled(PIECE, n)) for n in range(3)])
    sent = codec.encode([submit])
    assert max(memoryview(frame).nbytes for frame in sent) <= PIECE
    assert codec.decode(sent, whole=False) == [submit]


@pytest.mark.parametrize(
    "frames",
    [
        [MARK],
        [MARK + b"nonsense", b"a"],
        [MARK + msgpack.encode([])],
        [MARK + msgpack.encode([1])],
        [MARK + msgpack.encode([1, 1]), b"a"],
        [MARK + msgpack.encode([1]), b"a", b"b"],
        [MARK + msgpack.encode([0, 1]), b"a"],
        [MARK + msgpack.encode([-1, 2]), b"a"],
        [MARK + msgpack.encode([1 << 60]), b"a"],
        [MARK + msgpack.encode(["1"]), b"a"],
    ],
)
def test_other_pieces_than_promised_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(frames)
