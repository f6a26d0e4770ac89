"""The arithmetic of the benchmarks: ratios, targets, limits, and what could not be measured."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from bench import harness, processes
from bench.harness import (
    OURS,
    Comparison,
    Figure,
    Samples,
    Unmeasured,
    Workload,
    compare,
    digits,
    measure,
    table,
)
from bench.peers import greedy
from bench.plot import advantage, bars
from bench.workloads import WORKLOADS, data

RATE = Figure("calls", "calls/s", more_is_better=True, targets={"pool": 2}, limit=1_000_000)
TIME = Figure("time", "s", targets={"pool": 0.5, "ray": 1}, limit=25)


def workload(sample: object = None, **figures: Figure) -> Workload:
    return Workload("w", figures, sample, quick=["pool"], heavy=["ray"])  # type: ignore[arg-type]


def samples(**values: list[float] | str) -> dict[str, Samples]:
    return {
        peer: Samples(failure=given)
        if isinstance(given, str)
        else Samples([{"f": x} for x in given])
        for peer, given in values.items()
    }


def compared(figure: Figure, **values: list[float] | str) -> list[Comparison]:
    return list(compare(workload(f=figure), list(values), samples(**values)))


def test_the_ratio_is_that_of_the_medians() -> None:
    figure = Figure("time", "s", targets={"pool": 0.5})
    [beside] = compared(figure, cluster=[1, 2, 90], pool=[1, 8, 9])
    assert (beside.ours, beside.theirs, beside.ratio) == (2, 8, 0.25)
    assert beside.met is True
    assert beside.good


@pytest.mark.parametrize(
    ("figure", "ours", "met"),
    [(RATE, 20.0, True), (RATE, 19.9, False), (TIME, 5.0, True), (TIME, 5.1, False)],
)
def test_a_target_is_a_bound_of_the_ratio_on_the_side_that_is_worse(
    figure: Figure, ours: float, met: bool
) -> None:
    assert Comparison("w", figure, "pool", ours, 10.0).met is met


@pytest.mark.parametrize(
    ("figure", "ours", "met"),
    [(RATE, 1e6, True), (RATE, 999_999.0, False), (TIME, 25.0, True), (TIME, 25.1, False)],
)
def test_a_limit_is_a_bound_of_our_figure(figure: Figure, ours: float, met: bool) -> None:
    [limit, *_] = compared(figure, cluster=[ours], pool=[1.0])
    assert (limit.peer, limit.ratio, limit.met, limit.good) == ("", None, met, met)


def test_who_has_no_target_is_shown_and_cannot_be_missed() -> None:
    _, dask = compared(TIME, cluster=[100.0], dask=[1.0])
    assert (dask.ratio, dask.target, dask.met, dask.good) == (100.0, None, None, True)


def test_a_system_that_failed_is_named_and_does_not_hide_the_others() -> None:
    figure = Figure("time", "s", targets={"pool": 0.5, "ray": 1})
    rows = compared(figure, cluster=[1.0], ray="not installed", pool=[4.0])
    assert [(row.peer, row.met, row.good) for row in rows] == [
        ("ray", None, False),
        ("pool", True, True),
    ]
    assert "ray: not installed" in rows[0].row()
    assert "**not measured**" in rows[0].row()


def test_if_we_have_failed_no_target_is_met() -> None:
    rows = compared(TIME, cluster="hung for 120 s", pool=[4.0])
    assert [(row.peer, row.met, row.good) for row in rows] == [
        ("", None, False),
        ("pool", None, False),
    ]
    assert "not measured | hung for 120 s" in rows[0].row()
    assert "pool: 4 s" in rows[1].row()


def test_a_figure_that_a_system_does_not_have_gives_no_row() -> None:
    figures = {"f": Figure("f", "s"), "g": Figure("g", "s")}
    taken = {OURS: Samples([{"f": 1.0, "g": 2.0}]), "pool": Samples([{"f": 2.0}])}
    rows = list(compare(workload(**figures), list(taken), taken))
    assert [(row.figure.title, row.peer, row.ours) for row in rows] == [
        ("f", "pool", 1.0),
        ("g", "", 2.0),
    ]


@pytest.mark.parametrize("theirs", [0.0, -3.0])
def test_beside_nothing_there_is_no_ratio(theirs: float) -> None:
    beside = Comparison("w", TIME, "pool", 1.0, theirs)
    assert (beside.ratio, beside.met, beside.good) == (None, None, False)


def test_the_table_names_a_figure_once() -> None:
    rows = compared(RATE, cluster=[2_000_000.0], pool=[4_000_000.0], dask=[3.0])
    assert table(rows).splitlines()[2:] == [
        "| calls | 2,000,000 calls/s |  |  | at least 1,000,000 | met |",
        "| | | pool: 4,000,000 calls/s | 0.5 | at least 2 | **missed** |",
        "| | | dask: 3 calls/s | 666,667 |  |  |",
    ]


def test_no_failure_breaks_the_table() -> None:
    [_, row] = compared(TIME, cluster=[1.0], pool="a | b\nc")
    assert row.row().count(" | ") == 5
    assert "a \\| b c" in row.row()


@pytest.mark.parametrize(
    ("x", "said"), [(1234567, "1,234,567"), (99.96, "100"), (0.01234, "0.0123"), (-150.4, "-150")]
)
def test_digits(x: float, said: str) -> None:
    assert digits(x) == said


def test_systems_take_turns_and_who_fails_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def taken(_: Workload, peer: str) -> dict[str, float]:
        asked.append(peer)
        if peer == "ray" and asked.count("ray") == 2:
            raise Unmeasured("hung for 1 s", "its output")
        return {"f": float(len(asked))}

    monkeypatch.setattr(harness, "sample_elsewhere", taken)
    told: list[str] = []
    rows = measure(workload(f=Figure("f", "s")), [OURS, "ray", "pool"], 3, told.append)
    assert asked == [OURS, "ray", "pool", OURS, "ray", "pool", OURS, "pool"]
    assert [(row.peer, row.ours, row.theirs) for row in rows] == [
        ("ray", 4.0, None),
        ("pool", 4.0, 6.0),
    ]
    assert told[4] == "w ray: hung for 1 s\nits output"


def test_a_system_without_its_environment_says_what_makes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(harness, "ENVIRONMENTS", tmp_path)
    with pytest.raises(Unmeasured, match="make bench-peers"):
        harness.sample_elsewhere(WORKLOADS["noop"], "ray")


def test_a_sample_runs_elsewhere_and_leaves_its_figures() -> None:
    assert harness.sample_elsewhere(WORKLOADS["makespan"], "greedy") == {
        "seconds": greedy.makespan(_durations(), 4)
    }


def test_a_sample_that_fails_says_what_its_last_line_said() -> None:
    with pytest.raises(Unmeasured, match="greedy' has no attribute 'submitter'") as raised:
        harness.sample_elsewhere(WORKLOADS["noop"], "greedy")
    assert "Traceback" in raised.value.output


def test_a_sample_that_hangs_is_ended_with_all_that_it_has_started() -> None:
    hasty = replace(WORKLOADS["makespan"], patience=0.7)  # its tasks sleep for longer
    with pytest.raises(Unmeasured, match="hung for"):
        harness.sample_elsewhere(hasty, OURS)


def test_what_a_program_leaves_behind_is_ended_and_who_was_there_before_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE", 0.0)
    leave = "import subprocess as s, sys; print(s.Popen([sys.executable, '-c', %r]).pid)"
    endless = "import signal; signal.pause()"
    before = subprocess.Popen([sys.executable, "-c", endless])
    try:
        said = tmp_path / "said"
        assert harness.run([sys.executable, "-c", leave % endless], said, os.environ, 30) == 0
        assert not lives(int(said.read_text()))
        assert before.poll() is None
    finally:
        before.kill()
        before.wait()


def lives(pid: int) -> bool:
    """Whether it runs; a zombie does not, whenever its parent may look after it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _durations() -> list[float]:
    makespan = WORKLOADS["makespan"].sample.__globals__
    return list(makespan["durations"](makespan["TASKS"]))


def test_every_workload_can_be_described_and_has_an_adapter_for_each_system() -> None:
    for name, one in WORKLOADS.items():
        assert one.name == name
        peers = one.peers(heavy=True)
        assert len(set(peers)) == len(peers)
        for figure in one.figures.values():
            assert set(figure.targets) <= set(peers)
        for peer in set(one.heavy):
            assert (harness.ADAPTERS / f"{peer}.txt").exists(), peer


def test_greedy_gives_each_task_to_the_engine_that_is_free_first() -> None:
    assert greedy.makespan([3.0, 1.0, 1.0, 1.0, 2.0], 2) == 5.0


@pytest.mark.parametrize("seed", [0, 7])
def test_the_total_of_an_array_is_known_without_it(seed: int) -> None:
    assert data.total(data.array(seed)) == data.expected(seed)


def test_the_picture_shows_how_many_times_better_we_are() -> None:
    rows = compared(TIME, cluster=[50.0], pool=[200.0], ray="missing")
    [(figure, (limit, pool))] = bars(rows)
    assert figure is TIME
    assert (limit.label, limit.advantage, limit.met) == ("the limit", 0.5, False)
    assert (pool.label, pool.advantage, pool.wanted, pool.met) == ("pool", 4.0, 2.0, True)
    assert advantage(RATE, 3.0) == 3.0
