"""What was executed here, so that any client can ask for the i-th command again.

The controller has what became of it, under the id of its task; what it printed is for the client
that sent it alone, and so is remembered here, as far as there is room.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

REMEMBERED = 10_000
"""Commands of which anything is known."""

EACH = 1 << 20
"""Characters printed by one command that are remembered."""

ALL = 16 << 20
"""Characters that are remembered in all: of the last commands."""

MORE = "\n[what else was printed is not remembered]\n"


class Command:
    """One command: the id of its task, and what it printed."""

    __slots__ = ("parts", "size", "task")

    def __init__(self, task: str) -> None:
        self.task = task
        self.parts: list[tuple[str, str]] = []
        self.size = 0

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

    @contextmanager
    def noting(self, number: int, task: str) -> Iterator[None]:
        """This task executes the command of this number in the `with` block."""
        self._running = self._commands[number] = Command(task)
        while len(self._commands) > REMEMBERED:
            self._size -= self._commands.pop(next(iter(self._commands))).size
        try:
            yield
        finally:
            self._running = None

    def hear(self, stream: str, text: str) -> None:
        """Something was printed, by any thread."""
        command = self._running
        if command is None or command.size >= EACH:
            return
        if len(text) > EACH - command.size:
            text = text[: EACH - command.size] + MORE
        command.parts.append((stream, text))
        command.size += len(text)
        self._size += len(text)
        if self._size > ALL:
            self._make_room(command)

    def _make_room(self, last: Command) -> None:
        """Forget what the oldest commands have printed."""
        for command in list(self._commands.values()):
            if self._size <= ALL // 2 or command is last:
                return
            if command.size > len(MORE):
                self._size -= command.size - len(MORE)
                command.parts, command.size = [("stdout", MORE)], len(MORE)

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
