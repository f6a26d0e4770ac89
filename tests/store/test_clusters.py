"""The history of real clusters, on each database: kept over restarts, kills and limits."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from enginery import Client, Cluster, ClusterError, ResultExpired, UnknownTask
from enginery.core.messages import Query

PATIENCE = 30.0


@contextmanager
def running(profile: Path, **options: Any) -> Iterator[tuple[Cluster, Client]]:
    """A cluster of two engines and a client; always the same one of its profile."""
    limits = {key: options.pop(key) for key in list(options) if key.startswith("record_")}
    cluster = Cluster(n=2, profile_dir=profile, cluster_id="kept", **options)
    cluster._controller_settings |= limits  # no option is needed for these
    try:
        yield cluster, cluster.start_and_connect_sync()
    finally:
        cluster.stop_cluster_sync()


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "profile_kept"


def store_of(cluster: Cluster) -> psutil.Process | None:
    """The process of its database, if there is one."""
    for child in psutil.Process(cluster.controller_pid).children():
        if "enginery.controller.store" in " ".join(child.cmdline()):
            return child
    return None


def wait_for(condition: Callable[[], Any]) -> Any:
    """What is not told by any event: look again and again."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def started_again(cluster: Cluster, before: int) -> bool:
    """Whether there is another controller by now."""
    try:
        return cluster.controller_pid != before
    except ClusterError:
        return False


def square(x: int) -> int:
    return x * x


def test_a_cluster_that_is_started_again_knows_what_was_done(url: str, profile: Path) -> None:
    with running(profile, database=url) as (_, rc):
        lview = rc.load_balanced_view()
        good = lview.apply_async(square, 7)
        with lview.temp_flags(label="wrong"):
            bad = lview.apply_async(int, "x")
        direct = rc[0].apply_async(square, 3)
        rc.wait([good, bad, direct], PATIENCE)
        ids = [*good.msg_ids, *bad.msg_ids, *direct.msg_ids]
    with running(profile, database=url) as (_, rc):
        later = rc.load_balanced_view().apply_async(square, 8)
        later.get(PATIENCE)
        assert rc.hub_history() == [*ids, *later.msg_ids]
        [failed] = rc.db_query({"status": "error"})
        assert (failed["msg_id"], failed["label"]) == (ids[1], "wrong")
        assert rc.get_result(ids[0]).get(PATIENCE) == 49
        assert rc.get_result(ids[2]).get(PATIENCE) == 9
        with pytest.raises(ValueError, match="invalid literal"):
            rc.get_result(ids[1]).get(PATIENCE)
        assert [step.what for step in rc.story(ids[0])] == ["accepted", "send", "ok"]
        assert rc.result_status(ids) == {"completed": ids, "pending": []}
        rc.purge_results([ids[0]])
        with pytest.raises(UnknownTask):
            rc.get_result(ids[0]).get(PATIENCE)
        rc.purge_results("all")
        assert rc.hub_history() == []


def test_commands_and_queries_of_all_keys_know_what_was_done_before(profile: Path) -> None:
    with running(profile) as (_, rc):
        bad = rc.load_balanced_view().apply_async(int, "x")
        bad.wait(PATIENCE)
    with running(profile) as (_, rc):
        later = rc.load_balanced_view().apply_async(square, 8)
        later.get(PATIENCE)
        assert command("errors", profile)["errors"][0]["msg_ids"] == bad.msg_ids
        assert rc.db_query({"status": "error"}, ["items", "name"]) == [
            {"items": [], "name": "apply(int)"}
        ]
        before = {"completed": {"$lt": later.metadata["submitted"]}}
        [found] = rc.db_query(before, ["msg_id"])
        assert [found["msg_id"]] == bad.msg_ids
        listed = command("list", profile, "tasks", "--state=done")["tasks"]
        assert [each["msg_id"] for each in listed] == [*bad.msg_ids, *later.msg_ids]


def command(name: str, profile: Path, *words: str) -> Any:
    """What a command of `enginery` tells as JSON."""
    told = subprocess.run(
        [sys.executable, "-m", "enginery", name, *words, "-o", "json",
         f"--profile-dir={profile}", "--cluster-id=kept"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert told.stderr == ""
    return json.loads(told.stdout)


def test_what_the_controller_forgets_can_be_had_all_the_same(profile: Path) -> None:
    with running(profile, record_limit=10) as (cluster, rc):
        lview = rc.load_balanced_view()
        results = [lview.apply_async(square, x) for x in range(100)]
        assert [each.get(PATIENCE) for each in results] == [x * x for x in range(100)]
        ids = rc.hub_history()
        assert ids == [id for each in results for id in each.msg_ids]
        assert len(set(ids)) == 100
        with Client(cluster.profile.file_path("task", "kept")) as task:
            own = task.load_balanced_view().map_async(square, range(20), chunksize=1)
            own.get(PATIENCE)
            assert task.hub_history() == own.msg_ids
            assert task.get_result(own.msg_ids[0]).get(PATIENCE) == 0
            with pytest.raises(UnknownTask):
                task.get_result(ids[0]).get(PATIENCE)
            with pytest.raises(UnknownTask):
                task.story(ids[0])
        with Client(cluster.profile.file_path("monitor", "kept")) as monitor:
            assert monitor.hub_history() == [*ids, *own.msg_ids]
            with pytest.raises(UnknownTask):
                monitor.get_result(ids[0]).get(PATIENCE)
        with cluster.connect_client_sync() as other:
            assert other.get_result(ids[3]).get(PATIENCE) == 9
        assert not "".join(path.read_text() for path in profile.glob("log/ipcontroller*.out"))


def test_a_map_is_had_as_a_whole(profile: Path) -> None:
    with running(profile) as (_, rc):
        result = rc.load_balanced_view().map_async(square, range(1000))
        result.get(PATIENCE)
        chunks = {id.partition(".")[0] for id in result.msg_ids}
        assert len(chunks) < 1000
        counted = rc.link.ask(Query(0, "counts"))["states"]
    with running(profile) as (_, rc):
        assert rc.link.ask(Query(0, "counts"))["states"] == counted == {"ok": 1000}
        assert not rc.db_query({"status": {"$ne": "ok"}})
        values = [rc.get_result(chunk).get(PATIENCE) for chunk in sorted(chunks)]
        assert sorted(x for each in values for x in each) == [x * x for x in range(1000)]


def test_results_beyond_the_limit_have_expired(profile: Path) -> None:
    with running(profile) as (cluster, rc):
        cluster._controller_settings |= {"database_value_bytes": 1000}
        small, large = (rc.load_balanced_view().apply_async(bytes, n) for n in (100, 5000))
        rc.wait([small, large], PATIENCE)
    with running(profile) as (cluster, rc):
        assert rc.get_result(small.msg_ids).get(PATIENCE) == [bytes(100)]
        assert rc.get_result(large.msg_ids).get(PATIENCE) == [bytes(5000)]
    options = {"database_value_bytes": 1000}
    cluster = Cluster(n=1, profile_dir=profile, cluster_id="tight")
    cluster._controller_settings |= options
    with cluster as rc:
        large = rc.load_balanced_view().apply_async(bytes, 5000)
        large.get(PATIENCE)
        [id] = large.msg_ids
    with Cluster(n=1, profile_dir=profile, cluster_id="tight") as rc:
        assert rc.db_query({"msg_id": id}, ["status"]) == [{"status": "ok"}]
        with pytest.raises(ResultExpired):
            rc.get_result(id).get(PATIENCE)


def test_nothing_is_missing_or_doubled_when_its_process_is_killed(profile: Path) -> None:
    with running(profile) as (cluster, rc):
        lview, ids, killed = rc.load_balanced_view(), [], set()
        for part in range(4):
            store = wait_for(lambda: store_of(cluster))
            wait_for(lambda one=store: one.nice() == 19)
            assert store.pid not in killed
            result = lview.map_async(square, range(500), chunksize=1)
            if part < 2:
                os.kill(store.pid, signal.SIGKILL)
                killed.add(store.pid)
                psutil.wait_procs([store], PATIENCE)
            result.get(PATIENCE)
            ids += result.msg_ids
        log = (profile / "log" / "ipcontroller-kept.log").read_text()
        assert "database.failed" in log  # the same again is told once a minute
    with running(profile) as (_, rc):
        wait_for(lambda: len(rc.hub_history()) >= len(ids))  # the last process may be at it still
        assert rc.hub_history() == ids
        for story in [rc.story(id) for id in ids[::97]]:
            assert len(set(story)) == len(story)  # one may have been called back, and sent again
            assert [s.what for s in story if s.what in {"accepted", "ok"}] == ["accepted", "ok"]


def test_nothing_is_missing_or_doubled_when_the_controller_is_killed(profile: Path) -> None:
    with running(profile) as (cluster, rc):
        lview, ids = rc.load_balanced_view(), []
        for part in range(4):
            if part % 2:
                before = cluster.controller_pid
                store = wait_for(lambda: store_of(cluster))
                os.kill(before, signal.SIGKILL)
                wait_for(lambda pid=before: started_again(cluster, pid))
                assert not psutil.wait_procs([store], PATIENCE)[1]  # it ends with its controller
            result = lview.map_async(square, range(300), chunksize=1)
            assert result.get(PATIENCE) == [x * x for x in range(300)]
            ids += result.msg_ids
        assert rc.hub_history() == ids
    with running(profile) as (_, rc):
        assert rc.hub_history() == ids
        assert {told["status"] for told in rc.db_query({}, ["status"])} == {"ok"}


def test_what_is_done_comes_to_the_file_without_being_asked_for(profile: Path) -> None:
    import sqlite3

    file = profile / "database" / "history.sqlite"
    with running(profile) as (_, rc):
        [id] = rc.load_balanced_view().apply_async(square, 3).msg_ids

        def there() -> bool:
            if not file.exists():
                return False
            connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
            try:
                query = "SELECT status FROM enginery_tasks WHERE msg_id = ?"
                return connection.execute(query, [id]).fetchall() == [("ok",)]
            except sqlite3.OperationalError:  # no tables yet
                return False
            finally:
                connection.close()

        wait_for(there)
        for path in file.parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_database_that_cannot_be_used_costs_a_line_in_the_log(profile: Path) -> None:
    file = profile / "database" / "history.sqlite"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database" * 1000)
    log = profile / "log" / "ipcontroller-kept.log"
    with running(profile) as (_, rc):
        result = rc.load_balanced_view().apply_async(square, 3)
        assert result.get(PATIENCE) == 9
        wait_for(lambda: "database.failed" in log.read_text())
        assert "not a database" in log.read_text()
        assert rc.hub_history() == result.msg_ids
    with running(profile, database="postgresql://nobody@127.0.0.1:1/none") as (_, rc):
        assert rc.load_balanced_view().apply_async(square, 4).get(PATIENCE) == 16
    with running(profile, database="nonsense") as (_, rc):
        wait_for(lambda: "such as postgresql" in log.read_text())
        assert rc.load_balanced_view().apply_async(square, 5).get(PATIENCE) == 25


def test_without_one_the_history_is_what_is_remembered(profile: Path) -> None:
    with running(profile, database="none", record_limit=5) as (cluster, rc):
        result = rc.load_balanced_view().map_async(square, range(20), chunksize=1)
        result.get(PATIENCE)
        assert store_of(cluster) is None
        assert len(rc.hub_history()) <= 5
    assert not (profile / "database").exists()
