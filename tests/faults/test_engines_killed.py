"""Engines are killed under load: no task is lost, none is given twice, none starts once too often.

Rows F1 and F2 of RELIABILITY 7.1, at the size that each commit can afford.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from enginery import Client, Cluster, EngineError, TaskKillsEngines

from .killing import Watched, kill_engines, noted, starts, watched

SEED = 20261120

AT_RISK = 2
"""Tasks that a kill may hit: the one that runs, and the one before while its result is not out."""


@pytest.fixture(params=[("auto", 5000, 20), (8, 1000, 6)], ids=["5000 tasks", "1000 tasks, hwm=8"])
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Client, int, int]]:
    """A client of four engines, a number of tasks for them, and how often to kill one."""
    hwm, tasks, kills = request.param
    with Cluster(n=4, hwm=hwm, profile_dir=tmp_path / "profile_kills") as rc:
        yield rc, tasks, kills


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where tasks note their starts."""
    directory = tmp_path / "notes"
    directory.mkdir()
    return directory


def run(rc: Client, tasks: int, kills: int, notes: Path, retries: int) -> tuple[Watched, list[int]]:
    """Map over so many items while engines are killed; the map and the processes killed."""
    view = rc.load_balanced_view(retries=retries)
    f = partial(noted, str(notes))
    result = view.map_async(f, range(tasks), ordered=False, return_exceptions=True)
    with watched(result) as watch:
        killed = kill_engines(rc, result, kills, SEED + retries, notes)
    return watch, killed


def test_with_retries_every_result_is_right(load: tuple[Client, int, int], notes: Path) -> None:
    rc, tasks, kills = load
    watch, killed = run(rc, tasks, kills, notes, retries=5)
    started = starts(notes)
    times = Counter(item for items in started.values() for item in items)
    counts = watch.counts(times)
    assert counts[:3] == (0, 0, 0)
    assert 0 < counts.recovered <= AT_RISK * kills
    assert watch.errors == []
    assert set(times) == set(range(tasks))
    assert sum(times.values()) <= tasks + AT_RISK * kills
    assert set(killed) <= set(started)
    assert rc.ids == [0, 1, 2, 3]


def test_without_retries_nothing_starts_twice(load: tuple[Client, int, int], notes: Path) -> None:
    rc, tasks, kills = load
    watch, killed = run(rc, tasks, kills, notes, retries=0)
    started = starts(notes)
    times = Counter(item for items in started.values() for item in items)
    assert watch.counts(times) == (0, 0, 0, 0)
    assert max(times.values()) == 1

    assert 0 < len(watch.errors) <= AT_RISK * kills
    for error in watch.errors:
        assert isinstance(error, EngineError)
        assert not isinstance(error, TaskKillsEngines)
        item = watch.item(error)
        assert re.fullmatch(
            rf"engine [0-3] died while running item {item:,} of {tasks:,} of map\(noted\): "
            r"killed by signal 9 \(SIGKILL\)",
            " ".join(str(error).split()),
        )
        # It ran when its engine was killed or had just ended, or was about to note that it does.
        assert error.facts["pid"] in killed
        last = started[error.facts["pid"]][-AT_RISK:]
        assert item in [*last, *(set(range(tasks)) - set(times))]
    assert max(Counter(error.facts["pid"] for error in watch.errors).values()) <= AT_RISK
    assert rc.ids == [0, 1, 2, 3]
