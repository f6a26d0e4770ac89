"""The processes of a system: which they are, what they have cost, and how they are ended.

A process whose parent has ended goes to the nearest ancestor that adopts orphans. Whoever has
called `adopt_orphans` thus finds below itself all that it has started, daemons too.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

PR_SET_CHILD_SUBREAPER = 36
GRACE = 3.0
"""Seconds for what is left of a system to end by itself, before it is killed."""


def adopt_orphans() -> None:
    """Become the parent of all below whose parent ends; nothing where Linux is not."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def below() -> list[psutil.Process]:
    """All processes that this one has started, and all that those have."""
    return psutil.Process().children(recursive=True)


def those_without(*words: str) -> list[psutil.Process]:
    """The processes below in whose command line none of the words is."""
    found = []
    for process in below():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if not any(word in line for word in words):
                found.append(process)
    return found


def cpu_seconds() -> float:
    """User and system time of this process and all below, those included that have ended."""
    total = 0.0
    for process in [psutil.Process(), *below()]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def megabytes(processes: Iterable[psutil.Process]) -> float:
    """Resident memory of these together, in MB."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total / 1e6


@dataclass
class Spent:
    """What a section has cost; complete when it is over."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def spending() -> Iterator[Spent]:
    """Measure a section: seconds of the clock, and of all processors together."""
    spent = Spent()
    cpu, start = cpu_seconds(), time.perf_counter()
    yield spent
    spent.wall = time.perf_counter() - start
    spent.cpu = cpu_seconds() - cpu


def children() -> frozenset[int]:
    """The ids of the processes that this one has started or adopted."""
    return frozenset(child.pid for child in psutil.Process().children())


def end_leftovers(session: int, others: frozenset[int], grace: float = GRACE) -> int:
    """Wait for what is left of a sample, then kill it; how many had to be killed.

    That is who is of its session, and who is below this process but not below `others`, its
    children from before.
    """
    deadline = time.monotonic() + grace
    while left := _left(session, others):
        if time.monotonic() > deadline:
            break
        psutil.wait_procs(left, timeout=0.2)
    killed = len(left)
    for _ in range(50):  # whoever is killed may just have started another
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)
        if not (left := _left(session, others)):
            break
    return killed


def _left(session: int, others: frozenset[int]) -> list[psutil.Process]:
    """Those of the session, which others may have adopted, and those that were adopted here."""
    found: dict[int, psutil.Process] = {}
    for child in psutil.Process().children():
        if child.pid not in others:
            found[child.pid] = child
            with suppress(psutil.Error):
                found |= {process.pid: process for process in child.children(recursive=True)}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session:
                found[process.pid] = process
    return [process for process in found.values() if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    """False for a zombie of another parent too: there is nothing left to end."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE or process.ppid() == os.getpid()
    except psutil.Error:
        return False
