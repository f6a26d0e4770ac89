"""A peer that says over real sockets whatever a test wants it to say.

It has a key, the package's own sockets and codec, and no manners: none of the machines of `core`
decides what it says.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import zmq
from zmq.utils.garbage import gc as zero_copy_thread

from enginery import Cluster
from enginery.core import messages as m
from enginery.net import sockets
from enginery.net.keys import ConnectionFile, KeyPair
from enginery.net.profile import Profile
from enginery.version import PROTOCOL
from enginery.wire import codec

M = TypeVar("M", bound=m.Message)

PATIENCE = 10.0
"""Seconds after which something that must happen has not happened."""


def key_file(cluster: Cluster, role: Any) -> ConnectionFile:
    """The connection file of a role."""
    return Profile(Path(cluster.profile.path)).read_file(role, cluster.cluster_id)


def foreign(file: ConnectionFile) -> ConnectionFile:
    """The same address with the key of some other cluster."""
    pair = KeyPair.create()
    return replace(file, public_key=pair.public.decode(), secret_key=pair.secret.decode())


def hello(kind: Any, lane: Any = "tasks", **fields: Any) -> m.Hello:
    """A hello of somebody new, unless the fields say otherwise."""
    fields = {"identity": os.urandom(16), "incarnation": os.urandom(16), "host": "h"} | fields
    return m.Hello(PROTOCOL, "0", kind, lane, **fields)


class Peer:
    """One connection."""

    def __init__(self, context: sockets.Context, file: ConnectionFile) -> None:
        self.socket, self.monitor = sockets.dealer(context, file)
        self.events: list[sockets.Event] = []
        self.unread: list[m.Message] = []

    def close(self) -> None:
        """Go without a word."""
        self.monitor.close()
        self.socket.close()

    def say(self, *messages: m.Message) -> None:
        """Say this, in one batch, as soon as there is a connection."""
        frames = codec.encode(messages)
        self._until(lambda: sockets.send(self.socket, frames))

    def throw(self, *frames: bytes) -> bool:
        """Send frames that need not be a batch; whether there was a connection to take them."""
        return sockets.send(self.socket, frames)

    def hear(self, kind: type[M]) -> M:
        """The next message of this kind; others before it are skipped."""
        return self._until(lambda: self._take(kind))

    def has(self, kind: type[sockets.Event]) -> bool:
        """Whether there was such an event at its socket."""
        while (event := sockets.monitor_event(self.monitor)) is not None:
            self.events.append(event)
        return any(isinstance(event, kind) for event in self.events)

    def event(self, kind: type[sockets.Event]) -> Any:
        """The first event of this kind at its socket."""
        return self._until(lambda: next((e for e in self.events if isinstance(e, kind)), None))

    def answers(self, message: m.Message, fence: m.Hello) -> list[m.Message]:
        """All that is said in answer to a message; to the hello that follows comes a welcome."""
        self.say(message, fence)
        heard: list[m.Message] = []
        while not heard or not isinstance(heard[-1], m.Welcome):
            heard.append(self.hear(m.Message))
        return heard[:-1]

    def _take(self, kind: type[M]) -> M | None:
        while self.unread:
            message = self.unread.pop(0)
            if isinstance(message, kind):
                return message
        return None

    def _until(self, look: Callable[[], Any]) -> Any:
        """Wait until `look` gives something true, and give that."""
        deadline = time.monotonic() + PATIENCE
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self.monitor, zmq.POLLIN)
        while not (found := look()):
            left = deadline - time.monotonic()
            assert left > 0, f"nothing within {PATIENCE} s; events {self.events}"
            poller.poll(left * 1000)
            while (event := sockets.monitor_event(self.monitor)) is not None:
                self.events.append(event)
            while (frames := sockets.recv_frames(self.socket)) is not None:
                self.unread += codec.decode(frames)
        return found


class Peers:
    """The peers of a test, of one cluster; all are closed at its end."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.context = sockets.new_context()

    def __call__(self, role: str | ConnectionFile) -> Peer:
        """A peer with the key of this role, or with this file."""
        file = role if isinstance(role, ConnectionFile) else key_file(self.cluster, role)
        return Peer(self.context, file)

    def known(self, role: str, lane: str = "tasks", **fields: Any) -> tuple[Peer, m.Hello]:
        """A peer that was welcomed after this hello."""
        peer = self(role)
        said = hello("engine" if role == "engine" else "client", lane, **fields)
        peer.say(said)
        peer.hear(m.Welcome)
        return peer, said


@contextlib.contextmanager
def peers_of(cluster: Cluster) -> Iterator[Peers]:
    """Peers for one test."""
    peers = Peers(cluster)
    try:
        yield peers
    finally:
        peers.context.destroy(linger=0)
        zero_copy_thread.stop()  # pyzmq starts it for the first frame that is not copied
