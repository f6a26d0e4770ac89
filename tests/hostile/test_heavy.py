"""H2 and S8: who has a key and fills the memory behind the core's back is found and cut off."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import zmq

from enginery.core import messages as m
from enginery.log import LONGEST
from enginery.net import sockets
from enginery.net.auth import Authenticator
from enginery.net.keys import ConnectionFile, Keys
from enginery.net.reception import Reception
from enginery.wire import codec

from .controllers import controller
from .peer import PATIENCE, Peer, hello
from .small_cluster import BLOB, FUNCTION

MEGABYTE = 1 << 20
LIMIT = 160
"""Megabytes that the controller may have."""

PIECE = 100_000
"""Bytes of a frame that is let in."""

MORE = 64
"""Megabytes by which it may be larger for a moment."""


@dataclass
class Heavy:
    """A controller process with little memory, its keys, and the most that it ever had."""

    process: psutil.Process
    files: dict[str, ConnectionFile]
    log: Path
    most: float = 0.0

    def watch(self, stop: threading.Event) -> None:
        """Look how large it is until told to stop."""
        while not stop.wait(0.005):  # nothing tells of it
            self.most = max(self.most, self.process.memory_info().rss / MEGABYTE)


@pytest.fixture
def heavy(tmp_path: Path) -> Iterator[Heavy]:
    profile = tmp_path / "profile_heavy"
    with controller(profile, memory_limit=LIMIT * MEGABYTE) as (process, files):
        one = Heavy(process, files, profile / "log" / "ipcontroller.log")
        stop = threading.Event()
        watching = threading.Thread(target=one.watch, args=(stop,))
        watching.start()
        try:
            yield one
        finally:
            stop.set()
            watching.join()


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    made = sockets.new_context()
    yield made
    made.destroy(linger=0)


def long_message(peer: Peer) -> None:
    """Begin a message of a gigabyte; libzmq sends it as far as it is taken."""
    part = bytes(PIECE)
    for _ in range(10_000):
        peer.socket.send(part, zmq.SNDMORE, copy=False)
    peer.socket.send(part, copy=False)


def known(peer: Peer, role: str) -> Peer:
    """A peer that was welcomed."""
    peer.say(hello("engine" if role == "engine" else "client"))
    peer.hear(m.Welcome)
    return peer


def wait_until_cut(peer: Peer) -> None:
    """Wait until its connection is gone, without reading what has come over it."""
    deadline = time.monotonic() + 2 * PATIENCE
    while not peer.has(sockets.Down):
        assert peer.monitor.poll(max(0, deadline - time.monotonic()) * 1000), "it is not cut"


@pytest.mark.parametrize("role", ["engine", "client", "monitor"])
def test_who_sends_without_end_is_cut_off_and_others_do_not_notice(
    heavy: Heavy, context: sockets.Context, role: str
) -> None:
    with honest(heavy, context):
        criminal = known(Peer(context, heavy.files[role]), role)
        long_message(criminal)
        wait_until_cut(criminal)


@contextlib.contextmanager
def honest(heavy: Heavy, context: sockets.Context) -> Iterator[None]:
    """An engine and a client that are served after all that happens, on the same connections."""
    engine = known(Peer(context, heavy.files["engine"]), "engine")
    client = known(Peer(context, heavy.files["client"]), "client")
    began = time.monotonic()
    yield
    print(f"cut after {time.monotonic() - began:.2f} s, at most {heavy.most:.0f} of {LIMIT} MB")
    assert heavy.most <= LIMIT + MORE
    client.say(m.Define(FUNCTION, BLOB), m.Submit(1, [m.Task("x-1", FUNCTION, b"", engine=0)]))
    [attempt] = engine.hear(m.Run).attempts
    engine.say(m.Results(1, [m.Result(attempt.id, attempt.attempt, "ok", b"done")]))
    [outcome] = client.hear(m.Deliver).outcomes
    assert outcome.value == b"done"
    assert not client.has(sockets.Down)
    assert not engine.has(sockets.Down)
    [line] = re.findall(r".*peer\.dropped.*", heavy.log.read_text())
    assert "the memory is full, and" in line
    assert "are under way on this connection" in line


def test_what_peers_say_of_themselves_does_not_fill_the_log(
    heavy: Heavy, context: sockets.Context
) -> None:
    engine = Peer(context, heavy.files["engine"])
    engine.say(hello("engine", host="h" * 20 * LONGEST))
    engine.hear(m.Welcome)
    client = known(Peer(context, heavy.files["client"]), "client")
    assert client.hear(m.Engines).engines
    engine.say(m.Goodbye("r" * 20 * LONGEST))
    while client.hear(m.Engines).engines:
        pass
    client.say(m.Query(1, "warnings"))
    [lost] = client.hear(m.Reply).value
    assert lost["event"] == "engine.lost"
    for name, letter in (("host", "h"), ("reason", "r")):
        text = lost["fields"][name]
        assert text.startswith(100 * letter)
        assert len(text) <= LONGEST
    assert max(map(len, heavy.log.read_text().splitlines())) < 3 * LONGEST


# --- what ZeroMQ holds ------------------------------------------------------------------------

STOPPED = """
import os, signal, sys
from pathlib import Path
from enginery.core import messages as m
from enginery.net import sockets
from enginery.net.keys import ConnectionFile
from tests.hostile.peer import Peer

peer = Peer(sockets.new_context(), ConnectionFile.read(Path(sys.argv[1])))
peer.say(m.Got(1))
peer.hear(m.Got)  # so that it has left
os.kill(os.getpid(), signal.SIGSTOP)
"""
"""A peer that says something, and then takes nothing more."""


@contextlib.contextmanager
def listening(context: sockets.Context, path: Path) -> Iterator[Reception]:
    """A reception that lets engines in, and the file that they need, at this path."""
    keys = Keys.create()
    auth = Authenticator(context, {"engines": {keys.public("engine"): "engine"}})
    socket, port = sockets.router(context, keys.server, "engines", "127.0.0.1")
    pair, url = keys.pair("engine"), f"tcp://127.0.0.1:{port}"
    server, public, secret = (k.decode() for k in (keys.server.public, pair.public, pair.secret))
    ConnectionFile("engine", url, server, public, secret).write(path)
    reception = Reception(socket)
    serve_keys = threading.Thread(target=serve, args=(auth, stop := threading.Event()))
    serve_keys.start()
    try:
        yield reception
    finally:
        stop.set()
        serve_keys.join()
        reception.close()


def serve(auth: Authenticator, stop: threading.Event) -> None:
    """Say whose key is good."""
    while not stop.is_set():
        auth.socket.poll(50)
        auth.handle()


def heard(reception: Reception) -> bytes:
    """The connection of the next message."""
    deadline = time.monotonic() + 2 * PATIENCE
    reception.guard()
    while (arrived := reception.recv()) is None:
        assert time.monotonic() < deadline
        reception.socket.poll(50)
    return arrived[0]


def test_what_is_held_for_whom_is_known(context: sockets.Context, tmp_path: Path) -> None:
    """Of who takes nothing, and of who sends more than is read; of others it is nothing."""
    file = tmp_path / "engine.json"
    with listening(context, file) as reception:
        command = [sys.executable, "-c", STOPPED, str(file)]
        answer = codec.encode([m.Got(1)])
        part = codec.encode([m.Output("x-1", 1, 0, "stdout", "x" * PIECE)])
        with subprocess.Popen(command) as stopped:
            try:
                deaf = heard(reception)
                assert reception.send(deaf, answer)
                os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
                talker = Peer(context, ConnectionFile.read(file))
                talker.say(m.Got(1))
                other = heard(reception)
                for _ in range(400):
                    assert reception.send(deaf, part)
                    assert reception.send(other, part)
                held = reception.held()
                assert held[deaf] > 25 * MEGABYTE  # the rest is in the kernel, or with the peer
                for _ in range(400):
                    talker.hear(m.Output)
                assert reception.held()[other] < MEGABYTE
                for _ in range(400):
                    talker.throw(*part)
                talker.say(m.Got(2))
                deadline = time.monotonic() + PATIENCE
                while reception.held()[other] < 37 * MEGABYTE:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)  # nothing tells what ZeroMQ has received
                for _ in range(401):
                    assert heard(reception) == other
                assert abs(reception.held()[other]) < 10_000
            finally:
                stopped.kill()
