"""The controller's end of its database: starts the process, tells it of news, asks, hears.

Nothing here waits, and nothing that goes wrong there is more to the controller than a line in its
log: the process is started again, ever more rarely.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import msgpack

from ...core.events import Consult, Consulted, DatabaseClosed, DatabaseOpened, Event
from ...net import private
from ..config import ControllerConfig
from . import talk

QUIET = 2.0
"""Seconds without news after which it is started: the first work of a cluster comes first."""

LATEST = 10.0
"""Seconds after which it is started whatever happens."""

MUCH = 32 << 20
"""Bytes of the journal with which it is started at once, lest some of it go unread."""

NEWS = 0.5
"""Seconds between two words of news."""

AGAIN, SELDOM = 1.0, 60.0
"""Seconds until it is started again, doubled each time, up to so many."""

MANY = 20
"""Failures after which no more are counted."""

CLOSE = 3.0
"""Seconds that the end of the controller waits for what is left to be written."""

UNUSABLE = 3
"""Its exit code when trying again does not help; see `process`."""

LARGEST = 64 << 20
"""Bytes of questions that may wait for it."""

Log = Callable[[str, str, dict[str, Any]], None]


class Child:
    """The process, and what was said to it and has not gone out yet."""

    def __init__(self, config: ControllerConfig, directory: Path, journal: str, log: Log) -> None:
        self._setup = setup(config, directory, journal)
        self._log = log
        self._kinds: dict[int, str] = {}  # what was asked, by number
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._pidfd = -1
        self._inbox = talk.Inbox(talk.FromStore)
        self._outbox = bytearray()
        self._poll = select.epoll()
        now = time.monotonic()  # the clock without jumps
        self.start_at: float | None = now + QUIET
        self._latest: float | None = now + LATEST  # None once it was started
        self._told_at = 0.0
        self._failures = 0
        self._wrong = False  # it has said what is
        self._grown = False  # the journal has, so there may be something to keep
        path = sqlite_file(config)
        # It can be asked from now on; whether there is anything in it will be seen.
        self._events: deque[Event] = deque([DatabaseOpened(path is None or path.exists())])

    # --- its life -------------------------------------------------------------------------------

    @property
    def late(self) -> bool:
        """Whether `events` should be looked for, even if nothing is readable."""
        return self.start_at is not None and time.monotonic() >= self.start_at

    def fileno(self) -> int:
        """Readable when there are `events`."""
        return self._poll.fileno()

    def _start(self) -> None:
        """Start it, if that can be; else it is tried again later."""
        self.start_at = self._latest = None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [sys.executable, "-P", "-m", __package__, str(theirs.fileno())]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        except OSError as error:
            ours.close()
            self._failed(f"its process cannot be started: {error}")
            return
        finally:
            theirs.close()
        self._process, self._pidfd = process, os.pidfd_open(process.pid)
        self._line, self._inbox = ours, talk.Inbox(talk.FromStore)
        self._poll.register(ours, select.EPOLLIN)
        self._poll.register(self._pidfd, select.EPOLLIN)
        self._outbox[:0] = talk.framed(self._setup)
        self._push()

    def _failed(self, reason: str) -> None:
        """Say so, and try again later; what was asked is not answered."""
        self._log("warning", "database.failed", {"reason": reason})
        self._outbox.clear()
        self._kinds.clear()
        self._events.append(DatabaseClosed())
        self._start_later()

    def _start_later(self) -> None:
        self.start_at = time.monotonic() + min(AGAIN * 2**self._failures, SELDOM)
        self._failures = min(self._failures + 1, MANY)

    def _ended(self) -> None:
        """It has ended: have it started again."""
        assert self._process is not None
        assert self._line is not None
        code = self._process.wait()
        self._poll.unregister(self._pidfd)
        os.close(self._pidfd)
        self._line.close()
        self._process, self._line = None, None
        self._outbox.clear()
        self._kinds.clear()
        if not self._wrong:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._log("warning", "database.failed", {"reason": f"its process has ended: {how}"})
        self._wrong = False
        if code != UNUSABLE:
            self._start_later()

    # --- what is said ---------------------------------------------------------------------------

    def news(self, weight: int) -> None:
        """The journal has grown; it has so many bytes."""
        self._grown, now = True, time.monotonic()
        if self._latest is not None:
            self.start_at = now if weight > MUCH else min(now + QUIET, self._latest)
        elif self._line is not None and now - self._told_at >= NEWS:
            self._told_at = now
            self._say(talk.News())

    def ask(self, effect: Consult) -> None:
        """Ask it; an event tells what came of that."""
        if len(self._outbox) > LARGEST:
            return  # it is not answered in time
        self._kinds[effect.number] = effect.question.what
        self._say(talk.Asked(effect.number, effect.question))
        if self._process is None and not self._failures:
            self._start()

    def _say(self, message: talk.ToStore) -> None:
        self._outbox += talk.framed(message)
        self._push()

    def _push(self) -> None:
        """Send what it takes."""
        if self._line is None:
            return
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._outbox:
                del self._outbox[: self._line.send(self._outbox)]
        wanted = select.EPOLLIN | (select.EPOLLOUT if self._outbox else 0)
        with contextlib.suppress(FileNotFoundError):  # it has said all, and is ending
            self._poll.modify(self._line, wanted)

    # --- what is heard --------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """What it has said, and what has become of it."""
        if self.late:
            self._start()
        while self._events:
            yield self._events.popleft()
        for fd, _ in self._poll.poll(0):
            if self._line is not None and fd == self._line.fileno():
                self._push()
                yield from self._heard(self._line)
            elif fd == self._pidfd:
                if self._line is not None:
                    yield from self._heard(self._line)
                self._ended()
                yield DatabaseClosed()

    def _heard(self, line: socket.socket) -> Iterator[Event]:
        while True:
            try:
                data = line.recv(1 << 20)
            except (BlockingIOError, ConnectionResetError):
                return
            if not data:
                with contextlib.suppress(FileNotFoundError):
                    self._poll.unregister(line)
                return
            for message in self._inbox.add(data):
                match message:
                    case talk.Opened(older=older):
                        self._failures = 0
                        yield DatabaseOpened(older)
                    case talk.Answer(number=number, value=value, reason=reason):
                        kind = self._kinds.pop(number, "")
                        yield Consulted(number, read(kind, value) if not reason else None, reason)
                    case talk.Wrong(what=what):
                        self._wrong = True
                        self._log("warning", "database.failed", {"reason": what})

    # --- the end --------------------------------------------------------------------------------

    def close(self, over: bool) -> None:
        """Let it write what is left and end; `over`: nobody goes on with the journal."""
        if self._process is None and self._grown and self.start_at is not None:
            self._start()
        if self._process is not None and self._line is not None:
            self._line.settimeout(CLOSE)
            self._outbox += talk.framed(talk.Finish(over))
            with contextlib.suppress(OSError):
                self._line.sendall(self._outbox)
            with contextlib.suppress(subprocess.TimeoutExpired):  # it goes on by itself, a while
                self._process.wait(CLOSE)
            os.close(self._pidfd)
            self._line.close()
        self._poll.close()


def sqlite_file(config: ControllerConfig) -> Path | None:
    """Where the database of a profile is, if it is one."""
    if config.database != "sqlite":
        return None
    return config.profile_dir / "database" / "history.sqlite"


def setup(config: ControllerConfig, directory: Path, journal: str) -> talk.Setup:
    """What the process has to know."""
    path, cluster = sqlite_file(config), config.cluster_id or "default"
    if path is not None:
        private.make_directory(path.parent)
    return talk.Setup(
        url=config.database,
        file=str(path or ""),
        cluster=cluster if path is not None else f"{config.profile_dir}:{cluster}",
        directory=str(directory),
        journal=journal,
        limit_bytes=config.database_bytes,
        limit_age=config.database_age,
        value_bytes=config.database_value_bytes,
    )


def read(kind: str, value: msgspec.Raw) -> Any:
    """The value of an answer to a question of this kind."""
    if kind == "outcomes":
        packed, chunks = msgpack.decode(value, type=tuple[list[bytes], dict[str, tuple[int, int]]])
        return [talk.unpacked(each) for each in packed], chunks
    return msgpack.decode(value)
