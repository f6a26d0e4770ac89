"""What an engine tells of itself when it is asked, also while user code runs.

It is the control thread that answers, so nothing here may touch what belongs to the main thread.
"""

from __future__ import annotations

import linecache
import logging
import os
import platform
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from .. import log
from ..core.inquiries import About, EndOfLog, Frame, Stacks, Thread
from ..net import sockets
from ..net.usage import usage
from ..version import __version__
from ..wire.codec import all_sayable, sayable
from .life import Life

DEEP = 200
"""Frames of one thread that are told of: the innermost."""

PREFIX = ("enginery", "IPython", "runpy", "threading", "traitlets", "zmq")
"""Packages whose frames say nothing as long as no other has come: they run the user's code."""

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""Of enginery, which begins as `__main__`."""

TAIL = 128 << 10
"""Bytes of a log that are told of: the last."""


def answer(what: str, life: Life) -> Any:
    """The answer to a question (`core.inquiries`), in plain values; what fails is said in it."""
    try:
        return all_sayable(QUESTIONS[what](life))
    except Exception as error:  # told to who asked: the engine goes on
        return {"error": sayable(f"{type(error).__name__}: {error}")}


def stacks(life: Life) -> Stacks:
    """What runs, and what each thread of this process is doing; the main thread is the first."""
    current = life.machine.current
    return {
        "task": current.id if current is not None else "",
        "name": current.name if current is not None else "",
        "threads": list(threads()),
    }


def threads() -> Iterator[Thread]:
    """Every thread but this: its name, its frames (the innermost last), those that run it apart."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    found = {i: f for i, f in sys._current_frames().items() if i != threading.get_ident()}
    for ident in sorted(found, key=lambda ident: ident != main):
        frames = _outwards(found[ident])[::-1]
        first = int(ident == main)  # below all of it is what started this process
        rest = (i for i, frame in enumerate(frames) if i >= first and not _runs(frame))
        own = next(rest, len(frames))
        told = [_told(frame) for frame in frames]
        yield {
            "name": names.get(ident, f"thread {ident}"),
            "main": ident == main,
            "frames": told[own:],
            "below": told[:own],
        }


def _outwards(frame: FrameType | None) -> list[FrameType]:
    frames: list[FrameType] = []
    while frame is not None and len(frames) < DEEP:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _runs(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return module in PREFIX or frame.f_code.co_filename.startswith(ROOT)


def _told(frame: FrameType) -> Frame:
    code = frame.f_code
    line = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
    return {
        "file": code.co_filename,
        "line": frame.f_lineno,
        "function": code.co_name,
        "source": line,
    }


def about(life: Life) -> About:
    """This process and its surroundings, for comparing them with those of the client."""
    return here()


def here() -> About:
    """The same of any process."""
    from importlib import metadata  # slow to load, and seldom asked for

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "time": time.time(),
        "host": sockets.hostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "enginery": __version__,
        "packages": {d.name: d.version for d in metadata.distributions() if d.name},
        "cwd": os.getcwd(),
        "disk_free": shutil.disk_usage(".").free,
        "open_files": soft,
        "open_files_hard": hard,
        "cpus": os.cpu_count() or 0,
        **usage(),
    }


def end_of_log(life: Life) -> EndOfLog:
    """The last lines of the log that this engine writes to."""
    path = log.file_of(logging.getLogger("enginery.engine"))
    if path is None:
        raise OSError("this engine does not log to a file")
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
    return {"path": str(path), "lines": lines[1:] if size > TAIL else lines}


QUESTIONS: dict[str, Callable[[Life], object]] = {
    "usage": lambda life: usage(),
    "stacks": stacks,
    "about": about,
    "log": end_of_log,
}
