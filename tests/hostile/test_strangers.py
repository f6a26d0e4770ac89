"""H1: who has no key of this cluster gets nowhere, costs nothing, and is told of in one line."""

from __future__ import annotations

import contextlib
import os
import re
import socket as plain
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from enginery import Client, Cluster
from enginery.core import messages as m
from enginery.log import WINDOW
from enginery.net import sockets
from enginery.net.keys import ConnectionFile, KeyPair
from enginery.wire import codec

from .peer import PATIENCE, Peers, foreign, hello, key_file

PORTS = ("engine", "client")
MEGABYTE = 1 << 20
GROWTH = 32
"""Megabytes by which strangers may make the controller larger."""

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
"""How a ZMTP 3 peer begins that will speak CURVE."""

COMMAND, MESSAGE, MORE = b"\x06", b"\x02", b"\x03"
"""The first byte of a large frame."""


# --- looking at the controller ----------------------------------------------------------------


def log_of(cluster: Cluster) -> str:
    """What the controller has logged until now."""
    log = Path(cluster.profile.log) / f"ipcontroller-{cluster.cluster_id}.log"
    return log.read_text()


def lines_about(cluster: Cluster, address: str) -> list[str]:
    """The lines of its log about refusals of this address."""
    pattern = rf"peer\.rejected .*\baddress={re.escape(address)} "
    return [line for line in log_of(cluster).splitlines() if re.search(pattern, line)]


def told_once(cluster: Cluster, address: str, in_haste: bool = False) -> str:
    """The latest line about this address, as soon as it is there: there is one a minute at most.

    Of who has hung up before it was looked at (`in_haste`), the address may not be known.
    """
    deadline = time.monotonic() + PATIENCE
    while not (lines := lines_about(cluster, address)):
        if in_haste and (lines := lines_about(cluster, '""')):
            break
        assert time.monotonic() < deadline, f"nothing about {address} in:\n{log_of(cluster)}"
        time.sleep(0.01)  # a file gives no event
    times = [datetime.fromisoformat(line.split()[0]).timestamp() for line in lines]
    assert all(later - earlier > WINDOW - 1 for earlier, later in pairwise(times)), lines
    return lines[-1]


def megabytes(cluster: Cluster) -> float:
    """How large the controller is."""
    return float(psutil.Process(cluster.controller_pid).memory_info().rss) / MEGABYTE


@pytest.fixture
def address() -> str:
    """An address of this host from which nobody has come before."""
    return f"127.0.1.{next(_addresses)}"


_addresses = count(2)


@pytest.fixture(autouse=True)
def unharmed(target: Cluster, honest: Client) -> Iterator[None]:
    """While strangers do what they do, the honest are served as ever."""
    result = honest.load_balanced_view().map_async(abs, range(-200, 0))
    lives = {id: engine.incarnation for id, engine in honest.link.engines.items()}
    yield
    assert result.get(timeout=30) == list(range(200, 0, -1))
    assert {id: engine.incarnation for id, engine in honest.link.engines.items()} == lives
    assert honest[:].apply_sync(os.getpid) == list(target.engine_pids.values())


# --- keys that are not good -------------------------------------------------------------------


def of_the_other_port(cluster: Cluster, port: str) -> ConnectionFile:
    other = key_file(cluster, "client" if port == "engine" else "engine")
    return replace(other, url=key_file(cluster, port).url)


def with_another_server_key(cluster: Cluster, port: str) -> ConnectionFile:
    return replace(key_file(cluster, port), server_key=KeyPair.create().public.decode())


WRONG: dict[str, tuple[Callable[[Cluster, str], ConnectionFile], str, str]] = {
    "of another cluster": (
        lambda cluster, port: foreign(key_file(cluster, port)),
        "refused",
        "a key that this cluster does not know",
    ),
    "of the other port": (of_the_other_port, "refused", "which is for the"),
    "of another controller": (with_another_server_key, "wrong-server", "with another key"),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_key_is_refused_and_told_once(
    target: Cluster, peers: Peers, address: str, wrong: str, port: str
) -> None:
    make, kind, reason = WRONG[wrong]
    file = make(target, port)
    file = replace(file, url=file.url.replace("tcp://", f"tcp://{address}:0;"))
    strangers = [peers(file) for _ in range(5)]
    for stranger in strangers:
        assert stranger.event(sockets.Failed).kind == kind
        assert not stranger.throw(*codec.encode([hello("client")]))
        assert not any(isinstance(event, sockets.Up) for event in stranger.events)
        stranger.close()
    line = told_once(target, address, in_haste=kind == "wrong-server")
    assert reason in line or 'address=""' in line


@pytest.mark.parametrize("port", PORTS)
def test_without_a_key_nothing_is_heard(
    target: Cluster, peers: Peers, address: str, port: str
) -> None:
    url = key_file(target, port).url.replace("tcp://", f"tcp://{address}:0;")
    before = target.engine_pids
    for _ in range(5):
        stranger = peers.context.socket(zmq.DEALER)
        stranger.setsockopt(zmq.IMMEDIATE, 0)  # send as soon as there is anything to send to
        stranger.setsockopt(zmq.HANDSHAKE_IVL, 500)
        stranger.connect(url)
        for message in (hello("engine"), hello("client"), m.Shutdown(controller=True)):
            with contextlib.suppress(zmq.Again):  # it was turned away already
                stranger.send_multipart(codec.encode([message]), zmq.NOBLOCK)
        assert not stranger.poll(100)
        stranger.close()
    told_once(target, address, in_haste=True)
    assert target.engine_pids == before


# --- bytes that are no handshake --------------------------------------------------------------


def tcp(cluster: Cluster, port: str, address: str) -> plain.socket:
    """A plain connection from this address."""
    number = int(key_file(cluster, port).url.rpartition(":")[2])
    return plain.create_connection(("127.0.0.1", number), PATIENCE, source_address=(address, 0))


def pour(stranger: plain.socket, *parts: bytes) -> int:
    """Send all of this, or as much as is taken; how many bytes were."""
    sent = 0
    stranger.settimeout(1.0)  # who is cut off with a full window is not told at once
    with contextlib.suppress(OSError):  # it was cut off
        for part in parts:
            stranger.sendall(part)
            sent += len(part)
    return sent


def hung_up(stranger: plain.socket) -> bool:
    """Whether the controller ends the connection; not before it has said what it wanted."""
    stranger.settimeout(PATIENCE)
    try:
        while stranger.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


NONSENSE = {
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "a web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20,
    "without CURVE": GREETING.replace(b"CURVE", b"NULL\0") + b"\x04\x06\x05READY",
    "with PLAIN": GREETING.replace(b"CURVE", b"PLAIN") + b"\x04\x06\x05HELLO",
    "old ZMTP": b"\xff" + bytes(8) + b"\x7f\x01\x05" + b"\0\0" * 100,
    "a message too early": GREETING + b"\x00\x05hello",
    "a broken HELLO": GREETING + b"\x04\xc8\x05HELLO" + bytes(194),
    "an INITIATE too early": GREETING + b"\x04\xff\x08INITIATE" + bytes(246),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_cut_off_and_told_once(
    target: Cluster, address: str, nonsense: str, port: str
) -> None:
    for _ in range(5):
        with tcp(target, port, address) as stranger:
            pour(stranger, NONSENSE[nonsense])
            assert hung_up(stranger)
    told_once(target, address, in_haste=True)


@pytest.mark.parametrize("port", PORTS)
def test_who_connects_and_leaves_again_disturbs_nobody(
    target: Cluster, address: str, port: str
) -> None:
    for parts in ((), (GREETING[:11],), (GREETING,), (GREETING, b"\x04\xc8\x05HEL")) * 25:
        with tcp(target, port, address) as stranger:
            pour(stranger, *parts)
    assert len(lines_about(target, address)) <= 1


def test_two_hundred_strangers_who_stay(target: Cluster, honest: Client, address: str) -> None:
    """Silent ones, and some at each step of a handshake; the honest do not notice."""
    before = megabytes(target)
    steps = [(), (GREETING[:1],), (GREETING[:64],), (GREETING, b"\x04\xc8\x05HELLO", bytes(9))]
    with contextlib.ExitStack() as stack:
        for number in range(200):
            port = PORTS[number % 2]
            stranger = stack.enter_context(tcp(target, port, address))
            pour(stranger, *steps[number // 2 % len(steps)])
        view = honest.load_balanced_view()
        slowest = 0.0
        for number in range(200):
            began = time.monotonic()
            assert view.apply_sync(abs, -number) == number
            slowest = max(slowest, time.monotonic() - began)
        assert view.map_sync(abs, range(-2000, 0)) == list(range(2000, 0, -1))
        assert slowest < 2.0  # of some that take a millisecond
        grown = megabytes(target) - before
        with target.connect_client_sync() as late:  # and there is room for more
            assert late[0].apply_sync(abs, -1) == 1
    assert grown <= GROWTH


# --- messages without an end ------------------------------------------------------------------


def endless(first: bytes, megabytes: int) -> Iterator[bytes]:
    """A frame that says it is two gigabytes long, as far as it ever comes."""
    yield first + struct.pack(">Q", (1 << 31) - 2)
    for _ in range(megabytes):
        yield bytes(MEGABYTE)


def many(first: bytes, megabytes: int) -> Iterator[bytes]:
    """Frames of a message that has no last one (M8)."""
    for _ in range(megabytes):
        yield first + struct.pack(">Q", 900_000) + bytes(900_000)


ENDLESS: dict[str, tuple[Any, bytes]] = {
    "command": (endless, COMMAND),
    "message": (endless, MESSAGE),
    "part": (endless, MORE),
    "parts": (many, MORE),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_message_does_not_fill_the_controller(
    target: Cluster, address: str, kind: str, port: str
) -> None:
    make, first = ENDLESS[kind]
    before = largest = megabytes(target)
    with tcp(target, port, address) as stranger:
        pour(stranger, GREETING)
        for part in make(first, 200):
            if not pour(stranger, part):
                break
            largest = max(largest, megabytes(target))
        else:
            pytest.fail(f"it took all; the controller has grown to {largest:.0f} MB")
        assert hung_up(stranger)
    assert largest - before <= GROWTH
    told_once(target, address, in_haste=True)


def test_a_hundred_endless_messages_at_once_do_not_fill_the_controller(
    target: Cluster, address: str
) -> None:
    before = megabytes(target)
    grown: list[float] = []

    def fill(number: int) -> bool:
        with tcp(target, PORTS[number % 2], address) as stranger:
            pour(stranger, GREETING)
            taken = all(pour(stranger, part) for part in endless(MESSAGE, 20))
            grown.append(megabytes(target) - before)
            return taken

    with ThreadPoolExecutor(16) as strangers:
        assert not any(strangers.map(fill, range(100)))
    assert max(grown) <= GROWTH
