"""The controller's disk: what was written, and what of it is there for good.

When the process is killed, the kernel still has all that it wrote. When the machine fails, what
nobody had waited for may be gone, from some record on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from msgspec import msgpack

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.entries import Turn


class Disk:
    """Records, as the bytes that a real journal would hold; large buffers stand beside them."""

    def __init__(self) -> None:
        self.segments: list[list[Kept]] = []
        self.synced = 0  # number of the last record that is there for good
        self.full = False
        self.torn = False  # something is missing, or may be
        self._size = 0  # bytes of the last segment
        self._beside: dict[str, bytes] = {}  # files of their own
        self._waiting: deque[tuple[int, str, bytes]] = deque()  # that are written a little later
        self._named: set[str] = set()  # all of these
        self._read: dict[str, m.Buffer] = {}  # by the last who went through all of it
        self._life = 1  # of the controller, by which it names them
        self._decode = msgpack.Decoder(Turn, ext_hook=self._buffer).decode

    def append(self, effect: e.Append) -> int:
        """Write a record; the bytes of its segment so far, or -1 if that cannot be."""
        if self.full:
            self.torn = True
            self._named.clear()
            return -1
        if effect.anew or not self.segments:
            self.segments.append([])
            self._size = 0
        names: set[str] = set()

        def packed(value: Any) -> msgpack.Ext:
            assert isinstance(value, m.Buffer)
            if value.stored not in self._named:
                value.stored = f"{effect.number}-{len(names)}-{self._life}"
                self._named.add(value.stored)
                self._waiting.append((effect.number, value.stored, bytes(value)))
            names.add(value.stored)
            return msgpack.Ext(1, value.stored.encode())

        turn = msgpack.encode(effect.turn, enc_hook=packed)
        self.segments[-1].append(Kept(effect.number, turn, names))
        self._size += len(turn)
        return self._size

    def sync(self, number: int) -> None:
        """All up to this record is there for good, with what stands beside it."""
        self.synced = number
        while self._waiting and self._waiting[0][0] <= number:
            self._store()

    def _store(self) -> None:
        _, name, data = self._waiting.popleft()
        self._beside[name] = data

    def empty(self) -> None:
        """There is room again."""
        self.full = False

    def trim(self, effect: e.Trim) -> None:
        """The older segments go, and what none of the others names."""
        self.segments = [s for s in self.segments if s and s[0].number >= effect.before]
        self.torn = not effect.whole
        kept = {name for segment in self.segments for record in segment for name in record.names}
        self._beside = {name: data for name, data in self._beside.items() if name in kept}
        self._named &= kept

    def kill(self, random: Random) -> None:
        """The controller is killed: what was to stand beside records is there up to some point."""
        for _ in range(random.randint(0, len(self._waiting)) if self._waiting else 0):
            self._store()
        self._waiting.clear()
        self._life += 1

    def fail(self, random: Random) -> None:
        """The machine fails: what was not waited for is there up to some record."""
        last = self.segments[-1][-1].number if self.segments and self.segments[-1] else 0
        kept = random.randint(min(self.synced, last), last)
        self._cut(kept)
        self.kill(random)
        self.torn = True

    def _cut(self, kept: int) -> None:
        """Nothing after this record is there."""
        for segment in self.segments:
            segment[:] = [record for record in segment if record.number <= kept]
        self.segments = [segment for segment in self.segments if segment]

    def turns(self) -> Iterator[Turn]:
        """What is there; it ends before a record beside which something is missing."""
        self._named.clear()
        self._read.clear()
        for record in [record for segment in self.segments for record in segment]:
            self._named |= record.names
            if not record.names <= self._beside.keys():
                self._cut(record.number - 1)
                self.torn = True
                return
            yield self._decode(record.turn)

    @property
    def last(self) -> int:
        """Number of the last record that is there."""
        return self.segments[-1][-1].number if self.segments else 0

    def _buffer(self, code: int, name: memoryview) -> m.Buffer:
        stored = str(name, "ascii")
        if stored not in self._read:
            self._read[stored] = m.Buffer(self._beside[stored])
            self._read[stored].stored = stored
        return self._read[stored]


class Kept(NamedTuple):
    """A record."""

    number: int
    turn: bytes
    names: set[str]  # of what stands beside it
