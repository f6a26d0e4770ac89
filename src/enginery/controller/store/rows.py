"""From entries of the journal to rows: pure, and followed in the order of the journal.

Much happens to a task within one portion that is written together; it makes one row. What is known
of a task from before is in the database already, and not looked at here: there are *whole* rows,
which say everything, and changes of two kinds, that a task was *sent* and that it has *ended*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isnan
from typing import Any

from msgspec import json

from ...core import entries as e
from ...core import messages as m
from ...core.names import public_name

Row = dict[str, Any]

LONGEST_ID = 200
"""Characters; clients make shorter ones, and an index cannot hold every text."""

LARGEST = (1 << 63) - 1
"""What databases can count up to."""


class Rows:
    """What a portion of the journal comes to; `packed` gives an outcome as bytes, or None."""

    def __init__(self, packed: Callable[[m.Outcome], bytes | None]) -> None:
        self._packed = packed
        self.whole: dict[str, Row] = {}
        self.new: set[str] = set()  # of the whole ones, what says nothing of tasks known already
        self.sent: dict[str, Row] = {}
        self.ended: dict[str, Row] = {}
        self.purged: dict[str, None] = {}
        self.merged: dict[str, None] = {}  # to be removed, unless they have ended
        self._shares: dict[str, set[str]] = {}  # of each chunk, those that have not ended
        self.unknown_since: float | None = None  # what was heard of last before that is over
        self.gap = False  # something before this was not read
        self._begun: float | None = None  # when the account that closes the gap did
        self._owners: dict[bytes, str] = {}  # what stands for the last one

    def __len__(self) -> int:
        return (
            len(self.whole) + len(self.sent) + len(self.ended) + len(self.purged) + len(self.merged)
        )

    def missed(self) -> None:
        """Something of the journal was not read; the next account of everything tells."""
        self.gap, self._begun = True, None

    def follow(self, turns: Iterable[e.Turn]) -> None:
        """Follow these turns, in their order."""
        for turn in turns:
            for entry in turn.entries:
                self._apply(entry, turn.at)

    def taken_away(self) -> Rows:
        """What there is so far, to be written; this one goes on, empty."""
        full = Rows(self._packed)
        full.whole, full.new, full.sent = self.whole, self.new, self.sent
        full.ended, full.purged, full.merged = self.ended, self.purged, self.merged
        full.unknown_since = self.unknown_since
        self.whole, self.new, self.sent, self.ended, self.purged = {}, set(), {}, {}, {}
        self.merged = {}
        self.unknown_since = None
        return full

    def _apply(self, entry: e.AnyEntry, at: float) -> None:
        match entry:
            case e.Taken(owner=owner, direct=direct):
                for task in entry.one_by_one():
                    self._taken(task, owner, at)
                for each in direct:
                    self._taken(each.task(), owner, at)
            case e.Sent(place=place):
                for _, id, attempt in entry.one_by_one():
                    self._sent(id, place, attempt, at)
            case e.Ended() | e.EndedWell():
                for outcome in entry.outcomes():
                    self._ended(outcome, entry.owner, at)
            case e.Passed(owner=owner, outcome=outcome):
                self._ended(outcome, owner, at, kept=False)
            case e.State():
                # Without a gap, nothing new is said of tasks that have ended.
                if self.gap or entry.outcome is None:
                    self._state(entry, at)
            case e.Owed(owner=owner, outcome=outcome) if self.gap and usable(outcome.id):
                self.new.add(outcome.id)
                self.whole.setdefault(outcome.id, self._of_outcome(outcome, owner, at, True))
            case e.Divided(id=id, live=live):
                before = self._shares.pop(id, set())
                if live:
                    self._shares[id] = set(live)
                for share in before.difference(live):
                    self._merge(share)
            case e.Purged(ids=ids):
                for id in ids:
                    self._forget(id)
                    self.purged[id] = None
            case e.Begin() if self.gap:
                self._begun = at
            case e.Complete() if self.gap and self._begun is not None:
                self.unknown_since, self.gap, self._begun = self._begun, False, None

    def _forget(self, id: str) -> None:
        for known in (self.whole, self.sent, self.ended):
            known.pop(id, None)
        self.new.discard(id)

    def _merge(self, share: str) -> None:
        """A share that has not ended is no more: its items are its chunk's again."""
        row = self.whole.get(share)
        if (row is None or not row["status"]) and share not in self.ended:
            self._forget(share)
            self.merged[share] = None

    def _taken(self, task: m.Task, owner: bytes, at: float) -> None:
        known = task.id in self.whole or task.id in self.sent or task.id in self.ended
        if known or not usable(task.id):
            return
        row = self.whole[task.id] = self._of_task(task, owner, at)
        row["story"] = step(at, "accepted", task.engine)
        row["state"], row["engine_id"] = "waiting", task.engine
        self.new.add(task.id)

    def _sent(self, id: str, place: int, attempt: int, at: float) -> None:
        if id in self.ended or not usable(id):
            return
        row = self.whole.get(id)
        if row is None:
            row = self.sent.setdefault(id, {"msg_id": id, "story": ""})
        elif row["status"]:
            return
        self.new.discard(id)
        row |= {"state": "sent", "engine_id": place, "attempt": whole(attempt), "changed": at}
        row["story"] += step(at, "send", place)

    def _ended(self, outcome: m.Outcome, owner: bytes, at: float, kept: bool = True) -> None:
        id = outcome.id
        if not usable(id) or id in self.ended:
            return
        row = self.whole.get(id)
        if row is None:
            row = self.ended[id] = self._of_outcome(outcome, owner, at, kept)
            if (sent := self.sent.pop(id, None)) is not None:
                row["story"] = sent["story"] + row["story"]
        elif not row["status"]:
            self.new.discard(id)
            self._end(row, outcome, at, kept)
            row["story"] += step(at, outcome.status, outcome.engine)

    def _state(self, entry: e.State, at: float) -> None:
        task = entry.origin
        if not usable(task.id):
            return
        self._forget(task.id)
        self.merged.pop(task.id, None)
        steps = entry.steps
        accepted = float(steps[0]) if steps else at
        row = self.whole[task.id] = self._of_task(task, entry.owner, accepted)
        row["story"] = "".join(step(*steps[i : i + 3]) for i in range(0, len(steps), 3))
        row["attempt"], row["changed"] = whole(entry.attempt), at
        held = "held" if entry.waits is not None else "waiting"
        row["state"], row["engine_id"] = "sent" if entry.place >= 0 else held, entry.place
        if entry.outcome is not None:
            self._end(row, entry.outcome, entry.finished, kept=True)

    def _of_task(self, task: m.Task, owner: bytes, at: float) -> Row:
        """All that a task tells, as a row."""
        row = self._row(task.id, owner, at)
        row |= {
            "name": clean(task.name),
            "label": clean(task.label),
            "retries": whole(task.retries),
            "priority": number(task.priority),
            "submitted": number(task.submitted),
            "size": task.size(),
        }
        if task.chunk is not None:
            row["start"], row["stop"] = whole(task.chunk.start), whole(task.chunk.stop)
        return row

    def _of_outcome(self, outcome: m.Outcome, owner: bytes, at: float, kept: bool) -> Row:
        """All that an outcome tells, as a row; its value, if that is `kept`."""
        row = self._row(outcome.id, owner, at)
        row["name"] = clean(outcome.name)
        row["story"] = step(at, outcome.status, outcome.engine)
        self._end(row, outcome, at, kept)
        return row

    def _end(self, row: Row, outcome: m.Outcome, at: float, kept: bool) -> None:
        """What has become of a task."""
        packed = self._packed(outcome) if kept else None
        row |= {
            "state": "done",
            "status": outcome.status,
            "engine_id": outcome.engine,
            "attempt": max(row["attempt"], whole(outcome.attempt)),
            "submitted": row["submitted"] or number(outcome.submitted),
            "started": number(outcome.started),
            "completed": number(outcome.completed),
            "size": row["size"] + outcome.size(),
            "reason": clean(str(outcome.facts.get("reason", ""))),
            "changed": at,
            "bytes": 0 if packed is None else len(packed),
            "outcome": packed,
        }
        if outcome.stop:  # of a share, which may have had more items before
            row["start"], row["stop"] = whole(outcome.start), whole(outcome.stop)

    def _row(self, id: str, owner: bytes, at: float) -> Row:
        """A row that says nothing yet."""
        if owner not in self._owners:
            self._owners = {owner: name_of(owner)}
        row = BLANK.copy()
        row["msg_id"], row["client"] = id, id.rpartition("-")[0]
        row["owner"], row["accepted"], row["changed"] = self._owners[owner], at, at
        return row


BLANK: Row = {
    "msg_id": "",
    "client": "",
    "owner": "",
    "name": "",
    "label": "",
    "state": "",
    "status": "",
    "engine_id": -1,
    "attempt": 0,
    "retries": 0,
    "priority": 0.0,
    "submitted": 0.0,
    "started": 0.0,
    "completed": 0.0,
    "size": 0,
    "reason": "",
    "start": 0,
    "stop": 0,
    "accepted": 0.0,
    "changed": 0.0,
    "story": "",
    "bytes": 0,
    "outcome": None,
}


def name_of(owner: bytes) -> str:
    """What stands for a client: nobody can act as it who knows this."""
    return public_name(owner, 16) if owner else ""


def usable(id: str) -> bool:
    """Whether a task of this id can have a row."""
    return len(id) <= LONGEST_ID and "\0" not in id


def number(value: float) -> float:
    """A number that every database can hold."""
    return 0.0 if isnan(value) else float(value)


def whole(value: int) -> int:
    """The same of a whole one."""
    return max(-LARGEST, min(value, LARGEST))


def clean(text: str) -> str:
    """Text that every database can hold: PostgreSQL has no NUL."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def step(at: float, what: str, engine: int) -> str:
    """One step of a story, as a line."""
    return json.encode((at, clean(what), engine)).decode() + "\n"


def steps(story: str) -> list[tuple[float, str, int]]:
    """The steps of a story."""
    return json.decode(
        "[" + ",".join(story.split("\n")[:-1]) + "]", type=list[tuple[float, str, int]]
    )
