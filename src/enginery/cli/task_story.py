"""`enginery show` and `enginery explain`: what became of tasks, and why they do not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..client.text import duration, size
from ..core.messages import Query
from .failures import as_json, failures
from .filters import word_of
from .known import Tasks
from .output import Answer, moment
from .tables import Screen, clean, fields
from .task_list import seconds, took, when, why

if TYPE_CHECKING:
    from .reach import Reached


NONE = "the controller remembers no task"


def show_tasks(tasks: Tasks, words: Sequence[str]) -> Answer:
    """Everything that the controller tells of tasks, with their stories."""
    told = tasks.documents(tasks.select(words))
    may_read = tasks.there.link.file.role == "client"
    failed = [task["msg_id"] for task in told if word_of(task, False) == "failed"] * may_read
    errors = {each.msg_id: as_json(each) for each in failures(tasks.there, failed)}
    for task in told:
        task["error"] = errors.get(task["msg_id"])
        steps = tasks.ask(Query(0, "story", [task["msg_id"]]))
        task["story"] = [
            {"time": moment(at), "what": what, "engine_id": engine if engine >= 0 else None}
            for at, what, engine in steps
        ]

    def text(screen: Screen) -> str:
        return "\n\n".join(_shown(task, tasks.there, screen) for task in told) or NONE

    return Answer({"tasks": told}, [task["msg_id"] for task in told], text)


def _shown(task: Mapping[str, Any], there: Reached, screen: Screen) -> str:
    """One task for people."""
    word = word_of(task, task["running"])
    reason = f" ({why(task)})" if why(task) else ""
    engine = task["engine_id"]
    rows = [
        ("state", word + reason),
        ("function", task["name"]),
        ("label", task["label"]),
        ("engine", "" if engine is None else str(engine)),
        ("attempt", f"{task['attempt']}, retries={task['retries']}" if task["attempt"] else ""),
        ("priority", f"{task['priority']:g}" if task["priority"] else ""),
        *((name, when(task[name])) for name in ("submitted", "started", "completed")),
        ("took", took(task)),
        ("size", size(task["size"])),
    ]
    lines = [_heading(task, screen), fields(rows, screen), "  " + screen.paint("story", "dim")]
    lines += _story(task["story"])
    if task["error"]:
        lines += _error(task["error"], screen)
    if word == "failed":
        lines.append(f'  its error: {there.client}.get_result("{clean(task["msg_id"])}").get()')
    elif task["status"] is None and word != "running":
        lines.append(f"  why it does not run: enginery explain{there.flags} {task['number']}")
    return "\n".join(lines)


def _error(error: Mapping[str, Any], screen: Screen) -> list[str]:
    """What it raised, or what became of it."""
    text = error["traceback"] or f"{error['type']}: {error['message']}"
    lines = text.rstrip("\n").split("\n")
    return ["  " + screen.paint("error", "dim"), *(f"    {clean(line)}" for line in lines)]


def _heading(task: Mapping[str, Any], screen: Screen) -> str:
    number = f", number {task['number']:,}" if task["number"] else ""
    return screen.paint(f"task {clean(task['msg_id'])}{number}", "bold")


def _story(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """The transitions: when the first was, and how long after it the others."""
    lines, first = [], seconds(steps[0]["time"]) if steps else 0.0
    for i, step in enumerate(steps):
        after = f"+{duration(seconds(step['time']) - first)}" if i else when(step["time"])
        where = "" if step["engine_id"] is None else f", engine {step['engine_id']}"
        lines.append(f"    {after:<10}  {clean(step['what'])}{where}")
    return lines


def explain_tasks(tasks: Tasks, words: Sequence[str]) -> Answer:
    """Why tasks do not run, or where they are."""
    told = tasks.documents(tasks.select(words))
    for task in told:
        task["explanation"] = tasks.ask(Query(0, "explain", [task["msg_id"]]))

    def text(screen: Screen) -> str:
        return (
            "\n".join(
                "\n".join(
                    [_heading(task, screen), *(f"  {clean(line)}" for line in task["explanation"])]
                )
                for task in told
            )
            or NONE
        )

    return Answer({"tasks": told}, [task["msg_id"] for task in told], text)
