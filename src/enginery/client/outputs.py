"""What one task has printed and displayed, in its order, as far as it is kept.

Of several attempts the last one counts. A task may print more than anybody wants to hold: of a
long output the beginning and the end are kept, and a notice says how much is not.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Any, Literal, NamedTuple

from ..core.messages import Outcome, Output

Stream = Literal["stdout", "stderr"]

HEAD = 8 << 20
"""Characters that are kept of the beginning."""

TAIL = 8 << 20
"""The same of the end."""

LEFT_OUT = "\n[some output is left out here: there was more than is kept]\n"

OVERHEAD = 200
"""What an output counts besides its text."""


class Piece(NamedTuple):
    """A part of what a task has put out.

    `number` counts them from 0; `text` of the stream "display" is the JSON object that
    `core.messages.Output` describes, of "notice" what is told about outputs that are not kept.
    """

    number: int
    stream: Literal["stdout", "stderr", "display", "notice"]
    text: str

    def displayed(self) -> dict[str, Any]:
        """What was displayed: "data" by MIME type, "metadata", "transient", "update"."""
        shown: dict[str, Any] = json.loads(self.text)
        return shown


class Outputs:
    """The outputs of the last attempt that has put out something."""

    __slots__ = ("_head", "_head_size", "_tail", "_tail_size", "attempt", "ended", "engine", "part")

    def __init__(self) -> None:
        self.attempt = -1
        self.engine = -1
        self._begin()

    def _begin(self) -> None:
        self.part = 0.0  # of the task that is done, as it says itself
        self.ended = 0  # one more than the number of the last output of this attempt
        self._head: list[Piece] = []
        self._head_size = 0
        self._tail: deque[Piece] = deque()
        self._tail_size = 0

    def add(self, output: Output) -> None:
        """An output has come; those of one attempt come in their order."""
        if output.attempt < self.attempt:
            return
        if output.attempt > self.attempt:
            self._begin()
            self.attempt, self.engine = output.attempt, output.engine
        if output.stream == "progress":
            self.part = _part(output.text)
            return
        if output.stream != "dropped":
            self._keep(Piece(output.number, output.stream, output.text))
        self.ended = max(self.ended, output.number + 1)  # last: another thread may be looking

    def _keep(self, piece: Piece) -> None:
        size = _size(piece.text)
        if not self._tail and self._head_size + size <= HEAD:
            self._head.append(piece)
            self._head_size += size
            return
        self._tail.append(piece)
        self._tail_size += size
        while self._tail_size > TAIL:
            self._tail_size -= _size(self._tail.popleft().text)

    def complete(self, outcome: Outcome) -> bool:
        """Whether all that the attempt of this outcome has put out has come."""
        return self.attempt == outcome.attempt and self.ended >= outcome.outputs

    def since(self, number: int) -> Iterator[Piece]:
        """What is kept of the outputs from this number on; a notice where some are not."""
        expected, ended = number, self.ended
        for piece in chain(tuple(self._head), tuple(self._tail)):
            if not number <= piece.number < ended:
                continue
            if piece.number > expected:
                yield Piece(expected, "notice", LEFT_OUT)
            expected = piece.number + 1
            yield piece
        if ended > expected:
            yield Piece(ended - 1, "notice", LEFT_OUT)

    def text(self, stream: Stream) -> str:
        """All that is kept of what went to this stream."""
        return "".join(p.text for p in self.since(0) if p.stream in {stream, "notice"})

    def displays(self) -> list[dict[str, Any]]:
        """All that is kept of what was displayed."""
        return [piece.displayed() for piece in self.since(0) if piece.stream == "display"]

    def __repr__(self) -> str:
        kept = len(self._head) + len(self._tail)
        return f"<Outputs {self.ended} of attempt {self.attempt}, {kept} kept>"


def _part(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:  # it comes from elsewhere, and is for people only
        return 0.0


def _size(text: str) -> int:
    return len(text) + OVERHEAD
