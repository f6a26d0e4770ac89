"""References to memory that are lies: each is refused in words, and harms nobody."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enginery import Client, Cluster
from enginery.core import messages as m
from enginery.core.names import content_hash
from enginery.wire import codec, payload
from enginery.wire.functions import FunctionCache
from enginery.wire.memory.probe import Probe
from enginery.wire.memory.segments import Own

from .peer import Peer, Peers, hello, key_file

SIZE = 1 << 20
BLOB = FunctionCache(1 << 20).serialize(len)[1]
HASH = content_hash(BLOB)


class Told:
    """A part of a segment, as a liar tells it."""

    def __init__(self, segment: m.Segment, offset: int = 64, nbytes: int = 100) -> None:
        self.nbytes = nbytes
        self.reference: m.Reference | None = (segment, offset, nbytes)

    def view(self) -> memoryview:
        """There is none."""
        raise AssertionError("a reference was to be sent")


@pytest.fixture
def probe() -> Iterator[Probe]:
    made = Probe()
    yield made
    made.close()


def meet(peers: Peers, role: str, probe: Probe) -> tuple[Peer, m.Welcome]:
    """A peer that shares memory with the controller, and the welcome it got."""
    peer = peers(role)
    peer.say(hello("engine" if role == "engine" else "client", memory=probe.name))
    welcome = peer.hear(m.Welcome)
    peer.say(m.Shares())
    return peer, welcome


def say_by_reference(peer: Peer, *messages: m.Message) -> None:
    """Say this, with what lies in memory by reference."""
    assert peer.throw(*codec.encode(messages, by_reference=True))


def submission(part: Any) -> m.Submit:
    return m.Submit(1, [m.Task("x-1", HASH, b"a", (m.Buffer(None, part),))])


def named(fd: int, size: int, token: bytes = bytes(16)) -> m.Segment:
    return m.Segment(os.getpid(), fd, size, token)


def lies(target: Cluster, tmp_path: Path, own: Own, files: list[int]) -> dict[str, m.Segment]:
    """Segments that are not what they are said to be."""
    controller = key_file(target, "client").pid
    fifo, plain = tmp_path / "fifo", tmp_path / "memfd:enginery"
    os.mkfifo(fifo)
    plain.write_bytes(bytes(SIZE))
    unsealed = os.memfd_create("enginery", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, SIZE)
    files += [os.open(fifo, os.O_RDWR), os.open(plain, os.O_RDONLY), unsealed]
    return {
        "a fifo": named(files[0], SIZE),
        "a file": named(files[1], SIZE),
        "unsealed": named(unsealed, SIZE),
        "larger": named(own.fd, own.size + 4096, own.token),
        "smaller": named(own.fd, own.size - 4096, own.token),
        "something else by now": named(own.fd, own.size, bytes(16)),
        "nothing": named(1 << 20, SIZE),
        "the controller's": m.Segment(controller, 3, SIZE, bytes(16)),
        "of a process that is not there": m.Segment(1 << 22, 3, SIZE, bytes(16)),
    }


@pytest.mark.parametrize("role", ["client", "engine"])
def test_each_lie_is_refused_and_harms_nobody(
    target: Cluster, honest: Client, peers: Peers, tmp_path: Path, role: str
) -> None:
    own = Own(SIZE)
    own.fill([memoryview(b"x" * 1000)])
    files: list[int] = []
    try:
        for lie, segment in lies(target, tmp_path, own, files).items():
            probe = Probe()
            peer, welcome = meet(peers, role, probe)
            assert welcome.memory is not None
            part = Told(segment)
            if role == "client":
                say_by_reference(peer, m.Define(HASH, BLOB), submission(part))
            else:
                result = m.Result("x-1", 1, "ok", b"v", (m.Buffer(None, part),))
                say_by_reference(peer, m.Results(1, [result]))
            refused = peer.hear(m.Refused)
            assert "memory" in refused.reason, lie
            peer.say(m.Goodbye("bye"))
            peer.close()
            probe.close()
    finally:
        for fd in files:
            os.close(fd)
    assert honest[0].apply_sync(len, bytes(SIZE)) == SIZE


def test_outside_of_its_memory_there_is_nothing(honest: Client, peers: Peers, probe: Probe) -> None:
    own = Own(SIZE)
    own.fill([memoryview(b"x" * 1000)])
    peer, _ = meet(peers, "client", probe)
    for offset, nbytes in ((-8, 8), (0, SIZE + 1), (SIZE, 1), (1 << 62, 1 << 62)):
        say_by_reference(peer, submission(Told(own.name, offset, nbytes)))
        assert "outside of its memory" in peer.hear(m.Refused).reason
    assert honest[0].apply_sync(len, bytes(SIZE)) == SIZE


def test_who_has_shown_nothing_may_refer_to_nothing(honest: Client, peers: Peers) -> None:
    own = Own(SIZE)
    own.fill([memoryview(b"x" * 1000)])
    peer, _ = peers.known("client")
    peer.say(m.Shares())  # a lie
    say_by_reference(peer, m.Define(HASH, BLOB), submission(Told(own.name)))
    assert "does not share" in peer.hear(m.Refused).reason
    assert honest[0].apply_sync(len, bytes(SIZE)) == SIZE


def test_probes_that_are_lies_are_not_answered_by_one(peers: Peers, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    fd = os.open(fifo, os.O_RDWR)
    unsealed = os.memfd_create("enginery", os.MFD_ALLOW_SEALING)
    locked = Own(SIZE)
    locked.fill([])
    fcntl.flock(locked.fd, fcntl.LOCK_EX)
    try:
        for lie in (
            named(fd, 0),
            named(unsealed, 0),
            named(0, 64),
            m.Segment(1, 3, 64, bytes(16)),
            m.Segment(-5, -5, -5, b""),
            locked.name,
        ):
            peer = peers("client")
            peer.say(hello("client", memory=lie))
            assert peer.hear(m.Welcome).memory is None
            peer.close()
    finally:
        os.close(fd)
        os.close(unsealed)


def test_a_sparse_terabyte_costs_nothing(
    target: Cluster, honest: Client, peers: Peers, probe: Probe
) -> None:
    import psutil

    controller = psutil.Process(key_file(target, "client").pid)
    before = controller.memory_info().rss
    own = Own(1 << 40)
    own.fill([memoryview(b"x" * 1000)])
    peer, _ = meet(peers, "client", probe)
    say_by_reference(peer, m.Define(HASH, BLOB), submission(Told(own.name, 64, (1 << 40) - 64)))
    assert "memory of which 4096 bytes are there" in peer.hear(m.Refused).reason
    assert honest[0].apply_sync(len, bytes(SIZE)) == SIZE
    assert controller.memory_info().rss < before + (32 << 20)
    peer.say(m.Goodbye("bye"))


LIAR = """
import os, sys
from enginery.wire.memory.segments import Own
own = Own(1 << 20)
own.fill([memoryview(b"x" * 1000)])
print(own.name.pid, own.name.fd, own.name.size, own.name.token.hex(), flush=True)
sys.stdin.read()
"""


def test_memory_of_another_process_is_not_lent_by_this_one(
    honest: Client, peers: Peers, probe: Probe
) -> None:
    command = [sys.executable, "-c", LIAR]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        pid, fd, size, token = other.stdout.readline().split()
        segment = m.Segment(int(pid), int(fd), int(size), bytes.fromhex(token))
        peer, _ = meet(peers, "client", probe)
        say_by_reference(peer, submission(Told(segment)))
        assert f"memory of process {pid}" in peer.hear(m.Refused).reason
        other.send_signal(signal.SIGKILL)
    assert honest[0].apply_sync(len, bytes(SIZE)) == SIZE


def test_the_controller_looks_into_nothing(honest: Client, peers: Peers, probe: Probe) -> None:
    """What lies in memory is passed on as it is: a pickle that would harm whoever opens it."""
    own = Own(SIZE)
    own.fill([memoryview(b"cos\nsystem\n(S'false'\ntR.")])
    peer, _ = meet(peers, "client", probe)
    arguments, _ = payload.dumps(((b"abc",), {}))
    task = m.Task("x-9", HASH, arguments, (m.Buffer(None, Told(own.name, 64, 24)),), engine=0)
    say_by_reference(peer, m.Define(HASH, BLOB), m.Submit(1, [task]))
    assert peer.hear(m.Deliver).outcomes[0].id == "x-9"
    assert honest[0].apply_sync(len, bytes(SIZE)) == SIZE
