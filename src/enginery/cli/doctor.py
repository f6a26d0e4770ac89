"""`enginery doctor`: looks at all that commonly goes wrong, and says what to do about it."""

from __future__ import annotations

import resource
import shutil
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..client.text import count, duration, ranges, size
from ..core.inquiries import About
from ..core.messages import Query
from ..error import ConnectionFileError, EngineryError, NoControllerError
from .entry import FAILED, NO_CONTROLLER, OK
from .output import Answer
from .tables import Screen, clean, sentence

if TYPE_CHECKING:
    from ..net.profile import Profile
    from .known import Inquired, Tasks
    from .reach import Reached

SKEW = 1.0
"""Seconds by which clocks may differ before it is said."""

SLOW = 0.05
"""Seconds that an answer may take on the way before it is said."""

LITTLE = 1 << 30
"""Bytes of free disk space that are little."""

FEW_FILES = 4096
"""Open files that are few for a controller of hundreds of engines."""

PINGS = 5
"""Questions by which the way to the controller is measured; the fastest counts."""

NAMED = 5
"""Packages that are named."""

MARKS = {"ok": "green", "warning": "yellow", "problem": "red"}


class Finding(NamedTuple):
    """One thing that was looked at: what, whether that is well, what was found, what to do."""

    check: str
    state: str  # one of MARKS
    text: str
    hint: str = ""


def doctor(profile: Profile, cluster_id: str, found: Reached | EngineryError) -> Answer:
    """Look at the files, at the controller, at every engine, and at this host.

    `found` is the way to the controller, or why there is none. The exit code is 1 when there is a
    problem, 3 when it is that no controller answers.
    """
    findings = [*_files(profile, cluster_id)]
    facts: dict[str, Any] = {"controller": None, "engines": []}
    if isinstance(found, EngineryError):
        message, _, rest = str(found).partition("\n")
        findings.append(Finding("controller", "problem", message, _lines(rest)))
    else:
        facts |= _cluster(found, findings)
    findings += _host(profile)
    code = OK
    if any(finding.state == "problem" for finding in findings):
        code = NO_CONTROLLER if isinstance(found, NoControllerError) else FAILED
    parts = {"findings": [finding._asdict() for finding in findings], **facts}
    ids = [finding.check for finding in findings if finding.state != "ok"]

    def text(screen: Screen) -> str:
        return "\n".join(line for finding in findings for line in _told(finding, screen))

    return Answer(parts, ids, text, code)


def _told(finding: Finding, screen: Screen) -> Iterator[str]:
    mark = screen.paint(f"{finding.state:<8}", MARKS[finding.state])
    yield from sentence(f"{mark} {finding.check:<12} ", clean(finding.text), screen)
    for line in finding.hint.splitlines():
        yield from sentence(" " * 22, clean(line), screen)


def _lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


# --- files ----------------------------------------------------------------------------------------


def _files(profile: Profile, cluster_id: str) -> Iterator[Finding]:
    """The connection files of this cluster, and whether nobody else can read them."""
    from ..net.keys import ConnectionFile
    from ..net.profile import is_running

    security = profile.path / "security"
    if security.is_dir() and (mode := stat.S_IMODE(security.stat().st_mode)) & 0o077:
        text = f"{security} is open to others (mode {mode:04o})"
        yield Finding("files", "warning", text, f"chmod 700 {security}")
    good = []
    for role in ("client", "task", "monitor", "engine"):
        path = profile.find_file(role, cluster_id)
        if path is None:
            continue
        try:
            file = ConnectionFile.read(path, within=profile.path)
        except ConnectionFileError as error:
            message, _, rest = str(error).partition("\n")
            yield Finding("files", "problem", message, _lines(rest))
            continue
        if file.host == socket.gethostname() and not is_running(file):
            text = f"{path} is of a controller that is gone (pid {file.pid})"
            yield Finding("files", "problem", text, "remove it: enginery clean")
            continue
        good.append(role)
    where = f"in {security}"
    if good:
        yield Finding("files", "ok", f"keys for {', '.join(good)} {where}, only yours to read")


# --- controller and engines -----------------------------------------------------------------------


def _cluster(there: Reached, findings: list[Finding]) -> dict[str, Any]:
    """What the controller and the engines answer; adds what is to be said of it."""
    from ..engine.about import here
    from .known import Tasks

    tasks = Tasks(there)
    told, trip, offset = _ping(tasks)
    findings += _controller(there, told, trip, offset)
    if there.link.file.role != "client":
        text = "not asked: that needs a client key"
        findings.append(Finding("engines", "warning", text))
        return {"controller": _controller_facts(there, told, trip, offset)}
    ours = here()
    before = time.time()
    inquired = tasks.inquire("about")
    between = (before + time.time()) / 2
    findings += _engines(tasks, inquired, told)
    about = inquired.answers
    findings += _versions(about, ours)
    findings += _clocks(about, between)
    findings += _limits(about)
    return {
        "controller": _controller_facts(there, told, trip, offset),
        "engines": [
            {
                "engine_id": id,
                **{key: a[key] for key in FACTS},
                "clock_offset": a["time"] - between,
                "differs": differing(a["packages"], ours["packages"]),
            }
            for id, a in sorted(about.items())
        ],
    }


FACTS = (
    "host", "pid", "python", "executable", "enginery", "cwd", "disk_free", "open_files", "cpus",
    "memory", "memory_limit",
)  # fmt: skip
"""What the JSON tells of an engine."""


def _ping(tasks: Tasks) -> tuple[dict[str, Any], float, float]:
    """What the controller says, the shortest way there and back, and how far its clock is off."""
    told, trip, offset = {}, float("inf"), 0.0
    for _ in range(PINGS):
        start, clock = time.perf_counter(), time.time()
        told = tasks.ask(Query(0, "status"))
        took = time.perf_counter() - start
        if took < trip:
            trip, offset = took, told["time"] - (clock + took / 2)
    return told, trip, offset


def _controller(
    there: Reached, told: Mapping[str, Any], trip: float, offset: float
) -> Iterator[Finding]:
    from ..version import __version__

    file = there.link.file
    text = f"pid {file.pid} on {file.host} answers in {duration(trip)}, up {duration(told['up'])}"
    state = "ok" if trip < SLOW else "warning"
    yield Finding("controller", state, text)
    if told["version"] != __version__:
        text = f"the controller is enginery {told['version']}, this is {__version__}"
        yield Finding("versions", "warning", text)
    if abs(offset) > SKEW:
        way = "ahead of" if offset > 0 else "behind"
        text = f"the controller's is {duration(abs(offset))} {way} the one here"
        yield Finding("clock", "warning", text, "times in tables are each host's own")


def _controller_facts(
    there: Reached, told: Mapping[str, Any], trip: float, offset: float
) -> dict[str, Any]:
    file = there.link.file
    return {
        "pid": file.pid,
        "host": file.host,
        "url": file.url,
        "version": told["version"],
        "round_trip": trip,
        "clock_offset": offset,
        "memory": told["memory"],
        "memory_limit": told["memory_limit"] or None,
    }


def _engines(tasks: Tasks, inquired: Inquired, told: Mapping[str, Any]) -> Iterator[Finding]:
    flags = tasks.there.flags
    places = [p for p in tasks.ask(Query(0, "places")) if not p["here"] and p["failed"]]
    if not told["engines"]:
        hint = f"add some: ipcluster engines -n 4{flags}"
        yield Finding("engines", "problem", "none is registered", hint)
    elif not inquired.wrong and not inquired.silent:
        hosts, n = count(told["hosts"], "host"), count(len(inquired.answers), "engine")
        yield Finding("engines", "ok", f"{n} on {hosts}, all answer")
    if silent := inquired.silent:
        text = f"no answer from {_who(silent)}"
        hint = "they run code that is not Python and lets nobody else run, or are stopped"
        yield Finding("engines", "warning", text, f"{hint}\nsee: enginery stacks{flags}")
    for id, error in inquired.wrong.items():
        yield Finding("engines", "warning", f"engine {id} could not tell all: {error}")
    for place in places:
        text = f"engine {place['id']} on {place['host']} cannot start: {place['failed']}"
        yield Finding("engines", "problem", text, f"see: enginery logs{flags} {place['id']}")


def _versions(about: Mapping[int, About], ours: About) -> Iterator[Finding]:
    """What differs from here: Python, enginery, packages that both have."""
    if not about:
        return
    alike = True
    for what in ("python", "enginery"):
        for version in sorted({a[what] for a in about.values()} - {ours[what]}):
            alike = False
            who = _who(id for id, a in about.items() if a[what] == version)
            hint = "functions are sent as code of Python: give all the same one"
            text = f"{who}: {what} {version}; here it is {ours[what]}"
            yield Finding("versions", "warning", text, hint if what == "python" else "")
    kinds: dict[tuple[tuple[str, str, str], ...], list[int]] = {}
    for id, a in about.items():
        differs = differing(a["packages"], ours["packages"])
        told = tuple((d["name"], d["here"] or "-", d["there"] or "-") for d in differs)
        kinds.setdefault(told, []).append(id)
    for differs_, ids in kinds.items():
        if not differs_:
            continue
        alike = False
        named = ", ".join(f"{n} {there} (here {ours})" for n, ours, there in differs_[:NAMED])
        more = f" and {len(differs_) - NAMED} more" if len(differs_) > NAMED else ""
        text = f"{_who(ids)}: {named}{more}"
        yield Finding("versions", "warning", text, "- is: not installed; all: -o json")
    if alike:
        text = f"Python {ours['python']} and {count(len(ours['packages']), 'package')}, as here"
        yield Finding("versions", "ok", text)


def differing(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[dict[str, Any]]:
    """The packages that are not the same there and here, by name."""
    return [
        {"name": name, "here": ours.get(name), "there": theirs.get(name)}
        for name in sorted({*theirs, *ours}, key=str.lower)
        if theirs.get(name) != ours.get(name)
    ]


def _clocks(about: Mapping[int, About], now: float) -> Iterator[Finding]:
    if not about:
        return
    off = {id: a["time"] - now for id, a in about.items() if abs(a["time"] - now) > SKEW}
    if not off:
        yield Finding("clock", "ok", f"the engines' differ by less than {SKEW:g} s from here")
        return
    worst = max(off, key=lambda id: abs(off[id]))
    text = f"{_who(off)}: off by up to {duration(abs(off[worst]))}"
    yield Finding("clock", "warning", text, "times in tables are each host's own")


def _limits(about: Mapping[int, About]) -> Iterator[Finding]:
    """What engines may run out of."""
    for id, a in sorted(about.items()):
        limit = a["memory_limit"]
        if limit and a["memory"] > 0.8 * limit:
            text = f"engine {id} on {a['host']} has {size(a['memory'])} of {size(limit)}"
            yield Finding("memory", "warning", text, "the kernel kills who wants more")
    for host in sorted({a["host"] for a in about.values()} - {socket.gethostname()}):
        free = min(a["disk_free"] for a in about.values() if a["host"] == host)
        if free < LITTLE:
            yield Finding("disk", "warning", f"{size(free)} are free on {host}")


# --- this host ------------------------------------------------------------------------------------


def _host(profile: Profile) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(profile.path)).free
    state = "ok" if free >= LITTLE else "warning"
    yield Finding("disk", state, f"{size(free)} are free for logs and keys in {profile.path}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"a process here may have {soft:,} open files"
    if soft >= FEW_FILES:
        yield Finding("open files", "ok", text)
    else:
        hint = f"ulimit -n {min(hard, 65536)}   before a controller of hundreds of engines"
        yield Finding("open files", "warning" if soft < 1024 else "ok", text, hint)
    if (unused := profile.path / "log").is_dir():
        held = sum(path.stat().st_size for path in unused.iterdir() if path.is_file())
        if held > LITTLE:
            text = f"the logs in {unused} take {size(held)}"
            yield Finding("disk", "warning", text, "remove those of clusters that are gone")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _who(ids: Iterable[int]) -> str:
    numbers = list(ids)
    return f"engine{'s' * (len(numbers) > 1)} {ranges(numbers)}"
