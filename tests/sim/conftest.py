"""The bugs that were made by hand are hunted beside all other tests, most of which wait for others.

It takes minutes of two processors. Whoever hunts gives way to everybody else (`nice`), and is not
waited for before it is asked what was caught.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import active_children
from pathlib import Path

import pytest

from .mutants import RARE, hunt

TESTS = Path(__file__).parent.parent
FILE = Path(__file__).with_name("test_mutants.py")

FAILED = 1
"""The exit code of a pytest that ran its tests, of which some have failed."""

Hunts = dict[str, Future[str]]
HUNTS = pytest.StashKey[Hunts]()
"""What becomes of each: "" when it was caught, or what shows that it was not."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to hunt those that are asked for."""
    items = [item for item in session.items if item.path == FILE]
    names = [item.callspec.params["name"] for item in items if isinstance(item, pytest.Function)]
    if names and not session.config.option.collectonly:
        pool = ProcessPoolExecutor(2, initializer=os.nice, initargs=(19,))
        session.config.stash[HUNTS] = {name: pool.submit(hunted, name) for name in names}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nobody asks any more."""
    hunts = session.config.stash.get(HUNTS, {}).values()
    if not all(hunt.done() for hunt in hunts):
        for process in active_children():
            process.terminate()


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
