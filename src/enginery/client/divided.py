"""The result of a map that engines divide among themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from ..frames import trimmed
from ..wire.inputs import joined_parts
from .errors import combine
from .failed import Failed
from .parts import Parts, is_chunk, items_of
from .results import AsyncResult
from .slots import ChunkSlot, ShareSlot, Slot


class DividedResult(AsyncResult):
    """An `AsyncResult`, of whose tasks nobody knows before they end which items are theirs.

    So `msg_ids`, the metadata and the like are of each share that has ended, and of each chunk that
    has not: of shares alone when all is done.
    """

    _parts: Parts

    @property
    def _chunks(self) -> bool:
        return True

    def _follow_tasks(self) -> None:
        self._parts = self._values = self._arrivals = Parts(self._tasks, self._link.changed)

    @property
    def _slots(self) -> Sequence[Slot]:
        return self._parts.slots

    def _speakers(self) -> Sequence[Slot]:
        chunks = [slot for slot in self._tasks if isinstance(slot, ChunkSlot)]
        return [*self._slots, *(each for slot in chunks for each in slot.speaking.copy().values())]

    def _complete(self) -> Callable[[], bool]:
        return lambda: self.ready() and all(slot.all_put_out for slot in self._slots)

    @trimmed
    def resubmit(self) -> AsyncResult:
        """As in `AsyncResult`."""
        if not self.ready():
            raise ValueError(f"{self!r} is not done; wait for it, or abort it first")
        tasks = list(self._slots)
        bad = [i for i, slot in enumerate(tasks) if slot.outcome and slot.outcome.status != "ok"]
        if not bad:
            return self
        again = self._client.run_again([tasks[i].id for i in bad])
        for i, slot in zip(bad, again, strict=True):
            tasks[i] = slot
        return self._client.result(
            tasks, kind=type(self), name=self.name, shape=self._shape,
            ordered=self.ordered, return_exceptions=self.return_exceptions, total=self._total,
        )  # fmt: skip

    # --- as an argument ---------------------------------------------------------------------------

    def taken(self) -> tuple[Sequence[Slot], Callable[[list[Any]], Any] | None]:
        """As in `AsyncResult`: all of a chunk that has not ended, or whose shares overlap."""
        slots = [part for slot in self._tasks for part in in_parts(slot)]
        several = tuple(isinstance(slot, ChunkSlot | ShareSlot) for slot in slots)
        return slots, partial(joined_parts, several)

    # --- pieces ---------------------------------------------------------------------------------

    def _here(self, item: int) -> Callable[[], bool]:
        return lambda: self._parts.where(item) is not None

    def _numbered(self) -> Iterable[tuple[int, Slot]]:
        return [(part.number, part.slot) for part in sorted(self._parts.parts)]

    def _pending(self) -> dict[str, int]:
        return self._parts.pending

    def _all_values(self) -> Sequence[Any]:
        return self._parts.all()

    def _failures(self, values: Sequence[Any]) -> list[Failed]:
        return super()._failures(values) if self._arrivals.bad or self._parts.unreadable else []

    def _slot_error(self, i: int) -> Exception | None:
        parts = sorted(self._parts.parts)
        if i >= len(parts) or parts[i].number not in self._parts.bad:
            return None
        values = self._parts.part(parts[i].number)
        failures = [value for value in values if isinstance(value, Failed)]
        return combine(failures, self._call(), alone=True)


def form_of(
    slots: Sequence[Slot], single: bool, called: str
) -> tuple[type[AsyncResult], dict[str, Any]]:
    """The class of the result of tasks that are asked for by their ids, and what it is made with.

    With chunks of a map among them it is one list of all items. It is `called` so unless its tasks
    have a name.
    """
    divided = any(map(is_chunk, slots))
    name = slots[0].name if divided or len(slots) == 1 else ""
    shape = "map" if divided else "single" if single else "list"
    return DividedResult if divided else AsyncResult, {"name": name or called, "shape": shape}


def in_parts(slot: Slot) -> Sequence[Slot]:
    """The shares of a chunk that has ended, in the order of their items; else the task itself."""
    if not isinstance(slot, ChunkSlot) or slot.outcome is None:
        return (slot,)
    shares = sorted(slot.shares, key=lambda share: share.start)
    return shares if sum(map(items_of, shares)) == items_of(slot) else (slot,)
