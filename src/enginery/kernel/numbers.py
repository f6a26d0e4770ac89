"""The numbers by which the 2008 interface knows tasks: the controller counts them from 0."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any, NamedTuple

from ..client.link import Link
from ..core.messages import Query
from ..error import UnknownTask

REMEMBERED = 100_000
"""Numbers that are remembered here; the controller is asked about others."""


class Numbered(NamedTuple):
    """A task that has a number; `state` and `status` are those of `core.tasks` and `Outcome`."""

    number: int
    id: str
    state: str
    status: str


class Numbers:
    """Which task has which number."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ids: dict[int, str] = {}

    def give(self, id: str) -> int:
        """The number of a task that was just submitted."""
        [number] = self._link.ask(Query(0, "number", [id]))
        self._remember(number, id)
        return int(number)

    def id(self, number: Any) -> str:
        """The id of the task of this number; UnknownTask (a KeyError) when there is none."""
        return self.ids([number])[0]

    def ids(self, numbers: Iterable[Any]) -> list[str]:
        """The same of several, each once; the controller is asked once at most."""
        wanted = checked(numbers)
        if any(number not in self._ids for number in wanted):
            for told in self.every():
                self._remember(told.number, told.id)
        for number in wanted:
            if number not in self._ids:
                raise self.unknown(number)
        return [self._ids[number] for number in wanted]

    def every(self) -> list[Numbered]:
        """All tasks that have a number and that this client may know of, by their numbers."""
        told = self._link.ask(Query(0, "numbered"))
        return sorted(Numbered(*each) for each in told)

    def forget(self, ids: set[str]) -> None:
        """These tasks are known no more."""
        self._ids = {number: id for number, id in self._ids.items() if id not in ids}

    def unknown(self, number: int) -> UnknownTask:
        """The error for a number that means nothing, or nothing any more."""
        told = f"there is no task {number}, or its result is not kept any more"
        if self._link.welcome is not None and self._link.welcome.role == "task":
            told += (
                "\n  This is a task-only key, with which a client sees only what it has run itself:"
                "\n  connect with a client key to see the tasks of all, TaskClient('.../"
                "ipcontroller-client.json')"
            )
        return UnknownTask(told)

    def _remember(self, number: int, id: str) -> None:
        self._ids[number] = id
        while len(self._ids) > REMEMBERED:
            del self._ids[next(iter(self._ids))]


def checked(numbers: Iterable[Any]) -> list[int]:
    """These numbers, each once; TypeError for what is none."""
    return list(dict.fromkeys(_number(each) for each in numbers))


def _number(value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"a task is known by the number that tc.run(task) gave, not by {value!r}")
    return index(value)
