"""The promises for items of chunks, checked against what really happened: a part of the ledger.

A chunk itself is an entry like that of any task. Here stand its items, whose starts, ends and
outcomes are the same facts as those of tasks, one by one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enginery.core import messages as m

from .broken import Broken
from .shares import value_of_item
from .strangers import Liar

if TYPE_CHECKING:
    from .peers import ClientNode, EngineNode
    from .world import World


@dataclass
class Item:
    """What is known of an item."""

    attempts: set[int] = field(default_factory=set)  # that have started
    bodies: int = 0  # starts of user code
    ends: dict[int, str] = field(default_factory=dict)  # how attempts really ended
    declining: set[int] = field(default_factory=set)  # attempts that an engine will not run
    refused: set[EngineNode] = field(default_factory=set)  # by these lives of engines, for good
    outcome: str = ""  # as somebody was told
    told: Counter[str] = field(default_factory=Counter)  # how often, by client


class Items:
    """See the module's docstring."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chunks: dict[str, dict[int, Item]] = {}
        self.tasks: dict[str, m.Task] = {}

    def submitted(self, task: m.Task) -> None:
        """A user has submitted a chunk."""
        assert task.chunk is not None
        self.tasks[task.id] = task
        self.chunks[task.id] = {i: Item() for i in range(task.chunk.start, task.chunk.stop)}

    def has_begun(self, id: str) -> bool:
        """Whether this is an item that has started somewhere."""
        chunk, _, number = id.rpartition(".")
        return bool(chunk) and self.chunks[chunk][int(number)].bodies > 0

    def lied(self, chunk: str, item: int) -> bool:
        """Whether an engine that lies was given this item."""
        liars = [engine for engine in self.world.engines if isinstance(engine, Liar)]
        return any((chunk, item) in liar.items for liar in liars)

    def lied_of_any(self, chunk: str) -> bool:
        """Whether an engine that lies was given any item of a chunk."""
        return any(self.lied(chunk, number) for number in self.chunks[chunk])

    # --- what engines do ------------------------------------------------------------------------

    def started(self, engine: EngineNode, attempt: m.Attempt, number: int, refusal: str) -> None:
        """At most once, or 1 + retries times, refusals apart."""
        chunk = attempt.id.partition(".")[0]
        task, item = self.tasks[chunk], self.chunks[chunk][number]
        item.attempts.add(attempt.attempt)
        if refusal:
            if engine in item.refused and not self.world.ledger.doubts:
                raise Broken(
                    f"unexpected: item {number} of {chunk} is tried again on {engine.name}"
                )
            item.declining.add(attempt.attempt)
            return
        item.bodies += 1
        # Of what was not on disk, nobody knows how often it was tried.
        unknown = self.world.ledger.doubts if task.retries else 0
        if item.bodies > (1 + unknown) * (1 + task.retries):
            raise Broken(f"duplicated: item {number} of {chunk} starts {item.bodies} times")
        if task.targets and engine.core.id not in task.targets:
            raise Broken(f"unexpected: {attempt.id} starts on engine {engine.core.id}")

    def finished(self, engine: EngineNode, attempt: m.Attempt, number: int, status: str) -> None:
        """An item has really ended."""
        item = self.chunks[attempt.id.partition(".")[0]][number]
        item.ends[attempt.attempt] = status
        if attempt.attempt in item.declining and status == "error":
            item.bodies += 1  # it was interrupted while it looked whether it would
        if status == "refused":
            item.refused.add(engine)

    # --- what users are told ----------------------------------------------------------------------

    def delivered(self, client: ClientNode, outcome: m.Outcome, right: int) -> None:
        """The end of a share: every item once to who submitted it, and as often as it was fetched.

        `right` is how often that is.
        """
        chunk = outcome.id.partition(".")[0]
        if not outcome.start < outcome.stop or outcome.id != f"{chunk}.{outcome.start}":
            raise Broken(f"unexpected: a share is named by its items: {outcome}")
        for number in range(outcome.start, outcome.stop):
            item = self.chunks[chunk][number]
            item.told[client.name] += 1
            doubts = self.world.ledger.doubts  # of how it was divided; the first to come counts
            if item.told[client.name] > right and not (self.world.forgets or doubts):
                raise Broken(f"duplicated: {client.name} is told of {chunk}.{number} again")
            if item.outcome and item.outcome != outcome.status and not doubts:
                raise Broken(f"unexpected: {outcome} after {item}")
            if not item.outcome:
                item.outcome = outcome.status
                if not self.lied(chunk, number) and not self._true(chunk, item, outcome):
                    raise Broken(f"unexpected: {outcome} of item {number}, {item}")
        expected = [
            value_of_item(chunk, number, outcome.status)
            for number in range(outcome.start, outcome.stop)
        ]
        lies = any(self.lied(chunk, i) for i in range(outcome.start, outcome.stop))
        if outcome.status in {"ok", "error"} and outcome.value != b"".join(expected) and not lies:
            raise Broken(f"unexpected: values of {outcome}")

    def _true(self, chunk: str, item: Item, outcome: m.Outcome) -> bool:
        """Whether it can be."""
        world, task = self.world, self.tasks[chunk]
        match outcome.status:
            case "ok":
                return item.ends.get(outcome.attempt) == "ok"
            case "error":
                spent = item.bodies == 1 + task.retries or world.controller.losses > 0
                spent = spent or self._aborted(chunk, outcome)
                return item.ends.get(outcome.attempt) == "error" and spent
            case "aborted":
                return self._aborted(chunk, outcome)
            case "lost":
                return self._may_be_lost(item, outcome, task)
            case "kills":
                return len(outcome.facts["engines"]) >= world.settings.limits.crash_limit
            case "impossible":
                return bool(item.refused)
        return False

    def _aborted(self, chunk: str, outcome: m.Outcome) -> bool:
        """Whether a user wanted this to be stopped."""
        ledger = self.world.ledger
        items = range(outcome.start, outcome.stop)
        return ledger.tasks[chunk].aborted or any(ledger.aborted_share(chunk, i) for i in items)

    def _may_be_lost(self, item: Item, outcome: m.Outcome, task: m.Task) -> bool:
        """Only where an engine was lost; where its page tells, only if it had started there."""
        if not outcome.facts["started"] or not self.world.controller.losses:
            return False
        reported = outcome.facts["reason"].startswith(("signal", "exit"))
        return not reported or outcome.attempt in item.attempts

    def complete(self, client: str, chunk: str, outcome: m.Outcome) -> None:
        """The end of a chunk: every item was told before, but for those that were given up."""
        if self.world.ledger.tasks[chunk].client.name != client:
            return  # some may be forgotten, or purged, before they are fetched
        for number, item in self.chunks[chunk].items():
            if not (item.told[client] or self.world.forgets):
                if outcome.status in {"ok", "error"}:
                    raise Broken(f"lost: {client} was never told of item {number} of {chunk}")
                if self.world.ledger.doubts and outcome.facts.get("started"):
                    continue  # so much is said of all that is not known any more
                if item.outcome or (item.bodies > 0 and not self.lied(chunk, number)):
                    raise Broken(f"unexpected: {outcome} stands for {chunk}.{number}: {item}")
        good = outcome.status == "ok" and not self.world.ledger.doubts  # or it has run again
        if good and any(item.outcome not in {"ok", ""} for item in self.chunks[chunk].values()):
            raise Broken(f"unexpected: {outcome} of a chunk that did not end well")

    def value(self, chunk: str) -> bytes:
        """What the items of a chunk give that has ended well."""
        return b"".join(value_of_item(chunk, number, "ok") for number in self.chunks[chunk])
