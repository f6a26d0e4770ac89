"""What was executed here, so that any client can ask for the i-th command again.

The controller has what became of it, under the id of its task; what it printed is for the client
that sent it alone, and so is remembered here, as far as there is room.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

REMEMBERED = 10_000
"""Commands of which anything is known."""

EACH = 1 << 20
"""Characters printed by one command that are remembered, with `OVERHEAD` for each piece."""

ALL = 16 << 20
"""Characters that are remembered in all, counted in the same way: of the last commands."""

PIECE = 4096
"""Characters up to which what is printed in small parts is joined to one piece."""

OVERHEAD = 128
"""What a piece takes besides its characters, in bytes; it is counted as so many characters."""

MORE = "\n[what else was printed is not remembered]\n"


class Command:
    """One command: the id of its task, what it printed in pieces, and the room that this takes."""

    __slots__ = ("cut", "parts", "size", "task")

    def __init__(self, task: str) -> None:
        self.task = task
        self.parts: list[tuple[str, str]] = []
        self.size = 0
        self.cut = False  # whether it has printed more than is remembered

    def add(self, stream: str, text: str) -> None:
        """Something more was printed: a part of the last piece, or a new one."""
        if self.parts:
            where, before = self.parts[-1]
            if where == stream and len(before) + len(text) <= PIECE:
                self.parts[-1] = (stream, before + text)
                self.size += len(text)
                return
        self.parts.append((stream, text))
        self.size += OVERHEAD + len(text)

    def shorten(self) -> None:
        """Forget what it printed, and say so."""
        if self.size > OVERHEAD + len(MORE):
            self.parts, self.size = [], 0
            self.add("stdout", MORE)

    def printed(self) -> dict[str, str]:
        """What went to "stdout" and to "stderr"."""
        return {
            stream: "".join(text for where, text in self.parts if where == stream)
            for stream in ("stdout", "stderr")
        }


class Commands:
    """The commands by their numbers, which are those of IPython's inputs."""

    def __init__(self) -> None:
        self._commands: dict[int, Command] = {}
        self._running: Command | None = None
        self._size = 0
        self._lock = threading.RLock()  # a signal handler may print while something is noted

    @contextmanager
    def noting(self, number: int, task: str) -> Iterator[None]:
        """This task executes the command of this number in the `with` block."""
        with self._lock:
            self._drop(number)
            self._running = self._commands[number] = Command(task)
            while len(self._commands) > REMEMBERED:
                self._drop(next(iter(self._commands)))
        try:
            yield
        finally:
            self._running = None

    def hear(self, stream: str, text: str) -> None:
        """Something was printed, by any thread."""
        if not text:
            return
        with self._lock:
            command = self._running
            if command is None or command.cut:
                return
            room = max(EACH - command.size, 0)
            if len(text) > room:
                text, command.cut = text[:room] + MORE, True
            before = command.size
            command.add(stream, text)
            self._size += command.size - before
            if self._size > ALL:
                self._make_room(command)

    def _drop(self, number: int) -> None:
        """Forget the command of this number, if there is one."""
        command = self._commands.pop(number, None)
        if command is not None:
            self._size -= command.size

    def _make_room(self, last: Command) -> None:
        """Forget what the oldest commands have printed."""
        for command in list(self._commands.values()):
            if self._size <= ALL // 2 or command is last:
                return
            before = command.size
            command.shorten()
            self._size += command.size - before

    def command(self, number: int | None = None) -> Command:
        """The command of this number, or the last; IndexError when it is not known."""
        if not self._commands:
            raise IndexError("this engine has executed no command yet")
        last = next(reversed(self._commands))
        if number is None:
            number = last
        if number not in self._commands:
            raise IndexError(f"this engine knows no command {number}; the last was {last}")
        return self._commands[number]
