"""F1 and F2 at full size: engines are killed during a hundred thousand tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from enginery import Cluster, EngineError
from tests.faults.killing import kill_engines, noted, starts, watched

from .scale import scaled

Figures = Callable[[str, str, str], None]


@pytest.mark.parametrize("retries", [5, 0], ids=["F1", "F2"])
def test_engines_are_killed(tmp_path: Path, retries: int, figures: Figures) -> None:
    tasks, kills = scaled(50_000), scaled(200)
    notes = tmp_path / "notes"
    notes.mkdir()
    with Cluster(n=4, profile_dir=tmp_path / "profile_kills") as rc:
        view = rc.load_balanced_view(retries=retries)
        f = partial(noted, str(notes))
        result = view.map_async(f, range(tasks), ordered=False, return_exceptions=True)
        with watched(result) as watch:
            killed = kill_engines(rc, result, kills, 20261128 + retries)
        ids = rc.ids
    times = Counter(item for items in starts(notes).values() for item in items)
    counts = watch.counts(times)
    name = "F2 without retries nothing starts twice" if not retries else "F1 with retries all comes"
    figures(
        name, f"{tasks:,} tasks, {kills} kills",
        f"lost {counts.lost}, duplicated {counts.duplicated}, unexpected {counts.unexpected}, "
        f"recovered {counts.recovered}; EngineError {len(watch.errors)}; started at most "
        f"{max(times.values())} times",
    )  # fmt: skip
    assert counts[:3] == (0, 0, 0)
    assert ids == [0, 1, 2, 3]
    if retries:
        assert watch.errors == []
    else:
        assert max(times.values()) == 1
        assert all(isinstance(e, EngineError) and e.facts["pid"] in killed for e in watch.errors)
        assert len(watch.errors) <= 2 * kills
