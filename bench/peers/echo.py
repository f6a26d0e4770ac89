"""Bare ZeroMQ: a client, `zmq.proxy`, and a process that sends back what it gets. No encryption.

The same three processes and four hops that a task and its result need, and nothing else.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import zmq

ANY_PORT = "tcp://127.0.0.1:*"
PAYLOAD = b"x" * 200
"""About as many bytes as a small task has."""


@contextmanager
def caller() -> Iterator[Callable[[int], int]]:
    """A function that sends a message through the relay, and returns what came back."""
    here, there = multiprocessing.Pipe()
    relay = multiprocessing.Process(target=run_relay, args=(there,), daemon=True)
    relay.start()
    front, back = here.recv()
    echo = multiprocessing.Process(target=run_echo, args=(back,), daemon=True)
    echo.start()
    context = zmq.Context()
    socket = context.socket(zmq.REQ)
    socket.connect(front)

    def call(x: int) -> int:
        socket.send(PAYLOAD + b"%d" % x)
        return int(socket.recv()[len(PAYLOAD) :])

    try:
        yield call
    finally:
        context.destroy(linger=0)
        for process in (relay, echo):
            process.terminate()
            process.join()


def run_relay(pipe: Connection) -> None:
    """Say where it listens, then pass everything on in both directions."""
    context = zmq.Context()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    front.bind(ANY_PORT)
    back.bind(ANY_PORT)
    pipe.send(
        (front.getsockopt_string(zmq.LAST_ENDPOINT), back.getsockopt_string(zmq.LAST_ENDPOINT))
    )
    zmq.proxy(front, back)


def run_echo(address: str) -> None:
    """Send back what comes."""
    socket = zmq.Context().socket(zmq.REP)
    socket.connect(address)
    while True:
        socket.send(socket.recv())
