"""What the journal tells of a controller that is no more: its entries, followed one by one.

Nothing is decided here. An entry about a thing of which the journal has not said yet what it is
says nothing: that comes later, and includes it (`entries`).
"""

from __future__ import annotations

from collections.abc import Iterable

from . import entries as e
from . import messages as m
from .tasks import Record, Refusal

FEW = ("spent", "crashed", "avoid", "allowed", "refused", "aborting", "interrupting")
"""What few records have, and takes room only in these."""


IN_LINE = frozenset({"new", "waiting"})
"""States of a task, as it was written, that waits where its submission has put it."""


class Replay:
    """What is known after the turns so far."""

    def __init__(self) -> None:
        self.turns = 0
        self.begin = e.Begin()
        self.ended: dict[str, int] = {}
        self.lives: dict[int, e.Life] = {}
        self._places: dict[bytes, set[int]] = {}  # where a life was, by what may be said to be over
        self.over: dict[bytes, None] = {}
        self.clients: dict[bytes, e.Came] = {}
        self.functions: dict[bytes, m.Code] = {}
        self.tasks: dict[str, Record] = {}  # in their order
        self.gone: dict[str, Record] = {}  # those of which it only matters how they ended
        self.purged: list[Record] = []
        self.divided: dict[str, e.Divided] = {}  # chunks
        self.shares: dict[str, list[int]] = {}  # the first items of those that have ended, by chunk
        self.waits: dict[str, list[e.Condition]] = {}  # of those that are held
        self.had: set[str] = set()  # of which engines had told, and no client
        self.again: dict[str, None] = {}  # that wait once more, the latest first
        self.kept: dict[str, m.Value] = {}
        self.owed: dict[bytes, dict[str, m.Outcome]] = {}
        self.untold: e.Untold | None = None
        self.numbers: dict[str, int] = {}

    def follow(self, turns: Iterable[e.Turn]) -> None:
        """Follow these turns, in their order."""
        for turn in turns:
            self.turns += 1
            for entry in turn.entries:
                self._apply(entry, turn.at)

    def _apply(self, entry: e.AnyEntry, at: float) -> None:
        match entry:
            case e.Taken():
                self._taken(entry, at)
            case e.Request():
                self._request(entry)
            case e.Sent(place=place):
                for n, id, attempt in entry.one_by_one():
                    self._sent(place, n, id, attempt, at)
            case e.Ended() | e.EndedWell():
                for outcome in entry.outcomes():
                    self._ended(entry.owner, outcome, at)
            case e.State():
                self._state(entry)
            case e.Passed(owner=owner, outcome=outcome):
                self._passed(owner, outcome)
            case e.Function(hash=hash, blob=blob, buffers=buffers):
                self.functions[hash] = m.code_of(blob, buffers)
            case e.Life():
                self.lives[entry.id] = entry
                for name in _names(entry):
                    self._places.setdefault(name, set()).add(entry.id)
            case e.Over(incarnation=incarnation):
                self.over[incarnation] = None
                for engine in self._places.get(incarnation, ()):
                    life = self.lives[engine]  # perhaps a later one
                    life.over |= incarnation in _names(life)
            case e.Came():
                known = self.clients.setdefault(entry.identity, entry)
                known.accepted = max(known.accepted, entry.accepted)
            case e.Left(identity=identity):
                self.clients.pop(identity, None)
                self.owed.pop(identity, None)
            case e.Begin():
                self.begin = entry
                self.ended = dict(entry.ended)
            case e.Chosen(scheme=scheme):
                self.begin.scheme = scheme
            case e.Divided():
                self._divided(entry)
            case e.Kept(id=id, value=value):
                self.kept[id] = value
            case e.Owed(owner=owner, outcome=outcome):
                self.owed.setdefault(owner, {})[outcome.id] = outcome
            case e.Purged(ids=ids):
                for id in ids:
                    if (record := self.tasks.pop(id, None)) is not None:
                        self.gone[id] = record
                        self.purged.append(record)
            case e.Untold():
                self.untold = entry
            case e.Numbered(id=id, number=number):
                self.numbers[id] = number
            case e.Complete():
                pass

    def _divided(self, entry: e.Divided) -> None:
        self.divided[entry.id] = entry
        ended = self.shares.setdefault(entry.id, [])
        ended[entry.since :] = entry.ended

    def _taken(self, entry: e.Taken, at: float) -> None:
        client = self.clients.get(entry.owner)
        if client is not None:
            client.accepted = max(client.accepted, entry.seq)
        for task in entry.one_by_one():
            known = self.tasks.get(task.id)
            if (known is None or is_name(known)) and "." not in task.id:  # else it was refused
                record = self.tasks[task.id] = Record(task, entry.owner)
                record.steps += (at, "accepted", -1)
        for direct in entry.direct:
            if direct.id not in self.tasks:
                record = self.tasks[direct.id] = Record(direct.task(), entry.owner)
                record.steps += (at, "accepted", direct.engine)

    def _request(self, entry: e.Request) -> None:
        record = self.tasks.get(entry.id)
        if record is None or record.outcome is not None:
            return
        record.owner = entry.owner
        if entry.had:
            self.had.add(entry.id)
        else:
            self.had.discard(entry.id)
        if entry.aborting:
            record.aborting, record.interrupting = True, entry.interrupting

    def _sent(self, place: int, n: int, id: str, attempt: int, at: float) -> None:
        record = self.tasks.get(id)
        if record is not None and record.outcome is None:
            record.state = "sent"
            record.place, record.n, record.attempt = place, n, attempt
            record.steps += (at, "send", place)
            self.waits.pop(id, None)

    def _ended(self, owner: bytes, outcome: m.Outcome, at: float) -> None:
        record = self.tasks.get(outcome.id)
        self._count(outcome, record)
        if record is None:
            self.owed.setdefault(owner, {})[outcome.id] = outcome
        elif record.outcome is None:
            record.state, record.outcome, record.finished = "done", outcome, at
            record.steps += (at, outcome.status, outcome.engine)

    def _count(self, outcome: m.Outcome, record: Record | None) -> None:
        """So many calls have ended: one, or the items of a share; those of a chunk are in these."""
        calls = outcome.stop - outcome.start
        if not calls and (record is None or record.spec.chunk is None):
            calls = 1
        self.ended[outcome.status] = self.ended.get(outcome.status, 0) + calls

    def _passed(self, owner: bytes, outcome: m.Outcome) -> None:
        """Others may depend on how it ended; that is all."""
        record = self.tasks.pop(outcome.id, None) or Record(m.Task(outcome.id, b"", b""), owner)
        if record.outcome is None:
            self._count(outcome, record)
        record.state, record.outcome = "done", outcome
        self.gone[outcome.id] = record

    def _state(self, entry: e.State) -> None:
        id = entry.origin.id
        before = self.tasks.get(id)
        record = self.tasks[id] = Record(entry.origin, entry.owner)
        if entry.spec is not None:
            record.spec, record.submission = entry.spec, entry.origin
            record.stage = recoveries_of(entry.origin) - recoveries_of(entry.spec)
        record.attempt = entry.attempt
        for name in FEW:
            if (value := getattr(entry, name)) != getattr(record, name):
                setattr(record, name, value)
        if entry.refusals:
            record.refusals = {engine: Refusal(*each) for engine, each in entry.refusals.items()}
        record.outcome, record.finished = entry.outcome, entry.finished
        record.place, record.n = entry.place, entry.n
        record.steps = list(entry.steps)
        record.state = "done" if entry.outcome else "sent" if entry.place >= 0 else "waiting"
        self.waits.pop(id, None)
        if entry.waits is not None:
            record.state = "held"
            self.waits[id] = entry.waits
        if record.state != "waiting" or before is None:
            self.again.pop(id, None)
        elif before.state not in IN_LINE:  # it came back; else it stands where it stood
            self.again[id] = None


def _names(life: e.Life) -> set[bytes]:
    """How it may be said that this life is over: of it alone, or of the process."""
    return {life.incarnation, life.incarnation[:12]}


def is_name(record: Record) -> bool:
    """Whether nothing is known of a task but its name, and an engine that had it, perhaps."""
    return not record.spec.function and record.outcome is None


def recoveries_of(task: m.Task) -> int:
    """How many recoveries a task has."""
    return 0 if task.terms is None else len(task.terms.recoveries)
