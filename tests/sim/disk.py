"""The controller's disk: what was written, and what of it is there for good.

When the process is killed, the kernel still has all that it wrote. When the machine fails, what
nobody had waited for may be gone, from some record on.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from msgspec import msgpack

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.entries import Turn


class Disk:
    """Records, as the bytes that a real journal would hold."""

    def __init__(self) -> None:
        self.segments: list[list[tuple[int, bytes]]] = []
        self.synced = 0  # number of the last record that is there for good
        self.full = False
        self.torn = False  # something is missing, or may be
        self._size = 0  # bytes of the last segment
        self._decode = msgpack.Decoder(Turn, ext_hook=_buffer).decode

    def append(self, effect: e.Append) -> int:
        """Write a record; the bytes of its segment so far, or -1 if that cannot be."""
        if self.full:
            self.torn = True
            return -1
        if effect.anew or not self.segments:
            self.segments.append([])
            self._size = 0
        turn = msgpack.encode(effect.turn, enc_hook=_packed)
        self.segments[-1].append((effect.number, turn))
        self._size += len(turn)
        return self._size

    def empty(self) -> None:
        """There is room again."""
        self.full = False

    def trim(self, effect: e.Trim) -> None:
        """The older segments go."""
        self.segments = [s for s in self.segments if s and s[0][0] >= effect.before]
        self.torn = not effect.whole

    def fail(self, random: Random) -> None:
        """The machine fails: what was not waited for is there up to some record."""
        last = self.segments[-1][-1][0] if self.segments and self.segments[-1] else 0
        kept = random.randint(min(self.synced, last), last)
        for segment in self.segments:
            segment[:] = [record for record in segment if record[0] <= kept]
        self.segments = [segment for segment in self.segments if segment]
        self.torn = True

    def turns(self) -> Iterator[Turn]:
        """What is there."""
        for segment in self.segments:
            for _, turn in segment:
                yield self._decode(turn)

    @property
    def last(self) -> int:
        """Number of the last record that is there."""
        return self.segments[-1][-1][0] if self.segments else 0


def _packed(value: Any) -> msgpack.Ext:
    return msgpack.Ext(1, bytes(value))


def _buffer(code: int, data: memoryview) -> m.Buffer:
    return m.Buffer(bytes(data))
