"""Large buffers go from host to host: a supervisor lends them at its door, others fetch them.

It is open while something is lent, on the address by which this host reaches the controller, for
who has an engine's key and has been told by the controller what the key of this very socket is; a
ticket is good for one copy. Who fetches asks for one piece after the other, `AHEAD` of them at a
time, so that who lends keeps nothing in mind.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import Any

import zmq
from msgspec import MsgspecError, msgpack

from ..core import messages as m
from ..net import sockets
from ..net.auth import Authenticator
from ..net.keys import ConnectionFile, KeyPair
from ..wire.pieces import PIECE

AHEAD = 16
"""Pieces that are asked for before they are there."""

STALLED = 5.0
"""Seconds without a piece after which nothing more is expected."""

UNREACHED = 3.0
"""Seconds without a connection after which a host is taken for out of reach."""

LEAST = 4_000_000
"""Bytes a second below which it is no use: the controller is not slower, probably."""

DOMAIN = "door"

TICKET = 16

SHORT = 1024
"""Bytes of a question at most."""

TURN = 100
"""Messages at most that are looked at before others have their turn."""


class Lender:
    """What is lent, by ticket, to engines that have a `file` like this one."""

    def __init__(self, context: sockets.Context, file: ConnectionFile, poller: zmq.Poller) -> None:
        self._context, self._file, self._poller = context, file, poller
        self._lent: dict[bytes, tuple[int, Sequence[memoryview]]] = {}
        self._socket: sockets.Peer | None = None
        self._auth: Authenticator | None = None
        self._ip = sockets.own_address(file.url)
        self._address = self._key = ""

    def lend(self, number: int, views: Sequence[memoryview]) -> m.Door | None:
        """Let others have these; None where nobody could come."""
        if self._socket is None and not self._open():
            return None
        ticket = os.urandom(TICKET)
        self._lent[ticket] = number, views
        return m.Door(self._address, self._key, ticket)

    def _open(self) -> bool:
        if not self._ip:
            return False
        keys = KeyPair.create()
        allowed = {DOMAIN: {self._file.public_key.encode(): "engine"}}
        try:
            self._auth = Authenticator(self._context, allowed)
            self._socket, port = sockets.router(
                self._context, keys, DOMAIN, self._ip, max_frame=SHORT, ahead=4 * AHEAD
            )
        except zmq.ZMQError:
            self.close()
            return False
        self._address = f"tcp://{sockets.written(self._ip)}:{port}"
        self._key = keys.public.decode()
        for socket in (self._socket, self._auth.socket):
            self._poller.register(socket, zmq.POLLIN)
        return True

    def keep(self, numbers: Container[int]) -> None:
        """Of what is lent, only these are from now on."""
        self._lent = {t: each for t, each in self._lent.items() if each[0] in numbers}
        if not self._lent:
            self.close()

    def serve(self, ready: Container[Any]) -> None:
        """Give those who ask what they ask for."""
        if self._socket is None or self._auth is None:
            return
        if self._auth.socket in ready:
            self._auth.handle()
        if self._socket not in ready:
            return
        for _ in range(TURN):
            asked = sockets.recv(self._socket)
            if asked is None:
                return
            conn, _, _, frames = asked
            sockets.send(self._socket, self._answer(frames), conn)

    def _answer(self, frames: Sequence[Any]) -> list[Any]:
        """A piece, or nothing: there is none."""
        try:
            ticket, index, at = msgpack.decode(frames[0], type=tuple[bytes, int, int])
            view = self._lent[ticket][1][index]
        except (MsgspecError, LookupError):
            return [b""]
        if index < 0 or not 0 <= at < len(view):
            return [b""]
        return [msgpack.encode((index, at)), view[at : at + PIECE]]

    def close(self) -> None:
        """Lend nothing any more."""
        self._lent.clear()
        if self._socket is not None:
            self._poller.unregister(self._socket)
            self._socket.close(linger=0)
            self._socket = None
        if self._auth is not None:
            if self._auth.socket in self._poller:
                self._poller.unregister(self._auth.socket)
            self._auth.close()
            self._auth = None


class Fetch:
    """A copy on its way here from another host's door.

    Raises ValueError or zmq.ZMQError when that is none, MemoryError when there is no room.
    """

    def __init__(
        self, context: sockets.Context, keep: m.Keep, file: ConnectionFile, poller: zmq.Poller
    ) -> None:
        assert keep.door is not None
        self.message = keep
        self.failed = False
        now = time.monotonic()
        self._until = now + UNREACHED
        self._latest = now + STALLED + sum(keep.sizes) / LEAST
        self._parts = [bytearray(size) for size in keep.sizes]
        self._ticket = keep.door.ticket
        self._poller = poller
        self._missing = [
            (index, at)
            for index, size in enumerate(keep.sizes)
            for at in range(0, size, PIECE)
        ]  # fmt: skip
        self._missing.reverse()
        self._asked: set[tuple[int, int]] = set()
        there = replace(file, url=keep.door.address, server_key=keep.door.key)
        self._socket, self._monitor = sockets.dealer(context, there)
        for source in (self._socket, self._monitor):
            poller.register(source, zmq.POLLIN)

    @property
    def complete(self) -> bool:
        """Whether all is there."""
        return not (self.failed or self._missing or self._asked)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.complete or self.failed or time.monotonic() >= self.deadline

    @property
    def deadline(self) -> float:
        """When it is given up, if nothing more comes."""
        return min(self._until, self._latest)

    @property
    def buffers(self) -> tuple[m.Buffer, ...]:
        """What has come."""
        return tuple(m.Buffer(part) for part in self._parts)

    def _ask(self) -> None:
        while self._missing and len(self._asked) < AHEAD:
            piece = self._missing.pop()
            self._asked.add(piece)
            sockets.send(self._socket, [msgpack.encode((self._ticket, *piece))])

    def take(self, ready: Container[Any]) -> None:
        """Take what has come, and ask for more."""
        if self._monitor in ready:
            while (change := sockets.monitor_event(self._monitor)) is not None:
                if isinstance(change, sockets.Up):
                    self._until = time.monotonic() + STALLED
                    self._ask()
                else:
                    self.failed = True
        if self._socket not in ready:
            return
        while (frames := sockets.recv_frames(self._socket)) is not None:
            self.failed |= not self._takes(frames)
            if self.failed:
                return
            self._until = time.monotonic() + STALLED
        self._ask()

    def _takes(self, frames: Sequence[Any]) -> bool:
        try:
            head, piece = frames
            index, at = msgpack.decode(head, type=tuple[int, int])
            self._asked.remove((index, at))
        except (MsgspecError, ValueError, KeyError):
            return False
        part = self._parts[index]
        if len(piece) != min(PIECE, len(part) - at):
            return False
        part[at : at + len(piece)] = piece
        return True

    def close(self) -> None:
        """Have no more of it."""
        for source in (self._socket, self._monitor):
            self._poller.unregister(source)
        self._monitor.close()
        self._socket.close(linger=0)


def pause(fetches: Iterable[Fetch]) -> float | None:
    """Seconds until nothing more is expected of one of these."""
    now = time.monotonic()
    return min((max(0.0, each.deadline - now) for each in fetches), default=None)
