"""A journal in the hand: a controller's entries, written to real files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from enginery.controller.journal import Journal
from enginery.core import entries as e
from enginery.core import messages as m
from enginery.core.events import Append

OWNER = b"ann" * 5 + b"."


class Hand:
    """What a controller writes; records are numbered as they come."""

    def __init__(self, directory: Path, name: str = "journal") -> None:
        self.directory = directory
        self.name = name
        self.turn = 0
        self.now = 1_700_000_000.0
        self.journal = Journal(directory)
        self.journal.start(name, (0, 0))
        self.write([e.Begin(), e.Complete()], anew=True)

    def write(self, entries: Iterable[e.AnyEntry], anew: bool = False) -> None:
        """One turn."""
        self.turn += 1
        self.now += 1.0
        self.journal.append(Append(self.turn, e.Turn(self.now, list(entries)), anew, False))
        self.journal.wake()

    def take(self, *ids: str, **fields: object) -> None:
        """Tasks are accepted."""
        self.write([e.Taken(OWNER, self.turn, [task(id, **fields) for id in ids])])

    def send(self, *ids: str, place: int = 0, attempt: int = 1) -> None:
        """Tasks are sent to an engine."""
        self.write([e.Sent(place, [(n, id, attempt) for n, id in enumerate(ids, 1)])])

    def end(self, *ids: str, status: m.Status = "ok", **fields: object) -> None:
        """Tasks end."""
        self.write([e.Ended(OWNER, outcome(id, status, **fields)) for id in ids])

    def account(self, *states: e.State) -> None:
        """A new segment, with all that matters; the older ones go."""
        first = self.turn + 1
        self.write([e.Begin()], anew=True)
        self.write(states)
        self.write([e.Complete()])
        for path in self.directory.glob("*.log"):
            if int(path.stem) < first:
                path.unlink()

    def restart(self) -> None:
        """The controller is killed, and another one goes on."""
        self.journal.close(remove=False)
        self.journal = Journal(self.directory)
        self.journal.start(self.name, (0, 0))

    def close(self) -> None:
        """The controller ends."""
        self.journal.close(remove=False)


def task(id: str, **fields: object) -> m.Task:
    """A task of any kind."""
    return m.Task(id, b"f" * 16, b"arguments", submitted=1_700_000_000.0, **fields)  # type: ignore[arg-type]


def outcome(id: str, status: m.Status = "ok", **fields: object) -> m.Outcome:
    """How it ended."""
    known: dict[str, object] = {
        "value": b"value", "engine": 0, "attempt": 1, "submitted": 1_700_000_000.0,
        "started": 1_700_000_001.0, "completed": 1_700_000_002.0, "name": "fit",
    }  # fmt: skip
    return m.Outcome(id, status, **(known | fields))  # type: ignore[arg-type]
