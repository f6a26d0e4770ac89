"""`enginery progress`: how far a call is, with the bar that its own client would show."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..client.text import count, duration, rate
from ..core.messages import Query
from .known import Tasks
from .output import Answer, moment
from .selectors import LABEL
from .tables import Screen, clean

LOOK = 0.25
"""Seconds between two looks."""

WORTH = 20
"""Times as long as it took is waited until all tasks are counted again; meanwhile the open ones."""

OPEN = ("held", "waiting", "queued", "sent")
WELL = "ok"


class Watched:
    """Some tasks of whatever client, as what is watched by a bar (`client.display.progress`)."""

    unit = "item"

    def __init__(self, tasks: Tasks, name: str, where: Mapping[str, Any]) -> None:
        self.name = clean(name)
        self._tasks, self._where = tasks, dict(where)
        self.open, self.running = 0, 0
        self.count()

    def count(self) -> None:
        """Ask the controller how all of them are."""
        began = time.monotonic()
        self.told = self._tasks.ask(Query(0, "counts", where=self._where))
        self._again = time.monotonic() + WORTH * (time.monotonic() - began)
        self.states: dict[str, int] = self.told["states"]
        self.open = sum(self.states.get(state, 0) for state in OPEN)
        self.running = self.told["running"]
        self.total = sum(self.states.values())
        self.failed = self.total - self.open - self.states.get(WELL, 0)

    def look(self) -> None:
        """Ask how many are left, and when that costs little, or all have ended, how all are."""
        if time.monotonic() < self._again:
            where = {**self._where, "state": {"$ne": "done"}}
            told = self._tasks.ask(Query(0, "counts", where=where))
            self.open, self.running = sum(told["states"].values()), told["running"]
            if self.open:
                return
        self.count()

    @property
    def elapsed(self) -> float:
        """Seconds from the first submission until now, or until the last has ended."""
        if not self.total:
            return 0.0
        end = time.time() if self.open else self.told["completed"]
        return max(0.0, float(end) - float(self.told["submitted"]))

    def done(self) -> bool:
        """Whether all have ended."""
        return not self.open

    def wait(self, timeout: float | None) -> bool:
        """Wait `timeout` seconds, or until all have ended; whether they have."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.open and (end is None or time.monotonic() < end):
            # The controller tells nobody of the ends of tasks of others.
            time.sleep(LOOK if end is None else max(0.0, min(LOOK, end - time.monotonic())))
            self.look()
        return not self.open

    def now(self) -> Any:
        """How far they are."""
        from ..client.display.progress import Progress, left

        ok = max(0, self.total - self.open - self.failed)
        eta = left(ok + self.failed, self.total, self.elapsed)
        retried = self.told["retried"]
        return Progress(ok, self.running, self.failed, self.total, self.elapsed, eta, retried)

    def summary(self) -> str:
        """The line that stays."""
        line = f"{self.name}: {count(self.total, self.unit)} in {duration(self.elapsed)}"
        line += f" ({rate(self.total, self.elapsed)})" if self.elapsed else ""
        line += f", {self.failed:,} failed" if self.failed else ""
        retried = self.told["retried"]
        return line + (f", {retried:,} retried" if retried else "")


def progress(tasks: Tasks, words: Sequence[str], shown: bool) -> Answer:
    """Wait until the selected tasks have ended, and show how far they are if it is to be `shown`.

    The exit code is 1 when one of them has failed.
    """
    name, where = selected(tasks, words or ["last"])
    watched = Watched(tasks, name, where)
    _follow(watched, shown)
    where = {**where, "state": "done", "status": {"$ne": WELL}}
    failed = tasks.ask(Query(0, "database", where=where, keys=["msg_id"]))
    ids = [each["msg_id"] for each in failed]
    parts = {
        "name": name,
        "states": watched.states,
        "total": watched.total,
        "failed": watched.failed,
        "retried": watched.told["retried"],
        "elapsed": watched.elapsed,
        "submitted": moment(watched.told["submitted"]),
        "completed": moment(watched.told["completed"]),
        "failed_ids": ids,
    }

    def text(screen: Screen) -> str:
        told = watched.summary() if watched.total else "there is no task"
        return told + (f"\n  see: enginery errors{tasks.there.flags}" if ids else "")

    return Answer(parts, ids, text, 1 if watched.failed else 0)


def _follow(watched: Watched, shown: bool) -> None:
    """Wait for the end, with a bar on a terminal and a line for each tenth elsewhere (stderr)."""
    from ..client.display.bars import Display, display

    bar: Display | None = display(True, watched, sys.stderr) if shown and watched.open else None
    try:
        while not watched.wait(LOOK):
            if bar is not None:
                bar.update(watched.now())
    finally:
        if bar is not None:
            bar.close(None)


def selected(tasks: Tasks, words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """What to call the selected tasks, and how to ask for them.

    "last" is the last call, all of it: a client submits the tasks of one call at one moment.
    """
    name = ", ".join(words)
    if list(words) == ["all"]:
        return "all", {}
    if list(words) == ["last"]:
        if not tasks.history:
            return "all", {}
        last = tasks.raw(tasks.history[-1:])[tasks.history[-1]]
        where = {key: last[key] for key in ("client", "submitted", "name")}
        return last["name"] or name, where
    if len(words) == 1 and tasks.labelled(words[0].removeprefix(LABEL)):
        return name, {"label": words[0].removeprefix(LABEL)}
    return name, {"msg_id": {"$in": tasks.select(words)}}
