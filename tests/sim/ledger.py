"""The promises, checked against what really happened.

The ledger sees what no machine sees: every submission, every start of user code on any engine, and
every outcome that a user was told. A broken promise raises `Broken` at once, and its first word
says which kind it is: lost, duplicated or unexpected.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enginery.core import messages as m
from enginery.core.events import Answered

from .cluster import Observer
from .peers import ClientNode, EngineNode, value_of

if TYPE_CHECKING:
    from .world import World


GIVEN_UP = "the controller had given this client up"
"""What a client tells its user that comes back after too long a time."""


class Broken(AssertionError):
    """A promise to the user was not kept."""


@dataclass
class Entry:
    """What is known of a task."""

    client: ClientNode
    task: m.Task
    order: int  # among all tasks
    attempts: list[int] = field(default_factory=list)  # in the order in which they started
    ends: dict[int, str] = field(default_factory=dict)  # how attempts really ended
    outcome: m.Outcome | None = None  # as somebody was told
    told: Counter[str] = field(default_factory=Counter)  # how often, by client
    fetched: Counter[str] = field(default_factory=Counter)  # how often it was asked for
    promised: set[str] = field(default_factory=set)  # clients to which it will be told
    aborted: bool = False
    given_up: bool = False  # its client was told that the controller had forgotten it

    @property
    def owing(self) -> bool:
        """Whether its submitter lives and has not been told."""
        return self.client.alive and not (self.told[self.client.name] or self.given_up)


class Ledger(Observer):
    """See the module's docstring."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: dict[str, Entry] = {}
        self.direct: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.outputs: dict[tuple[str, str, int], int] = {}
        self.queries: dict[tuple[str, int], list[str]] = {}
        self.ended: Counter[str] = Counter()
        self.recovered = 0
        self.open = 0  # tasks of which nobody has been told the outcome

    # --- what users do --------------------------------------------------------------------------

    def submitted(self, client: ClientNode, task: m.Task) -> None:
        """A user has submitted this."""
        self.tasks[task.id] = Entry(client, task, len(self.tasks) + 1)
        self.open += 1

    def aborting(self, ids: list[str]) -> None:
        """A user has asked to abort these."""
        for id in ids:
            self.tasks[id].aborted = True

    def fetching(self, client: ClientNode, query: m.Query) -> None:
        """A user has asked for these results."""
        self.queries[client.name, query.number] = query.ids
        for id in query.ids:
            self.tasks[id].fetched[client.name] += 1

    def answered(self, client: ClientNode, answer: Answered) -> None:
        """What is known will come."""
        for id in self.queries.pop((client.name, answer.number), ()):
            if id not in answer.value["unknown"]:
                self.tasks[id].promised.add(client.name)

    # --- what engines do ------------------------------------------------------------------------

    def started(self, engine: EngineNode, attempt: m.Attempt) -> None:
        """At most once, or 1 + retries times; direct requests in order."""
        entry = self.tasks[attempt.id]
        task = entry.task
        if attempt.attempt in entry.attempts:
            raise Broken(f"duplicated: {attempt.id}, attempt {attempt.attempt} starts again")
        entry.attempts.append(attempt.attempt)
        allowed = 1 if task.engine >= 0 else 1 + task.retries
        if len(entry.attempts) > allowed:
            raise Broken(f"duplicated: {attempt.id} starts {len(entry.attempts)} times")
        if task.engine >= 0:
            line = entry.client.name, task.engine
            if engine.core.id != task.engine:
                raise Broken(f"unexpected: {attempt.id} starts on engine {engine.core.id}")
            if entry.order < self.direct[line]:
                raise Broken(f"unexpected: {attempt.id} starts after a later request")
            self.direct[line] = entry.order
        if task.targets and engine.core.id not in task.targets:
            raise Broken(f"unexpected: {attempt.id} starts on engine {engine.core.id}")

    def finished(self, engine: EngineNode, attempt: m.Attempt, status: str) -> None:
        """An attempt has really ended."""
        self.tasks[attempt.id].ends[attempt.attempt] = status

    # --- what users are told ----------------------------------------------------------------------

    def delivered(
        self, client: ClientNode, outcomes: list[m.Outcome], outputs: list[m.Output]
    ) -> None:
        """Once to who submitted it, and once for each time it was fetched."""
        for output in outputs:
            key = client.name, output.id, output.attempt
            if output.number <= self.outputs.get(key, -1) and output.text != "a lie":
                raise Broken(f"duplicated: output {output.number} of {output.id}")
            self.outputs[key] = output.number
        for outcome in outcomes:
            entry = self.tasks[outcome.id]
            if outcome.facts.get("reason") == GIVEN_UP and self.world.forgets:
                entry.given_up = True
                continue  # what really becomes of it may still come
            entry.told[client.name] += 1
            right = entry.fetched[client.name] + (entry.client is client)
            if entry.told[client.name] > right:
                raise Broken(f"duplicated: {client.name} is told of {outcome.id} again")
            if entry.outcome is None:
                self.open -= 1
                self.ended[outcome.status] += 1
                self.recovered += outcome.status == "ok" and outcome.attempt > 1
                entry.outcome = outcome
                self.judge(entry, outcome)
            elif entry.outcome != outcome:
                raise Broken(f"unexpected: another outcome: {outcome} after {entry.outcome}")

    def judge(self, entry: Entry, outcome: m.Outcome) -> None:
        """Whether it can be true."""
        task, world = entry.task, self.world
        true = False
        match outcome.status:
            case "ok" | "error":
                real = entry.ends.get(outcome.attempt) == outcome.status
                true = (real and outcome.value == value_of(task.id, outcome.status)) or world.lied(
                    outcome
                )
            case "aborted":
                true = entry.aborted or world.lied(outcome)
            case "lost":
                true = self._may_be_lost(entry, outcome)
            case "kills":
                true = (
                    len(outcome.facts["engines"]) >= world.settings.limits.crash_limit
                    and task.engine < 0
                )
        if not true:
            raise Broken(f"unexpected: {outcome} of {entry}")

    def _may_be_lost(self, entry: Entry, outcome: m.Outcome) -> bool:
        """Only when an engine was lost, and it had started there, with no retry left."""
        task, facts = entry.task, outcome.facts
        if not facts["started"]:
            return task.engine >= 0 and not outcome.started
        if not self.world.controller.losses:
            return False
        reported = facts["reason"].startswith(("signal", "exit"))
        if reported and outcome.attempt not in entry.attempts and not self.world.lied(outcome):
            return False  # the supervisor's page said that it had not
        return task.engine >= 0 or outcome.attempt > task.retries

    # --- in the end ------------------------------------------------------------------------------

    def missing(self) -> list[Entry]:
        """Tasks whose submitter lives and has not been told."""
        return [entry for entry in self.tasks.values() if entry.owing]

    def check(self) -> None:
        """Everything has come to rest: each task has ended, and who has a right to it knows."""
        alive = {client.name for client in self.world.clients if client.alive}
        for entry in self.tasks.values():
            if not self.world.forgets and (promised := entry.promised & alive - set(entry.told)):
                raise Broken(f"lost: {entry.task.id} was fetched by {promised}")
            if entry.owing:
                raise Broken(f"lost: {entry.task.id} has no outcome")
            attempts = entry.attempts
            if entry.outcome is not None and attempts and entry.outcome.attempt < max(attempts):
                raise Broken(f"unexpected: a past attempt counts: {entry}")
