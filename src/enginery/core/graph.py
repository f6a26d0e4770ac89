"""Which tasks wait for which others, and what the end of one means for those that wait for it.

Every pair of a task and one that it waits for is looked at once when the first arrives and once
when the second ends, never again: a graph costs as much as it has edges, whatever its shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from . import messages as m

if TYPE_CHECKING:
    from .tasks import Record

Verdict = Literal["open", "met", "impossible"]


class Condition:
    """One `Dependency` of one task, and how far it is met.

    A task that ended "ok" counts for it with `success`, any other end with `failure`; one that
    does not count speaks against it.
    """

    __slots__ = ("against", "counted", "dependency", "ended", "engines", "ids")

    def __init__(self, dependency: m.Dependency) -> None:
        self.dependency = dependency
        self.ids = tuple(dict.fromkeys(dependency.ids))
        self.ended = 0
        self.counted = 0
        self.against = ""  # the last task that does not count
        self.engines: set[int] = set()  # where those ran that count

    def count(self, record: Record) -> None:
        """One of the tasks has ended."""
        outcome = record.outcome
        assert outcome is not None
        self.ended += 1
        ok = outcome.status == "ok"
        if self.dependency.success if ok else self.dependency.failure:
            self.counted += 1
            if outcome.engine >= 0 and outcome.facts.get("started", True):
                self.engines.add(outcome.engine)
        else:
            self.against = record.spec.id

    @property
    def pending(self) -> bool:
        """Whether nothing is decided yet: all have to count, all have so far, and more will end."""
        return (
            self.counted == self.ended < len(self.ids)
            and self.dependency.all
            and len(self.engines) < 2
        )

    def verdict(self) -> Verdict:
        """Whether it is met, or cannot be any more."""
        total = len(self.ids)
        if self.counted == total if self.dependency.all else self.counted or not total:
            return "met"
        if self.counted < self.ended and (self.dependency.all or self.ended == total):
            return "impossible"
        return "open"

    def obstacle(self) -> str:
        """Why it is impossible."""
        how = "succeeded" if self.dependency.failure else "failed"
        if self.dependency.all:
            return f"task {self.against}, which it depends on, {how}"
        return f"every task that it depends on {how}, {self.against} the last"


class Wait:
    """What one task waits for: `after` restricts when it runs, `follow` also where."""

    __slots__ = ("after", "follow")

    def __init__(self, terms: m.Terms) -> None:
        self.after = Condition(terms.after) if terms.after is not None else None
        self.follow = Condition(terms.follow) if terms.follow is not None else None

    @property
    def conditions(self) -> list[Condition]:
        """Those that there are."""
        return [each for each in (self.after, self.follow) if each is not None]

    def verdict(self) -> Verdict:
        """Of both conditions together."""
        verdicts = {each.verdict() for each in self.conditions}
        if "impossible" in verdicts or self.scattered:
            return "impossible"
        return "open" if "open" in verdicts else "met"

    @property
    def scattered(self) -> bool:
        """Whether it is to follow all of several tasks that ran on different engines."""
        follow = self.follow
        return follow is not None and follow.dependency.all and len(follow.engines) > 1

    def obstacle(self) -> str:
        """Why it is impossible."""
        if self.follow is not None and self.scattered:
            engines = " and ".join(map(str, sorted(self.follow.engines)))
            return f"the tasks that it is to follow ran on several engines, {engines}"
        return next(e for e in self.conditions if e.verdict() == "impossible").obstacle()


class Graph:
    """The tasks that wait for others."""

    def __init__(self) -> None:
        self.edges: dict[str, list[tuple[Record, Condition]]] = {}

    def enter(self, record: Record, wait: Wait, tasks: Mapping[str, Record]) -> str:
        """A task arrives that waits for others; gives the id of one of them that is no task."""
        edges: list[tuple[str, Condition]] = []
        for condition in wait.conditions:
            for id in condition.ids:
                other = tasks.get(id)
                if other is None or other is record:
                    return id
                if other.state == "done":
                    condition.count(other)
                else:
                    edges.append((id, condition))
        if wait.verdict() == "open":
            record.wait = wait
            waiting = self.edges
            for id, condition in edges:
                if id in waiting:
                    waiting[id].append((record, condition))
                else:
                    waiting[id] = [(record, condition)]
        return ""

    def ended(self, record: Record) -> Iterator[Record]:
        """A task has ended; gives those whose waiting has an end by that, well or not."""
        edges = [edge for edge in self.edges.pop(record.spec.id, ()) if edge[0].state == "held"]
        for _, condition in edges:  # first: it may stand in both conditions of a task
            condition.count(record)
        for waiting, condition in edges:
            if not condition.pending and waiting.wait is not None:
                if waiting.wait.verdict() != "open":
                    yield waiting
