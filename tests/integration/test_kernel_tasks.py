"""Rows K1-K9 of the contract: the task interface of 2008, on the clusters of today.

The examples are those of the two revisions of its documentation, with their own values.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from enginery import (
    Client,
    Cluster,
    EngineError,
    NoControllerError,
    RemoteError,
    TaskAborted,
    TaskKillsEngines,
    UnknownTask,
    UnsendableError,
)
from enginery import TimeoutError as WaitTimeout
from enginery.engine import actions
from enginery.engine.namespace import here
from enginery.kernel import EngineAPI, client
from enginery.net.keys import ConnectionFile

PATIENCE = 20.0


@pytest.fixture(scope="module")
def home(tmp_path_factory, session_leak_check):
    """A directory with the user's profiles."""
    with pytest.MonkeyPatch.context() as environment:
        place = tmp_path_factory.mktemp("ipython")
        environment.setenv("IPYTHONDIR", str(place))
        yield place


@pytest.fixture(scope="module")
def farm(home):
    """Four engines in the default profile, which tests share."""
    running = Cluster(n=4, cluster_id="")
    running.start_cluster_sync()
    try:
        with Client() as rc:
            rc.wait_for_engines(4, timeout=30)
        yield running
    finally:
        running.stop_cluster_sync()


@pytest.fixture
def tc(farm):
    """A client of the shared engines, which are as new afterwards."""
    with client.TaskClient() as each:
        yield each
        each.client.abort(running=True)
        each.client[:].apply_sync(actions.clear)
        each.client[:].apply_sync(lambda: EngineAPI().properties.clear())  # noqa: PLW0108


@pytest.fixture
def second(farm):
    with client.TaskClient() as each:
        yield each


@pytest.fixture
def restricted(farm):
    """A client that has no more than the task-only key."""
    with client.TaskClient(farm.profile.security / "ipcontroller-task.json") as each:
        yield each
        each.client.abort(running=True)


def done(tc, task):
    """Run a task, and wait for what becomes of it."""
    return tc.get_task_result(tc.run(task), block=True, timeout=PATIENCE)


def names(tc):
    """For each engine, the names that are in its namespace now."""
    return tc.client[:].apply_sync(lambda: set(here().names))


def until(tc, condition):
    """Look again and again, each time after asking the controller, until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        tc.spin()


def blocked(tc, n):
    """Tasks that run until they are aborted; engines have them."""
    taskids = [tc.run(client.Task("import time; time.sleep(60)")) for _ in range(n)]
    until(tc, lambda: set(taskids) <= set(tc.queue_status(verbose=True)["pending"]))
    return taskids


# --- the quick start -------------------------------------------------------------------------


def test_the_quick_start(tmp_path):
    with Cluster(n=4, profile_dir=tmp_path / "profile_own") as rc:
        rc.wait_for_engines(4, timeout=30)
        tc = client.TaskClient(rc.link.file)
        tasklist = []
        for n in range(1000):
            tasklist.append(client.Task("a = %i" % n, pull="a"))  # noqa: UP031
        taskids = [tc.run(t) for t in tasklist]
        assert taskids == list(range(1000))
        tc.barrier(taskids, timeout=60)
        task_results = [tc.get_task_result(taskid) for taskid in taskids]
        tr = task_results[73]
        assert repr(tr) == "TaskResult[ID:73]:{'a':73}"
        assert tr.taskid == 73
        assert tr.engineid in range(4)
        for moment in (tr.submitted, tr.completed):
            assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", moment)
            told = time.mktime(time.strptime(moment, "%Y/%m/%d %H:%M:%S"))
            assert abs(time.time() - told) < 100
        assert type(tr.duration) is float
        assert 0 < tr.duration < 60
        assert tr.results["a"] == 73
        assert tr.ns.a == 73
        assert tr.failure is None
        assert [each.results for each in task_results] == [{"a": n} for n in range(1000)]
        assert {each.engineid for each in task_results} == {0, 1, 2, 3}
        assert tc.queue_status() == {
            "scheduled": 0, "pending": 0, "succeeded": 1000, "failed": 0,
        }  # fmt: skip
        tc.close()


def test_tasks_find_what_the_other_interface_has_imported(tc):
    tc.client[:].execute("from math import factorial", block=True)
    assert done(tc, client.Task("a = factorial(5)", pull="a")).ns.a == 120


# --- connecting (K1) -------------------------------------------------------------------------


def test_the_default_place(tc):
    with client.TaskClient(client.default_task_address) as other:
        assert done(other, client.Task("a = 1", pull="a")).ns.a == 1
        assert repr(other).startswith("<TaskClient default: 4 engines")
    assert repr(client.default_task_address) == "default_task_address"


def test_an_address(farm):
    port = urlsplit(ConnectionFile.read(farm.client_connection_file).url).port
    with client.TaskClient(("127.0.0.1", port)) as other:
        assert done(other, client.Task("a = 1", pull="a")).ns.a == 1
    with pytest.raises(NoControllerError, match=r"no key for tcp://192\.168\.1\.1:10113 in"):
        client.TaskClient(("192.168.1.1", 10113))


@pytest.mark.parametrize("role", ["client", "task"])
def test_a_file_of_any_name(farm, tmp_path, role):
    path = tmp_path / "ipcontroller-tc.furl"
    shutil.copy(farm.profile.security / f"ipcontroller-{role}.json", path)
    with client.TaskClient(str(path)) as other:
        assert done(other, client.Task("a = 1", pull="a")).ns.a == 1


def test_a_profile_with_the_task_only_file_alone(farm, tmp_path):
    security = tmp_path / "profile_copied" / "security"
    security.mkdir(parents=True, mode=0o700)
    shutil.copy(farm.profile.security / "ipcontroller-task.json", security)
    with client.TaskClient(profile_dir=security.parent) as other:
        assert done(other, client.Task("a = 1", pull="a")).ns.a == 1


# --- numbers and results (K3, K4) ------------------------------------------------------------


def test_a_number_is_good_in_any_client(tc, second):
    first = tc.run(client.Task("a = 'first'", pull="a"))
    other = second.run(client.Task("a = 'other'", pull="a"))
    assert other == first + 1
    tc.barrier([first, other], timeout=PATIENCE)
    assert tc.get_task_result(other).ns.a == "other"
    second.barrier(first, timeout=PATIENCE)
    assert second.get_task_result(first).ns.a == "first"
    assert second.get_task_result(first).submitted == tc.get_task_result(first).submitted


def test_results_stay_when_their_client_has_left(tc):
    with client.TaskClient() as other:
        taskid = other.run(client.Task("a = 2 ** 10", pull="a"))
    result = tc.get_task_result(taskid, block=True, timeout=PATIENCE)
    assert result.results == {"a": 1024}
    assert repr(tc.get_task_result(taskid)) == f"TaskResult[ID:{taskid}]:{{'a':1024}}"


def test_a_result_is_none_until_it_is_there(tc, second):
    [taskid] = blocked(tc, 1)
    for each in (tc, second):
        assert each.get_task_result(taskid) is None
        with pytest.raises(WaitTimeout, match=rf"task {taskid} is not done after 0\.01 s"):
            each.get_task_result(taskid, block=True, timeout=0.01)
        with pytest.raises(WaitTimeout, match=r"1 of 1 tasks are not done after 0\.01 s"):
            each.barrier(taskid, timeout=0.01)
    tc.abort(taskid, running=True)
    assert isinstance(second.get_task_result(taskid, block=True).failure, TaskAborted)
    assert isinstance(tc.get_task_result(taskid, block=True).failure, TaskAborted)


def test_submit_wait_and_gather(tc, gate):
    wait = f"open({str(gate.path)!r}).close(); "
    tasks = [client.Task("a = 0", pull="a"), client.Task(f"{wait}a = 0.2", pull="a")]
    taskids = [tc.run(task) for task in tasks]
    assert tc.get_task_result(taskids[-1]) is None
    gate.open()
    tc.barrier(taskids[-1])
    tc.barrier(taskids)
    assert [tc.get_task_result(tid).ns.a for tid in taskids] == [0, 0.2]


def test_a_barrier_raises_nobodys_failure(tc, second):
    taskids = [tc.run(client.Task(code)) for code in ("1 / 0", "a = 1", "[][1]")]
    tc.barrier([*taskids, *taskids], timeout=PATIENCE)
    second.barrier(iter(taskids), timeout=PATIENCE)
    failures = [tc.get_task_result(taskid).failure for taskid in taskids]
    assert [type(f).__name__ for f in failures] == [
        "RemoteError[ZeroDivisionError]", "NoneType", "RemoteError[IndexError]",
    ]  # fmt: skip


@pytest.mark.parametrize("strange", [10**6, -1])
def test_a_number_that_is_none(tc, strange):
    for ask in (tc.get_task_result, tc.barrier, tc.abort):
        with pytest.raises(KeyError) as caught:
            ask(strange)
        assert (
            str(caught.value) == f"there is no task {strange}, or its result is not kept any more"
        )


@pytest.mark.parametrize("strange", ["7", 1.0, True, None])
def test_what_is_no_number(tc, strange):
    for ask in (tc.get_task_result, tc.abort, lambda x: tc.barrier([x])):
        with pytest.raises(TypeError, match="a task is known by the number that"):
            ask(strange)


def test_a_failure_is_raised_by_its_results(tc):
    code = "def ratio(a, b):\n    return a / b\n\nratio(1, 0)"
    result = done(tc, client.Task(code, pull="a"))
    for read in ("results", "ns", "result"):
        with pytest.raises(ZeroDivisionError) as caught:
            getattr(result, read)
        assert isinstance(caught.value, RemoteError)
    shown = "".join(traceback.format_exception(result.failure))
    assert "return a / b" in shown
    assert "ratio(1, 0)" in shown
    assert "StringTask('def ratio(a, b): …'), on engine" in shown
    assert repr(result) == f"TaskResult[ID:{result.taskid}]:ZeroDivisionError: division by zero"


def test_what_a_task_prints(tc, second):
    result = done(tc, client.Task("import sys; print('out'); print('err', file=sys.stderr)"))
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert second.get_task_result(result.taskid).engineid == result.engineid


# --- tasks (K2) ------------------------------------------------------------------------------


def test_the_id_of_the_engine(tc):
    assert done(tc, client.Task("a = str(id)")).results == {}
    result = done(tc, client.Task("a = str(id)", pull="a"))
    assert result.results == {"a": str(result.engineid)}
    result = done(tc, client.Task("a = str(id)", pull=["a", "id"]))
    assert result.results == {"a": str(result.engineid), "id": result.engineid}
    assert repr(result) == (
        f"TaskResult[ID:{result.taskid}]:{{'a':'{result.engineid}','id':{result.engineid}}}"
    )
    assert all("id" not in each for each in names(tc))
    tc.client[result.engineid].execute("assert id is __builtins__.id", block=True)
    assert done(tc, client.Task("a = id", push={"id": "mine"}, pull="a")).ns.a == "mine"


def test_the_code_is_ipythons(tc):
    result = done(tc, client.Task("b = %who_ls int\nc = 6 * 7\nd = %who_ls int", pull=["b", "d"]))
    assert "c" not in result.ns.b
    assert "c" in result.ns.d
    failure = done(tc, client.Task("a = = 1")).failure
    assert isinstance(failure, SyntaxError)


def test_a_function_of_what_was_pushed(tc):
    now = time.time()
    task = client.Task("a = f(submitted)", push=dict(submitted=now), pull="a")  # noqa: C408
    task.push["f"] = lambda submitted: time.time() - submitted
    assert 0 <= done(tc, task).ns.a < PATIENCE
    shifted = 10

    def f(x):
        return x + shifted

    assert done(tc, client.Task("a = f(1)", push={"f": f}, pull="a", clear_before=True)).ns.a == 11


def test_names_pushed_stay_and_attributes_can_be_pulled(tc):
    task = client.Task("b = [a]", push={"a": 1 + 2j}, pull=["a.real", "b"])
    result = done(tc, task)
    assert result.results == {"a.real": 1.0, "b": [1 + 2j]}
    assert tc.client[result.engineid].pull("a", block=True) == 1 + 2j


def test_a_name_that_was_not_set_cannot_be_pulled(tc):
    result = done(tc, client.Task("x = 1", pull=["x", "y"]))
    assert isinstance(result.failure, NameError)
    assert str(result.failure) == (
        "name 'y' is not defined after the task has run, so it cannot be pulled"
    )


def test_what_cannot_be_sent_is_refused_at_once(tc):
    before = tc.queue_status()
    with pytest.raises(UnsendableError, match="Nothing was submitted"):
        tc.run(client.Task("a = 1", push={"s": sys._getframe()}))
    assert tc.queue_status() == before


def test_a_task_can_be_run_again_and_changed_meanwhile(tc):
    task = client.Task("a = 1", pull="a")
    first = tc.run(task)
    task.expression = "b = 2"
    task.pull = "b"
    second = tc.run(task)
    tc.barrier([first, second], timeout=PATIENCE)
    assert tc.get_task_result(first).results == {"a": 1}
    assert tc.get_task_result(second).results == {"b": 2}


def test_a_function_and_its_arguments(tc, second):
    def area(width, height=1, *, unit=""):
        return f"{width * height}{unit}"

    result = done(tc, client.MapTask(area, (6, 7), {"unit": " m2"}))
    assert result.result == "42 m2"
    assert result.results == {"result": "42 m2"}
    assert result.results["result"] == result.ns.result
    assert repr(result) == f"TaskResult[ID:{result.taskid}]:{{'result':'42 m2'}}"
    assert second.get_task_result(result.taskid).result == "42 m2"
    assert done(tc, client.MapTask(dict, kwargs={"a": 1})).results == {"result": {"a": 1}}
    with pytest.raises(AttributeError, match=r"this task gave a, b: use \.results"):
        _ = done(tc, client.Task("a = b = 1", pull=["a", "b"])).result


@pytest.mark.parametrize("strange", ["a = 1", None, len, client.Task])
def test_only_tasks_can_be_run(tc, strange):
    with pytest.raises(TypeError, match=r"a client\.Task or client\.MapTask is needed"):
        tc.run(strange)


# --- the state of things (K5, K6) ------------------------------------------------------------


def test_queue_status_abort_and_clear(own_cluster):
    """The example of the source needs two engines and a controller that counts from 0."""
    with client.TaskClient(own_cluster.client_connection_file) as tc:
        tc.client.wait_for_engines(2, timeout=30)
        codes = ["a = 1", "a = 1", "a = 1", "1 / 0", "a = 1", "a = 1"]
        tc.barrier([tc.run(client.Task(code)) for code in codes], timeout=PATIENCE)
        assert blocked(tc, 2) == [6, 7]
        waiting = [tc.run(client.Task("a = 1")) for _ in range(4)]
        assert tc.queue_status() == {
            "scheduled": 4,
            "pending": 2,
            "succeeded": 5,
            "failed": 1,
        }
        assert tc.queue_status(verbose=True) == {
            "scheduled": [8, 9, 10, 11],
            "pending": [6, 7],
            "succeeded": [0, 1, 2, 4, 5],
            "failed": [3],
        }
        assert list(tc.queue_status()) == ["scheduled", "pending", "succeeded", "failed"]

        for taskid in (0, 3):
            with pytest.raises(IndexError) as caught:
                tc.abort(taskid)
            assert caught.value.args == ("Task Already Completed",)
        with client.TaskClient(own_cluster.client_connection_file) as other:
            other.abort(8)
            assert isinstance(other.get_task_result(8).failure, TaskAborted)
        tc.abort(9)
        tc.barrier([8, 9], timeout=PATIENCE)
        assert tc.queue_status(verbose=True)["failed"] == [3, 8, 9]
        assert tc.get_task_result(9).engineid is None
        assert repr(tc.get_task_result(9)) == (
            "TaskResult[ID:9]:TaskAborted: StringTask('a = 1') was aborted before it ran"
        )

        held = tc.get_task_result(3)
        tc.clear()
        assert tc.queue_status(verbose=True) == {
            "scheduled": [10, 11], "pending": [6, 7], "succeeded": [], "failed": [],
        }  # fmt: skip
        with pytest.raises(UnknownTask, match="there is no task 3, or its result is not kept"):
            tc.get_task_result(3)
        assert isinstance(held.failure, ZeroDivisionError)
        for taskid in (6, 7):
            tc.abort(taskid, running=True)
        tc.barrier([6, 7, *waiting[2:]], timeout=PATIENCE)
        assert [tc.get_task_result(n).failure for n in waiting[2:]] == [None, None]


def test_an_aborted_task_is_not_tried_again(tc, tmp_path):
    started, go = tmp_path / "started", tmp_path / "go"
    code = (
        "import os, time\n"
        f"open({str(started)!r}, 'a').write('x')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
        "1 / 0"
    )
    taskid = tc.run(client.Task(code, retries=100))
    until(tc, started.exists)
    tc.abort(taskid)
    assert tc.get_task_result(taskid) is None
    go.touch()
    assert tc.get_task_result(taskid, block=True, timeout=PATIENCE).failure is not None
    assert started.read_text() == "x"


def test_clear_forgets_only_what_this_client_has_run(tc, second):
    mine, others = (each.run(client.Task("a = 1")) for each in (tc, second))
    assert tc.map(abs, [-1, -2]) == [1, 2]
    tc.barrier([mine, others], timeout=PATIENCE)
    tc.clear()
    assert tc.get_task_result(others).failure is None
    assert tc.client.db_query({"client": tc.client.link.id}) == []
    for each in (tc, second):
        with pytest.raises(UnknownTask):
            each.get_task_result(mine)
    tc.clear()


def test_the_task_only_key_is_enough(restricted, second):
    taskid = restricted.run(client.Task("a = 1", pull="a", retries=1))
    assert restricted.get_task_result(taskid, block=True, timeout=PATIENCE).ns.a == 1
    assert restricted.map(abs, range(-3, 1)) == [3, 2, 1, 0]
    assert restricted.queue_status(verbose=True)["succeeded"] == [taskid]
    restricted.spin()
    waiting = restricted.run(client.Task("a = 1", depend=lambda properties: False))
    restricted.abort(waiting)
    assert isinstance(
        restricted.get_task_result(waiting, block=True, timeout=PATIENCE).failure, TaskAborted
    )
    foreign = done(second, client.Task("a = 1")).taskid
    for ask in (restricted.get_task_result, restricted.barrier, restricted.abort):
        with pytest.raises(UnknownTask, match="sees only what it has run itself"):
            ask(foreign)
    assert second.get_task_result(taskid).ns.a == 1
    restricted.clear()
    assert restricted.queue_status(verbose=True)["succeeded"] == []
    assert second.get_task_result(foreign).failure is None


# --- map and parallel (K6) -------------------------------------------------------------------


def test_parallel_map(tc):
    serial_result = list(map(lambda x: x**10, range(32)))  # noqa: C417
    parallel_result = tc.map(lambda x: x**10, range(32))
    assert serial_result == parallel_result
    assert tc.map(pow, [2, 3], [4, 5]) == [16, 243]
    with pytest.raises(ZeroDivisionError):
        tc.map(lambda x: 1 / x, [1, 0])


def test_parallel_function(tc):
    @tc.parallel()
    def f(x):
        """Times ten."""
        return 10.0 * x**4

    values = f(range(32))
    assert values[:3] == [0.0, 10.0, 160.0]
    assert values == [10.0 * x**4 for x in range(32)]
    assert (f.__name__, f.__doc__) == ("f", "Times ten.")
    assert tc.map(f, [1, 2]) == [10.0, 160.0]
    assert done(tc, client.Task("a = f(2)", push={"f": f}, pull="a")).ns.a == 160.0


def test_a_map_is_balanced_while_it_runs(tc):
    [taskid] = blocked(tc, 1)
    assert len(set(tc.map(lambda _: os.getpid(), range(40)))) <= 3
    assert tc.get_task_result(taskid) is None


def test_a_map_with_conditions(tc):
    tc.client[2].apply_sync(lambda: EngineAPI().properties.update(gpu=True))
    own = tc.client[2].apply_sync(os.getpid)
    f = tc.parallel(depend=lambda properties: properties["gpu"], clear_after=True)(
        lambda _: os.getpid()
    )
    assert f(range(8)) == [own] * 8


# --- the namespace (K7) ----------------------------------------------------------------------


def test_clear_after(tc):
    code = "a = range(int(1e10))"
    assert done(tc, client.Task(code, pull="a", clear_after=True)).ns.a == range(10**10)
    assert all("a" not in each for each in names(tc))
    kept = done(tc, client.Task("a = 1"))
    assert "a" in names(tc)[kept.engineid]
    tc.client[:].push({"b": 1}, block=True)
    failed = done(tc, client.Task("a = range(1e10)", push={"c": 1}, pull="a", clear_after=True))
    assert isinstance(failed.failure, TypeError)
    left = names(tc)
    assert left[failed.engineid].isdisjoint("abc")
    assert ["b" in each for each in left].count(True) == 3


def test_clear_before(tc):
    tc.client[:].push({"clutter": 1}, block=True)
    assert "clutter" in done(tc, client.Task("a = globals()", pull="a")).ns.a
    fresh = done(tc, client.Task("a = globals()", pull="a", clear_before=True, push={"b": 2}))
    assert fresh.ns.a == {"b": 2, "id": fresh.engineid}
    left = done(tc, client.Task("c = 1", pull="c"))
    assert left.ns.c == 1


def test_names_stay_unless_they_are_cleared(tc):
    first = done(tc, client.Task("kept = 1"))
    tc.client[first.engineid].apply_sync(lambda: EngineAPI().properties.update(here=True))
    again = client.Task("b = kept", pull="b", depend=lambda properties: properties["here"])
    assert done(tc, again).ns.b == 1
    again.clear_before = True
    assert isinstance(done(tc, again).failure, NameError)


# --- failures (K8) ---------------------------------------------------------------------------


def test_retries(tc, tmp_path):
    marks = tmp_path / "marks"
    code = f"with open({str(marks)!r}, 'a+') as f: f.write('x'); n = f.tell()\na = n\nassert n >= 3"
    assert done(tc, client.Task(code, pull="a", retries=2)).ns.a == 3
    marks.unlink()
    assert isinstance(done(tc, client.Task(code, pull="a", retries=1)).failure, AssertionError)
    assert marks.read_text() == "xx"
    marks.unlink()
    assert isinstance(done(tc, client.Task(code, pull="a")).failure, AssertionError)
    assert marks.read_text() == "x"


def test_a_chain_of_recoveries(tc, tmp_path):
    marks = tmp_path / "marks"

    def mark(name):
        with open(marks, "a") as file:
            file.write(name)
        raise ValueError(name)

    tc.client[1].apply_sync(lambda: EngineAPI().properties.update(last=True))
    last = client.StringTask(
        "e = d + 1", push={"d": 4}, pull=["d", "e"], depend=lambda properties: properties["last"]
    )
    third = client.MapTask(mark, ("c",), retries=2, recovery_task=last)
    second = client.StringTask("mark('b')", push={"mark": mark}, recovery_task=third)
    first = client.MapTask(mark, ["a"], retries=1, recovery_task=second)
    taskid = tc.run(first)
    result = tc.get_task_result(taskid, block=True, timeout=PATIENCE)
    assert (result.taskid, result.results, result.engineid) == (taskid, {"d": 4, "e": 5}, 1)
    assert marks.read_text() == "aabccc"
    assert tc.queue_status(verbose=True)["succeeded"][-1] == taskid


def test_a_recovery_that_is_not_needed_does_not_run(tc):
    task = client.Task("a = 1", pull="a", recovery_task=client.Task("a = 2", pull="a"))
    assert done(tc, task).ns.a == 1


def test_a_chain_that_fails_to_its_end(tc):
    task = client.Task("1 / 0", recovery_task=client.Task("[][1]"))
    failure = done(tc, task).failure
    assert isinstance(failure, IndexError)
    assert failure.__notes__[0].startswith("  StringTask('1 / 0') or its recovery, on engine")


def test_a_long_chain(tc):
    task = client.Task("a = 'the last one'", pull="a")
    for _ in range(1500):
        task = client.Task("1 / 0", recovery_task=task)
    assert done(tc, task).ns.a == "the last one"


def test_a_loop_is_refused(tc):
    before = tc.queue_status()
    task = client.Task("a = 1")
    task.recovery_task = client.MapTask(len, recovery_task=task)
    with pytest.raises(
        ValueError, match=r"recovery tasks form a loop: .* comes again after 2 tasks"
    ):
        tc.run(task)
    assert tc.queue_status() == before


def test_a_task_that_kills_its_engines_does_not_take_the_others_down(own_cluster):
    with client.TaskClient(own_cluster.client_connection_file) as tc:
        tc.client.wait_for_engines(2, timeout=30)
        tc.client[:].execute("import os", block=True)
        others = [client.Task(f"a = {n}", pull="a", retries=1) for n in range(300)]
        before = [tc.run(task) for task in others[:150]]
        # The name is imported on the engine: a new life of one has an empty namespace.
        bad = tc.run(client.Task("os.kill(os.getpid(), 9)", push={"os": os}, retries=99))
        after = [tc.run(task) for task in others[150:]]
        tc.barrier([*before, bad, *after], timeout=60)
        failure = tc.get_task_result(bad).failure
        assert type(failure) is TaskKillsEngines
        assert len(failure.facts["engines"]) == 3
        assert " ".join(str(failure).split()) == (
            "StringTask('os.kill(os.getpid(), 9)') was running when 3 engines died; "
            "it is not tried again"
        )
        results = [tc.get_task_result(taskid) for taskid in [*before, *after]]
        assert [result.results for result in results] == [{"a": n} for n in range(300)]
        assert tc.queue_status() == {
            "scheduled": 0, "pending": 0, "succeeded": 300, "failed": 1,
        }  # fmt: skip
        rescue = client.Task("a = 'saved'", pull="a")
        task = client.Task("import os; os.kill(os.getpid(), 9)", recovery_task=rescue)
        assert done(tc, task).ns.a == "saved"
        task.recovery_task = None
        lost = done(tc, task)
        assert type(lost.failure) is EngineError
        assert repr(lost).endswith("killed by signal 9 (SIGKILL)")


# --- dependencies (K9) -----------------------------------------------------------------------


def test_a_task_waits_for_an_engine_that_suits(tc):
    def dep(properties):
        return properties["RAM"] > 2**32  # have at least 4GB

    tc.client[:].push({"bigfunc": lambda: "big"}, block=True)
    taskid = tc.run(client.Task("a = bigfunc()", pull="a", depend=dep))
    tc.client[1].execute(
        "from enginery.kernel.engineapi import EngineAPI\nEngineAPI().properties['RAM'] = 2**32",
        block=True,
    )
    tc.spin()
    assert tc.get_task_result(taskid) is None
    tc.client[1].execute("EngineAPI().properties['RAM'] = 2**33", block=True)
    result = tc.get_task_result(taskid, block=True, timeout=PATIENCE)
    assert (result.ns.a, result.engineid) == ("big", 1)


def test_what_a_condition_raises_counts_as_no(tc):
    def invalid(properties, more):
        return True

    taskids = [
        tc.run(client.Task("a = 1", depend=depend))
        for depend in (invalid, lambda properties: 1 / 0, lambda properties: None)
    ]
    good = [tc.run(client.Task("a = 1", depend=lambda properties: True)) for _ in range(8)]
    tc.barrier(good, timeout=PATIENCE)
    for _ in range(2):
        tc.client[:].apply_sync(lambda: EngineAPI().properties.update(changed=True))
        until(tc, lambda: set(taskids) <= set(tc.queue_status(verbose=True)["scheduled"]))
    for taskid in taskids:
        tc.abort(taskid)
    tc.barrier(taskids, timeout=PATIENCE)


def test_a_condition_runs_on_the_engine(tc, tmp_path):
    notes = tmp_path / "notes"

    def depend(properties):
        with open(notes, "a") as file:
            file.write(f"{os.getpid()}\n")
        return True

    result = done(tc, client.MapTask(os.getpid, depend=depend))
    assert notes.read_text().split() == [str(result.result)]


def test_properties_are_a_dictionary_on_an_engine(tc):
    code = """
        from enginery.kernel import EngineAPI
        properties = EngineAPI().properties
        properties["RAM"] = 2**33
        properties.update(gpus=[0, 1])
        del properties["gpus"]
        a = dict(EngineAPI().properties), repr(properties), "RAM" in properties, len(properties)
    """
    a = done(tc, client.Task(textwrap.dedent(code), pull="a")).ns.a
    assert a == ({"RAM": 2**33}, "{'RAM': 8589934592}", True, 1)


# --- as a newcomer would ---------------------------------------------------------------------


def test_a_script(farm, tmp_path):
    """Functions of a script bring what they need, and a failure reads well."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import math
            from enginery.kernel import client

            tc = client.TaskClient()
            half = 0.5

            def f(x):
                return math.floor(x * half)

            print(tc.map(f, range(6)))
            task = client.Task("a = f(b)", push=dict(f=f, b=9), pull="a", clear_before=True)
            tid = tc.run(task)
            print(tc.get_task_result(tid, block=True).results)
            print(tc.get_task_result(tc.run(client.MapTask(f, (7,))), block=True).result)
            bad = tc.get_task_result(tc.run(client.Task("x = 1\\ny = x / 0")), block=True)
            bad.results
        """)
    )
    ran = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout.splitlines() == ["[0, 0, 1, 1, 2, 2]", "{'a': 4}", "3"]
    head, script_line, code, *rest = ran.stderr.splitlines()
    assert head == "Traceback (most recent call last):"
    assert (str(Path(script)) in script_line, code.strip()) == (True, "bad.results")
    told = "\n".join(rest)
    assert re.fullmatch(
        r"(\s+\^+\n)?ZeroDivisionError: division by zero\n"
        r"  StringTask\('x = 1 …'\), on engine \d \(pid \d+, .+\) after .+; task .+\n"
        r'    File "<In \[\d+\]>", line 2, in <module>\n'
        r"      y = x / 0",
        told,
    ), ran.stderr


def test_the_examples_of_the_documentation(farm, tmp_path):
    page = Path(__file__).parents[2] / "docs" / "howto" / "task-client.md"
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    script = tmp_path / "examples.py"
    script.write_text("\n".join(examples))
    ran = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stderr == ""
    said = ran.stdout.splitlines()
    assert re.fullmatch(r"TaskResult\[ID:\d+\]:\{'a':73\}", said[0])
    assert said[1] == "73 73"
    assert re.fullmatch(r"[0-3] \d{4}/\d\d/\d\d \S+ \d{4}/\d\d/\d\d \S+ \d+\.\d+", said[2])
    assert re.fullmatch(r"\{'a': \d+\.\d+\}", said[3])
    assert (said[4], said[5]) == ("1024", "RemoteError[ZeroDivisionError]('division by zero')")
    assert re.fullmatch("failed on engine [0-3]", said[6])
    assert said[7:] == ["True", "[0.0, 10.0, 160.0, 810.0]", "True"]


@pytest.mark.parametrize("flag", ["clear_before", "clear_after"])
def test_an_engine_that_does_not_suit_keeps_its_names(tc, flag):
    tc.client[:].push({"mine": 1}, block=True)
    tc.client[2].apply_sync(lambda: EngineAPI().properties.update(suits=True))
    task = client.Task("a = 1", depend=lambda properties: properties["suits"], **{flag: True})
    assert done(tc, task).engineid == 2
    assert ["mine" in each for each in names(tc)] == [True, True, False, True]
