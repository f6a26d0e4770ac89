"""Bare ZeroMQ: a client, `zmq.proxy`, and processes that send back what they get.

The same processes and four hops that a task and its result need, encrypted by CURVE as ours are,
with a message for each task, and nothing else.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import zmq

from . import Submit

ANY_PORT = "tcp://127.0.0.1:*"
PAYLOAD = b"x" * 200
"""About as many bytes as a small task has."""


def packed(x: int) -> bytes:
    """A task."""
    return PAYLOAD + b"%d" % x


def unpacked(frame: bytes) -> int:
    """What it was made of."""
    return int(frame[len(PAYLOAD) :])


@contextmanager
def connected(
    kind: int, engines: int, relay: Callable[[Connection], None]
) -> Iterator[zmq.Socket[bytes]]:
    """A socket of this kind, connected to a relay that has so many echoes behind it."""
    here, there = multiprocessing.Pipe()
    processes = [multiprocessing.Process(target=relay, args=(there,), daemon=True)]
    processes[0].start()
    front, back, key = here.recv()
    for _ in range(engines):
        processes.append(multiprocessing.Process(target=run_echo, args=(back, key), daemon=True))
        processes[-1].start()
    context = zmq.Context()
    socket = encrypted(context.socket(kind), key)
    socket.connect(front)
    try:
        yield socket
    finally:
        context.destroy(linger=0)
        for process in processes:
            process.terminate()
            process.join()


@contextmanager
def there_and_back(relay: Callable[[Connection], None]) -> Iterator[Callable[[int], int]]:
    """`caller` through this relay: a message there and back."""
    with connected(zmq.DEALER, 1, relay) as socket:

        def call(x: int) -> int:
            socket.send_multipart([b"", packed(x)])
            return unpacked(socket.recv_multipart()[1])

        yield call


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """A message per task; answers are read until the one that is asked for is there."""
    with connected(zmq.DEALER, engines, run_proxy) as socket:
        answers: dict[int, int] = {}

        def submit(_: Callable[..., Any], x: int) -> Callable[[], int]:
            socket.send_multipart([b"", packed(x)])
            return lambda: get(x)

        def get(x: int) -> int:
            while x not in answers:
                answer = unpacked(socket.recv_multipart()[1])
                answers[answer] = answer
            return answers.pop(x)

        yield submit


def bound(pipe: Connection) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """The two sockets of a relay; it says where they listen, and with which key."""
    context = zmq.Context()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    public, secret = zmq.curve_keypair()
    for socket in (front, back):
        socket.set_hwm(0)
        socket.curve_server = True
        socket.curve_secretkey = secret
        socket.bind(ANY_PORT)
    pipe.send(
        (
            front.getsockopt_string(zmq.LAST_ENDPOINT),
            back.getsockopt_string(zmq.LAST_ENDPOINT),
            public,
        )
    )
    return front, back


def encrypted(socket: zmq.Socket[bytes], server_key: bytes) -> zmq.Socket[bytes]:
    """Let a socket connect to a relay that has this key."""
    socket.set_hwm(0)  # beyond it, answers would be lost
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_serverkey = server_key
    return socket


def run_proxy(pipe: Connection) -> None:
    """Pass everything on in both directions."""
    zmq.proxy(*bound(pipe))


def run_echo(address: str, server_key: bytes) -> None:
    """Send back what comes."""
    socket = encrypted(zmq.Context().socket(zmq.REP), server_key)
    socket.connect(address)
    while True:
        socket.send_multipart(socket.recv_multipart())


caller = partial(there_and_back, run_proxy)
