"""Every task that the controller knows, by its id.

One that is packed (`archive`) is made anew for who asks for it; a bundle is untied (`bundles`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from .archive import Archive, Columned
from .bundles import Bundle
from .tasks import Record


class Tasks(Mapping[str, Record]):
    """A dictionary of records, in the order in which the tasks were accepted.

    `live` are those that have a record: that are not packed, and not `bundled`. Among these two are
    all that are not done.
    """

    def __init__(self, archive: Archive) -> None:
        self.live: dict[str, Record] = {}
        self.bundled: dict[str, Bundle] = {}
        self._archive = archive

    def __getitem__(self, id: str) -> Record:
        record: Record | None = self.get(id)
        if record is None:
            raise KeyError(id)
        return record

    def get(self, id: str, default: Any = None) -> Any:
        """As of any dictionary."""
        return self.open(id) or self._archive.get(id) or default

    def open(self, id: str) -> Record | None:
        """The same, but for those that are packed."""
        if (bundle := self.bundled.get(id)) is not None:
            bundle.untie()
        return self.live.get(id)

    def __contains__(self, id: object) -> bool:
        if id in self.live or id in self.bundled:
            return True
        return isinstance(id, str) and id in self._archive

    def knows_any(self, ids: Collection[str]) -> bool:
        """Whether any of these is known."""
        if not (self.live.keys().isdisjoint(ids) and self.bundled.keys().isdisjoint(ids)):
            return True
        return self._archive.has_any(ids)

    def __iter__(self) -> Iterator[str]:
        numbers = [(record.number, id) for id, record in self.live.items()]
        for bundle in self.bundles():
            numbers += enumerate(bundle.ids, bundle.number)
        return iter([id for _, id in sorted([*self._archive.numbers(), *numbers])])

    def __len__(self) -> int:
        return len(self.live) + len(self.bundled) + self._archive.count

    def bundles(self) -> Iterable[Bundle]:
        """Those that are not untied."""
        return dict.fromkeys(self.bundled.values())

    def seen(self, id: str) -> Record | None:
        """As `get`, without a change: one of a bundle as it would be."""
        bundle = self.bundled.get(id)
        record: Record | None = self.get(id) if bundle is None else bundle.seen(id)
        return record

    def replace(self, bundle: Bundle, records: Iterable[Record]) -> None:
        """The tasks of a bundle have records now."""
        for id, record in zip(bundle.ids, records, strict=True):
            del self.bundled[id]
            self.live[id] = record

    def opened(self) -> Iterable[Record]:
        """All that are not packed."""
        for bundle in self.bundles():
            bundle.untie()
        return self.live.values()

    def look(self) -> Iterator[Record]:
        """All of them, in any order and without a change; those of bundles as they would be."""
        yield from self._archive
        yield from self.live.values()
        for bundle in self.bundles():
            yield from bundle.look()

    def _records(self) -> list[Record]:
        records = [*self._archive, *self.opened()]
        return sorted(records, key=lambda record: record.number)

    def where(self, names: Iterable[str], may: Columned) -> list[tuple[str, Record]]:
        """All but those in blocks of packed tasks that need not be looked at, with their ids."""
        return self.in_order([*self._archive.where(names, may), *self.opened()])

    def different(self, name: str) -> set[Any]:
        """What a field of the tasks holds: of the packed ones, also of some that were removed."""
        found = {getattr(record.origin, name) for record in self.live.values()}
        found |= {getattr(bundle.alike, name) for bundle in self.bundles()}
        return self._archive.different(name) | found

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
