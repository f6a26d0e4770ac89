"""What a task waits for beside room on an engine: other tasks, an engine that will run it, a time.

A task that cannot run any more is given up here, at once, and so is what depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from heapq import heappop, heappush
from math import inf

from . import entries
from . import messages as m
from .bundles import Bundle, Unit
from .engines import Place
from .graph import SPARE, Graph, Wait
from .inputs import Inputs
from .placement import Placement
from .tasks import Record

GiveUp = Callable[[Record, m.Status, str, float, m.Outcome | None], None]
"""Ends a task that has not run: it, how, why, now, and the failure that is the cause, if any."""

Address = Callable[[Record, float, str], None]
"""Puts a direct request into its engine's queue: it, now, why now."""


class Conditions:
    """The tasks that wait, and what for; `moved` are engines that came or went in this turn."""

    def __init__(
        self,
        tasks: Mapping[str, Record],
        places: Mapping[int, Place],
        placement: Placement,
        inputs: Inputs,
        *,
        give_up: GiveUp,
        address: Address,
    ) -> None:
        self.tasks, self.places, self.placement, self.inputs = tasks, places, placement, inputs
        self.graph = Graph()
        self.timeouts: list[tuple[float, int, Record]] = []  # a heap: when, a number, whose
        self._timeouts = 0  # how many there ever were
        self._changes = 0  # since `_tidy`: new ones, and tasks that have ended
        self.moved: dict[int, Place] = {}
        self._to_check: list[Record] = []  # they wait (again) since this turn
        self._give_up, self._address = give_up, address

    def accept(
        self, record: Record, terms: m.Terms, now: float, hidden: Collection[str] = ()
    ) -> None:
        """A balanced task that asks for more than to be run, or a direct one that takes values.

        Those of the tasks that are `hidden` are not for its client.
        """
        self.limit(record, now)
        wait = Wait(terms, record.direct)
        unknown = next(iter(hidden), "") or self.graph.enter(record, wait, self.tasks)
        if unknown:
            reason = f"there is no task {unknown}, or it is not kept any more"
            if wait.inputs is not None and unknown in wait.inputs.ids:
                takes = f"{wait.inputs.argument(unknown)} is the value of a task"
                reason = f"{takes}, but {reason}: pass ar.get() instead of ar"
            self._impossible(record, reason, now)
        elif wait.verdict() == "open":
            record.move("hold", now, "accepted")
        else:
            self._released(record, wait, now, "accepted")

    def restore(
        self, record: Record, terms: m.Terms, every: Mapping[str, Record],
        waits: Sequence[entries.Condition], now: float,
    ) -> None:  # fmt: skip
        """A task that was accepted before; it waits for what it did, or is looked at now."""
        self.limit(record, now)
        wait = Wait(terms)
        unknown = ""
        if waits:
            self.graph.restore(record, wait, waits, every)
        else:
            unknown = self.graph.enter(record, wait, every)
        record.state = "held"
        if unknown:
            self._impossible(record, f"there is no task {unknown}, or it is not kept any more", now)
        elif wait.verdict() != "open":
            self._released(record, wait, now, "restored")

    def _released(self, record: Record, wait: Wait, now: float, cause: str) -> None:
        """A task has nothing to wait for any more, for better or for worse."""
        record.wait = None
        if wait.verdict() == "impossible":
            self._impossible(record, wait.obstacle(), now, wait.cause)
            return
        if wait.inputs is not None:
            lacking = next((id for id in record.takes if id not in self.inputs.values), "")
            if lacking:
                reason = f"the value of task {lacking}, which it takes, is not known any more"
                self._impossible(record, reason, now)
                return
            record.inputs = self.inputs.of(record.takes)
            record.input_bytes = sum(value.size() for value in record.inputs)
        if record.direct:
            self._address(record, now, cause)
            return
        if wait.follow is not None and wait.follow.ids:
            engines = wait.follow.engines.intersection(record.allowed or wait.follow.engines)
            record.allowed = tuple(sorted(engines))
            if not engines:
                where = "its targets" if wait.follow.engines else "any engine"
                self._impossible(
                    record, f"the task that it is to follow did not run on {where}", now
                )
                return
        record.move("wait", now, cause)
        self.placement.add(record)
        self.check_later(record)

    def check_later(self, record: Record) -> None:
        """A task waits (again): whether any engine is left for it is seen at the turn's end."""
        self._to_check.append(record)

    def _check(self, record: Record, now: float) -> None:
        """End a waiting task that no engine will run: those to follow have gone, or all refused.

        One with a timeout waits until then, for engines that join.
        """
        if record.state != "waiting" or record.limited:
            return
        if record.follows and not any(self.places[id].there for id in record.allowed):
            gone = " and ".join(map(str, record.allowed))
            self._impossible(record, f"the engine that it is to follow, {gone}, is gone", now)
            return
        if record.refused:
            ids = record.allowed or self.places
            there = [id for id in ids if self.places[id].there]
            if there and set(there).issubset(record.refused):
                said = (record.refusals or {}).values()
                reasons = list(dict.fromkeys(refusal.reason for refusal in said))
                reason = f"every engine has refused it: {'; '.join(reasons[:3])}"
                self._impossible(record, reason, now)

    def _impossible(
        self, record: Record, reason: str, now: float, cause: m.Outcome | None = None
    ) -> None:
        self._give_up(record, "impossible", reason, now, cause)

    def put_back(self, record: Record, now: float) -> None:
        """A task that had been given to an engine waits again."""
        if record.unfit:
            record.unfit = tuple(id for id in record.unfit if self._still_unfit(record, id))
        self.limit(record, now)
        self.placement.put_back(record)

    def _still_unfit(self, record: Record, engine: int) -> bool:
        place, refusal = self.places[engine], (record.refusals or {})[engine]
        return place.name == refusal.life and place.changes <= refusal.changes

    def limit(self, record: Record, now: float) -> None:
        """Note when a task that has not run yet will have waited for too long."""
        terms = record.spec.terms
        if terms is not None and record.limited and terms.timeout < inf:
            accepted = record.steps[0] if record.steps else now
            self._timeouts += 1
            self._changes += 1
            heappush(self.timeouts, (accepted + terms.timeout, self._timeouts, record))

    def _strand(self, now: float) -> None:
        """Engines have come or gone, or tasks wait (again): perhaps none is left for some task."""
        for place in self.moved.values():
            for record in self.placement.with_conditions(place.id):
                self._check(record, now)
        self.moved.clear()
        to_check, self._to_check = self._to_check, []
        for record in to_check:
            self._check(record, now)

    def deadline(self) -> float | None:
        """When the first task that still waits has waited for too long."""
        timeouts = self.timeouts
        if self.placement.paused:
            return None
        while timeouts and not _waits(timeouts[0][2]):
            heappop(timeouts)
        return timeouts[0][0] if timeouts else None

    def _time_out(self, now: float) -> None:
        while (deadline := self.deadline()) is not None and deadline <= now:
            _, _, record = heappop(self.timeouts)
            assert record.spec.terms is not None
            what = (
                "its dependencies were not met" if record.state == "held" else "no engine took it"
            )
            reason = f"{what} in {record.spec.terms.timeout:g} s"
            self._give_up(record, "timeout", reason, now, None)

    def _tidy(self) -> None:
        """Keep one timeout of each task that waits; what comes back to wait is given another."""
        self._changes = 0
        waiting: dict[str, tuple[float, int, Record]] = {}
        for each in sorted(self.timeouts):  # which makes a heap, too
            if _waits(each[2]):
                waiting.setdefault(each[2].spec.id, each)
        self.timeouts = list(waiting.values())

    def _resolve(self, ended: list[Unit], now: float) -> None:
        """Tell those that depend on what has ended, and on what ends by that, and so on."""
        for unit in ended:  # which grows meanwhile
            if not self.graph.edges:
                return
            if type(unit) is Bundle:  # nothing depends on any of these
                continue
            for released in self.graph.ended(unit):
                if released.wait is not None:
                    self._released(released, released.wait, now, "dependencies met")
            if self._to_check:
                self._strand(now)

    def settle(self, ended: list[Unit], now: float) -> None:
        """See to what time, the coming and going of engines, and the `ended` have decided."""
        if self.timeouts and not self.placement.paused:
            self._time_out(now)
        if self.moved or self._to_check:
            self._strand(now)
        if ended:
            self._resolve(ended, now)
        if self.timeouts:
            self._changes += sum(
                type(unit) is not Bundle and unit.spec.terms is not None for unit in ended
            )
            if self._changes > len(self.timeouts) // 2 + SPARE:
                self._tidy()


def _waits(record: Record) -> bool:
    """Whether a task has never run, and may still be given to an engine."""
    return record.state in {"held", "waiting"} and record.limited
