"""What happens to the connections of a socket, as libzmq's own thread reports it.

A ROUTER's monitor says `Joined`, `Left`, `Refused`; a DEALER's says `Up`, `Down`, `Failed`.

libzmq's thread *waits* until its report has been taken up. Two things follow: a monitor has no
high-water mark, or whoever connects often enough would stop the whole process; and monitoring is
stopped before either of the two sockets is closed, or that thread waits for ever, and every other
socket with it. `Peer.close` and `Monitor.close` see to that in whatever order they are called.

libzmq does not connect anew after what it takes for a mistake of the other end: a key that is
refused, or bytes that are not in its protocol. But one bit that a network has flipped is enough for
that. So whoever waits at a DEALER's monitor also lets it `retry`.

Mistakes of the other end are not watched: libzmq 4.3.5 forgets while it reports one what it was
about to do, which is to cut the connection. It stops to read instead; and when such a connection
breaks before it has been silent for long enough, the next heartbeat ends the whole process
(`Assertion failed: !_io_error`). That there was one is known by a connection that just ends.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

import zmq
from msgspec import Struct

from .descriptors import address


class Joined(Struct, frozen=True):
    """A peer has connected to this ROUTER over that descriptor; its key is not checked yet."""

    fd: int
    address: str


class Left(Struct, frozen=True):
    """The connection of that descriptor, and perhaps by now of the next peer's, is gone.

    When it was `refused`, that is told apart.
    """

    fd: int
    address: str
    refused: bool = False


class Refused(Struct, frozen=True):
    """A peer did not get in; `address` is "" when it is not known."""

    address: str
    reason: str


class Up(Struct, frozen=True):
    """This DEALER is connected: each has proved its key to the other."""


class Down(Struct, frozen=True):
    """The connection that was up is gone; libzmq tries to make the next."""


Kind = Literal["refused", "wrong-server", "no-curve", "unreachable"]


class Failed(Struct, frozen=True):
    """An attempt to connect has failed.

    `refused`: the controller does not know our key; `no-curve`: what listens there is none of
    ours. `wrong-server`: it hung up during the handshake, as one with another key than we expect
    does (and one that is just being stopped).
    `unreachable`: nothing listens there. One that does not answer at all is not reported.
    """

    kind: Kind
    reason: str


Event = Joined | Left | Refused | Up | Down | Failed

_ENDS = zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
_WATCHED = (
    _ENDS
    | zmq.Event.ACCEPTED
    | zmq.Event.ACCEPT_FAILED
    | zmq.Event.HANDSHAKE_SUCCEEDED
    | zmq.Event.DISCONNECTED
    | zmq.Event.CONNECT_DELAYED
    | zmq.Event.CLOSED
)


class Peer(zmq.Socket[bytes]):
    """A socket that may have a monitor."""

    monitored: bool = False

    def close(self, linger: int | None = None) -> None:
        """Close it; its monitor stays silent from now on."""
        self.stop_monitoring()
        super().close(linger)

    def stop_monitoring(self) -> None:
        """Report nothing more."""
        if self.monitored and not self.closed:
            self.monitored = False
            self.monitor(None, 0)


class Monitor(zmq.Socket[bytes]):
    """The reports about one `Peer`; a socket, so that it can be polled."""

    CONNECT_TIMEOUT = 1000
    """Milliseconds after which a connection that nobody answers is tried anew."""

    RETRY = 0.5
    """Seconds until it is tried again, where libzmq would not."""

    watched: Peer
    url: str  # where a DEALER connects
    retry_at: float | None
    waiting: deque[Event]
    up: bool
    failing: str
    addresses: dict[int, str]
    connecting_since: float

    def watch(self, socket: Peer) -> None:
        """Begin to report about this socket."""
        self.waiting, self.up, self.failing, self.addresses = deque(), False, "", {}
        self.connecting_since = time.monotonic()
        self.watched, self.url, self.retry_at = socket, "", None
        endpoint = f"inproc://monitor-{id(socket):x}-{os.urandom(4).hex()}"
        socket.monitor(endpoint, _WATCHED)
        socket.monitored = True
        self.connect(endpoint)

    def close(self, linger: int | None = None) -> None:
        """Stop reporting, and close this socket; not the one that it watched."""
        self.watched.stop_monitoring()
        super().close(linger)

    def retry(self) -> None:
        """Connect anew, if it is time for that and all that had arrived is read."""
        if self.retry_at is None or time.monotonic() < self.retry_at:
            return
        if int(self.watched.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            return
        self.retry_at = None
        with suppress(zmq.ZMQError):  # libzmq has forgotten it already
            self.watched.disconnect(self.url)
        self.watched.connect(self.url)

    def take(self) -> Event | None:
        """The next event, or None."""
        while not self.waiting:
            try:
                report, _endpoint = self.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            code, value = struct.unpack("=HI", report)
            if self.watched.type == zmq.ROUTER:
                self._at_router(code, value)
            else:
                self._at_dealer(code, value)
        return self.waiting.popleft()

    def _at_router(self, code: int, value: int) -> None:
        told = self.waiting.append
        refused, self.failing = self.failing, ""
        if refused:  # its DISCONNECTED comes next, and tells who it was
            known = code == zmq.Event.DISCONNECTED
            told(Refused(self.addresses.get(value, "") if known else "", refused))
        match code:
            case zmq.Event.ACCEPTED:
                self.addresses[value] = address(value)
                told(Joined(value, self.addresses[value]))
            case zmq.Event.DISCONNECTED:
                told(Left(value, self.addresses.pop(value, ""), bool(refused)))
            case zmq.Event.ACCEPT_FAILED:
                told(Refused("", f"it cannot be accepted: {os.strerror(value)}"))
            case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL if value == errno.EFAULT:
                told(Refused("", "nobody here checks keys"))  # and no DISCONNECTED comes
            case _ if code & _ENDS:
                self.failing = _why(code, value)

    def _at_dealer(self, code: int, value: int) -> None:
        told = self.waiting.append
        match code:
            case zmq.Event.HANDSHAKE_SUCCEEDED:
                self.up, self.retry_at = True, None
                told(Up())
            case zmq.Event.DISCONNECTED if self.up:
                self.up, self.retry_at = False, time.monotonic()
                told(Down())
            case zmq.Event.DISCONNECTED if self.failing:  # and why was told
                self.failing = ""
            case zmq.Event.DISCONNECTED:
                self.retry_at = time.monotonic() + self.RETRY
                told(Failed("no-curve", "what listens there is not a controller of enginery"))
            case zmq.Event.HANDSHAKE_FAILED_AUTH:
                self.retry_at = time.monotonic() + self.RETRY
                self.failing = "refused"
                told(Failed("refused", "the controller does not know this key"))
            case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL:
                self.failing = "wrong-server"
                told(Failed("wrong-server", "the controller there has another key, or is stopping"))
            case zmq.Event.CONNECT_DELAYED:
                self.connecting_since, self.failing = time.monotonic(), ""
            case zmq.Event.CLOSED:
                waited = time.monotonic() - self.connecting_since
                if waited < 0.9 * self.CONNECT_TIMEOUT / 1000:  # else nobody answered at all
                    told(Failed("unreachable", "nothing listens there"))


def rest(monitors: Iterable[Monitor], timeout: float | None) -> float | None:
    """Seconds to wait at most, so that none of them retries too late; None: for ever."""
    due = [each.retry_at for each in monitors if each.retry_at is not None]
    if not due:
        return timeout
    left = max(0.0, min(due) - time.monotonic())
    return left if timeout is None else min(timeout, left)


def monitor_event(monitor: Monitor) -> Event | None:
    """The next thing that has happened at the socket of this monitor, or None."""
    return monitor.take()


def _why(code: int, value: int) -> str:
    """Why a peer did not get in."""
    if code == zmq.Event.HANDSHAKE_FAILED_AUTH:
        return "its key is not allowed here"
    return f"it left during the handshake: {os.strerror(value)}"
