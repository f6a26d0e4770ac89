"""The simulator is any good: it finds every bug that was put into the machines by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import pytest

from .mutants import MUTANTS, RARE, hunt

TESTS = Path(__file__).parent.parent

FAILED = 1
"""The exit code of a pytest that ran its tests, of which some have failed."""

Hunts = dict[str, Future[tuple[int, str] | None]]


@pytest.fixture(scope="module")
def hunts() -> Iterator[Hunts]:
    """All hunts, at the same time as far as there are processors."""
    with ProcessPoolExecutor(2) as pool:
        yield {name: pool.submit(hunt, name) for name in MUTANTS if name not in RARE}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in RARE])
def test_is_caught(hunts: Hunts, name: str) -> None:
    assert hunts[name].result() is not None, f"nobody notices that {name}"


@pytest.mark.parametrize("name", RARE)
def test_a_rare_one_is_caught_by_a_test_of_the_machine(name: str, tmp_path: Path) -> None:
    file, test = RARE[name]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.sim.planted",
         f"--basetemp={tmp_path / 'inner'}", f"{TESTS / file}::{test}"],
        cwd=TESTS.parent, env={**os.environ, "MUTANT": name}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == FAILED, run.stdout + run.stderr
