"""Load-balancing schemes: which of the engines that have room gets the next task.

A scheme of your own is a subclass of `Scheme` with one method::

    class Fewest(Scheme):
        def choose(self, engines):
            return min(engines, key=lambda e: (e.load, e.id))

The controller tells a scheme of every engine that has room; the rest is bookkeeping that the base
class does. The schemes here replace that bookkeeping, so that a choice among thousands of engines
costs about as much as one among four: `Ordered` keeps a heap, `Drawn` a row to draw from.

Nothing here is random by itself: whoever runs a scheme hands it its `chance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
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


class Waiting(Protocol):
    """What a scheme sees of a task that waits."""

    @property
    def name(self) -> str:
        """What people call it: the function's name, "map(fit)"."""

    @property
    def label(self) -> str:
        """The label that its client has given it, or ""."""

    @property
    def priority(self) -> float:
        """The priority that its client has given it; 0 when it has given none."""

    @property
    def retries(self) -> int:
        """How often it may be tried again."""

    @property
    def submitted(self) -> float:
        """When it was submitted, in seconds since the epoch by the client's clock."""


class Chance:
    """Numbers from 0 up to but not including 1 that look random, and are the same in every run.

    A linear congruential generator (Knuth's MMIX constants), of which the upper bits are given.
    """

    def __init__(self, seed: int = 1) -> None:
        self.state = seed

    def __call__(self) -> float:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self.state >> 11) / (1 << 53)


class Scheme(ABC):
    """Base class of the schemes; subclasses define `choose`, and call this `__init__` in theirs.

    `open` holds the engines that have room, by id. `chance` gives random numbers x, 0 <= x < 1;
    the controller sets it, and without that it is the same sequence for each scheme.
    """

    name = ""
    """By which users choose it, and are told of it; the name of the class when left empty."""

    chance: Callable[[], float]

    def __init__(self) -> None:
        self.open: dict[int, Load] = {}
        self.chance = Chance()

    @abstractmethod
    def choose(self, engines: Sequence[Load]) -> Load:
        """One of these engines; there is at least one, and all have room."""

    def rank(self, task: Waiting) -> float:
        """Where a task stands among those that wait; larger goes first, else first in, first out.

        Asked once per task, when it starts to wait. By default its priority.
        """
        return task.priority

    def update(self, engine: Load, room: bool) -> None:
        """The load of an engine has changed; `room` says whether it may get another task."""
        if room:
            self.open[engine.id] = engine
        else:
            self.open.pop(engine.id, None)

    def best(
        self,
        allowed: Iterable[int] = (),
        avoid: Collection[int] = (),
        excluded: Collection[int] = (),
    ) -> Load | None:
        """The engine for the next task, or None when none that may get it has room.

        Without `allowed`, all engines may, but never those in `excluded`. Those in `avoid` are
        taken only when there is no other.
        """
        engines = (
            [self.open[id] for id in allowed if id in self.open]
            if allowed
            else list(self.open.values())
        )
        if excluded:
            engines = [e for e in engines if e.id not in excluded]
        if avoid:
            engines = [e for e in engines if e.id not in avoid] or engines
        return self.choose(engines) if engines else None


# --- the first in an order ------------------------------------------------------------------------


class Ordered(Scheme):
    """Base of the schemes that take the first engine in an order; subclasses define `order`."""

    def __init__(self) -> None:
        super().__init__()
        self.heap: list[tuple[int, ...]] = []  # orders; those that hold no more are skipped

    @abstractmethod
    def order(self, engine: Load) -> tuple[int, ...]:
        """What engines are compared by; the smallest goes first.

        It depends on nothing but the engine's `id`, `load` and `used`, and its last number is
        the `id`.
        """

    def choose(self, engines: Sequence[Load]) -> Load:
        """The first of these in the order."""
        return min(engines, key=self.order)

    def update(self, engine: Load, room: bool) -> None:
        """As in the base class; remembers the engine's place in the order."""
        super().update(engine, room)
        if room:
            heappush(self.heap, self.order(engine))
            if len(self.heap) > 8 * len(self.open) + 64:
                self.heap = sorted(map(self.order, self.open.values()))

    def best(
        self,
        allowed: Iterable[int] = (),
        avoid: Collection[int] = (),
        excluded: Collection[int] = (),
    ) -> Load | None:
        """As in the base class; without conditions, the top of the heap."""
        if allowed or excluded:
            return super().best(allowed, avoid, excluded)
        heap = self.heap
        while heap:
            engine = self.open.get(heap[0][-1])
            if engine is not None and self.order(engine) == heap[0]:
                return super().best((), avoid) if engine.id in avoid else engine
            heappop(heap)
        return None


class LeastLoad(Ordered):
    """Fewest outstanding tasks; least recently used breaks the tie. The default."""

    name = "leastload"

    def order(self, engine: Load) -> tuple[int, ...]:
        """By load, then by when it was last used."""
        return engine.load, engine.used, engine.id


class LeastRecentlyUsed(Ordered):
    """Least recently used: each engine in its turn, however long its tasks take."""

    name = "lru"

    def order(self, engine: Load) -> tuple[int, ...]:
        """By when it was last used."""
        return engine.used, engine.id


# --- drawn at random ------------------------------------------------------------------------------


class Drawn(Scheme):
    """Base of the schemes that draw engines: those with room sit in a row, without gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.row: list[Load] = []
        self.seats: dict[int, int] = {}  # by engine id: where in the row it sits

    def update(self, engine: Load, room: bool) -> None:
        """As in the base class; the last in the row takes the seat of one that leaves."""
        super().update(engine, room)
        if room:
            seat = self.seats.setdefault(engine.id, len(self.row))
            self.row[seat : seat + 1] = [engine]
        elif engine.id in self.seats:
            seat = self.seats.pop(engine.id)
            last = self.row.pop()
            if seat < len(self.row):
                self.row[seat] = last
                self.seats[last.id] = seat

    def best(
        self,
        allowed: Iterable[int] = (),
        avoid: Collection[int] = (),
        excluded: Collection[int] = (),
    ) -> Load | None:
        """As in the base class; without conditions, drawn from the row as it is."""
        if allowed or avoid or excluded:
            return super().best(allowed, avoid, excluded)
        return self.choose(self.row) if self.row else None

    def below(self, n: int) -> int:
        """A random number from 0 up to but not including n."""
        return int(self.chance() * n)


class PlainRandom(Drawn):
    """Any engine."""

    name = "plainrandom"

    def choose(self, engines: Sequence[Load]) -> Load:
        """One of these, each as likely as the others."""
        return engines[self.below(len(engines))]


class TwoBin(Drawn):
    """The least recently used of two engines drawn at random."""

    name = "twobin"

    def choose(self, engines: Sequence[Load]) -> Load:
        """The least recently used of two of these."""
        if len(engines) == 1:
            return engines[0]
        first, second = self.below(len(engines)), self.below(len(engines) - 1)
        second += second >= first  # another one
        return min(engines[first], engines[second], key=lambda e: (e.used, e.id))


class Weighted(Drawn):
    """The less loaded of two engines drawn at random, an engine with n tasks by weight 1/(1+n)."""

    name = "weighted"

    def __init__(self) -> None:
        super().__init__()
        self.weights = Weights()  # of the seats in the row

    def choose(self, engines: Sequence[Load]) -> Load:
        """The less loaded of two of these, then the least recently used."""
        weights = self.weights
        if engines is not self.row:
            weights = Weights()
            for seat, engine in enumerate(engines):
                weights[seat] = weight(engine)
        drawn = weights.draw_two(self.chance)
        return min((engines[seat] for seat in drawn), key=lambda e: (e.load, e.used, e.id))

    def update(self, engine: Load, room: bool) -> None:
        """As in the base class; keeps the weights of the seats."""
        left = self.seats.get(engine.id)
        super().update(engine, room)
        if room:
            self.weights[self.seats[engine.id]] = weight(engine)
        elif left is not None:
            self.weights[len(self.row)] = 0.0
            if left < len(self.row):
                self.weights[left] = weight(self.row[left])


def weight(engine: Load) -> float:
    """With which weight `Weighted` draws an engine."""
    return 1 / (1 + engine.load)


class Weights:
    """Weights of seats in a row, of which one is drawn with a chance in proportion to its weight.

    A binary tree of sums, so that to change one and to draw one takes log n steps. Sums are always
    made anew from their two parts: no rounding error adds up.
    """

    def __init__(self) -> None:
        self.size = 1  # seats there is place for, a power of two
        self.sums = [0.0, 0.0]  # the whole, its halves, their halves, ...; the last `size`: seats

    def __setitem__(self, seat: int, weight: float) -> None:
        while seat >= self.size:
            self._grow()
        sums, at = self.sums, self.size + seat
        sums[at] = weight
        while at > 1:
            at //= 2
            sums[at] = sums[2 * at] + sums[2 * at + 1]

    def _grow(self) -> None:
        seats = self.sums[self.size :]
        self.size *= 2
        self.sums = [0.0] * self.size + seats + [0.0] * len(seats)
        for at in range(self.size - 1, 0, -1):
            self.sums[at] = self.sums[2 * at] + self.sums[2 * at + 1]

    def draw(self, x: float) -> int:
        """The seat at the fraction x of the whole, which has to be above 0; so is the seat's."""
        sums, at = self.sums, 1
        rest = x * sums[1]
        while at < self.size:
            at *= 2
            if rest >= sums[at] and sums[at + 1]:
                rest -= sums[at]
                at += 1
        return at - self.size

    def draw_two(self, chance: Callable[[], float]) -> tuple[int, ...]:
        """Two different seats, the second drawn among the others; one, when there is no other."""
        first = self.draw(chance())
        weight = self.sums[self.size + first]
        self[first] = 0.0
        second = (self.draw(chance()),) if self.sums[1] else ()
        self[first] = weight
        return (first, *second)


SCHEMES: dict[str, type[Scheme]] = {
    scheme.name: scheme for scheme in (LeastLoad, LeastRecentlyUsed, PlainRandom, TwoBin, Weighted)
}
"""The schemes that are always there, by name."""
