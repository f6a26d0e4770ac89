"""Which tasks a query has to look at: not at all of a hundred thousand, where that can be helped.

What has not ended is never packed. Of packed tasks, a block is unpacked only when its columns say
that something in it may be meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .database import holds
from .table import Tasks
from .tasks import Record

Conditions = Mapping[str, Mapping[str, Any]]

COLUMNS = ("name", "label", "status", "submitted")
"""Keys of a query that stand in columns of packed tasks as they are."""

ENDED = {"state": "done", "priority": 0.0, "reason": ""}
"""What is true of all that is packed."""


def candidates(tasks: Tasks, wanted: Conditions) -> Iterable[tuple[str, Record]]:
    """Tasks among which are all that a checked query finds, with their ids, in their order."""
    if not wanted:
        found: Iterable[tuple[str, Record]] = tasks.items()
        return found
    if (ids := _named(wanted)) is not None:
        return tasks.in_order(record for id in ids if (record := tasks.get(id)) is not None)
    if not all(holds(key, ENDED[key], wanted[key]) for key in ENDED if key in wanted):
        return tasks.in_order(tasks.opened())
    keys = [key for key in COLUMNS if key in wanted]
    return (
        tasks.where(keys, lambda columns: _may_be_there(columns, wanted))
        if keys
        else (tasks.items())
    )


def _named(wanted: Conditions) -> Iterable[str] | None:
    """The ids that are asked for, if any are named."""
    condition = wanted.get("msg_id", {})
    ids = [condition["$eq"]] if "$eq" in condition else condition.get("$in")
    return None if ids is None else dict.fromkeys(id for id in ids if isinstance(id, str))


def _may_be_there(columns: Mapping[str, Sequence[Any]], wanted: Conditions) -> bool:
    """Whether each of these columns has a value for which its condition holds."""
    return all(
        any(holds(key, value, wanted[key]) for value in set(column))
        for key, column in columns.items()
    )
