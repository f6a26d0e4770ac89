"""One task that kills its engine each time, among good ones: it stops after three (row F3)."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

from enginery import Cluster, TaskKillsEngines

from .killing import Watched, note, right, starts, watched

GOOD = 10_000
BAD = 400
"""The item that kills."""

AT_RISK = 100
"""Brief tasks at most whose results are not out yet at any moment."""


def murderous(directory: str, item: int) -> tuple[int, int]:
    note(directory, item)
    if item == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return item, right(item)


def test_it_stops_after_three_engines_and_the_others_are_right(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    with Cluster(n=2, profile_dir=tmp_path / "profile_kills") as rc:
        view = rc.load_balanced_view(retries=99)
        f = partial(murderous, str(notes))
        with watched(view.map_async(f, range(GOOD + 1), return_exceptions=True)) as watch:
            pass
        check(watch, notes)
        assert rc.link.wait(lambda: rc.ids == [0, 1], 10)
        assert rc[:].apply_sync(right, 2) == [5, 5]


def check(watch: Watched, notes: Path) -> None:
    """One task ended as it should, and all others as if nothing had been."""
    (error,) = watch.errors
    assert type(error) is TaskKillsEngines
    assert watch.item(error) == BAD
    assert str(error) == (
        f"item {BAD} of {GOOD + 1:,} of map(murderous) was running when 3 engines died;\n"
        "  it is not tried again"
    )
    assert re.fullmatch(
        r"  task \w+-\d+\.\d+; engines [01], [01], [01] died; "
        r"engine [01] was killed by signal 9 \(SIGKILL\);\n"
        r"    it was pid \d+ on .+, up .+, memory .+ MB",
        error.__notes__[0],
    )
    assert error.facts["attempts"] == 3
    assert sorted(watch.values) == [(i, right(i)) for i in range(GOOD + 1) if i != BAD]
    started = starts(notes)
    times = Counter(item for items in started.values() for item in items)
    assert times.pop(BAD) == 3
    # What had just ended when its engine died, and whose result was not out, has run again.
    died = [items for items in started.values() if items[-1] == BAD]
    just_ended = {item for items in died for item in items[-AT_RISK:]}
    assert {item for item, n in times.items() if n > 1} <= just_ended
    assert watch.counts(times)[:3] == (0, 0, 0)


def test_a_map_of_such_tasks_leaves_the_cluster_whole(tmp_path: Path) -> None:
    with Cluster(n=2, profile_dir=tmp_path / "profile_kills") as rc:
        view = rc.load_balanced_view()
        result = view.map_async(os._exit, range(1, 21), return_exceptions=True)
        assert result.wait(10), f"{result!r} hangs"
        assert [error.facts["reason"] for error in result.get()] == [
            f"exit code {code}" for code in range(1, 21)
        ]
        rc.wait_for_engines(2, timeout=10)
        assert rc[:].apply_sync(right, 2) == [5, 5]


def test_only_what_has_started_is_an_attempt(tmp_path: Path) -> None:
    """The task that waited behind one that killed its engine is on its first attempt."""
    go = tmp_path / "go"

    def leave(code: int) -> None:
        while not go.exists():
            time.sleep(0.01)
        os._exit(code)

    with Cluster(n=1, hwm=2, profile_dir=tmp_path / "profile_kills") as rc:
        result = rc[None].map_async(leave, [3, 4], return_exceptions=True)
        while rc.queue_status()[0]["tasks"] < 2:  # no event tells that both have been sent
            result.wait(0.01)
        go.touch()
        first, second = result.get(30)
        assert first.facts["attempts"] == second.facts["attempts"] == 1
