"""Batches come back as they were, buffers are never copied, and what is malformed is refused."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import get_args

import pytest
from msgspec import msgpack

from enginery.core import messages as m
from enginery.error import ProtocolError, VersionMismatch
from enginery.version import PROTOCOL
from enginery.wire import codec

HELLO = m.Hello(PROTOCOL, "1", "engine", "tasks", b"i" * 16, places=(b"a", b"b"))
IMPOSSIBLE = m.Outcome("u", "impossible", cause=m.Outcome("t", "error", b"why"))
OUTCOME = m.Outcome("t", "ok", b"v", (m.Buffer(b"w" * 9),), facts={"signal": 9, "x": [1.5, None]})
TERMS = m.Terms(
    m.Dependency(("a", "b"), success=False), m.Dependency((), all=False), 2.5, -1.0, 9.0,
    True, True,
    (m.Task("r", b"k", b"", terms=m.Terms(priority=2.0)), m.Task("s", b"l", b"")),
    ("c", "d"), ("x", "ys[3]"),
)  # fmt: skip
ALIKE = m.Alike(b"h", "f", "", 0, ["t", "u"], [b"a", b"b"], [1.0, 2.0])
RAN = m.Ran(["t", "u"], [b"v", b"w"], [1.0, 2.0], [1.5, 2.5], [0, 3])
SAMPLES: list[m.Message] = [
    HELLO,
    m.Welcome("c", 3, memory=m.Segment(7, 8, 64, b"t" * 16)),
    m.Shares(),
    m.Refused("no", number=4),
    m.Again(),
    m.Goodbye("done"),
    m.Define(b"h", b"blob"),
    m.Need((b"h", b"k")),
    m.Submit(1, [m.Task("t", b"h", b"a", (m.Buffer(b"x" * 50), m.Buffer(b"")), targets=(1, 2))]),
    m.Submit(2, [m.Task("t", b"h", b"a", terms=TERMS)]),
    m.Submit(3, [m.Task("t", b"h", b"a")], [ALIKE, ALIKE]),
    m.Accepted(1),
    m.Room(1, "its queue is full"),
    m.Run([m.Attempt(1, "t", 1, b"h", b"a", (m.Buffer(bytearray(b"y" * 20)),), False)]),
    m.Run([m.Attempt(2, "t", 1, b"h", b"", inputs=(m.Value(b"v", (m.Buffer(b"x" * 9),)),))]),
    m.Run([m.Attempt(1, "t", 1, b"h", b"a")], [m.Row(2, b"h", "f", True, 0, ["u"], [b"b"])]),
    m.Results(2, [m.Result("t", 1, "error", b"v")], RAN),
    m.Results(1, [m.Result("t", 1, "error", b"v", (m.Buffer(memoryview(b"z")),), 1.0, 2.0, 3)]),
    m.Acked(1, "a life"),
    m.Holds(3, 1, 0, [(0, "t", 1, "", 1), (3, "u", 2, "map(f)", 0)]),
    m.Claim(["t"], 3, 4, ["v"], ["u"], True),
    m.Output("t", 1, 0, "stderr", "é\n"),
    m.Dropped(["t"], [3]),
    m.Deliver(1, [OUTCOME, IMPOSSIBLE], [m.Output("t", 1, 0, "stdout", "")]),
    m.Deliver(2, [OUTCOME], done=[m.Done(0, "life", "f", [0.5, 0.6], RAN)]),
    m.Got(1),
    m.Abort(["t"], True),
    m.Resubmit(["t"], ["u"], 3),
    m.Purge(["t"], [0], True),
    m.Choose("lru"),
    m.Changed(2),
    m.Farmed(m.Attempt(0, "t", 1, b"h", b"a", (m.Buffer(b"q" * 30),)), b"blob", 1.5),
    m.Probed(3, "life"),
    m.Signal(2, [0]),
    m.Clear([0]),
    m.Shutdown([0], True),
    m.Query(1, "status"),
    m.Reply(1, {"a": [1, 2.0, "x", b"y", None, True]}),
    m.Engines([m.EngineInfo(0, "i", "host", 1, 2.0)]),
    m.Exited(b"p", b"i", 1, 1, "exit code 3", True),
    m.Keep(3, (m.Buffer(b"x" * 50),), [2, 3], lent=[3]),
    m.Keep(3, (), [3], m.Door("tcp://10.0.0.1:7", "k" * 40, b"ticket"), (50,)),
    m.Kept(3, m.Segment(1, 2, 3, b"token"), [64], m.Door("tcp://10.0.0.1:7", "k" * 40, b"t")),
    m.Kept(3, m.Segment(7, 8, 192, b"t" * 16), [64]),
]


def malformed(*parts: object) -> list[bytes]:
    return [msgpack.encode([list(parts)])]


@pytest.mark.parametrize(
    "message",
    [
        ["S", 1, [], [[b"h", "f", "", 0, ["t", "u"], [b"a"], [1.0, 2.0]]]],
        ["R", [], [[1, b"h", "f", True, 0, ["t", "u"], [b"a"]]]],
        ["T", 1, [], [["t"], [b"v"], [1.0], [1.5], [0, 0]]],
        ["E", 1, [], [], [[0, "life", "f", [0.5, 0.6], [["t"], [b"v"], [1.0], [1.5], [0]]]]],
    ],
)
def test_columns_of_different_lengths_are_refused(message) -> None:
    with pytest.raises(ProtocolError, match="columns of different lengths"):
        codec.decode([msgpack.encode([message])])


def test_there_is_a_sample_of_every_message() -> None:
    assert {type(sample) for sample in SAMPLES} == set(get_args(m.AnyMessage))


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_comes_back(message: m.Message) -> None:
    assert codec.decode(codec.encode([message])) == [message]


def test_a_batch_keeps_its_order_and_its_buffers() -> None:
    assert codec.decode(codec.encode(SAMPLES)) == SAMPLES


def test_frames_may_be_memoryviews() -> None:
    frames = [memoryview(frame) for frame in codec.encode(SAMPLES)]
    assert codec.decode(frames) == SAMPLES


def test_buffers_are_not_copied_either_way() -> None:
    data = bytearray(b"0123456789")
    frames = codec.encode([m.Run([m.Attempt(1, "t", 1, b"h", b"a", (m.Buffer(data),))])])
    assert frames[1] is data
    (run,) = codec.decode(frames)
    assert isinstance(run, m.Run)
    assert run.attempts[0].buffers[0].data is data


def test_a_buffer_that_tasks_share_is_sent_once() -> None:
    shared = m.Buffer(b"x" * 100)
    tasks = [m.Task(f"t{i}", b"h", b"a", (shared, m.Buffer(b"own"))) for i in range(3)]
    frames = codec.encode([m.Submit(1, tasks)])
    assert len(frames) == 1 + 1 + 3
    (submit,) = codec.decode(frames)
    assert submit == m.Submit(1, tasks)
    assert isinstance(submit, m.Submit)
    assert len({id(task.buffers[0]) for task in submit.tasks}) == 1


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"\xc1"],
        [b"\x90\x90"],  # trailing bytes
        [msgpack.encode({"a": 1})],
        [msgpack.encode(5)],
        [msgpack.encode([5])],
        [msgpack.encode([[]])],
        malformed("nope", 1),
        malformed("A", "not a number"),
        malformed("A"),
        malformed("r", 1, msgpack.Ext(7, b"\0\0\0\0")),
        malformed("r", 1, msgpack.Ext(1, b"\0\0\0\0")),
        malformed("r", 1, msgpack.Ext(1, b"")),
        [*malformed("r", 1, msgpack.Ext(1, b"\0\0\0\1")), b"only one"],
        [*malformed("r", 1, msgpack.Ext(1, b"\0")), b"short number"],
        [*malformed("A", 1), b"a frame that nobody mentions"],
        [*malformed("S", 1, [["t", b"h", b"a", [b"bytes, not a buffer"]]])],
        [msgpack.encode([["r", 1, b"\xff"]]).replace(b"\xc4\x01", b"\xd9\x01")],  # not UTF-8
        [b"\x91\x93\xa1r\x01" + b"\x91" * 100_000],  # deeper than the stack
        [b"\x91\x93\xa1r\x01\x81\x81\x01\x02\x03"],  # a key that cannot be one
        [b"\x91\x93\xa1r\x01\xd7\xff" + b"\xff" * 8],  # no time
        [b"\xdd\xff\xff\xff\xff"],  # four billion messages, none there
        malformed("!", True, "v"),
        malformed("!", PROTOCOL, "v"),
    ],
)
def test_malformed_batches_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.decode(frames)
    assert not isinstance(caught.value, VersionMismatch)
    assert codec.decode(codec.encode(SAMPLES)) == SAMPLES  # the decoder is as it was


@pytest.mark.parametrize(
    "frames",
    [
        malformed("!", PROTOCOL + 6, {"a": "shape"}, "nobody", b"knows"),
        malformed("!", PROTOCOL + 6),
        codec.encode([m.Hello(PROTOCOL + 6, "9", "engine", "tasks", b"i"), m.Again()]),
    ],
)
def test_another_version_is_told_by_its_number(frames: list[bytes]) -> None:
    with pytest.raises(VersionMismatch) as caught:
        codec.decode(frames)
    assert caught.value.theirs == PROTOCOL + 6
    assert str(PROTOCOL) in str(caught.value)


def test_what_is_no_message_cannot_be_encoded() -> None:
    with pytest.raises(TypeError, match="object"):
        codec.encode([m.Reply(1, object())])


def test_threads_decode_at_the_same_time() -> None:
    wrong: list[object] = []

    def work(byte: int) -> None:
        batch: list[m.Message] = [m.Submit(1, [m.Task("t", b"", b"", (m.Buffer(bytes([byte])),))])]
        frames = codec.encode(batch)
        wrong.extend(1 for _ in range(300) if codec.decode(frames) != batch)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_codec_brings_no_pickling_into_a_process() -> None:
    code = (
        "import sys, enginery.wire.codec\n"
        "bad = {'cloudpickle', 'enginery.wire.payload', 'enginery.wire.pickler'}\n"
        "sys.exit(f'{bad & set(sys.modules)}' if bad & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_lies_on_the_host_of_the_receiver_has_no_frame() -> None:
    there, here = m.Buffer(b"x" * 50), m.Buffer(b"y" * 9)
    segment = m.Segment(7, 8, 192, b"t" * 16)
    run = m.Run([m.Attempt(1, "t", 1, b"h", b"", (there, here))])
    frames = codec.encode([run], lying={id(there): (segment, 64, 50)})
    assert [bytes(frame) for frame in frames[1:]] == [b"y" * 9]

    class Opened:
        def buffer(self, offset: int, nbytes: int) -> m.Buffer:
            return m.Buffer(f"{offset} {nbytes}".encode())

    [message] = codec.decode(frames, borrow=lambda segment: Opened())
    assert isinstance(message, m.Run)
    assert [bytes(buffer) for buffer in message.attempts[0].buffers] == [b"64 50", b"y" * 9]


def nested(depth: int, leaf: object) -> object:
    """So many lists and dictionaries, one in the other."""
    for i in range(depth):
        leaf = [leaf] if i % 2 else {"x": leaf}
    return leaf


def test_no_key_is_nested_deeply_either() -> None:
    def query(depth: int) -> list[bytes]:
        key = b"\x91" * depth + b"\x01"
        part = b"\x81" + key + b"\x01"
        whole = bytes(codec.encode([m.Query(1, "database", where={"name": 7})])[0])
        return [whole.replace(msgpack.encode({"name": 7}), b"\x81" + msgpack.encode("name") + part)]

    assert codec.decode(query(3))
    with pytest.raises(ProtocolError, match=r"nested|malformed"):
        codec.decode(query(100))


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (m.Query(1, "database"), "where"),
        (m.Reply(1), "value"),
        (m.Exited(b"p", b"i", 1, 1, "exit code 3", False), "facts"),
    ],
)
@pytest.mark.parametrize("depth", [codec.DEPTH, codec.DEPTH + 1, 500, 900])
def test_nothing_is_nested_deeply(message: m.Message, field: str, depth: int) -> None:
    setattr(message, field, {"name": nested(depth - 1, "leaf")})
    frames = codec.encode([message])
    if depth <= codec.DEPTH:
        assert codec.decode(frames) == [message]
    else:
        with pytest.raises(ProtocolError, match=f"{field} is nested|malformed"):
            codec.decode(frames)
