"""The commands that change something: abort, resubmit. They need a client's key."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..client.text import count, ranges
from ..core.messages import Abort, Resubmit
from ..error import TaskNotDone
from .known import Tasks
from .output import Answer
from .tables import Screen
from .task_list import SHOWN, task_table

SETTLE = 2.0
"""Seconds to see what becomes of tasks that are aborted."""

LOOK = 0.02
"""Seconds between two looks."""


def abort(tasks: Tasks, words: Sequence[str], running: bool) -> Answer:
    """Keep tasks from starting; with `running`, interrupt those that run, too."""
    ids = tasks.select(words)
    open_ = {id for id, task in tasks.raw(ids).items() if task["state"] != "done"}
    if open_:
        tasks.ask(Abort([id for id in ids if id in open_], running))
        _settle(tasks, open_, running)
    told = tasks.documents(ids)
    aborted = sum(task["status"] == "aborted" and task["msg_id"] in open_ for task in told)
    left = [task for task in told if task["status"] is None]

    def text(screen: Screen) -> str:
        lines = [f"{count(aborted, 'task')} aborted" if aborted else "no task aborted"]
        ended = len(told) - aborted - len(left)
        if ended:
            lines.append(f"{count(ended, 'task')} had ended already")
        if left:
            lines.append(_going_on(left, running, tasks.there.flags))
        return "\n".join(lines)

    return Answer({"tasks": told}, [id for id in ids if id in open_], text)


def _settle(tasks: Tasks, ids: Iterable[str], running: bool) -> None:
    """Wait a little until these have ended, or (not `running`) only those that run have not."""
    deadline = time.monotonic() + SETTLE
    left = list(ids)
    while left and time.monotonic() < deadline:
        told = tasks.raw(left)
        busy = frozenset() if running else tasks.running()
        left = [id for id, task in told.items() if task["state"] != "done" and id not in busy]
        if left:
            time.sleep(LOOK)  # the controller tells nobody of the ends of tasks of others


def _going_on(left: Sequence[Mapping[str, Any]], running: bool, flags: str) -> str:
    """What to say of tasks that have not ended."""
    if running:
        return f"{count(len(left), 'task')} interrupted, but not ended yet: {_numbers(left)}"
    n = len(left)
    started = (
        "1 task has started, and goes on" if n == 1 else f"{n:,} tasks have started, and go on"
    )
    return f"{started}\n  Stop what runs, too:  enginery abort{flags} --running {_numbers(left)}"


def _numbers(tasks: Sequence[Mapping[str, Any]]) -> str:
    """These tasks as one selector."""
    return ranges(task["number"] for task in tasks).replace(" ", "")


def resubmit(tasks: Tasks, words: Sequence[str]) -> Answer:
    """Run finished tasks once more, as new tasks; all that are selected, or none."""
    ids = tasks.select(words)
    open_ = [id for id, task in tasks.raw(ids).items() if task["state"] != "done"]
    if open_:
        raise TaskNotDone(_not_done(open_, len(ids)))
    new = [tasks.there.link.next_id() for _ in ids]
    tasks.ask(Resubmit(ids, new))
    later = Tasks(tasks.there)
    old = dict(zip(new, ids, strict=True))
    told = [{**task, "resubmitted": old[task["msg_id"]]} for task in later.documents(new)]

    def text(screen: Screen) -> str:
        heading = f"{count(len(new), 'task')} submitted once more"
        if not told:
            return heading
        if len(told) > SHOWN:
            return f"{heading}: numbers {_numbers(told)}"
        return f"{heading}\n{task_table(told, screen)}"

    return Answer({"tasks": told}, new, text)


def _not_done(open_: Sequence[str], n: int) -> str:
    """Some of `n` selected tasks have not ended."""
    which = f"task {open_[0]} has not ended"
    if n > 1:
        which = f"{len(open_):,} of {n:,} tasks have not ended: {open_[0]}"
        which += ", …" if len(open_) > 1 else ""
    return (
        f"{which}\n"
        "  Nothing was submitted: only finished tasks run again.\n"
        "  See which are:  enginery list tasks --state done"
    )
