"""What several tasks have in common counts once.

Large data that each of many tasks gets, such as those of a search, is one buffer in the controller
(`wire.memory.keeper`). It takes its room once, so that a hundred such tasks do not seem to fill a
memory in which there is little.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import messages as m

LEAST = 64 << 10
"""Bytes of a buffer from which on it does: smaller ones stand in the journal with each task."""


class Once:
    """How many of some tasks have each large buffer. Its identity names it: they keep it alive."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: dict[int, int] = {}

    def add(self, buffers: Iterable[m.Buffer]) -> int:
        """One more task has these; gives the bytes of those that others have, too."""
        common = 0
        for buffer in buffers:
            if buffer.nbytes < LEAST:
                continue
            others = self._tasks.get(id(buffer), 0)
            self._tasks[id(buffer)] = others + 1
            if others:
                common += buffer.nbytes
        return common

    def remove(self, buffers: Iterable[m.Buffer]) -> int:
        """One task less has these; gives the bytes of those that others still have."""
        common = 0
        for buffer in buffers:
            if buffer.nbytes < LEAST:
                continue
            others = self._tasks[id(buffer)] - 1
            if others:
                self._tasks[id(buffer)] = others
                common += buffer.nbytes
            else:
                del self._tasks[id(buffer)]
        return common
