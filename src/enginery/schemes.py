"""Load-balancing schemes: which of the engines that have room gets the next task.

A scheme of your own is a subclass of `Scheme` with one method::

    class Fastest(Scheme):
        def choose(self, engines):
            return min(engines, key=lambda e: (e.load, e.id))

The controller tells a scheme of every engine that has room; the rest is bookkeeping that the base
class does. `LeastLoad` replaces that bookkeeping by a heap, so that a choice among thousands of
engines costs as little as one among four.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from heapq import heappop, heappush
from typing import Protocol


class Load(Protocol):
    """What a scheme sees of an engine."""

    @property
    def id(self) -> int:
        """The engine's id."""

    @property
    def load(self) -> int:
        """How many unfinished requests it has."""

    @property
    def used(self) -> int:
        """When it last got a task: larger is later."""


class Scheme(ABC):
    """Base class of the schemes; subclasses define `choose`."""

    name = ""

    def __init__(self) -> None:
        self.open: dict[int, Load] = {}

    @abstractmethod
    def choose(self, engines: Collection[Load]) -> Load:
        """One of these engines; there is at least one, and all have room."""

    def update(self, engine: Load, room: bool) -> None:
        """The load of an engine has changed; `room` says whether it may get another task."""
        if room:
            self.open[engine.id] = engine
        else:
            self.open.pop(engine.id, None)

    def best(self, allowed: Iterable[int] = (), avoid: Collection[int] = ()) -> Load | None:
        """The engine for the next task, or None when none of the allowed ones has room.

        Without `allowed`, all engines are. Those in `avoid` are taken only when there is no other.
        """
        engines = (
            [self.open[id] for id in allowed if id in self.open]
            if allowed
            else list(self.open.values())
        )
        if avoid:
            engines = [e for e in engines if e.id not in avoid] or engines
        return self.choose(engines) if engines else None


class LeastLoad(Scheme):
    """Fewest outstanding tasks; least recently used breaks the tie. The default."""

    name = "leastload"

    def __init__(self) -> None:
        super().__init__()
        self.heap: list[tuple[int, int, int]] = []  # (load, used, id); stale entries are skipped

    def choose(self, engines: Collection[Load]) -> Load:
        """The one with the fewest outstanding tasks, then the least recently used."""
        return min(engines, key=lambda e: (e.load, e.used, e.id))

    def update(self, engine: Load, room: bool) -> None:
        """As in the base class; remembers the engine's place in the order."""
        super().update(engine, room)
        if room:
            heappush(self.heap, (engine.load, engine.used, engine.id))
            if len(self.heap) > 8 * len(self.open) + 64:
                self.heap = sorted({(e.load, e.used, e.id) for e in self.open.values()})

    def best(self, allowed: Iterable[int] = (), avoid: Collection[int] = ()) -> Load | None:
        """As in the base class; without conditions, the top of the heap."""
        if allowed or avoid:
            return super().best(allowed, avoid)
        heap = self.heap
        while heap:
            load, used, id = heap[0]
            engine = self.open.get(id)
            if engine is not None and engine.load == load and engine.used == used:
                return engine
            heappop(heap)
        return None


SCHEMES: dict[str, type[Scheme]] = {"leastload": LeastLoad}
"""The schemes that can be chosen by name."""
