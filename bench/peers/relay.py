"""Bare ZeroMQ with a relay in Python between client and echoes, which do nothing but pass on.

The least that a controller in Python can do. Tasks that are submitted one by one leave 100 to a
message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import zmq

from . import Submit
from .echo import bound, connected, packed, there_and_back, unpacked

TOGETHER = 100


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """A frame per task, 100 of them a message; who waits sends what has not been sent."""
    with connected(zmq.DEALER, engines, run_relay) as socket:
        unsent: list[bytes] = []
        answers: dict[int, int] = {}

        def submit(_: Callable[..., Any], x: int) -> Callable[[], int]:
            unsent.append(packed(x))
            if len(unsent) == TOGETHER:
                send()
            return lambda: get(x)

        def send() -> None:
            socket.send_multipart([b"", *unsent])
            unsent.clear()

        def get(x: int) -> int:
            if unsent:
                send()
            while x not in answers:
                for frame in socket.recv_multipart()[1:]:
                    answer = unpacked(frame)
                    answers[answer] = answer
            return answers.pop(x)

        yield submit


def run_relay(pipe: Connection) -> None:
    """Pass everything on in both directions."""
    front, back = bound(pipe)
    poller = zmq.Poller()
    poller.register(front, zmq.POLLIN)
    poller.register(back, zmq.POLLIN)
    while True:
        for socket, _ in poller.poll():
            other = back if socket is front else front
            other.send_multipart(socket.recv_multipart())


caller = partial(there_and_back, run_relay)
