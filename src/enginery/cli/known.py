"""What the controller knows of tasks, in the names and units that commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import ValidationError, convert

from ..core.inquiries import ANSWERS
from ..core.messages import Query
from ..error import UnknownTask
from .filters import Filter
from .output import moment
from .selectors import select

if TYPE_CHECKING:
    from .reach import Reached

TIMES = ("submitted", "started", "completed")


class Inquired(NamedTuple):
    """What engines have answered, by their ids, why some could not, and who has not answered."""

    answers: Mapping[int, Any]
    wrong: Mapping[int, str]
    silent: Sequence[int]


class Tasks:
    """The tasks that a controller remembers."""

    def __init__(self, there: Reached) -> None:
        self.there = there

    def ask(self, message: Any) -> Any:
        """The controller's answer."""
        return self.there.link.ask(message, self.there.timeout)

    def inquire(self, what: str, engines: Sequence[int] = ()) -> Inquired:
        """What engines (default: all) answer to one of the questions of `core.inquiries`."""
        told = self.ask(Query(0, what, engines=list(engines)))
        answers: dict[int, Any] = {}
        wrong: dict[int, str] = {}
        for id, answer in told["answers"].items():
            try:
                answers[id] = convert(answer, ANSWERS[what])
            except ValidationError as error:
                said = answer.get("error") if isinstance(answer, dict) else None
                wrong[id] = str(said or f"it answers something else: {error}")
        return Inquired(answers, wrong, told["silent"])

    @cached_property
    def history(self) -> list[str]:
        """The ids of all, in the order in which they were accepted."""
        ids: list[str] = self.ask(Query(0, "history"))
        return ids

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {id: number for number, id in enumerate(self.history, 1)}

    def running(self) -> frozenset[str]:
        """The ids of those that engines are at now."""
        return frozenset(id for engine in self.ask(Query(0, "engines")) for id in engine["running"])

    def select(self, words: Sequence[str]) -> list[str]:
        """The ids of those that selectors mean."""
        return select(words, self.history, self.labelled)

    def labelled(self, label: str) -> list[str]:
        """The ids of those with this label."""
        found = self.ask(Query(0, "database", where={"label": label}, keys=["msg_id"]))
        return [each["msg_id"] for each in found]

    def find(self, wanted: Filter) -> list[str]:
        """The ids of those that a filter keeps, in the order of their numbers."""
        if not any(wanted):
            return self.history
        keys = ["msg_id", "state", "status", "name", "items"]
        found = self.ask(Query(0, "database", where=wanted.where(), keys=keys))
        running = self.running() if "running" in wanted.states else ()
        return [each["msg_id"] for each in found if wanted.keeps(each, running)]

    def raw(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the controller tells of these, by id; those that it has forgotten are left out."""
        try:
            told: dict[str, dict[str, Any]] = self.ask(Query(0, "tasks", list(ids)))
        except UnknownTask:
            found = self.ask(Query(0, "database", where={"msg_id": {"$in": list(ids)}}))
            told = {each["msg_id"]: each for each in found}
        return told

    def documents(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """What is printed of these tasks as JSON; see `document`."""
        if not ids:
            return []
        told = self.raw(ids)
        running = self.running()
        return [
            document(told[id], self._numbers.get(id), id in running) for id in ids if id in told
        ]


def document(task: Mapping[str, Any], number: int | None, running: bool) -> dict[str, Any]:
    """A task as JSON: what is not known (yet) is null, `number` is that of selectors."""
    told = {key: value if value != "" else None for key, value in task.items()}
    told |= {"name": task["name"], "label": task["label"]}
    told |= {key: moment(task[key]) for key in TIMES}
    told |= {"engine_id": task["engine_id"] if task["engine_id"] >= 0 else None}
    told |= {"attempt": task["attempt"] or None, "items": task.get("items") or None}
    return {"number": number, **told, "running": running and task["state"] == "sent"}
