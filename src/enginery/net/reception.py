"""Who is behind which connection of a ROUTER, and who has left.

libzmq reports a connection that is gone by its descriptor, which the next connection gets at once,
and reports arrive apart from messages. Asking by a send whether a peer is still there does not
help: on a busy machine one in twenty sends to a peer just reported gone is still taken. What helps
is the order of things. The report of a new connection comes before its first message; so whoever
hears a new connection, and then reads all reports, knows who had its descriptor before.

libzmq collects a message whole before it looks who sends it, even in a handshake: anybody at all
could fill the memory with a message that has no end. So who has not been heard yet is watched, and
cut off when more has come from it than any first message takes. An epoll of our own tells whenever
something comes from one of them; a look now and then would be too late, for in 20 ms a stranger on
the same host sends 60 MB.
"""

from __future__ import annotations

import select
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from . import sockets

FIRST = 1 << 16
"""Bytes that may come before and with the first message of a connection."""

HEARTBEATS = 140
"""Bytes of heartbeats that come from a peer in a second, and go to it, at most."""

SILENT = (
    "it has left without a word: perhaps it expects a controller with another key, or does not "
    "speak CURVE"
)
"""Why somebody did not get in, where nothing else is known."""

REMEMBERED = 10_000
"""Connections whose late messages are still recognized; their ids are not used again."""


class Heard:
    """A connection that has been heard, and how many bytes of it were read and written."""

    __slots__ = ("fd", "read", "since", "written")

    def __init__(self, fd: int, read: int) -> None:
        self.fd = fd
        self.read = read
        self.written = 0
        self.since = time.monotonic()


def wire_size(frames: Sequence[Any]) -> int:
    """Bytes of a message on the wire, with what CURVE and ZMTP add to each frame."""
    size = 0
    for frame in frames:
        length = len(frame) if type(frame) is bytes else memoryview(frame).nbytes
        size += length + (35 if length < 223 else 42)
    return size


class Reception:
    """A ROUTER with its monitor; poll `socket`, `monitor` and the descriptor `strangers`.

    When one of the latter two is ready, call `guard` first; then, and when `socket` is, or this is
    `unsettled`, `recv` until it gives None, then `left`.
    """

    def __init__(self, socket: sockets.Peer) -> None:
        self.socket = socket
        self.monitor = sockets.monitor(socket)
        self.refused: list[sockets.Refused] = []  # those who did not get in; for the reader to take
        self.strangers = select.epoll()  # ready when more has come from somebody unheard
        self._unheard: dict[int, str] = {}  # addresses, by descriptor
        self._conns: dict[int, bytes] = {}  # by descriptor
        self._heard: dict[bytes, Heard] = {}  # by connection
        self._leaving: dict[bytes, None] = {}  # reported gone; some of what they said is unread
        self._vanished: set[int] = set()  # descriptors of who is gone and had not been heard
        self._left: list[bytes] = []
        self._reported = True  # there may be reports
        self._more = False  # a message was read, so it is to be asked whether there is another
        self.taken = 0  # bytes of all messages, ever
        self._gone: OrderedDict[bytes, None] = OrderedDict()

    def recv(self) -> tuple[bytes, str, int, list[Any]] | None:
        """The next message, as `sockets.recv`; None when all has been read."""
        while True:
            known = self._more and not sockets.readable(self.socket)  # that there is nothing
            arrived = None if known else sockets.recv(self.socket)
            self._more = arrived is not None
            if arrived is None:
                if self._reported and self._watch():
                    continue  # somebody has left meanwhile: read all that they still said
                self._settle()
                return None
            conn, _, fd, frames = arrived
            size = wire_size(frames)
            self.taken += size
            heard = self._heard.get(conn)
            if heard is not None and heard.fd == fd:
                heard.read += size
                return arrived
            if conn in self._leaving:
                return arrived
            if conn not in self._gone:
                self._watch()
                if fd in self._vanished:  # it has left since
                    self._vanished.remove(fd)
                    self._leaving[conn] = None
                    return arrived
                self._leave(fd)
                self._conns[fd], self._heard[conn] = conn, Heard(fd, size)
                self._no_stranger(fd)
                return arrived

    def send(self, conn: bytes, frames: Sequence[Any]) -> bool:
        """Send one message; False when the peer cannot be reached."""
        sent = sockets.send(self.socket, frames, conn)
        if sent and (heard := self._heard.get(conn)) is not None:
            heard.written += wire_size(frames)
        return sent

    def held(self) -> dict[bytes, int]:
        """Bytes, about, that ZeroMQ holds for each connection: come and not read, or sent and not
        with the peer yet.
        """
        held = {}
        now = time.monotonic()
        for conn, heard in self._heard.items():
            acked, received = sockets.traffic(heard.fd)
            beats = int(HEARTBEATS * (now - heard.since))
            unread = max(0, received - heard.read - beats)
            held[conn] = unread + max(0, heard.written - acked - beats)
        return held

    def gone(self, conn: bytes) -> bool:
        """Whether nothing can be said on this connection any more, as far as is known."""
        return conn not in self._heard

    @property
    def unsettled(self) -> bool:
        """Whether somebody is gone of whom it is still to be told, once all is read."""
        return bool(self._leaving)

    def look(self) -> None:
        """Hear who has come and gone, and read nothing."""
        self._watch()

    def left(self) -> list[bytes]:
        """The connections that are gone and were not told yet; nothing more comes from them."""
        left, self._left = self._left, []
        return left

    def drop(self, conn: bytes) -> bool:
        """Cut a connection; False when it is gone already."""
        heard = self._heard.get(conn)
        return heard is not None and sockets.drop(heard.fd)

    def guard(self) -> None:
        """Cut off who sends much before it has said who it is, and have reports read."""
        self._reported = True
        for fd, _ in self.strangers.poll(0):
            if fd in self._unheard and sockets.received(fd) > FIRST and sockets.drop(fd):
                self.refused.append(sockets.Refused(self._unheard[fd], "it sends without an end"))
                self._no_stranger(fd)

    def close(self) -> None:
        """Close what is open here besides the sockets."""
        self.strangers.close()

    def _stranger(self, fd: int, address: str) -> None:
        with suppress(OSError):  # it has gone already
            self.strangers.register(fd, select.EPOLLIN | select.EPOLLET)
            self._unheard[fd] = address

    def _no_stranger(self, fd: int) -> None:
        """It was heard, or it is gone; who is gone has left the epoll by itself."""
        if self._unheard.pop(fd, None) is not None:
            with suppress(OSError):
                self.strangers.unregister(fd)

    def _watch(self) -> bool:
        """Read all reports; whether one of those who have been heard has left."""
        self._reported = False
        before = len(self._leaving)
        while (event := sockets.monitor_event(self.monitor)) is not None:
            if isinstance(event, sockets.Joined):
                self._vanished.discard(event.fd)
                self._stranger(event.fd, event.address)
            elif isinstance(event, sockets.Left):
                if event.fd in self._unheard and not event.refused:
                    self.refused.append(sockets.Refused(event.address, SILENT))
                self._no_stranger(event.fd)
                if event.fd not in self._conns:
                    self._vanished.add(event.fd)
                self._leave(event.fd)
            elif isinstance(event, sockets.Refused):
                self.refused.append(event)
        return len(self._leaving) > before

    def _leave(self, fd: int) -> None:
        conn = self._conns.pop(fd, None)
        if conn is not None:
            self._heard.pop(conn, None)
            self._leaving[conn] = None

    def _settle(self) -> None:
        if not self._leaving:
            return
        self._left.extend(self._leaving)
        self._gone.update(self._leaving)
        self._leaving.clear()
        while len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)
