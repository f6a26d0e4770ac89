"""`enginery status`: the controller, the engines and the tasks by state, memory, warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..client.text import count, duration, rate, size
from ..core.inquiries import Usage
from ..core.messages import Query
from .known import Tasks
from .notices import brought_about, in_words
from .output import Answer, moment
from .tables import Screen, cells_of, clean, plain, sentence
from .task_list import STYLES, seconds

SHOWN = 3
"""Warnings, and engines that are missing, told of at most."""

ALWAYS = {"busy", "idle", "waiting", "running", "ok", "failed"}
"""States that are told of though none is in them."""

WIDTH = 100
"""Columns where the screen has no width of its own."""


def status(tasks: Tasks) -> Answer:
    """The controller, its engines and tasks in numbers, and what went wrong lately."""
    told = tasks.ask(Query(0, "status"))
    places = tasks.ask(Query(0, "places"))
    usage = tasks.inquire("usage")
    warnings = tasks.ask(Query(0, "warnings"))
    there = tasks.there
    file = there.link.file
    parts = {
        "cluster": there.name,
        "controller": {
            "pid": file.pid,
            "host": file.host,
            "url": file.url,
            "version": told["version"],
            "time": moment(told["time"]),
            "up": told["up"],
            "scheme": told["scheme"],
            "hwm": told["hwm"],
            "clients": told["clients"],
            "memory": told["memory"],
            "memory_limit": told["memory_limit"] or None,
        },
        "engines": {
            "busy": told["busy"],
            "idle": told["engines"] - told["busy"],
            "hosts": told["hosts"],
            "missing": [_missing(place) for place in places if _is_missing(place)],
            "largest": _largest(usage.answers),
            "silent": list(usage.silent),
        },
        "tasks": _tasks(told),
        "rate": told["rate"],
        "warnings": [
            {**each, "time": moment(each["time"]), "text": in_words(each)} for each in warnings
        ],
    }
    return Answer(parts, [there.name], lambda screen: "\n".join(_lines(parts, there.flags, screen)))


def _tasks(told: Mapping[str, Any]) -> dict[str, int]:
    open_, ended = told["open"], Counter(told["ended"])
    running = min(told["busy"], open_["sent"])
    return {
        "held": open_["held"],
        "waiting": open_["waiting"],
        "queued": open_["queued"],
        "sent": open_["sent"] - running,
        "running": running,
        "ok": ended["ok"],
        "failed": sum(n for how, n in ended.items() if how not in ("ok", "aborted")),
        "aborted": ended["aborted"],
        "retried": told["retried"],
    }


def _is_missing(place: Mapping[str, Any]) -> bool:
    return not place["here"] and bool(place["awaited"] or place["failed"])


def _missing(place: Mapping[str, Any]) -> dict[str, Any]:
    """An engine that should be there and is not; it comes back, unless it has failed."""
    return {
        "engine_id": place["id"],
        "host": place["host"],
        "awaited": place["awaited"],
        "reason": place["failed"] or None,
    }


def _largest(usage: Mapping[int, Usage]) -> dict[str, Any] | None:
    """The engine that has the most memory."""
    if not usage:
        return None
    id = max(usage, key=lambda id: usage[id]["memory"])
    limit = usage[id]["memory_limit"] or None
    return {"engine_id": id, "memory": usage[id]["memory"], "memory_limit": limit}


# --- for people -----------------------------------------------------------------------------------


def _lines(told: Mapping[str, Any], flags: str, screen: Screen) -> Iterator[str]:
    controller = told["controller"]
    yield from _named(
        "cluster",
        [
            screen.paint(clean(told["cluster"]), "bold"),
            f"up {duration(controller['up'])}",
            f"controller pid {controller['pid']} on {clean(controller['host'])}, "
            f"enginery {clean(controller['version'])}",
        ],
        screen,
    )
    yield from _named("engines", _engines(told["engines"], flags, screen), screen)
    for line in _gone(told, flags):
        yield from sentence(f"{'':<8}  ", line, screen)
    speed = [rate(told["rate"], 1.0)] if told["rate"] else []
    pure = ["those of the scheme pure pass by"] if controller["scheme"] == "pure" else []
    yield from _named("tasks", [*_counts(told["tasks"], screen), *speed, *pure], screen)
    yield from _named("memory", _memory(told), screen)
    now = seconds(controller["time"])
    for i, warning in enumerate(told["warnings"][:SHOWN]):
        name = "" if i else "warnings"
        times = f" (× {warning['times']:,})" if warning["times"] > 1 else ""
        ago = f"{duration(max(0.0, now - seconds(warning['time'])))} ago"
        head = screen.paint(f"{name:<8}  ", "dim") + f"{ago:<14} "
        yield from sentence(head, f"{clean(warning['text'])}{times}", screen)
    yield from _named("see", [" · ".join(_see(told, flags))], screen)


def _named(name: str, parts: Sequence[str], screen: Screen) -> Iterator[str]:
    """Parts behind a name, on as many lines as the screen needs."""
    head, line = f"{name:<8}  ", ""
    for part in parts:
        longer = f"{line}   {part}" if line else part
        if line and cells_of(plain(longer)) + len(head) > (screen.width or WIDTH):
            yield screen.paint(head, "dim") + line
            head, longer = " " * len(head), part
        line = longer
    yield screen.paint(head, "dim") + line


def _engines(engines: Mapping[str, Any], flags: str, screen: Screen) -> list[str]:
    if not engines["busy"] + engines["idle"]:
        return ["none", f"add some: ipcluster engines -n 4{flags}"]
    counts = _counts({n: engines[n] for n in ("busy", "idle")}, screen)
    return [*counts, f"on {count(engines['hosts'], 'host')}"]


def _gone(told: Mapping[str, Any], flags: str) -> Iterator[str]:
    """The engines that are missing, and the one that was lost last."""
    missing = told["engines"]["missing"]
    for each in missing[:SHOWN]:
        where = f"engine {each['engine_id']} on {clean(each['host'])}"
        if each["reason"]:
            reason = clean(each["reason"])
            yield f"{where} cannot start: {reason}; see enginery logs{flags} {each['engine_id']}"
        else:
            yield f"{where} is gone, and a new one on its way"
    if len(missing) > SHOWN:
        yield f"… and {len(missing) - SHOWN:,} more are missing"
    lost = [each for each in told["warnings"] if each["event"] == "engine.lost"]
    if lost:
        now, last = seconds(told["controller"]["time"]), lost[0]
        ago = duration(max(0.0, now - seconds(last["time"])))
        fields = last["fields"]
        replaced = "; replaced" if fields.get("replaced") else "; not replaced"
        yield (
            f"lost {len(lost):,}, the last one {ago} ago: engine {fields['engine']} on "
            f"{clean(str(fields['host']))}, {clean(brought_about(fields))}{replaced}"
        )


def _memory(told: Mapping[str, Any]) -> list[str]:
    parts = [f"controller {_of(told['controller'])}"]
    if largest := told["engines"]["largest"]:
        parts.append(f"largest engine {largest['engine_id']}: {_of(largest)}")
    if silent := told["engines"]["silent"]:
        who = ", ".join(map(str, silent[:SHOWN])) + (", …" if len(silent) > SHOWN else "")
        parts.append(f"no answer from engine{'s' * (len(silent) > 1)} {who}")
    return parts


def _of(told: Mapping[str, Any]) -> str:
    """So much memory, of as much as may be."""
    limit = told["memory_limit"]
    return size(told["memory"]) + (f" of {size(limit)}" if limit else "")


def _see(told: Mapping[str, Any], flags: str) -> list[str]:
    """What to look at next."""
    tasks = told["tasks"]
    see = []
    if tasks["failed"]:
        see.append(f"enginery errors{flags}")
    if tasks["held"] + tasks["waiting"]:
        see.append(f"enginery list tasks{flags} --state held,waiting")
    if told["engines"]["silent"]:
        see.append(f"enginery stacks{flags}")
    return see or [f"enginery list tasks{flags}"]


def _counts(counts: Mapping[str, int], screen: Screen) -> list[str]:
    """How many are in each state: "waiting 1,204", "running 7"."""
    return [
        screen.paint(f"{name} {n:,}", STYLES.get(name, "") if n else "")
        for name, n in counts.items()
        if n or name in ALWAYS
    ]
