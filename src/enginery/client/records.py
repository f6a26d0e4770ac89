"""`rc.results` and `rc.metadata`: what is known here of tasks that are done, by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..error import UnknownTask

if TYPE_CHECKING:
    from .client import Client
    from .slots import Slot


class Records(Mapping[str, Any]):
    """A read-only mapping from task id to what `read` takes from that task."""

    def __init__(self, client: Client, read: Callable[[Slot], Any]) -> None:
        self._client = client
        self._read = read

    def __getitem__(self, id: str) -> Any:
        slot = self._client.calls.slots.get(id)
        if slot is None or slot.outcome is None:
            state = "is not done" if slot else "is not held here: rc.get_result(id) fetches it"
            raise UnknownTask(f"the result of task {id!r} {state}")
        return self._read(slot)

    def __iter__(self) -> Iterator[str]:
        return (slot.id for slot in self._client.calls.slots.values() if slot.outcome)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<records of {len(self)} tasks>"
