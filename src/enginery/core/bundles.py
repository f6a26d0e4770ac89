"""Plain tasks that have fared alike so far, as one thing.

Of ten thousand calls of one function most come together, wait together, go to an engine a dozen at
a time and end well. What happens to all tasks of a *bundle* is noted once, and what they are, and
give, stays in the columns in which it came (`alike`): that costs the controller three fifths of
what a record of each would. As soon as somebody asks for one of them, or something happens
to one alone (it fails, it is aborted, its engine is lost), the bundle is *untied*: each task gets
the very record that it would have if there were no bundles. So only the straight way through the
controller knows of them; who looks at `Tasks`, at a place or at the history finds records. (The
history packs, and forgets, them together.)

A bundle is split at its front: the first of its tasks go to an engine, the first of these end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, final

from . import messages as m
from .tasks import TRANSITIONS, Move, Record, State

if TYPE_CHECKING:
    from .engines import Place
    from .table import Tasks

LARGEST = 256
"""Tasks in a bundle at most: it takes as long to split one, and to untie it."""


@final
class Bundle:
    """Calls of one function with one name, which ask for nothing but to be run, in their order.

    What it has in common with a `Record` is as of each of its tasks; `n`, `number` and `order` are
    those of the first one, and the others follow.
    """

    __slots__ = (
        "alike", "at", "done", "expected", "finished", "n", "number", "order", "owner",
        "records", "size", "state", "steps", "tasks",
    )  # fmt: skip

    pool: Final = None
    rank: Final = 0.0
    allowed: Final[tuple[int, ...]] = ()
    avoid: Final[tuple[int, ...]] = ()
    refused: Final[tuple[int, ...]] = ()
    unfit: Final[tuple[int, ...]] = ()

    def __init__(self, alike: m.Alike, owner: bytes, number: int, tasks: Tasks) -> None:
        self.alike = alike
        self.size = alike.size()
        self.owner = owner
        self.number = number
        self.tasks = tasks  # where they are known
        self.state: State = "new"
        self.steps: list[Any] = []
        self.order = self.n = self.expected = 0
        self.at: Place | None = None  # while queued or sent
        self.done: m.Done | None = None
        self.finished = 0.0
        self.records: list[Record] | None = None  # once it is untied
        tasks.bundled.update(dict.fromkeys(alike.ids, self))

    def __len__(self) -> int:
        return len(self.alike.ids)

    @property
    def items(self) -> int:
        """Calls that it stands for."""
        return len(self.alike.ids)

    @property
    def function(self) -> bytes:
        """That of all of them."""
        return self.alike.function

    @property
    def ids(self) -> list[str]:
        """Those of its tasks."""
        return self.alike.ids

    @property
    def outcomes(self) -> list[m.Outcome]:
        """Those of its tasks, if they have ended."""
        return [] if self.done is None else self.done.outcomes()

    @property
    def largest(self) -> int:
        """Bytes that none of its tasks exceeds, with its outcome, about."""
        return self.alike.largest + (0 if self.done is None else self.done.largest)

    @property
    def last(self) -> int:
        """The number of the last attempt, which does not change when it is split."""
        return self.n + len(self.alike.ids) - 1

    def move(self, move: Move, now: float, cause: str, engine: int = -1) -> None:
        """As of each record."""
        self.state = TRANSITIONS[self.state, move]
        self.steps += (now, cause, engine)

    def split(self, count: int) -> Bundle:
        """The first of its tasks, fewer than all, as a bundle of their own."""
        part = Bundle(self.alike.cut(0, count), self.owner, self.number, self.tasks)
        part.state, part.steps, part.at = self.state, list(self.steps), self.at
        part.order, part.n, part.expected = self.order, self.n, self.expected
        self._lose(count, part.size)
        if self.state == "sent":
            self.n += count
        return part

    def peel(self) -> Record:
        """The first of its tasks, which waits and gets a record; others are left."""
        record = self._record(0)
        del self.tasks.bundled[record.spec.id]
        self.tasks.live[record.spec.id] = record
        self._lose(1, record.size)
        return record

    def _lose(self, count: int, size: int) -> None:
        """The first of its tasks, of so many bytes, are of it no more."""
        self.alike = self.alike.cut(count)
        self.size -= size
        self.number += count
        self.order += count

    def row(self, clears: int) -> m.Row:
        """What their engine is told."""
        alike = self.alike
        return m.Row(
            self.n, alike.function, alike.name, alike.retries <= 0, clears, alike.ids,
            alike.arguments,
        )  # fmt: skip

    def seen(self, id: str) -> Record:
        """The record of one of its tasks as it would be, before it is untied."""
        return self._record(self.ids.index(id))

    def look(self) -> list[Record]:
        """The records of its tasks; before it is untied, as they would be."""
        if self.records is not None:
            return self.records
        return [self._record(i) for i in range(len(self))]

    def _record(self, i: int) -> Record:
        record = Record(self.alike.task(i), self.owner, self.number + i)
        record.state, record.steps = self.state, list(self.steps)
        record.order, record.expected = self.order + i, self.expected
        record.place = -1 if self.at is None else self.at.id
        if self.n:
            record.n, record.attempt = self.n + i, 1
        if self.done is not None:
            record.outcome, record.finished, record.kept = self.done.outcome(i), self.finished, True
            record.size += record.outcome.size()
        return record

    def untie(self) -> list[Record]:
        """Give each of its tasks a record."""
        if self.records is None:
            self.records = self.look()
            self.tasks.replace(self, self.records)
            if self.at is not None:
                self.at.replace(self, self.records)
        return self.records

    def __repr__(self) -> str:
        where = "" if self.at is None else f" on {self.at.id}"
        return f"<Bundle of {len(self)} from {self.ids[0]} {self.state}{where}>"


Unit = Record | Bundle
"""What stands in lines, in the queues of engines and in the history."""


def untie(units: Iterable[Unit]) -> None:
    """Untie those of these that are bundles."""
    for unit in tuple(units):
        if type(unit) is Bundle:
            unit.untie()
