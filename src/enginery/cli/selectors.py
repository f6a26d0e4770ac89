"""Selectors: how a command line names tasks.

    17          the 17th task that the controller remembers: the number that `list tasks` shows
    1-10        these ten; 1,3,5-8: several at once
    4374c3-17   the task of this id
    last, all   the one that came last; every one
    fit         all with this label; label=17 where a label looks like something else

A number counts the tasks of all clients, in the order in which the controller accepted them. It
stays the same until tasks are forgotten, on purpose or because there are too many; ids stay for
ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..error import UnknownTask
from .entry import UsageError

NUMBERS = re.compile(r"(0|[1-9][0-9]*)(?:-(0|[1-9][0-9]*))?", re.ASCII)
LABEL = "label="

Labelled = Callable[[str], list[str]]
"""The ids of the tasks with a label."""


def select(words: Sequence[str], history: Sequence[str], labelled: Labelled) -> list[str]:
    """The ids of the tasks that these words mean, in their order, each once.

    `history`: the ids of all tasks, in the order of their numbers. Raises UnknownTask for what is
    not there, and UsageError for what cannot be meant.
    """
    known = frozenset(history)
    ids: list[str] = []
    for word in words:
        for item in _items(word):
            ids += [item] if item in known else _one(item, history, labelled)
    return list(dict.fromkeys(ids))


def _items(word: str) -> list[str]:
    """What stands between the commas; a label that is named as one is left whole."""
    items = [word] if word.startswith(LABEL) else word.split(",")
    if not all(items):
        raise UsageError(f"{word!r} is no selector; such are 17, 1-10, 1,3,5-8, last, all, LABEL")
    return items


def _one(item: str, history: Sequence[str], labelled: Labelled) -> list[str]:
    if item == "all":
        return list(history)
    if item == "last":
        return [history[-1]] if history else _none("", history)
    if item.startswith(LABEL):
        name = item.removeprefix(LABEL)
        return labelled(name) or _none(f"label {name!r}", history)
    if found := NUMBERS.fullmatch(item):
        first = int(found[1])
        return _range(item, first, int(found[2]) if found[2] else first, history)
    return labelled(item) or _none(f"and no label {item!r}", history)


def _range(item: str, first: int, last: int, history: Sequence[str]) -> list[str]:
    if first == 0 or last < first:
        why = "numbers begin with 1" if first == 0 else f"{first} is more than {last}"
        raise UsageError(f"{item!r} is no range of tasks: {why}")
    if last > len(history):
        return _none(str(last), history)
    return list(history[first - 1 : last])


def _none(what: str, history: Sequence[str]) -> list[str]:
    n = len(history)
    there = f"there are 1-{n}" if n > 1 else "there is 1" if n else "it remembers none at all"
    told = f"no task {what}; {there}" if what else "no task"
    raise UnknownTask(f"the controller remembers {told}\n  See them: enginery list tasks")
