"""F1 and F2 at full size: engines are killed during a hundred thousand tasks, in two clusters."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from enginery import Cluster, EngineError
from tests.faults.killing import Counts, kill_engines, noted, starts, watched

from .scale import scaled

Figures = Callable[[str, str, str], None]

TASKS, KILLS, ENGINES = scaled(100_000), scaled(200), 4

USUAL = TASKS * 0.0125 / ENGINES
"""Seconds that all tasks take where nobody is killed and nothing costs anything."""


class Run(NamedTuple):
    """What has come of the tasks of one cluster."""

    counts: Counts
    errors: list[BaseException]
    killed: list[int]
    times: Counter[int]  # how often each task has started
    ids: list[int]
    seconds: float


def killed(path: Path, retries: int) -> Run:
    """Kill engines while all tasks run, each of which may be tried again so often."""
    notes = path / "notes"
    notes.mkdir(parents=True)
    with Cluster(n=ENGINES, profile_dir=path / "profile_kills") as rc:
        view = rc.load_balanced_view(retries=retries)
        f = partial(noted, str(notes))
        began = time.monotonic()
        result = view.map_async(f, range(TASKS), ordered=False, return_exceptions=True)
        with watched(result) as watch:
            pids = kill_engines(rc, result, KILLS, 20261128 + retries, notes)
        seconds = time.monotonic() - began
        ids = rc.ids
    times = Counter(item for items in starts(notes).values() for item in items)
    return Run(watch.counts(times), watch.errors, pids, times, ids, seconds)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Future[Run]]]:
    """By the number of retries; both go on at once, since their tasks mostly sleep."""
    path = tmp_path_factory.mktemp("kills")
    with ThreadPoolExecutor(2, "kills") as pool:
        yield {each: pool.submit(killed, path / f"retries-{each}", each) for each in (5, 0)}


@pytest.mark.parametrize("retries", [5, 0], ids=["F1", "F2"])
def test_engines_are_killed(runs: dict[int, Future[Run]], retries: int, figures: Figures) -> None:
    run = runs[retries].result()
    counts, most = run.counts, max(run.times.values())
    name = "F2 without retries nothing starts twice" if not retries else "F1 with retries all comes"
    figures(
        name, f"{TASKS:,} tasks, {KILLS} kills",
        f"lost {counts.lost}, duplicated {counts.duplicated}, unexpected {counts.unexpected}, "
        f"recovered {counts.recovered}; EngineError {len(run.errors)}; started at most {most} "
        f"times; {run.seconds / USUAL:.2f} times as long as without",
    )  # fmt: skip
    assert counts[:3] == (0, 0, 0)
    assert run.ids == [0, 1, 2, 3]
    assert run.seconds <= 3 * USUAL + 60  # with the time that starting takes
    if retries:
        assert run.errors == []
    else:
        assert most == 1
        assert all(isinstance(e, EngineError) and e.facts["pid"] in run.killed for e in run.errors)
        assert len(run.errors) <= 2 * KILLS
