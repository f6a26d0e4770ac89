"""`enginery status`: the controller, the engines by state, the tasks by state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..client.text import count, duration
from ..core.messages import Query
from .known import Tasks
from .output import Answer
from .tables import Screen, clean
from .task_list import STYLES


def status(tasks: Tasks) -> Answer:
    """The controller, the engines by state, and the tasks by state."""
    told = tasks.ask(Query(0, "status"))
    open_ = tasks.ask(Query(0, "database", where={"state": {"$ne": "done"}}, keys=["state"]))
    states = Counter(each["state"] for each in open_)
    ended = Counter(told["ended"])
    failed = sum(n for how, n in ended.items() if how not in ("ok", "aborted"))
    running = min(told["busy"], states["sent"])
    counts = {
        "held": states["held"],
        "waiting": states["waiting"],
        "queued": states["queued"],
        "sent": states["sent"] - running,
        "running": running,
        "ok": ended["ok"],
        "failed": failed,
        "aborted": ended["aborted"],
    }
    there = tasks.there
    file = there.link.file
    parts = {
        "cluster": there.name,
        "controller": {
            "pid": file.pid,
            "host": file.host,
            "url": file.url,
            "version": told["version"],
            "up": told["up"],
            "scheme": told["scheme"],
            "hwm": told["hwm"],
            "clients": told["clients"],
        },
        "engines": {
            "busy": told["busy"],
            "idle": told["engines"] - told["busy"],
            "hosts": told["hosts"],
        },
        "tasks": counts,
    }
    return Answer(parts, [there.name], lambda screen: _status(parts, there.flags, screen))


ALWAYS = {"busy", "idle", "waiting", "running", "ok", "failed"}
"""States that are told of though none is in them."""


def _status(told: Mapping[str, Any], flags: str, screen: Screen) -> str:
    controller, engines, tasks = told["controller"], told["engines"], told["tasks"]
    hosts = f"   on {count(engines['hosts'], 'host')}" if engines["hosts"] else ""
    lines = [
        ("cluster", f"{screen.paint(clean(told['cluster']), 'bold')}"
         f"   up {duration(controller['up'])}   controller pid {controller['pid']} on "
         f"{clean(controller['host'])}, enginery {clean(controller['version'])}"),
        ("engines", _counts({n: engines[n] for n in ("busy", "idle")}, screen) + hosts),
        ("tasks", _counts(tasks, screen)),
    ]  # fmt: skip
    if not engines["busy"] + engines["idle"]:
        lines[1] = ("engines", f"none   add some: ipcluster engines -n 4{flags}")
    waiting = tasks["held"] + tasks["waiting"]
    see = [
        f"enginery list tasks{flags} --state failed" if tasks["failed"] else "",
        f"enginery list tasks{flags} --state held,waiting" if waiting else "",
    ]
    lines.append(("see", " · ".join(each for each in see if each) or f"enginery list tasks{flags}"))
    return "\n".join(f"{screen.paint(f'{name:<8}', 'dim')}  {text}" for name, text in lines)


def _counts(counts: Mapping[str, int], screen: Screen) -> str:
    """How many are in each state: "waiting 1,204   running 7"."""
    return "   ".join(
        screen.paint(f"{name} {n:,}", STYLES.get(name, "") if n else "")
        for name, n in counts.items()
        if n or name in ALWAYS
    )
