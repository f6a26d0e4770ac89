"""Rows I5-I7, X1, X3, X9, X10, X13 and F4: retries, recovery, limits, priorities, the history."""

from __future__ import annotations

import contextlib
import os
import time

import numpy as np
import pytest

import enginery
from enginery import TaskAborted, TaskNotDone, TaskTimeLimit, UnknownTask

PATIENCE = 20.0


@pytest.fixture
def lview(rc):
    return rc.load_balanced_view()


def fail(*_):
    raise ValueError("it fails")


def until(true):
    """Until the controller says so; nothing tells of a task that is refused."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_running(result):
    """Until the task has said that it has begun."""
    assert result._link.wait(lambda: "begun" in result.stdout, PATIENCE)


# --- retries and recovery ----------------------------------------------------------------------


def test_a_failed_task_is_tried_again_elsewhere(rc, lview, tmp_path):
    def once(path):
        import os

        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")
        with open(path) as file:
            if len(file.readlines()) < 4:
                raise ValueError("not yet")
        return "done"

    path = tmp_path / "starts"
    with lview.temp_flags(retries=5):
        result = lview.apply_async(once, str(path))
    assert result.get(PATIENCE) == "done"
    pids = path.read_text().split()
    assert len(pids) == len(set(pids)) == 4
    whats = [step.what for step in rc.story(result)]
    assert whats.count("failed") == 3
    assert whats[-1] == "ok"


def test_a_recovery_gets_the_arguments_of_what_has_failed_for_good(rc, lview):
    with lview.temp_flags(retries=1, recovery=lambda x, y=0: ("recovered", x, y)):
        result = lview.apply_async(fail, 1)
        assert lview.apply_sync(lambda x, y=0: x + y, 1, y=2) == 3
        assert lview.map_sync(lambda x: 6 // x, [1, 0, 2]) == [6, ("recovered", 0, 0), 3]
    assert result.get(PATIENCE) == ("recovered", 1, 0)
    whats = [step.what for step in rc.story(result)]
    assert whats.count("send") == 3
    assert "failed: its recovery runs" in whats


def test_recoveries_form_a_chain(lview):
    with lview.temp_flags(recovery=[fail, lambda x: -x]):
        assert lview.apply_sync(lambda x: x / 0, 5) == -5
    view = lview.variant(recovery=[fail, os.getcwd])
    with pytest.raises(TypeError, match="getcwd"):  # of the last one
        view.apply_sync(lambda x: x / 0, 5)


def test_a_function_cannot_be_its_own_recovery(lview):
    with pytest.raises(ValueError, match="the same function twice"):
        lview.recovery = [fail, fail]


# --- time limits -------------------------------------------------------------------------------


def test_a_task_that_runs_too_long_is_interrupted(rc, lview):
    lives = {id: engine.incarnation for id, engine in rc.link.engines.items()}
    with lview.temp_flags(time_limit=0.2):
        slow, quick = lview.apply_async(time.sleep, 60), lview.apply_async(abs, -1)
        with pytest.raises(TaskTimeLimit, match="longer than its time_limit"):
            slow.get(PATIENCE)
        assert quick.get(PATIENCE) == 1
    assert {id: engine.incarnation for id, engine in rc.link.engines.items()} == lives


def stubborn():
    print("begun", flush=True)
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(600)


@pytest.mark.parametrize("how", ["limit", "abort"])
def test_one_that_does_not_heed_it_ends_with_its_engine(own_cluster, how):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2)
        lview = rc.load_balanced_view()
        before = set(own_cluster.engine_pids.values())
        with lview.temp_flags(time_limit=1.5 if how == "limit" else None):
            result = lview.apply_async(stubborn)
        if how == "abort":
            wait_running(result)
            result.abort(running=True)
        with pytest.raises(TaskTimeLimit if how == "limit" else TaskAborted):
            result.get(PATIENCE)
        assert rc.link.wait(
            lambda: (
                len(rc.link.engines) == 2
                and {engine.pid for engine in rc.link.engines.values()} != before
            ),
            PATIENCE,
        )
        assert lview.map_sync(abs, range(-20, 0)) == list(range(20, 0, -1))


# --- namespaces --------------------------------------------------------------------------------


def test_namespaces_are_cleared_before_and_after(rc):
    view, lview = rc[0], rc.load_balanced_view(0)
    view["mine"] = 1

    @enginery.interactive
    def names():
        return sorted(name for name in globals() if name in {"mine", "left"})

    @enginery.interactive
    def leave():
        globals()["left"] = 1
        return sorted(name for name in globals() if name in {"mine", "left"})

    assert lview.apply_sync(names) == ["mine"]
    with lview.temp_flags(clear_before=True):
        assert lview.apply_sync(leave) == ["left"]
    assert view.apply_sync(names) == ["left"]
    with lview.temp_flags(clear_after=True):
        assert lview.apply_sync(names) == ["left"]
        view["mine"] = 1
        with pytest.raises(ValueError, match="it fails"):
            lview.apply_sync(fail)
    assert view.apply_sync(names) == []


# --- properties --------------------------------------------------------------------------------


def test_a_task_waits_until_properties_suit_it(rc, lview):
    with lview.temp_flags(fits=lambda properties: properties["RAM"] > 2**32):
        result = lview.apply_async(os.getpid)
        refused = [f"engine {id}: refused by depend(<lambda>): KeyError: 'RAM'" for id in range(4)]
        until(lambda: all(line in rc.explain(result) for line in refused))
        assert not result.ready()
        rc[3].update_properties({"RAM": 2**33}, block=True)
        assert rc[2:].get_properties(block=True) == [{}, {"RAM": 2**33}]
        assert result.get(PATIENCE) == rc[3].apply_sync(os.getpid)
        assert lview.map_sync(lambda _: os.getpid(), range(5)) == [result.get()] * 5
    rc[3].clear_properties(block=True)


# --- priorities and labels ---------------------------------------------------------------------


def test_the_higher_priority_goes_first(rc, gate):
    lview = rc.load_balanced_view(1)
    blocker = lview.apply_async(gate.held)
    until(lambda: rc.queue_status()[1]["tasks"] == 1)  # else those of higher priority go first
    results = {}
    for priority in [0, 1, -1, 2, 0.5]:
        with lview.temp_flags(priority=priority, label=f"p{priority}"):
            results[priority] = lview.apply_async(time.time)
    until(lambda: rc.queue_status()["unassigned"] == 5)
    gate.open()
    blocker.get(PATIENCE)
    times = {priority: result.get(PATIENCE) for priority, result in results.items()}
    assert sorted(times, key=times.__getitem__) == [2, 1, 0.5, 0, -1]
    [told] = rc.db_query({"label": "p0.5"}, ["msg_id", "priority", "status"])
    assert told == {"msg_id": results[0.5].msg_ids[0], "priority": 0.5, "status": "ok"}


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("priority", "high"), ("priority", float("nan")), ("timeout", -1), ("time_limit", "1 s"),
        ("retries", -1), ("retries", 1.5), ("fits", 3), ("recovery", 3), ("recovery", [None]),
    ],
)  # fmt: skip
def test_a_flag_that_cannot_be_is_named(lview, flag, value):
    before = getattr(lview, flag)
    with pytest.raises((TypeError, ValueError), match=f"^{flag}: |retries") as caught:
        setattr(lview, flag, value)
    assert len(str(caught.value).splitlines()) == 1
    assert getattr(lview, flag) == before


# --- once more ---------------------------------------------------------------------------------


def test_finished_tasks_run_again_as_new_ones(rc, lview, tmp_path):
    def count(path):
        with open(path, "a") as file:
            file.write("x")
            return file.tell()

    first = lview.apply_async(count, str(tmp_path / "count"))
    assert first.get(PATIENCE) == 1
    again = rc.resubmit(first)
    assert again.get(PATIENCE) == 2
    assert again.msg_ids != first.msg_ids
    assert first.get() == 1
    assert rc.resubmit([*first.msg_ids, *again.msg_ids]).get(PATIENCE) in ([3, 4], [4, 3])


def test_only_finished_tasks_run_again(rc, lview):
    running = lview.apply_async(time.sleep, 600)
    with pytest.raises(TaskNotDone, match="has not ended"):
        rc.resubmit(running)
    with pytest.raises(UnknownTask, match="nobody-1"):
        rc.resubmit("nobody-1")
    running.abort(running=True)


def test_another_client_runs_them_again(cluster, lview):
    first = lview.apply_async(lambda x: x + 1, 1)
    first.get(PATIENCE)
    with cluster.connect_client_sync() as other:
        assert other.resubmit(first.msg_ids[0]).get(PATIENCE) == 2


def test_the_failed_part_of_a_map_runs_again(rc, lview, tmp_path):
    path = tmp_path / "mended"

    def work(x, path):
        import os

        if x % 3 == 0 and not os.path.exists(path):
            raise ValueError(f"bad item {x}")
        return x

    result = lview.map_async(work, range(10), [str(path)] * 10, chunksize=2)
    result.wait(PATIENCE)
    assert len(result.partial()) == 6
    path.write_text("")
    again = result.resubmit()
    assert again.get(PATIENCE) == list(range(10))
    assert again.resubmit() is again
    assert result.failed == 4


def test_what_depended_on_the_failed_runs_again_with_it(rc, lview, tmp_path):
    path = str(tmp_path / "mended")

    def work():
        import os

        if not os.path.exists(path):
            raise ValueError("not yet")
        return 1

    first = lview.apply_async(work)
    with lview.temp_flags(after=first):
        second = lview.apply_async(abs, -2)
    assert isinstance(second.exception(PATIENCE), enginery.ImpossibleDependency)
    open(path, "w").close()
    again = rc.resubmit([first, second])
    assert again.get(PATIENCE) == [1, 2]
    assert again.metadata[1]["started"] >= again.metadata[0]["completed"]


# --- the history -------------------------------------------------------------------------------


def test_the_history_can_be_searched(rc, lview):
    begun = time.time()
    with lview.temp_flags(label="searched"):
        good, bad = lview.apply_async(abs, -1), lview.apply_async(fail)
    rc.wait([good, bad], PATIENCE)
    ids = [*good.msg_ids, *bad.msg_ids]

    def found(**query):
        return [told["msg_id"] for told in rc.db_query({"label": "searched"} | query)]

    assert found() == ids
    assert rc.hub_history()[-2:] == ids
    assert found(status="error") == bad.msg_ids
    assert found(status={"$ne": "error"}, completed={"$gt": begun}) == good.msg_ids
    assert found(name={"$glob": "apply(f*"}) == bad.msg_ids
    assert found(msg_id={"$in": ids[:1]}) == good.msg_ids
    assert found(retries={"$mod": [2, 1]}) == []
    assert set(rc.db_query({"label": "searched"}, ["status"])[0]) == {"status"}
    assert rc.result_status(ids) == {"completed": ids, "pending": []}
    assert rc.result_status(ids[:1], status_only=False)[ids[0]].get(PATIENCE) == 1


def test_a_query_may_have_values_of_numpy(rc, lview):
    ar = lview.apply_async(abs, -1)
    ar.wait(PATIENCE)
    query = {"msg_id": np.str_(ar.msg_ids[0]), "retries": np.int64(0), "completed": {"$gt": 0.0}}
    query["engine_id"] = {"$in": np.arange(4)}
    assert [told["msg_id"] for told in rc.db_query(query)] == ar.msg_ids


@pytest.mark.parametrize("value", [object(), "caf\udce9", 1 << 64, {"$in": [1, len]}])
def test_what_cannot_be_compared_is_named_at_once(rc, value):
    with pytest.raises(enginery.QueryError, match="nothing can be compared with "):
        rc.db_query({"label": value})
    assert rc[0].apply_sync(abs, -1) == 1


@pytest.mark.parametrize(
    "query",
    [{"colour": 1}, {"status": {"$like": "x"}}, {"status": {"$in": 3}}, {"size": {"$mod": 0}}],
)
def test_what_is_no_query_is_refused(rc, query):
    with pytest.raises(enginery.EngineryError, match=r"no key|no operator|cannot take"):
        rc.db_query(query)


def test_the_queues_tell_what_has_run_where(rc):
    rc.purge_results("all")
    results = [rc[2].apply_async(abs, -1), rc[2].apply_async(fail)]
    rc.wait(results, PATIENCE)
    assert rc.queue_status(2) == {"queue": 0, "tasks": 0, "completed": 2}
    assert rc.queue_status(3)["completed"] == 0
    told = rc.queue_status([2], verbose=True)
    assert told[2]["completed"] == [id for result in results for id in result.msg_ids]
    rc.purge_results(results)
    assert rc.queue_status(2)["completed"] == 0


def test_finished_tasks_are_forgotten_on_request_and_no_others(rc, lview):
    done, running = lview.apply_async(abs, -1), lview.apply_async(time.sleep, 600)
    done.get(PATIENCE)
    with pytest.raises(TaskNotDone, match="has not ended"):
        rc.purge_results(running)
    rc.purge_results(done)
    with pytest.raises(UnknownTask):
        rc.story(done)
    rc.purge_results("all")
    assert rc.hub_history() == running.msg_ids
    assert done.get() == 1  # what is here stays
    running.abort(running=True)


# --- schemes -----------------------------------------------------------------------------------


def test_the_scheme_is_chosen_at_run_time_among_those_that_are_there(rc, lview):
    for name in ["lru", "plainrandom", "twobin", "weighted"]:
        rc.use_scheme(name)
        assert f", {name}," in repr(lview)
        assert lview.map_sync(abs, range(-50, 0)) == list(range(50, 0, -1))
    with pytest.raises(enginery.ClusterError, match=r"no scheme 'os:system' here.*leastload"):
        rc.use_scheme("os:system")
    rc.use_scheme("leastload")
