"""What user code writes to stdout and stderr, and displays, collected until it is sent.

The main thread says which attempt runs; any thread of the user may write; the control thread takes
what there is. Text is kept in pieces, each of which becomes one `Output` message with a number, so
that a result can say how many belong to it. Little is kept: when a lot waits, whoever writes is
made to wait for the controller; when that is away, the oldest text is dropped.

A finalizer or a signal handler may print at any moment, also in here, in the very thread that is
busy with the pieces. What it prints gets a piece of its own and waits for nothing, so that what it
came into is not disturbed; and pieces are numbered when they are taken, in the order they lie in.

Text written while no attempt runs, or in a process that user code forked, goes where the output of
this process goes.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, repeat
from typing import Any, Literal, TextIO

from msgspec import json

from ..core.messages import Output
from ..wire.codec import all_sayable, sayable
from .interrupts import Shield

PIECE = 64 << 10
"""Characters in one message."""

LIMIT = 4 << 20
"""Characters that may wait; a piece counts `OVERHEAD` more."""

OVERHEAD = 200

LOOK = 0.1
"""Seconds after which who waits for room looks whether it is interrupted."""

DISPLAY_LIMIT = 16 << 20
"""Characters that one display may have, as JSON."""

DROPPED = "\n[older output was dropped here: the controller could not be reached]\n"

Name = Literal["stdout", "stderr"]
Kind = Literal["stdout", "stderr", "display", "progress"]


def _nobody(stream: str, text: str) -> None:
    pass


class _Piece:
    __slots__ = ("attempt", "id", "numbers", "parts", "size", "stream")

    def __init__(self, id: str, attempt: int, numbers: Iterator[int], stream: Kind) -> None:
        self.id, self.attempt, self.numbers, self.stream = id, attempt, numbers, stream
        self.parts: list[str] = []
        self.size = 0

    def message(self) -> Output:
        text = sayable("".join(self.parts))
        return Output(self.id, self.attempt, next(self.numbers), self.stream, text)


class Streams:
    """Output that waits to be sent; `wake` is called when there is some to take."""

    def __init__(self, wake: Callable[[], None], shield: Shield | None = None) -> None:
        self._wake = wake
        self._shield = shield or Shield(lambda: None, 0)
        self._lock = threading.RLock()  # that of `_room`, whose own `with` costs more
        self._room = threading.Condition(self._lock)
        self._pieces: deque[_Piece] = deque()
        self._waiting = 0
        self._busy = False  # who holds the lock is in the middle of something
        self.taker = 0  # the thread that takes, and so cannot wait for room
        self.running: tuple[str, int] | None = None
        self.naming: Callable[[], tuple[str, int]] | None = None  # says so, when it is asked
        self._aside: Callable[[str, str], None] | None = None
        self.hear: Callable[[str, str], None] = _nobody  # gets what attempts print, too
        self._count = 0
        self._numbers = count()
        self._reachable = False
        self.outside: dict[Name, TextIO] = {"stdout": sys.stdout, "stderr": sys.stderr}

    def install(self) -> None:
        """Make `sys.stdout` and `sys.stderr` write here, in this process and not in its forks."""
        sys.stdout = Stream(self, "stdout")
        sys.stderr = Stream(self, "stderr")
        os.register_at_fork(after_in_child=self._forked)

    def uninstall(self) -> None:
        """Write where this process wrote before."""
        sys.stdout, sys.stderr = self.outside["stdout"], self.outside["stderr"]

    # --- the main thread -----------------------------------------------------------------------

    def begin(self, id: str, attempt: int) -> None:
        """What is written from now on belongs to this attempt."""
        self._count, self._numbers = 0, count()
        self.running = (id, attempt)

    def begin_items(self, name: Callable[[], tuple[str, int]]) -> None:
        """What is written from now on belongs to what `name` says when the first of it is."""
        self._count, self._numbers = 0, count()
        self.running, self.naming = ("", 0), name

    def end(self) -> int:
        """The attempt is over; how many messages its output makes."""
        with self._lock:
            self.running = self.naming = None
        if self._pieces:
            self._wake()
        return self._count

    @contextmanager
    def aside(self, take: Callable[[str, str], None]) -> Iterator[None]:
        """No attempt runs meanwhile: what is put out goes to `take`, the stream and the text."""
        self._aside = take
        try:
            yield
        finally:
            self._aside = None

    # --- user code -----------------------------------------------------------------------------

    def write(self, stream: Name, text: str) -> None:
        """Add text to the output of the attempt that runs; waits while too much waits already."""
        with self._shield:
            if self.running is None:
                if (aside := self._aside) is not None:
                    aside(stream, text)
                else:
                    self.outside[stream].write(text)
                return
            self.hear(stream, text)
            for start in range(0, len(text), PIECE):
                self._add(stream, text[start : start + PIECE])

    def display(self, shown: Mapping[str, Any]) -> None:
        """Add what is displayed, in the forms of `core.messages.Output`."""
        plain = str(shown["data"].get("text/plain", ""))
        if self.running is None and self._aside is None:
            self.outside["stdout"].write(f"{plain}\n")
            return
        try:
            encoded = json.encode(shown, enc_hook=repr)
        except UnicodeEncodeError:
            encoded = json.encode(all_sayable(shown), enc_hook=lambda each: sayable(repr(each)))
        text = encoded.decode()
        if len(text) > DISPLAY_LIMIT:
            size = f"{len(text) / 2**20:,.0f} MB"
            self.write("stdout", f"{plain}\n[displayed here were {size}, too much to be sent]\n")
            return
        with self._shield:
            if self.running is None and (aside := self._aside) is not None:
                aside("display", text)
            else:
                self._add("display", text)

    def report(self, part: float) -> None:
        """How far the attempt is that runs, from 0 to 1; of several reports the last one counts."""
        with self._shield, self._lock:
            if self.running is None or self._waiting > LIMIT:
                return
            before = self._waiting
            nested, self._busy = self._busy, True
            try:
                self._put_report(repr(part))
            finally:
                self._busy = nested
        if before == 0:
            self._wake()

    def _put_report(self, part: str) -> None:
        running = self._name()
        piece = self._pieces[-1] if self._pieces else None
        if piece is None or piece.stream != "progress" or (piece.id, piece.attempt) != running:
            piece = _Piece(*running, repeat(-1), "progress")  # it is no output, and not counted
            self._pieces.append(piece)
            self._waiting += OVERHEAD
        piece.parts = [part]

    def _add(self, stream: Kind, text: str) -> None:
        with self._lock:
            nested = self._busy
            apart = nested or (self._waiting > LIMIT and threading.get_ident() == self.taker)
            while self._waiting > LIMIT and self._reachable and not (apart or self._shield.held):
                self._room.wait(LOOK)
            before = self._waiting
            self._busy = True
            try:
                self._put(stream, text, apart)
            finally:
                self._busy = nested
        if before == 0 or before < PIECE <= self._waiting:
            self._wake()

    def _put(self, stream: Kind, text: str, apart: bool) -> None:
        """Add text to the last piece or as a new one; `apart` always so, and there is room."""
        if self._waiting > LIMIT and not apart:
            self._drop()
        if self.running is None or (self._waiting > LIMIT and not apart):
            return
        running = self._name()
        size = len(text)
        piece = self._pieces[-1] if self._pieces else None
        if (
            piece is None
            or apart
            or (piece.id, piece.attempt) != running
            or piece.stream != stream
            or stream == "display"
            or piece.size >= PIECE
        ):
            piece = _Piece(*running, self._numbers, stream)
            self._pieces.append(piece)
            self._count += 1
            self._waiting += OVERHEAD
        piece.parts.append(text)
        piece.size += size
        self._waiting += size

    def _name(self) -> tuple[str, int]:
        """Something is put out: find out whose it is."""
        if (naming := self.naming) is not None:
            self.running, self.naming = naming(), None
        assert self.running is not None
        return self.running

    def _drop(self) -> None:
        """Empty the oldest pieces. They keep their numbers, since results count them."""
        notice = DROPPED
        for piece in tuple(self._pieces):
            if self._waiting <= LIMIT // 2:
                return
            if piece.size:
                self._waiting -= piece.size
                piece.parts, piece.size, piece.stream = [notice], 0, "stdout"
                notice = ""

    # --- the control thread --------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How much waits to be taken, in characters."""
        return self._waiting

    @property
    def ended(self) -> bool:
        """Whether some of what waits belongs to an attempt that is over."""
        try:
            piece = self._pieces[0]
        except IndexError:
            return False
        return (piece.id, piece.attempt) != self.running

    def reachable(self, yes: bool) -> None:
        """Tell whether there is a controller that takes output; if not, nobody waits for it."""
        if yes != self._reachable:
            with self._room:
                self._reachable = yes
                self._room.notify_all()

    def take(self, limit: int = PIECE) -> list[Output]:
        """The oldest pieces, as messages: at least one, and no more than `limit` characters."""
        taken: list[_Piece] = []
        size = 0
        with self._lock:
            self._busy = True
            try:
                while self._pieces and (not taken or size + self._pieces[0].size <= limit):
                    piece = self._pieces.popleft()
                    size += piece.size
                    taken.append(piece)
                size += OVERHEAD * len(taken)
                self._waiting -= size
                self._room.notify_all()
            finally:
                self._busy = False
        return [piece.message() for piece in taken]

    def _forked(self) -> None:
        self.running = self._aside = None


class Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr` of an engine."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, streams: Streams, name: Name) -> None:
        self._streams = streams
        self.name = f"<{name}>"
        self._which: Name = name
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        """Write text; how many characters."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._streams.write(self._which, text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: what is written leaves within 50 ms."""

    def close(self) -> None:
        """Do nothing: the engine needs its streams."""

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor of this process, for those who need one; that output is not collected."""
        return self._streams.outside[self._which].fileno()


class _Bytes(io.RawIOBase):
    """The `buffer` of a `Stream`: bytes written to it are taken as UTF-8."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(self._decoder.decode(bytes(data)))
        return memoryview(data).nbytes
