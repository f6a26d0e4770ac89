"""Which tasks of a call have ended, in the order in which they did.

The link's thread tells each task's end once, through its slot's `watchers`; so a call of 100,000
tasks never looks through all of them to see which one is new. Nothing here refers to the client,
so a result that nobody waits for keeps no client alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Condition

    from .link import Slot


class Awaited:
    """Tasks of one call of which some have not ended, and who wants to know when all have."""

    __slots__ = ("_callbacks", "_changed", "_waiting")

    def __init__(self, slots: Sequence[Slot], changed: Condition) -> None:
        self._changed = changed
        self._callbacks: tuple[Callable[[], None], ...] = ()
        self._waiting = {slot.id: i for i, slot in enumerate(slots)}

    @property
    def done(self) -> bool:
        """Whether all have ended."""
        return not self._waiting

    def on_done(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call this once all have ended, perhaps at once; gives a function that takes it back.

        It is called in the link's thread, so it must neither wait nor raise.
        """
        with self._changed:
            if self._waiting:
                self._callbacks += (callback,)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._changed:
            self._callbacks = tuple(kept for kept in self._callbacks if kept is not callback)

    def _call_back(self) -> None:
        """Tell, with `changed` held, that all have ended."""
        callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            callback()


class Arrivals(Awaited):
    """Attributes: `order`, positions of the slots that have ended; `bad`, those not "ok"; `items`;
    `retried`, the items among them that took more than one attempt.

    `sizes` says how many items each slot stands for (None: one each).
    """

    __slots__ = ("_sizes", "bad", "items", "order", "retried")

    def __init__(self, slots: Sequence[Slot], sizes: Sequence[int] | None, changed: Condition):
        self.order: list[int] = []
        self.bad: list[int] = []
        self.items = 0
        self.retried = 0
        self._sizes = sizes
        super().__init__(slots, changed)
        if len(self._waiting) < len(slots):
            raise ValueError("a task is named twice in one result")
        told = (self._ended,)
        with changed:
            for slot in slots:
                if slot.outcome is None:
                    slot.watchers = slot.watchers + told if slot.watchers else told
                else:
                    self._ended(slot)

    def those(self, ids: Iterable[str]) -> list[str]:
        """Those of these tasks that are of this call and have not ended."""
        return [id for id in ids if id in self._waiting]

    def _ended(self, slot: Slot) -> None:
        """The link says, with `changed` held, that this slot has its outcome."""
        i = self._waiting.pop(slot.id)
        self.order.append(i)
        items = 1 if self._sizes is None else self._sizes[i]
        self.items += items
        if slot.outcome is not None:
            if slot.outcome.status != "ok":
                self.bad.append(i)
            if slot.outcome.attempt > 1:
                self.retried += items
        if not self._waiting:
            self._call_back()


class Arrival:
    """The same for the one task of a single call, of which there may be very many."""

    __slots__ = ("_changed", "_slot")

    def __init__(self, slot: Slot, changed: Condition) -> None:
        self._slot = slot
        self._changed = changed

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._slot.outcome is not None

    @property
    def order(self) -> list[int]:
        """The position of the slot, once it has ended."""
        return [0] if self.done else []

    @property
    def bad(self) -> list[int]:
        """The position of the slot, once it has ended otherwise than well."""
        outcome = self._slot.outcome
        return [0] if outcome is not None and outcome.status != "ok" else []

    @property
    def items(self) -> int:
        """How many items have ended."""
        return int(self.done)

    @property
    def retried(self) -> int:
        """How many of them took more than one attempt."""
        outcome = self._slot.outcome
        return int(outcome is not None and outcome.attempt > 1)

    def those(self, ids: Iterable[str]) -> list[str]:
        """As in `Arrivals`."""
        return [id for id in ids if id == self._slot.id] if not self.done else []

    def on_done(self, callback: Callable[[], None]) -> Callable[[], None]:
        """As in `Arrivals`."""

        def ended(slot: Slot) -> None:
            callback()

        with self._changed:
            if self._slot.outcome is None:
                self._slot.watchers += (ended,)
                return lambda: self._forget(ended)
        callback()
        return lambda: None

    def _forget(self, watcher: Callable[[Slot], None]) -> None:
        with self._changed:
            slot = self._slot
            slot.watchers = tuple(w for w in slot.watchers if w is not watcher)
