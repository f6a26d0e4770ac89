"""The controller is killed while there is work: it goes on, and nothing is lost or done again."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

import enginery
from enginery import Client, Cluster
from tests.gate import Gate

from .killing import kill_controller

SECONDS = 60
"""More than enough for what should take a few."""


def marked(path: str, item: int) -> int:
    """Note that this item was started, and give its double."""
    with open(path, "a") as file:  # one write: lines of several processes do not mix
        file.write(f"{item}\n")
    return 2 * item


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(n=4, profile_dir=tmp_path / "profile_killed")


def test_nothing_is_lost_told_twice_or_run_again(cluster: Cluster, tmp_path: Path) -> None:
    """Two clients; one leaves meanwhile, and the other one gets its results, too."""
    path, items = str(tmp_path / "started"), range(5000)
    with cluster as rc:
        other = cluster.connect_client_sync()
        theirs = other[None].map_async(marked, [path] * 50, range(5000, 5050), chunksize=1)
        ids = list(theirs.msg_ids)
        other.close()
        result = rc[None].map_async(marked, [path] * len(items), items, chunksize=1)
        told: Counter[int] = Counter()
        for number, value in enumerate(result):
            told[value] += 1
            if number in {500, 2500}:
                kill_controller(cluster)
        assert [told[2 * item] for item in items] == [1] * len(items)  # lost 0, duplicated 0
        assert rc.get_result(ids).get(SECONDS) == [2 * item for item in range(5000, 5050)]
    started = Counter(Path(path).read_text().split())
    assert {line for line, count in started.items() if count > 1} == set()  # run again: 0
    assert len(started) == 5050


def test_what_runs_goes_on_also_direct_requests(cluster: Cluster, gate: Gate) -> None:
    with cluster as rc:
        direct = rc[0].apply_async(gate.held)
        balanced = rc.load_balanced_view([1]).apply_async(gate.held)
        rc[2].push({"x": 7}, block=True)
        waiting = rc[0].apply_async(abs, -3)  # behind what runs
        kill_controller(cluster)
        gate.open()
        assert direct.get(SECONDS) is None
        assert balanced.get(SECONDS) is None
        error = waiting.exception(SECONDS)  # the engine may not have read it yet
        if error is None:
            assert waiting.get() == 3
        else:
            assert error.__notes__[-1].strip().startswith("Nothing of it has run")
        assert rc[2]["x"] == 7
        assert rc.ids == [0, 1, 2, 3]


def test_dependencies_retries_and_results_as_arguments_survive(cluster: Cluster) -> None:
    with cluster as rc:
        lview = rc.load_balanced_view()
        first = lview.apply_async(time.sleep, 1.0)
        with lview.temp_flags(after=[first]):
            second = lview.apply_async(lambda: [1, 2, 3])
        third = lview.apply_async(sum, second)
        failing = lview.apply_async(lambda: 1 / 0)
        with lview.temp_flags(after=[failing]):
            never = lview.apply_async(abs, -1)
        kill_controller(cluster)
        assert third.get(SECONDS) == 6
        assert second.get(SECONDS) == [1, 2, 3]
        with pytest.raises(ZeroDivisionError):
            failing.get(SECONDS)
        with pytest.raises(enginery.ImpossibleDependency):
            never.get(SECONDS)
        assert rc.result_status([third.msg_ids[0]])["completed"] == third.msg_ids


def test_another_client_collects_across_a_restart(cluster: Cluster) -> None:
    with cluster as rc:
        one = cluster.connect_client_sync()
        ids = one[None].map_async(abs, [-1, -2, -3], chunksize=1).msg_ids
        one.close()
        kill_controller(cluster)
        assert rc.get_result(ids).get(SECONDS) == [1, 2, 3]
        late = Client(cluster.client_connection_file)
        try:
            assert late.get_result(ids).get(SECONDS) == [1, 2, 3]
        finally:
            late.close()


def test_a_cluster_that_is_stopped_leaves_no_journal(cluster: Cluster) -> None:
    with cluster as rc:
        assert rc[:].apply_sync(abs, -1) == [1] * 4
        assert len(list((cluster.profile.path / "journal").iterdir())) == 1
    assert list((cluster.profile.path / "journal").iterdir()) == []


def test_when_the_disk_is_full_new_tasks_are_refused_and_what_runs_goes_on(
    cluster: Cluster, gate: Gate
) -> None:
    with cluster as rc:
        lview = rc.load_balanced_view()
        running = lview.apply_async(gate.held)
        assert lview.apply_sync(abs, -1) == 1
        controller = psutil.Process(cluster.controller_pid)
        before = controller.rlimit(psutil.RLIMIT_FSIZE)
        controller.rlimit(psutil.RLIMIT_FSIZE, (1000, before[1]))  # as a full disk to it
        errors = [lview.apply_async(abs, -2).exception(SECONDS) for _ in range(2)]
        assert "the controller cannot write its journal" in str(errors[-1])
        gate.open()
        assert running.get(SECONDS) is None
        controller.rlimit(psutil.RLIMIT_FSIZE, before)
        deadline = time.monotonic() + SECONDS
        while lview.apply_async(abs, -3).exception(SECONDS):
            assert time.monotonic() < deadline, "it does not begin anew"
            rc.link.wait(lambda: False, 0.5)
        kill_controller(cluster)
        assert lview.apply_async(abs, -4).get(SECONDS) == 4
