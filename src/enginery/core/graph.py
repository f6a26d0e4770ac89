"""Which tasks wait for which others, and what the end of one means for those that wait for it.

Every pair of a task and one that it waits for is looked at once when the first arrives and once
when the second ends, hardly ever again: a graph costs as much as it has edges, whatever its shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import entries
from . import messages as m

if TYPE_CHECKING:
    from .tasks import Record

Verdict = Literal["open", "met", "impossible"]

SPARE = 1000
"""How much may stand where it does not matter any more, until it is worth to look for that."""


class End(NamedTuple):
    """What counts of how a task ended: well or not, and on which engine it ran (or -1)."""

    id: str
    ok: bool
    engine: int
    outcome: m.Outcome

    @classmethod
    def of(cls, record: Record) -> End:
        """That of a task that has ended."""
        assert record.outcome is not None
        return cls.with_outcome(record.outcome)

    @classmethod
    def with_outcome(cls, outcome: m.Outcome) -> End:
        """That of a task with this outcome."""
        ran = outcome.facts.get("started", True) if outcome.facts else True
        engine = outcome.engine if ran else -1
        return cls(outcome.id, outcome.status == "ok", engine, outcome)


class Condition:
    """One `Dependency` of one task, and how far it is met.

    A task that ended "ok" counts for it with `success`, any other end with `failure`; one that
    does not count speaks against it.
    """

    __slots__ = (
        "against", "all", "counted", "dependency", "ended", "engines", "failure", "follows", "ids",
        "success", "total",
    )  # fmt: skip

    def __init__(self, dependency: m.Dependency, follows: bool = False) -> None:
        self.dependency = dependency
        self.follows = follows  # it matters where the tasks ran
        self.ids = tuple(dict.fromkeys(dependency.ids))
        self.all, self.total = dependency.all, len(self.ids)
        self.success, self.failure = dependency.success, dependency.failure
        self.ended = 0
        self.counted = 0
        self.against: End | None = None  # of the last task that does not count
        self.engines: set[int] = set()  # where those ran that count, if that matters

    def count(self, end: End) -> bool:
        """One of the tasks has ended; False when that has decided nothing."""
        self.ended += 1
        if not (self.success if end.ok else self.failure):
            self.against = end
            return True
        self.counted += 1
        if self.follows and end.engine >= 0:
            self.engines.add(end.engine)
            return True
        return not self.all or self.counted == self.total

    def verdict(self) -> Verdict:
        """Whether it is met, or cannot be any more."""
        total = self.total
        if self.counted == total if self.all else self.counted or not total:
            return "met"
        if self.counted < self.ended and (self.all or self.ended == total):
            return "impossible"
        return "open"

    def obstacle(self) -> str:
        """Why it is impossible."""
        how = "succeeded" if self.dependency.failure else "failed"
        against = "" if self.against is None else self.against.id
        if self.dependency.all:
            return f"task {against}, which it depends on, {how}"
        return f"every task that it depends on {how}, {against} the last"


class Taken(Condition):
    """All tasks whose values one task takes as arguments, and what these arguments are called."""

    __slots__ = ("arguments",)

    def __init__(self, ids: tuple[str, ...], arguments: tuple[str, ...]) -> None:
        super().__init__(m.Dependency(ids))
        self.arguments = dict(zip(ids, arguments, strict=False))

    @property
    def cause(self) -> m.Outcome | None:
        """The failure that makes it impossible: of one of these tasks, or of what that one took."""
        if self.against is None:
            return None
        return self.against.outcome.cause or self.against.outcome

    def argument(self, id: str) -> str:
        """The argument that takes the value of this task, in words."""
        return " ".join(filter(None, ("its argument", self.arguments.get(id))))

    def obstacle(self) -> str:
        """Why it is impossible."""
        assert self.against is not None
        id, outcome = self.against.id, self.against.outcome
        named = f"task {id} ({outcome.name})" if outcome.name else f"task {id}"
        told = f"{self.argument(id)} is the value of {named}, which {_how(outcome)}"
        if outcome.cause is not None:
            told += f" because task {outcome.cause.id} {_how(outcome.cause)}"
        return told


HOW = {
    "aborted": "was aborted", "impossible": "was not run", "timeout": "was not run in time",
    "overtime": "ran for too long", "lost": "was lost", "kills": "was lost",
}  # fmt: skip
"""In which way tasks have failed, in words, where that is not the usual one."""


def _how(outcome: m.Outcome) -> str:
    return HOW.get(outcome.status, "failed")


class Wait:
    """What one task waits for: `after` restricts when it runs, `follow` also where.

    `inputs` are the tasks whose values it takes; a direct request waits for nothing else.
    """

    __slots__ = ("after", "follow", "inputs")

    def __init__(self, terms: m.Terms, direct: bool = False) -> None:
        after, follow = (None, None) if direct else (terms.after, terms.follow)
        self.after = Condition(after) if after is not None else None
        self.follow = Condition(follow, True) if follow is not None else None
        self.inputs = Taken(terms.inputs, terms.arguments) if terms.inputs else None

    @property
    def conditions(self) -> list[Condition]:
        """Those that there are."""
        return [each for each in (self.inputs, self.after, self.follow) if each is not None]

    def verdict(self) -> Verdict:
        """Of all conditions together."""
        inputs = "met" if self.inputs is None else self.inputs.verdict()
        after = "met" if self.after is None else self.after.verdict()
        follow = "met" if self.follow is None else self.follow.verdict()
        if "impossible" in (inputs, after, follow) or self.scattered:
            return "impossible"
        return "met" if inputs == after == follow == "met" else "open"

    @property
    def cause(self) -> m.Outcome | None:
        """The failure of a task whose value it takes, if that is why it is impossible."""
        return None if self.inputs is None else self.inputs.cause

    @property
    def scattered(self) -> bool:
        """Whether it is to follow all of several tasks that ran on different engines."""
        follow = self.follow
        return follow is not None and follow.dependency.all and len(follow.engines) > 1

    def obstacle(self) -> str:
        """Why it is impossible."""
        if self.cause is None and self.follow is not None and self.scattered:
            engines = " and ".join(map(str, sorted(self.follow.engines)))
            return f"the tasks that it is to follow ran on several engines, {engines}"
        return next(e for e in self.conditions if e.verdict() == "impossible").obstacle()


class Graph:
    """The tasks that wait for others."""

    def __init__(self) -> None:
        self.edges: dict[str, list[tuple[Record, Condition]]] = {}
        self._added = 0  # since the last sweep
        self._left = 0  # by that

    def enter(self, record: Record, wait: Wait, tasks: Mapping[str, Record]) -> str:
        """A task arrives that waits for others; gives the id of one of them that is no task."""
        missing: list[tuple[Condition, list[str]]] = []  # those that have not ended
        get = tasks.get
        for condition in wait.conditions:
            ids: list[str] = []
            for id in condition.ids:
                other = get(id)
                if other is None or other is record:
                    return id
                if other.state == "done":
                    condition.count(End.of(other))
                else:
                    ids.append(id)
            missing.append((condition, ids))
        if wait.verdict() == "open":
            record.wait = wait
            if self._added > self._left + SPARE:
                self._sweep()
            edges = self.edges
            for condition, ids in missing:
                self._added += len(ids)
                edge = (record, condition)
                for id in ids:
                    if (others := edges.get(id)) is None:
                        edges[id] = [edge]
                    else:
                        others.append(edge)
        return ""

    def _sweep(self) -> None:
        """Forget those that do not wait any more, though what they waited for has not ended."""
        swept = {
            id: [edge for edge in edges if edge[0].wait is not None]
            for id, edges in self.edges.items()
        }
        self.edges = {id: edges for id, edges in swept.items() if edges}
        self._added, self._left = 0, sum(map(len, self.edges.values()))

    def restore(
        self, record: Record, wait: Wait, waits: Sequence[entries.Condition],
        tasks: Mapping[str, Record],
    ) -> None:  # fmt: skip
        """A task waits on as it did (`waits`); what has ended since counts now."""
        record.wait = wait
        for condition, before in zip(wait.conditions, waits, strict=True):
            condition.ended, condition.counted = before.ended, before.counted
            condition.engines = set(before.engines)
            if (against := before.against) is not None:
                condition.against = End.with_outcome(against)
            for id in before.open:
                other = tasks.get(id)
                if other is None:
                    continue
                if other.outcome is not None:
                    condition.count(End.of(other))
                else:
                    self.edges.setdefault(id, []).append((record, condition))

    def ended(self, record: Record) -> Iterator[Record]:
        """A task has ended; gives those whose waiting has an end by that, well or not."""
        edges = self.edges.pop(record.spec.id, None)
        if edges is None:
            return
        end = End.of(record)
        # All are counted first, as it may stand in both conditions of a task.
        decided = [waiting for waiting, condition in edges if condition.count(end)]
        for waiting in decided:
            if waiting.wait is not None and waiting.wait.verdict() != "open":
                yield waiting
