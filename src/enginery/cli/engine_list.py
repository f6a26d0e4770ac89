"""`enginery list engines` and `enginery list clusters`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..client.text import duration, of
from ..core.messages import Query
from .filters import Filter
from .known import Tasks
from .output import Answer, moment
from .tables import Column, Screen, or_dash, table
from .task_list import STYLES, Show, seconds


def list_engines(tasks: Tasks, wanted: Filter, show: Show) -> Answer:
    """The engines that are registered."""
    queues = tasks.ask(Query(0, "queues"))
    every = [_engine(each, queues) for each in tasks.ask(Query(0, "engines"))]
    found = [
        engine
        for engine in sorted(every, key=lambda engine: int(engine["engine_id"]))
        if (not wanted.states or engine["state"] in wanted.states)
        and (not wanted.engines or engine["engine_id"] in wanted.engines)
    ]
    told = found[: show.limit or None]
    flags = tasks.there.flags

    def text(screen: Screen) -> str:
        if not told:
            none = f"no engine is registered; add some: ipcluster engines -n 4{flags}"
            return "no such engine" if every else none
        rest = f"\n{of(len(told), len(found))} engines" if len(found) > len(told) else ""
        return _engine_table(told, screen, show.wide) + rest

    ids = [str(engine["engine_id"]) for engine in told]
    return Answer({"engines": told, "total": len(found)}, ids, text)


def _engine(engine: Mapping[str, Any], queues: Mapping[Any, Any]) -> dict[str, Any]:
    queued = queues.get(engine["id"], {"queue": 0})
    return {
        "engine_id": engine["id"],
        "engine_uuid": engine["incarnation"],
        "state": "busy" if engine["load"] else "idle",
        "host": engine["host"],
        "pid": engine["pid"],
        "since": moment(engine["since"]),
        "queue": queued["queue"],
        "tasks": engine["load"],
        "running": next(iter(engine["running"]), None),
    }


def _engine_table(told: Sequence[Mapping[str, Any]], screen: Screen, wide: bool) -> str:
    columns = [
        Column("engine", right=True),
        Column("state", style=lambda state: STYLES.get(state, "")),
        Column("host", cut=True),
        Column("pid", right=True),
        Column("up", right=True),
        Column("queue", right=True),
        Column("tasks", right=True),
        Column("running"),
        *([Column("engine_uuid")] if wide else []),
    ]
    now = time.time()
    rows = [
        [
            str(engine["engine_id"]), engine["state"], engine["host"], str(engine["pid"]),
            duration(now - seconds(engine["since"])), str(engine["queue"]), str(engine["tasks"]),
            engine["running"] or "", *([engine["engine_uuid"]] if wide else []),
        ]
        for engine in told
    ]  # fmt: skip
    return table(columns, rows, screen)


def list_clusters(show: Show) -> Answer:
    """The clusters of this user that run on this host, in all profiles."""
    from ..cluster.running import describe
    from ..net.profile import clusters

    found = [describe(cluster) for cluster in clusters()]
    told = found[: show.limit or None]

    def text(screen: Screen) -> str:
        if not found:
            return "no cluster is running; start one: ipcluster start -n 4"
        names = ("profile", "cluster_id", "engines", "pid", "up", "url")
        columns = [
            Column(n, right=n in ("engines", "pid", "up"), cut=n == "profile") for n in names
        ]
        now = time.time()
        rows = [
            [
                *(or_dash(each[name]) for name in names[:4]),
                duration(now - seconds(each["started"])),
                each["url"],
            ]
            for each in told
        ]
        rest = f"\n{of(len(told), len(found))} clusters" if len(found) > len(told) else ""
        return table(columns, rows, screen) + rest

    ids = [f"{each['profile']}/{each['cluster_id']}".rstrip("/") for each in told]
    return Answer({"clusters": told, "total": len(found)}, ids, text)
