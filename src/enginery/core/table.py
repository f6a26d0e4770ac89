"""Every task that the controller knows, by its id.

One that is packed (`archive`) is made anew for who asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .archive import Archive, Columned
from .tasks import Record


class Tasks(Mapping[str, Record]):
    """A dictionary of records, in the order in which the tasks were accepted.

    `live` are those that are not packed, among them all that are not done.
    """

    def __init__(self, archive: Archive) -> None:
        self.live: dict[str, Record] = {}
        self._archive = archive

    def __getitem__(self, id: str) -> Record:
        record = self.live.get(id) or self._archive.get(id)
        if record is None:
            raise KeyError(id)
        return record

    def get(self, id: str, default: Any = None) -> Any:
        """As of any dictionary."""
        return self.live.get(id) or self._archive.get(id) or default

    def __contains__(self, id: object) -> bool:
        return id in self.live or (isinstance(id, str) and id in self._archive)

    def __iter__(self) -> Iterator[str]:
        if not self._archive.count:
            return iter(self.live)
        live = ((record.number, id) for id, record in self.live.items())
        return iter([id for _, id in sorted([*self._archive.numbers(), *live])])

    def __len__(self) -> int:
        return len(self.live) + self._archive.count

    def _records(self) -> list[Record]:
        records = list(self.live.values())
        if self._archive.count:
            records = sorted([*self._archive, *records], key=lambda record: record.number)
        return records

    def where(self, names: Iterable[str], may: Columned) -> list[tuple[str, Record]]:
        """All but those in blocks of packed tasks that need not be looked at, with their ids."""
        return self.in_order([*self._archive.where(names, may), *self.live.values()])

    def different(self, name: str) -> set[Any]:
        """What a field of the tasks holds: of the packed ones, also of some that were removed."""
        return self._archive.different(name) | {
            getattr(record.origin, name) for record in self.live.values()
        }

    @staticmethod
    def in_order(records: Iterable[Record]) -> list[tuple[str, Record]]:
        """Records with their ids, in the order in which the tasks were accepted."""
        return [(r.spec.id, r) for r in sorted(records, key=lambda record: record.number)]

    def values(self) -> Any:
        """All of them, at once."""
        return self._records()

    def items(self) -> Any:
        """All of them with their ids, at once."""
        return [(record.spec.id, record) for record in self._records()]
