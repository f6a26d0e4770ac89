"""Values come back equal, large ones are sent without a copy, and every array arrives read-only."""

from __future__ import annotations

import pickle
import sys
from array import array
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from enginery.core.messages import Buffer
from enginery.wire import payload
from enginery.wire.items import dumps_calls
from enginery.wire.layout import APART, DIRECT, INSIDE


def travelled(value: Any) -> Any:
    """What arrives, when each buffer is bytes of its own as after a socket."""
    data, buffers = payload.dumps(value)
    return payload.loads(data, [Buffer(bytes(buffer.data)) for buffer in buffers]).value


def address(data: Any) -> int:
    return int(np.frombuffer(data, np.uint8).__array_interface__["data"][0])


@pytest.mark.parametrize(
    "value",
    [
        ((), {}),
        ((1, 2.5, "x", None, True, 3j), {}),
        ((5,), {"k": [1, {2}]}),
        None,
        "__main__",
        "reconstruct",
        ["\ud800", b"__main__"],
        b"x" * (DIRECT + 1),
        bytearray(b"y" * (DIRECT + 1)),
        {"deep": [("here", b"z" * DIRECT, "é" * DIRECT, bytearray(DIRECT - 1))]},
        [list(range(50_000)), b"q" * 200_000, "tail"],
        array("d", [1.0, 2.0]),
        ValueError,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_values_come_back_equal_and_of_their_type(value: Any) -> None:
    there = travelled(value)
    assert there == value
    assert type(there) is type(value)


MANY = [[f"text {i}", float(i)] for i in range(20_000)]


@pytest.mark.parametrize(
    "value",
    [
        "é" * APART,
        (("x" * APART,), {}),
        MANY,
        (MANY, b"q" * DIRECT, "é" * DIRECT, bytearray(DIRECT)),
        (MANY, "z" * 5 * DIRECT, MANY[:]),
    ],
    ids=["text", "call", "many", "direct", "larger than a frame of pickle"],
)
def test_all_that_is_large_goes_apart(value: Any) -> None:
    data, buffers = payload.dumps(value)
    assert len(data) < 500
    assert sum(buffer.nbytes for buffer in buffers) >= APART
    assert travelled(value) == value


def test_arrays_beside_much_else_are_views_and_aligned() -> None:
    data, buffers = payload.dumps((MANY, np.arange(3.0), np.arange(5, dtype=np.int8), lambda: MANY))
    received = [Buffer(bytes(buffer.data)) for buffer in buffers]
    _, *arrays, call = payload.loads(data, received).value
    assert [array.tolist() for array in arrays] == [[0, 1, 2], [0, 1, 2, 3, 4]]
    assert all(array.flags.aligned and not array.flags.writeable for array in arrays)
    assert np.shares_memory(arrays[0], np.frombuffer(received[-1].data, np.uint8))
    assert call() == MANY


def test_small_values_are_nothing_but_their_pickle() -> None:
    for value in (((), {}), ((1, [2]), {}), [1, b"x"]):
        data, buffers = payload.dumps(value)
        assert buffers == ()
        assert pickle.loads(data) == value


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of which cloudpickle is told to send what belongs to it by value."""
    module = ModuleType("only_here")
    exec("class Thing:\n    n = 3", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    cloudpickle.register_pickle_by_value(module)
    yield module
    cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.parametrize("beside", [[], [b"x" * DIRECT]], ids=["small", "large"])
def test_modules_that_are_sent_by_value_are_not_needed_there(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, beside: list[bytes]
) -> None:
    calls = dumps_calls([[(module.Thing(), *beside)]])
    data, buffers = payload.dumps(((module.Thing(), *beside), {}))
    monkeypatch.delitem(sys.modules, "only_here")
    (thing, *rest), _ = payload.loads(data, buffers).value
    assert (thing.n, rest) == (3, beside)
    assert calls is None  # they are to be sent call by call


def test_large_arrays_are_not_copied_by_the_sender() -> None:
    sent = np.arange(INSIDE / 8)
    data, (buffer,) = payload.dumps(((sent,), {}))
    assert len(data) < 500
    assert buffer.nbytes == sent.nbytes
    assert address(buffer.data) == sent.__array_interface__["data"][0]


def test_large_bytes_are_not_copied_by_the_sender_at_any_depth() -> None:
    sent, changeable = b"x" * DIRECT, bytearray(DIRECT)
    data, buffers = payload.dumps((({"a": [sent]},), {"b": changeable}))
    assert len(data) < 500
    assert buffers[0].data is sent
    assert buffers[1].data is changeable


def test_large_memoryviews_are_not_copied_by_the_sender() -> None:
    sent = bytearray(INSIDE)
    data, (buffer,) = payload.dumps([memoryview(sent)])
    assert len(data) < 500
    assert address(buffer.data) == address(sent)


def test_arrays_are_views_of_what_was_received() -> None:
    data, (buffer,) = payload.dumps(np.arange(INSIDE / 8))
    received = Buffer(bytearray(buffer.data))  # as writable as a socket's memory can be
    there = payload.loads(data, [received]).value
    assert there.__array_interface__["data"][0] == address(received.data)
    assert not there.flags.writeable


class Subclass(np.ndarray[Any, Any]):
    pass


ARRAYS = {
    "two": np.zeros(2),
    "large": np.arange(100_000.0),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(5.0),
    "2d": np.arange(12).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "strided": np.arange(20)[::3],
    "strided 2d": np.arange(20_000).reshape(100, 200)[:, ::2],
    "backwards": np.arange(5)[::-1],
    "text": np.array(["a", "bcd"]),
    "bool": np.array([True, False]),
    "record": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "recarray": np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "dates": np.array(["2020-01-01", "NaT"], dtype="M8[ns]"),
    "strided dates": np.arange(10).astype("m8[s]")[::2],
    "objects": np.array([1, "a", None], dtype=object),
    "subclass": np.arange(3).view(Subclass),
    "big endian": np.arange(3, dtype=">i4"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_arrives_read_only(name: str) -> None:
    sent = ARRAYS[name]
    there = travelled({"x": [sent]})["x"][0]
    assert type(there) is type(sent)
    assert there.dtype == sent.dtype
    assert there.shape == sent.shape
    np.testing.assert_array_equal(np.asarray(there), np.asarray(sent))
    assert not there.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        there[...] = sent
    assert sent.flags.writeable


def test_dates_are_not_copied_into_the_stream() -> None:
    data, buffers = payload.dumps(np.zeros(INSIDE, "M8[ns]"))
    assert len(data) < 500
    assert [buffer.nbytes for buffer in buffers] == [INSIDE * 8]


def test_masked_arrays_keep_their_mask() -> None:
    there = travelled(np.ma.masked_equal([1, 2, 3], 2))
    assert there.tolist() == [1, None, 3]
    with pytest.raises(ValueError, match="read-only"):
        there[0] = 9


def test_small_arrays_are_aligned() -> None:
    there = travelled([np.zeros(1, np.uint8), np.zeros(3), np.zeros(1, np.int16), np.zeros(5)])
    assert all(item.flags.aligned for item in there)


def test_one_array_twice_is_one_array_there() -> None:
    sent = np.arange(100_000)
    data, buffers = payload.dumps([sent, sent])
    assert len(buffers) == 1
    first, second = payload.loads(data, buffers).value
    assert first is second


@pytest.mark.parametrize("size", [3, 20_000])
def test_pandas(size: int) -> None:
    frame = pd.DataFrame(
        {
            "n": np.arange(size),
            "x": np.linspace(0, 1, size),
            "s": [f"row {i}" for i in range(size)],
            "t": pd.date_range("2020-01-01", periods=size),
            "c": pd.Categorical(["a", "b", "a"] * (size // 3) + ["a"] * (size % 3)),
        }
    )
    there = travelled(((frame,), {}))[0][0]
    pd.testing.assert_frame_equal(there, frame)
    assert there.groupby("c", observed=True)["x"].sum().sum() == pytest.approx(frame["x"].sum())
    assert there.assign(n=1)["n"].sum() == size


@pytest.mark.parametrize(
    "sent",
    [
        memoryview(b"abc"),
        memoryview(b"x" * INSIDE),
        memoryview(array("d", [1.0, 2.0])),
        memoryview(np.arange(6).reshape(2, 3)),
        memoryview(b"abcdef")[::2],
        memoryview(b""),
    ],
)
def test_memoryviews_arrive_as_read_only_memoryviews(sent: memoryview) -> None:
    there = travelled([sent])[0]
    assert type(there) is memoryview
    assert there.readonly
    assert there.tolist() == sent.tolist()


def test_lambdas_and_closures_in_arguments() -> None:
    k = 3
    there = travelled(([lambda x: x + k], {"f": [pow, len]}))
    assert there[0][0](4) == 7
    assert there[1]["f"] == [pow, len]


def test_a_missing_module_is_named() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        payload.loads(b"\x80\x05c" + b"no_such_module_here\nf\n.", ())
    assert caught.value.name == "no_such_module_here"
