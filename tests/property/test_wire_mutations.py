"""Whatever is done to the bytes of a batch, decoding it gives messages or ProtocolError."""

from __future__ import annotations

import random
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from enginery.core import messages as m
from enginery.error import ProtocolError
from enginery.version import PROTOCOL
from enginery.wire import codec

BATCHES: list[list[m.Message]] = [
    [m.Hello(PROTOCOL, "1", "engine", "tasks", b"i" * 16, places=(b"a", b"b"))],
    [m.Submit(1, [m.Task("t", b"h", b"a", (m.Buffer(b"x"), m.Buffer(b"y")), targets=(1, 2))] * 3)],
    [
        m.Results(1, [m.Result("t", 1, "error", b"v", (m.Buffer(b"z"),), 1.0, 2.0, 3)]),
        m.Acked(1, "life"),
    ],
    [m.Deliver(1, [m.Outcome("t", "ok", facts={"a": [1, {"b": None}]})])],
    [m.Reply(1, {"a": [1, 2.0, "x", b"y", None, True]}), m.Query(1, "tasks", ["a", "b"])],
]
THOUSANDS = 2_000


def mutate(random: random.Random, frames: list[bytes]) -> list[bytes]:
    batch = bytearray(frames[0])
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at = random.randrange(len(batch) + 1)
        match random.randrange(7):
            case 0:
                del batch[at : at + random.randrange(1, 9)]
            case 1:
                batch[at:at] = random.randbytes(random.randrange(1, 9))
            case 2 | 3 if at < len(batch):
                batch[at] = random.randrange(256)
            case 4 if at < len(batch):
                batch[at] ^= 1 << random.randrange(8)
            case 5:
                start = random.randrange(len(batch) + 1)
                batch[at:at] = batch[start : start + random.randrange(40)]
            case 6:
                return [bytes(batch), *frames[1:-1]] if random.random() < 0.5 else [*frames, b"+"]
    return [bytes(batch), *frames[1:]]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**64))
def test_mutated_batches(seed: int) -> None:
    chance = random.Random(seed)
    batches = [[bytes(frame) for frame in codec.encode(batch)] for batch in BATCHES]
    for _ in range(THOUSANDS):
        try:
            messages = codec.decode(mutate(chance, chance.choice(batches)))
        except ProtocolError:
            continue
        assert all(isinstance(message, m.Message) for message in messages)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=3))
def test_noise(frames: list[bytes]) -> None:
    with suppress(ProtocolError):
        assert isinstance(codec.decode(frames), list)


TASKS = st.builds(
    m.Task,
    id=st.text(st.characters(codec="utf-8")),
    function=st.binary(),
    arguments=st.binary(),
    buffers=st.lists(st.builds(m.Buffer, st.binary()), max_size=3).map(tuple),
    engine=st.integers(-1, 2**40),
    targets=st.lists(st.integers(0, 2**40)).map(tuple),
    submitted=st.floats(allow_nan=False),
)


@settings(deadline=None)
@given(st.lists(TASKS, max_size=5), st.integers(0, 2**60))
def test_any_tasks_come_back(tasks: list[m.Task], seq: int) -> None:
    batch: list[m.Message] = [m.Submit(seq, tasks), m.Accepted(seq)]
    assert codec.decode(codec.encode(batch)) == batch
