"""`enginery list tasks`, and the table of tasks that other commands show, too."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ..client.text import duration, of, size
from .filters import Filter, word_of
from .known import Tasks
from .output import Answer
from .tables import Column, Screen, table

STYLES = {
    "failed": "red",
    "running": "green",
    "busy": "green",
    "held": "yellow",
    "waiting": "yellow",
    "aborted": "dim",
}
"""How states are painted."""

SHOWN = 50
"""Tasks that a table shows, unless it is told otherwise."""


class Show(NamedTuple):
    """How much a list shows: so many (0: all; None: as is usual), and every column."""

    limit: int | None = None
    wide: bool = False


def list_tasks(tasks: Tasks, wanted: Filter, show: Show, table_only: bool) -> Answer:
    """The newest of the tasks that a filter keeps, in the order of their numbers.

    For people (`table_only`) the last 50 unless `show` says otherwise, for programs all.
    """
    found = tasks.find(wanted)
    limit = (SHOWN if table_only else 0) if show.limit is None else show.limit
    told = tasks.documents(found[-limit:])
    total = len(found)

    def text(screen: Screen) -> str:
        if not told:
            return "no such task" if any(wanted) else "the controller remembers no task"
        lines = task_table(told, screen, show.wide)
        cut = f"\n{of(len(told), total)} tasks, the newest; all: --limit 0"
        return lines + (cut if total > len(told) else "")

    return Answer({"tasks": told, "total": total}, [each["msg_id"] for each in told], text)


def task_table(told: Sequence[Mapping[str, Any]], screen: Screen, wide: bool = False) -> str:
    """A table of tasks; `wide`: with every column."""
    columns = [
        Column("number", right=True),
        Column("task"),
        Column("state", style=lambda state: STYLES.get(state, "")),
        Column("engine", right=True),
        Column("function", cut=True),
        Column("label", cut=True),
        Column("submitted"),
        Column("took", right=True),
    ]
    more = [Column(n, right=True) for n in ("attempt", "retries", "priority", "size")]
    columns += [*(more if wide else []), Column("why", cut=True)]
    return table(columns, [_row(each, wide) for each in told], screen)


def _row(task: Mapping[str, Any], wide: bool) -> list[str]:
    engine = task["engine_id"]
    row = [
        str(task["number"] or ""),
        task["msg_id"],
        word_of(task, task["running"]),
        "" if engine is None else str(engine),
        task["name"],
        task["label"],
        when(task["submitted"]),
        took(task),
    ]
    if wide:
        row += [str(task["attempt"] or ""), str(task["retries"]), f"{task['priority']:g}"]
        row += [size(task["size"])]
    return [*row, why(task)]


def why(task: Mapping[str, Any]) -> str:
    """How a task has failed, in a few words."""
    if task["status"] in (None, "ok"):
        return ""
    status = "" if task["status"] == "aborted" else str(task["status"])
    return ": ".join(part for part in (status, task["reason"]) if part)


def took(task: Mapping[str, Any]) -> str:
    """How long an engine was at it."""
    if not (task["started"] and task["completed"]):
        return ""
    return duration(seconds(task["completed"]) - seconds(task["started"]))


def seconds(moment: str) -> float:
    """A time of the JSON as seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def when(moment: str | None, now: float | None = None) -> str:
    """A time as people here read it: with its date, if that is not today."""
    if not moment:
        return ""
    there = datetime.fromisoformat(moment).astimezone()
    today = datetime.fromtimestamp(time.time() if now is None else now).date()
    return there.strftime("%H:%M:%S" if there.date() == today else "%Y-%m-%d %H:%M:%S")
