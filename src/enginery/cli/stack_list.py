"""`enginery stacks`: what engines are doing now, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..core.messages import Query
from .filters import engines as engine_ids
from .known import Tasks
from .output import Answer
from .tables import Screen, clean


def stacks(tasks: Tasks, words: Sequence[str], all_threads: bool) -> Answer:
    """The Python stacks of these engines, or of all of them."""
    wanted = [id for word in words if word != "all" for id in engine_ids(word)]
    told = tasks.inquire("stacks", wanted)
    places = {engine["id"]: engine for engine in tasks.ask(Query(0, "engines"))}
    engines = []
    for id in sorted({*told.answers, *told.silent}):
        answer = told.answers.get(id)
        place = places.get(id, {"host": "", "pid": 0})
        engines.append(
            {
                "engine_id": id,
                "host": place["host"],
                "pid": place["pid"],
                "answered": answer is not None,
                "task": (answer or {}).get("task") or None,
                "name": (answer or {}).get("name") or None,
                "threads": (answer or {}).get("threads", []),
            }
        )

    def text(screen: Screen) -> str:
        if not engines:
            return "no engine is registered"
        lines = [line for each in engines for line in _told(each, all_threads, screen)]
        return "\n".join(
            [*lines, *(f"engine {id}: {clean(why)}" for id, why in told.wrong.items())]
        )

    return Answer({"engines": engines}, [str(each["engine_id"]) for each in engines], text)


def _told(engine: Mapping[str, Any], all_threads: bool, screen: Screen) -> Iterator[str]:
    where = f" (pid {engine['pid']} on {clean(engine['host'])})" if engine["pid"] else ""
    head = screen.paint(f"engine {engine['engine_id']}", "bold") + where
    if not engine["answered"]:
        yield f"{head} does not answer: code of it that is not Python runs and does not let others"
        yield "  run, or the process is stopped; look at it there with py-spy, gdb or ps"
        return
    main = [frame for thread in engine["threads"] if thread["main"] for frame in thread["frames"]]
    if engine["task"]:
        yield f"{head} runs {clean(engine['name'] or 'something')}, task {clean(engine['task'])}"
    elif main:
        yield f"{head} runs what is no task of the controller's: of the scheme pure, or typed"
    else:
        yield f"{head} runs no task"
    for thread in engine["threads"]:
        frames = [*thread["below"], *thread["frames"]] if all_threads else thread["frames"]
        ours = not thread["main"] and thread["name"].startswith("enginery-")
        if not frames or (ours and not all_threads):
            continue
        if all_threads or not thread["main"]:
            yield f"  thread {clean(thread['name'])}"
        for frame in frames:
            place = f'  File "{frame["file"]}", line {frame["line"]}, in {frame["function"]}'
            yield clean(place)
            if frame["source"]:
                yield f"    {clean(frame['source'])}"
