"""`enginery errors`: what has failed, the same failure told once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..client.text import brief, count, of, ranges
from .failures import failures
from .filters import Filter, inner_name
from .known import Tasks
from .output import Answer
from .tables import Screen, clean
from .task_list import Show, when

READ = 1000
"""Failed tasks that are read, unless it is told otherwise: the newest."""

SAMPLES = 3
"""Different messages of one kind of failure that are shown."""

IDS = 8
"""Tasks of one kind that are named."""


def errors(tasks: Tasks, words: Sequence[str], wanted: Filter, show: Show) -> Answer:
    """The failures of the selected tasks (or of all), grouped; the most frequent first."""
    found = tasks.find(wanted._replace(states=["failed"]))
    if words:
        selected = set(tasks.select(words))
        found = [id for id in found if id in selected]
    limit = READ if show.limit is None else show.limit
    read = found[-limit:]
    known = {task["msg_id"]: task for task in tasks.documents(read)}
    groups: dict[Any, dict[str, Any]] = {}
    for told in failures(tasks.there, [id for id in read if id in known]):
        task = known[told.msg_id]
        function = inner_name(task["name"])
        where = told.frame and told.frame[:2]
        key = (told.type, function, where or told.message)
        group = groups.setdefault(key, _new(told, task, function))
        _add(group, told.message, task)
    order = sorted(groups.values(), key=lambda group: (-group["count"], group["first"] or ""))
    parts = {"errors": order, "total": len(found), "read": len(read)}
    ids = [id for group in order for id in group["msg_ids"]]

    def text(screen: Screen) -> str:
        if not order:
            return "nothing has failed" if not (words or any(wanted)) else "none of these failed"
        told = "\n\n".join("\n".join(_told(group, tasks.there.flags, screen)) for group in order)
        if len(found) > len(read):
            told += f"\n\n{of(len(read), len(found))} failed tasks were read, the newest; "
            told += "all: --limit 0"
        return told

    return Answer(parts, ids, text)


def _new(told: Any, task: Mapping[str, Any], function: str) -> dict[str, Any]:
    frame = told.frame
    names = ("file", "line", "function", "source")
    return {
        "type": told.type,
        "function": function,
        "where": dict(zip(names, frame, strict=True)) if frame else None,
        "count": 0,
        "messages": [],
        "first": task["completed"],
        "last": task["completed"],
        "engines": [],
        "labels": [],
        "msg_ids": [],
        "traceback": told.traceback or None,
    }


def _add(group: dict[str, Any], message: str, task: Mapping[str, Any]) -> None:
    group["count"] += 1
    group["first"] = min(group["first"] or task["completed"], task["completed"])
    group["last"] = max(group["last"] or task["completed"], task["completed"])
    engine = [] if task["engine_id"] is None else [task["engine_id"]]
    label = [task["label"]] if task["label"] else []
    for name, values in (
        ("messages", [message]), ("engines", engine), ("labels", label),
        ("msg_ids", [task["msg_id"]]),
    ):  # fmt: skip
        group[name] += [value for value in values if value not in group[name][-1000:]]


def _told(group: Mapping[str, Any], flags: str, screen: Screen) -> Iterator[str]:
    """One kind of failure for people."""
    first, last = when(group["first"]), when(group["last"])
    times = first if first == last else f"{first} to {last}"
    name, n = clean(group["type"]), group["count"]
    head = screen.paint(f"{n:,} × {name}", "red") + f" in {clean(group['function'])}"
    on = f", on engine{'s' * (len(group['engines']) > 1)} {ranges(group['engines'])}"
    yield head + (on if group["engines"] else "") + f", {times}"
    messages = group["messages"]
    for message in messages[:SAMPLES]:
        yield f"  {clean(brief(message, (screen.width or 100) - 2))}"
    if len(messages) > SAMPLES:
        yield f"  … and {count(len(messages) - SAMPLES, 'other message')}"
    if group["traceback"]:
        for line in str(group["traceback"]).rstrip("\n").split("\n"):
            yield screen.paint(f"    {clean(line)}", "dim")
    ids = group["msg_ids"]
    more = f" … ({len(ids):,} tasks; all: enginery errors{flags} -o ids)" if len(ids) > IDS else ""
    yield f"  tasks: {' '.join(map(clean, ids[:IDS]))}{more}"
