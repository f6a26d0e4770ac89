"""Showing what engines put out, as it comes or afterwards: each line after its engine, "[3] ".

In IPython what user code has displayed is displayed here (figures, HTML, tables), in its order
among the lines; elsewhere its text is printed. User code may print more than a screen or a notebook
can hold, so of each task only so much is shown, and where the rest is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...colours import shell
from ..outputs import Piece

if TYPE_CHECKING:
    from ..slots import Slot

SHOWN = 256 << 10
"""Characters of one task that are shown while it runs; a notebook server drops more."""

MORE = "[more of its output is not shown here; the result has it: ar.stdout]\n"


TYPES = ("stdout", "stderr", "display", "notice")

ORDERS: dict[str, Callable[[tuple[int, int, Piece]], Any]] = {
    "type": lambda each: (TYPES.index(each[2].stream), each[0], each[2].number),
    "engine": lambda each: (each[1], each[0], each[2].number),
    "order": lambda each: (each[0], each[2].number),
}


def last(line: str) -> str:
    """What is to be seen of a line in the end: a bar writes its own again and again."""
    return line.rstrip("\r").rpartition("\r")[2]


class Screen:
    """Shows pieces of output; incomplete lines wait for their end until it is closed."""

    def __init__(self) -> None:
        self._plain = os.environ.get("ENGINERY_PREFIX") == "0"
        self._rests: dict[tuple[int, str], str] = {}

    def show(self, engine: int, piece: Piece) -> None:
        """Show a piece of output of this engine."""
        if piece.stream == "display":
            self.display(engine, piece.displayed())
        else:
            self.write(engine, "stderr" if piece.stream == "stderr" else "stdout", piece.text)

    def write(self, engine: int, stream: str, text: str) -> None:
        """Show text that has gone to a stream."""
        text = self._rests.pop((engine, stream), "") + text
        *lines, rest = text.split("\n")
        if rest:
            self._rests[engine, stream] = f"{last(rest)}\r" if rest[-1] == "\r" else last(rest)
        if lines:
            prefix = "" if self._plain else f"[{engine}] "
            self._write(stream, "".join(f"{prefix}{last(line)}\n" for line in lines))

    def close(self) -> None:
        """Show what is left."""
        self.flush()

    def flush(self, engine: int | None = None) -> None:
        """Show incomplete lines, of one engine or of all."""
        for which, stream in [each for each in self._rests if engine in {None, each[0]}]:
            self.write(which, stream, "\n")

    def _write(self, stream: str, text: str) -> None:
        file = sys.stderr if stream == "stderr" else sys.stdout
        file.write(text)
        file.flush()

    def display(self, engine: int, shown: Mapping[str, Any]) -> None:
        """Show what was displayed there."""
        self.flush(engine)
        data, metadata = shown["data"], shown["metadata"]
        transient = dict(shown["transient"])
        if "display_id" in transient:  # which two engines may have chosen alike
            transient["display_id"] = f"{engine}-{transient['display_id']}"
        ipython = shell()
        if ipython is None or set(data) <= {"text/plain"}:
            self.write(engine, "stdout", f"{data.get('text/plain', '')}\n")
            return
        if not self._plain and not shown["update"]:
            self._write("stdout", f"[{engine}]\n")
        ipython.display_pub.publish(
            data=data, metadata=metadata, transient=transient, update=shown["update"]
        )


class LiveOutput:
    """Shows what some tasks put out, each time it is asked to `update`."""

    def __init__(
        self, slots: Sequence[Slot] | Callable[[], Sequence[Slot]], screen: Screen | None = None
    ) -> None:
        self.screen = Screen() if screen is None else screen
        self._find = slots if callable(slots) else lambda: slots
        self._next: dict[str, int] = {}  # by task: the number of the output that is shown next
        self._attempts: dict[str, int] = {}
        self._shown: dict[str, int] = {}  # characters

    @property
    def news(self) -> bool:
        """Whether there is something that is not shown yet."""
        return any(
            slot.outputs is not None
            and (slot.outputs.attempt, slot.outputs.ended)
            != (self._attempts.get(slot.id), self._next.get(slot.id))
            for slot in self._find()
        )

    @property
    def complete(self) -> bool:
        """Whether all tasks have ended and all that they have put out has come."""
        return all(slot.all_put_out for slot in self._find())

    def update(self) -> None:
        """Show what has come since the last time."""
        for slot in self._find():
            outputs = slot.outputs
            if outputs is None:
                continue
            if outputs.attempt != self._attempts.get(slot.id):
                self._attempts[slot.id], self._next[slot.id] = outputs.attempt, 0
            for piece in list(outputs.since(self._next[slot.id])):
                self._next[slot.id] = piece.number + 1
                self.show(slot.id, outputs.engine, piece)

    def show(self, id: str, engine: int, piece: Piece) -> None:
        """Show a piece of what a task has put out, as far as there is room for it."""
        room = SHOWN - self._shown.get(id, 0)
        if room <= 0:
            return
        self._shown[id] = SHOWN - room + len(piece.text)
        if piece.stream != "display" and len(piece.text) >= room:
            self.screen.show(engine, piece._replace(text=piece.text[:room]))
            self.screen.flush(engine)
            self.screen.write(engine, "stdout", MORE)
        else:
            self.screen.show(engine, piece)

    def close(self) -> None:
        """Show what is left, incomplete lines too."""
        self.update()
        self.screen.flush()


def in_order(slots: Sequence[Slot], groupby: str) -> list[tuple[int, int, Piece]]:
    """All that the attempts that count have put out: (which slot, engine, piece), in an order.

    "type": all of stdout, then all of stderr, then what was displayed; "engine": engine by engine;
    "order": slot by slot.
    """
    pieces = [
        (i, slot.engine, piece)
        for i, slot in enumerate(slots)
        if (outputs := slot.last_outputs) is not None
        for piece in outputs.since(0)
    ]
    return sorted(pieces, key=ORDERS[groupby])
