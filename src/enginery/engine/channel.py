"""The pipe between a supervisor and its nursery: small messages, one JSON line each."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from msgspec import Struct, json

from ..core.messages import Segment


class Begin(Struct, tag=True):
    """To the nursery: begin a life of the engine of this seat, after its last one has ended."""

    seat: int
    incarnation: bytes
    place: bytes
    file: str
    ports: dict[int, int] = {}  # of this host, by those that a tunnel leads to
    memory: Segment | None = None  # by which it sees that it can open what the supervisor keeps


class Signal(Struct, tag=True):
    """To the nursery: send this signal to the engine of this seat."""

    seat: int
    signum: int


class Begun(Struct, tag=True):
    """From the nursery: that life has begun."""

    seat: int
    incarnation: bytes
    pid: int


class Ended(Struct, tag=True):
    """From the nursery: that life is over; `status` as `os.waitstatus_to_exitcode`."""

    seat: int
    incarnation: bytes
    status: int
    started: int
    finished: int
    facts: dict[str, Any]
    item: int = 0


Line = Begin | Signal | Begun | Ended

_decoder = json.Decoder(Line)


class Channel:
    """One end of the pipe."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._rest = b""
        self._posted = b""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """What to wait at until there is something to receive."""
        return self._socket.fileno()

    def send(self, line: Line) -> None:
        """Say this; nothing happens when the other end is gone."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(json.encode(line) + b"\n")

    def post(self, line: Line) -> None:
        """Say this as soon as the other end has room; never waits. See `flush`."""
        self._posted += json.encode(line) + b"\n"
        self.flush()

    @property
    def unsent(self) -> bool:
        """Whether something was posted for which the other end had no room yet."""
        return bool(self._posted)

    def flush(self, wait: bool = False) -> None:
        """Say what was posted, as far as there is room; with `wait` all of it."""
        try:
            while self._posted:
                flags = 0 if wait else socket.MSG_DONTWAIT
                self._posted = self._posted[self._socket.send(self._posted, flags) :]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._posted = b""

    def receive(self) -> list[Line] | None:
        """What has arrived, waiting for something to; None when the other end has finished."""
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [_decoder.decode(line) for line in lines]

    def finish(self) -> None:
        """Say no more; what the other end says can still be received."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close this end, in this process."""
        self._socket.close()
