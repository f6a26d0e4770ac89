"""What the controller has to tell of itself beside its log: the latest warnings, and its speed."""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec import Struct

KEPT = 20
"""Warnings of one kind that are remembered: one kind cannot push out the others."""

KINDS = 50
"""Kinds of warnings that are remembered."""

SPAN = 10
"""Seconds over which the speed is taken."""


class Notice(Struct):
    """A warning: when it was given last, what it says, and how often."""

    time: float
    level: str
    event: str
    fields: dict[str, Any]
    times: int = 1


class Notices:
    """The latest warnings, by event. One that says the same as the last of its kind is counted."""

    def __init__(self) -> None:
        self._kinds: dict[str, deque[Notice]] = {}

    def add(self, level: str, event: str, fields: dict[str, Any], now: float) -> None:
        """Remember a line of the log, if it is a warning or worse."""
        if level not in ("warning", "error"):
            return
        if event not in self._kinds and len(self._kinds) >= KINDS:
            return
        kind = self._kinds.setdefault(event, deque(maxlen=KEPT))
        if kind and kind[-1].fields == fields:
            kind[-1].time, kind[-1].times = now, kind[-1].times + 1
        else:
            kind.append(Notice(now, level, event, fields))

    def latest(self) -> list[Notice]:
        """All of them, the latest first."""
        every = [notice for kind in self._kinds.values() for notice in kind]
        return sorted(every, key=lambda notice: notice.time, reverse=True)


class Rate:
    """How often something happens, over the last seconds."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque(maxlen=SPAN + 1)  # (second, how often)

    def add(self, n: int, now: float) -> None:
        """It has happened `n` times."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += n
        else:
            self._seconds.append([second, n])

    def per_second(self, now: float) -> float:
        """The mean over the last whole seconds."""
        last = int(now)
        return sum(n for second, n in self._seconds if last - SPAN <= second < last) / SPAN
