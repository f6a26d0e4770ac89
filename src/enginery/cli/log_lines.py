"""`enginery logs`: what the controller and the engines have logged, in the order of time.

Files of this host are read here; an engine of another host is asked for the end of its own.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..client.text import ranges
from ..core.messages import Query
from ..error import EngineryError
from .entry import UsageError
from .filters import engines as engine_ids
from .output import Answer, moment
from .tables import Screen, clean

if TYPE_CHECKING:
    from ..net.profile import Profile
    from .known import Tasks

SHOWN = 200
"""Lines that are shown, unless it is told otherwise: the last."""

LOOK = 0.25
"""Seconds between two looks at files that are followed."""

FIELD = re.compile(r'(?<!\S)([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)')
"""A field of a line in logfmt."""

COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class Line(NamedTuple):
    """A line of a log: its time as text, its level, and its fields, as far as it has them."""

    text: str
    source: str
    time: str = ""
    level: str = ""
    fields: Mapping[str, str] = {}

    @property
    def event(self) -> str:
        """The name of the event; "" where the line is of something else."""
        return self.fields.get("event", "")

    @classmethod
    def read(cls, text: str, source: str) -> Line:
        """A line as it stands in a file: of logfmt, of JSON, or whatever else is there."""
        if text.startswith("{"):
            try:
                told = json.loads(text)
                fields = {key: str(value) for key, value in told.items()}
            except ValueError:
                return cls(text, source)
            return cls(text, source, fields.get("time", ""), fields.get("level", ""), fields)
        head = text.split(" ", 3)
        if len(head) < 3 or not re.match(r"\d{4}-\d\d-\d\dT", head[0]):
            return cls(text, source)
        fields = {name: value.strip('"') for name, value in FIELD.findall(text)}
        return cls(text, source, head[0], head[1], fields | {"event": head[2]})


class Wanted(NamedTuple):
    """Which lines: of these engines, by number or by process id; about this task; all if empty."""

    engines: frozenset[str] = frozenset()
    pids: frozenset[str] = frozenset()
    task: str = ""

    def keeps(self, line: Line) -> bool:
        """Whether this is such a line. What an engine printed as it began is anybody's."""
        fields = line.fields
        if self.task:
            return self.task in (fields.get("task"), fields.get("running"))
        if not self.engines or line.source.endswith(".out"):
            return True
        return fields.get("engine") in self.engines or (
            "engine" not in fields and fields.get("pid") in self.pids
        )


class Question(NamedTuple):
    """What is asked for: words (none: all, "controller", engines), lines about a task, how many."""

    words: Sequence[str] = ()
    task: str = ""
    limit: int | None = None
    follow: bool = False


def logs(profile: Profile, cluster_id: str, tasks: Tasks | None, question: Question) -> Answer:
    """The last lines of the logs: of all, of the controller, or of an engine.

    Without a controller (`tasks` is None), what it and its engines have left behind. To follow is
    to print what is added, too, until it is interrupted.
    """
    here, others, wanted = _sources(profile, cluster_id, tasks, question)
    files = [File(path) for path in here]
    lines = [line for file in files for line in file.more()]
    if tasks is not None:
        lines += _asked(tasks, others)
    found = _sorted(line for line in lines if wanted.keeps(line))
    count = SHOWN if question.limit is None else question.limit
    told = found[-count:]
    if question.follow:
        _follow(files, wanted, told)
    names = [str(file.path) for file in files]
    parts = {
        "files": names,
        "lines": [
            {"source": line.source, "time": line.time or None, "level": line.level or None,
             "text": line.text}
            for line in told
        ],
        "total": len(found),
    }  # fmt: skip

    def text(screen: Screen) -> str:
        if not told:
            return "nothing is logged about that" + _where(files, others)
        head = f"… {len(found) - len(told):,} lines before; all: --limit 0\n"
        return (head if len(found) > len(told) else "") + "\n".join(_painted(told, screen))

    return Answer(parts, names, text)


def _where(files: Sequence[File], others: Mapping[int, str]) -> str:
    """Where it was looked for."""
    lines = [f"\n  looked at {file.path}" for file in files]
    lines += [f"\n  asked engine {id} on {clean(host)}" for id, host in others.items()]
    return "".join(lines)


def _painted(lines: Iterable[Line], screen: Screen) -> Iterator[str]:
    for line in lines:
        yield screen.paint(_safe(line.text), COLOURS.get(line.level, ""))


def _safe(text: str) -> str:
    """The line without anything that speaks to the terminal."""
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)


def _sorted(lines: Iterable[Line]) -> list[Line]:
    """The lines by time; one that has none stays behind the one before it in its file."""
    last: dict[str, str] = {}
    keyed = []
    for line in lines:
        last[line.source] = line.time or last.get(line.source, "")
        keyed.append((last[line.source], line))
    return [line for _, line in sorted(keyed, key=lambda each: each[0])]


# --- where they are -------------------------------------------------------------------------------


def _sources(
    profile: Profile, cluster_id: str, tasks: Tasks | None, question: Question
) -> tuple[list[Path], dict[int, str], Wanted]:
    """The files of this host, the engines to ask because they are elsewhere, and what to look for.

    An engine logs into the file of its supervisor; what the controller says of it counts, too.
    """
    infix = f"-{cluster_id}" if cluster_id else ""
    directory = profile.path / "log"
    controller = directory / f"ipcontroller{infix}.log"
    paths = [controller] if controller.exists() else []
    if list(question.words) == ["controller"]:
        return paths + _said(directory, f"ipcontroller{infix}"), {}, Wanted(task=question.task)
    ids = [id for word in question.words if word != "all" for id in engine_ids(word)]
    since = _began(controller)
    others = {}
    if tasks is None:
        paths += _since(directory.glob("ipengine-*.log"), since)
        pids = frozenset[str]()
    else:
        places = {place["id"]: place for place in tasks.ask(Query(0, "places"))}
        if unknown := [id for id in ids if id not in places]:
            there = f"there are {ranges(places)}" if places else "there is none"
            raise UsageError(f"there is no engine {unknown[0]}; {there}")
        chosen = {id: place for id, place in places.items() if id in ids or not ids}
        logs = {id: _log(directory, place) for id, place in chosen.items()}
        paths += sorted({path for path in logs.values() if path.exists()})
        others = {
            id: place["host"]
            for id, place in chosen.items()
            if place["here"] and place["host"] != socket.gethostname() and not logs[id].exists()
        }
        pids = frozenset(str(place["pid"]) for place in chosen.values())
    if ids:
        pids |= _pids(paths, ids)
    else:
        pids = frozenset()
        paths += _since(_said(directory, f"ipcontroller{infix}"), since)
    paths += _since(_said(directory, f"ipengine{infix}"), since)
    return paths, others, Wanted(frozenset(map(str, ids)), pids, question.task)


def _log(directory: Path, place: Mapping[str, Any]) -> Path:
    """The file that an engine logs to, if it is on this host."""
    return directory / f"ipengine-{place['supervisor'] or place['pid']}.log"


def _said(directory: Path, name: str) -> list[Path]:
    """The files with what processes wrote to their terminals: errors before there is a log."""
    found = directory.glob(f"{name}-{'[0-9a-f]' * 6}.out")
    return sorted(path for path in found if path.stat().st_size)


def _began(controller: Path) -> float:
    """When the last controller that has logged here began; 0.0 where there was none."""
    started = [line for line in File(controller).more() if line.event == "controller.started"]
    return datetime.fromisoformat(started[-1].time).timestamp() if started else 0.0


def _since(paths: Iterable[Path], moment: float) -> list[Path]:
    """Those that were written to since then: others are of clusters that are long gone."""
    return sorted(path for path in paths if path.stat().st_mtime >= moment - 1.0)


def _pids(paths: Iterable[Path], ids: Iterable[int]) -> frozenset[str]:
    """The process ids of all lives of these engines, as far as the logs tell."""
    wanted = set(map(str, ids))
    lines = (line for path in paths for line in File(path).more())
    return frozenset(
        line.fields["pid"]
        for line in lines
        if line.fields.get("engine") in wanted and "pid" in line.fields
    )


def _asked(tasks: Tasks, others: Mapping[int, str]) -> Iterator[Line]:
    """The ends of the logs of engines on other hosts."""
    if not others:
        return
    seen = set()
    for id, answer in tasks.inquire("log", list(others)).answers.items():
        source = f"{others[id]}:{answer['path']}"
        if source not in seen:  # several share one
            seen.add(source)
            yield from (Line.read(text, source) for text in answer["lines"])


class File:
    """A log file, read bit by bit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    def more(self) -> list[Line]:
        """The lines that were not read yet, as far as they are complete."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EngineryError(f"{self.path} cannot be read: {error.strerror}") from None
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        lines = whole.decode(errors="replace").splitlines()
        found = [Line.read(line, str(self.path)) for line in lines]
        if self.path.suffix == ".out" and found:  # they have no times of their own
            written = moment(self.path.stat().st_mtime) or ""
            found[0] = found[0]._replace(time=written)
        return found


def _follow(files: Sequence[File], wanted: Wanted, lines: Sequence[Line]) -> None:
    """Print these lines, and those that come, until Ctrl-C."""
    screen = Screen.of(sys.stdout)
    while True:
        for line in _painted(lines, screen):
            print(line)
        sys.stdout.flush()
        time.sleep(LOOK)
        lines = _sorted(line for file in files for line in file.more() if wanted.keeps(line))
