"""Which waiting task goes to which engine.

Waiting tasks stand in one first-in-first-out line for each set of engines they may go to; most
stand in the line that any engine serves. A task goes out when an engine that may run it has room:
fewer than `hwm` unfinished requests (0: no limit). Nothing here ever looks at a whole line:
what happens costs the same with a million tasks waiting as with ten.

An engine on which the task has failed is the last choice, never a forbidden one, so a task that
has failed everywhere still runs.
"""

from __future__ import annotations

from collections import deque

from ..schemes import Scheme
from .engines import Place
from .tasks import Record

Key = tuple[int, ...]
"""The engines a task may go to, by id."""

EVERY: Key = ()
"""No condition: any engine."""


class Placement:
    """The waiting tasks and the engines with room."""

    def __init__(self, scheme: Scheme, hwm: int) -> None:
        self.scheme = scheme
        self.hwm = hwm
        self.waiting = 0
        self.lines: dict[Key, deque[Record]] = {}
        self.serves: dict[int, set[Key]] = {}  # engine -> the lines that name it
        self.places: dict[int, Place] = {}
        self._hopeful: dict[Key, None] = {}  # lines whose head may have an engine now
        self._last = 0
        self._first = 0

    # --- tasks ----------------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        """A task starts to wait, behind the others."""
        self._last += 1
        record.order = self._last
        self._line(record.spec.targets).append(record)

    def put_back(self, record: Record) -> None:
        """A task that had been given to an engine waits again, before the others."""
        self._first -= 1
        record.order = self._first
        self._line(record.spec.targets).appendleft(record)

    def remove(self, record: Record) -> None:
        """A waiting task has ended; it is skipped when its turn comes."""
        self._waits_no_more()

    def _waits_no_more(self) -> None:
        self.waiting -= 1
        if not self.waiting:
            for line in self.lines.values():
                line.clear()  # of tasks that were removed

    def _line(self, key: Key) -> deque[Record]:
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = deque()
            for id in key:
                self.serves.setdefault(id, set()).add(key)
        self._hopeful[key] = None
        self.waiting += 1
        return line

    # --- engines --------------------------------------------------------------------------------

    def room(self, place: Place) -> bool:
        """Whether this engine may be given another balanced task."""
        return place.open and (self.hwm <= 0 or place.load < self.hwm)

    def changed(self, place: Place) -> None:
        """The load of an engine has changed, or it has come or gone."""
        room = self.room(place)
        self.scheme.update(place, room)
        if room:
            self.places[place.id] = place
            self._hopeful[EVERY] = None
            for key in self.serves.get(place.id, ()):
                self._hopeful[key] = None

    # --- the decision ---------------------------------------------------------------------------

    def next(self) -> tuple[Record, Place] | None:
        """The next task to give out and the engine that gets it, taken from its line.

        Of the heads of all lines that have an engine, the one that has waited longest.
        """
        first: Record | None = None
        chosen = -1
        for key in tuple(self._hopeful):
            head = self._head(key)
            engine = self.scheme.best(key, head.avoid) if head is not None else None
            if head is None or engine is None:
                del self._hopeful[key]
            elif first is None or head.order < first.order:
                first, chosen = head, engine.id
        if first is None:
            return None
        self.lines[first.spec.targets].popleft()
        self._waits_no_more()
        return first, self.places[chosen]

    def _head(self, key: Key) -> Record | None:
        """The first task of a line that still waits; a line that has none is forgotten."""
        line = self.lines.get(key)
        while line:
            if line[0].state == "waiting":
                return line[0]
            line.popleft()
        if line is not None:
            del self.lines[key]
            for id in key:
                self.serves[id].discard(key)
        return None
