"""Which items of a map have ended, and what they gave, where engines divide it among themselves.

Its tasks are chunks, and single calls where something cannot be divided. Nobody knows beforehand
into which shares a chunk will fall, so what has ended is kept as *parts*, in the order in which
they came: a share, a single call, or what is left of a chunk that has ended. It is used in the
stead of both `Arrivals` and `Values`, of which a part is what is called a slot there.
"""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from ..core.pools import chunk_id
from .arrivals import Awaited
from .failed import Failed
from .slots import ChunkSlot, ShareSlot, Slot
from .values import unpack

if TYPE_CHECKING:
    from threading import Condition


class Part(NamedTuple):
    """Some items that have ended together."""

    first: int  # among all items of the map
    items: int
    number: int  # among all parts
    slot: Slot
    skipped: int = 0  # items at the beginning of its share that had come with another one


def items_of(slot: Slot) -> int:
    """How many items a task of a map stands for."""
    divided = isinstance(slot, ChunkSlot | ShareSlot) and slot.stop
    return slot.stop - slot.start if divided else 1  # type: ignore[attr-defined]


def is_chunk(slot: Slot) -> bool:
    """Whether a task is known to be a chunk, which has no value but those of its shares."""
    return isinstance(slot, ChunkSlot) and slot.stop > 0


class Parts(Awaited):
    """See the module's theory. The attributes of `Arrivals` have the same meaning here."""

    def __init__(self, slots: Sequence[Slot], changed: Condition) -> None:
        self.tasks = tuple(slots)  # as they were submitted
        self.parts: list[Part] = []  # in the order in which they came
        self.order: list[int] = []  # their numbers
        self.bad: list[int] = []
        self.items = self.retried = 0
        self.unreadable = False  # whether some values that have come cannot be loaded here
        self._starts = list(accumulate(map(items_of, slots), initial=0))
        self._by_item: list[Part] = []
        self._values: dict[int, Sequence[Any]] = {}
        self._lock = threading.Lock()  # of the values
        super().__init__(slots, changed)
        with changed:
            for slot in slots:
                self._follow(slot)

    # --- from the link's thread, with `changed` held ----------------------------------------------

    def _follow(self, slot: Slot) -> None:
        if isinstance(slot, ChunkSlot) and is_chunk(slot):
            for share in slot.shares:
                self._share_ended(slot, share)
            if slot.outcome is None:
                slot.listeners += (lambda share: self._share_ended(slot, share),)
        if slot.outcome is None:
            slot.watchers += (self._ended,)
        else:
            self._ended(slot)

    def _share_ended(self, whole: ChunkSlot, share: ShareSlot) -> None:
        start = self._starts[self._waiting[whole.id]] + share.start - whole.start
        for first, stop in self._missing(start, start + items_of(share)):
            self._add(first, stop - first, share, first - start)

    def _ended(self, slot: Slot) -> None:
        i = self._waiting.pop(slot.id)
        if is_chunk(slot):
            for first, stop in self._missing(self._starts[i], self._starts[i + 1]):
                self._add(first, stop - first, slot)
        else:
            self._add(self._starts[i], items_of(slot), slot)
        if not self._waiting:
            self._call_back()

    def _missing(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Those of some items that have not come.

        All have not but where a controller has forgotten how it had divided a chunk.
        """
        parts, missing = self._by_item, []
        i = bisect_right(parts, (first,))
        if i:
            first = max(first, parts[i - 1].first + parts[i - 1].items)
        while i < len(parts) and parts[i].first < stop:
            if parts[i].first > first:
                missing.append((first, parts[i].first))
            first = parts[i].first + parts[i].items
            i += 1
        return [*missing, (first, stop)] if first < stop else missing

    def _add(self, first: int, items: int, slot: Slot, skipped: int = 0) -> None:
        part = Part(first, items, len(self.parts), slot, skipped)
        outcome = slot.outcome
        assert outcome is not None
        if outcome.status != "ok" or is_chunk(slot):
            self.bad.append(part.number)
        if outcome.attempt > 1:
            self.retried += items
        self.items += items
        self.parts.append(part)
        insort(self._by_item, part)
        self.order.append(part.number)

    # --- what has ended -------------------------------------------------------------------------

    @property
    def slots(self) -> list[Slot]:
        """What there is of tasks: each part that has ended, in their order, then what has not."""
        with self._changed:
            ended = [part.slot for part in self._by_item]
            return [*ended, *(slot for slot in self.tasks if slot.outcome is None)]

    @property
    def pending(self) -> dict[str, int]:
        """The tasks that have not ended, and how many of their items have not."""
        with self._changed:
            return {slot.id: _left(slot) for slot in self.tasks if slot.outcome is None}

    def those(self, ids: Iterable[str]) -> list[str]:
        """Those of these tasks that are of this call and have not ended."""
        return [id for id in ids if chunk_id(id) in self._waiting]

    # --- what it gives --------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._starts[-1]

    def first(self, number: int) -> int:
        """The first item of a part."""
        return self.parts[number].first

    def slot(self, item: int) -> int:
        """The number of the part that an item is in, which has ended."""
        part = self.where(item)
        if part is None:
            raise AssertionError("only what has ended has a part")
        return part.number

    def where(self, item: int) -> Part | None:
        """The part that an item is in; None when it has not ended."""
        i = bisect_right(self._by_item, (item, len(self) + 1)) - 1
        part = self._by_item[i] if i >= 0 else None
        return part if part is not None and item < part.first + part.items else None

    def part(self, number: int) -> Sequence[Any]:
        """The values of a part."""
        with self._lock:
            values = self._values.get(number)
            if values is None:
                values = self._values[number] = self._unpack(self.parts[number])
            return values

    def _unpack(self, part: Part) -> Sequence[Any]:
        outcome = part.slot.outcome
        assert outcome is not None
        if is_chunk(part.slot):
            if outcome.status == "ok":  # it has come too late, and the shares are forgotten
                outcome = replace(outcome, status="expired")
            numbers = range(part.first, part.first + part.items)
            return [Failed(None, outcome, item) for item in numbers]
        if isinstance(part.slot, ShareSlot):
            skipped, items = part.skipped, items_of(part.slot)
            values = unpack(outcome, part.first - skipped, items)[skipped : skipped + part.items]
        else:
            values = unpack(outcome, part.first, None)
        if outcome.status == "ok" and Failed in set(map(type, values)):
            self.unreadable = True
        return values

    def all(self) -> list[Any]:
        """The values of all that has ended, in the order of the items."""
        with self._changed:
            parts = self._by_item.copy()
        values: list[Any] = []
        for part in parts:
            values += self.part(part.number)
        return values


def _left(slot: Slot) -> int:
    if not isinstance(slot, ChunkSlot) or not slot.stop:
        return 1
    return max(items_of(slot) - sum(map(items_of, slot.shares)), 1)
