"""Histories are played beside all other tests, most of which wait for others.

It takes minutes of two processors to play many, and to find all bugs that were made by hand. Who
does so gives way to everybody else (`nice`), and is not waited for before somebody asks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import active_children
from multiprocessing.pool import Pool
from pathlib import Path

import pytest

from .__main__ import Report, play_many
from .mutants import RARE, hunt

TESTS = Path(__file__).parent.parent
HUNTING, PLAYING = (
    Path(__file__).with_name(f"test_{name}.py") for name in ("mutants", "simulator")
)

SECONDS = 60.0
"""For so long histories are played, at most."""

FEWEST, MOST = 100, 3000
"""Histories; the slowest machine plays the fewest, however long that takes."""

RICH = 228, 573
"""These have what one in a hundred has: a task that is held and may have been started."""

FAILED = 1
"""The exit code of a pytest that ran its tests, of which some have failed."""

Hunts = dict[str, Future[str]]
HUNTS = pytest.StashKey[Hunts]()
"""What becomes of each: "" when it was caught, or what shows that it was not."""

REPORT = pytest.StashKey[Future[Report]]()
"""What was seen in many histories."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin with what is asked for."""
    items = [item for item in session.items if isinstance(item, pytest.Function)]
    names = [item.callspec.params["name"] for item in items if item.path == HUNTING]
    plays = any(item.path == PLAYING and "report" in item.fixturenames for item in items)
    if (names or plays) and not session.config.option.collectonly:
        pool, stash = (
            ProcessPoolExecutor(2, initializer=os.nice, initargs=(19,)),
            session.config.stash,
        )
        if plays:
            stash[REPORT] = pool.submit(played)
        stash[HUNTS] = {name: pool.submit(hunted, name) for name in names}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nobody asks any more."""
    stash = session.config.stash
    asked = [*stash.get(HUNTS, {}).values(), *([stash[REPORT]] if REPORT in stash else [])]
    if not all(each.done() for each in asked):
        for process in active_children():
            process.terminate()


def played() -> Report:
    """Play many histories."""
    end = time.monotonic() + SECONDS

    def enough(report: Report) -> bool:
        return report.histories >= FEWEST and time.monotonic() >= end

    with Pool(min(2, os.cpu_count() or 1)) as pool:
        return play_many(pool, [*RICH, *range(MOST)], enough)


def hunted(name: str) -> str:
    """Hunt one; "" when it is caught."""
    if name not in RARE:
        return "" if hunt(name) is not None else f"no history notices that {name}"
    file, test = RARE[name]
    with tempfile.TemporaryDirectory() as directory:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p",
             "tests.sim.planted", f"--basetemp={directory}/inner", f"{TESTS / file}::{test}"],
            cwd=TESTS.parent, env={**os.environ, "MUTANT": name}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    return "" if run.returncode == FAILED else f"{test} passes though {name}:\n{run.stdout}"
