"""Rows J1-J8 of the contract: when, where and whether a task runs depends on engines and tasks.

The examples are those of the 2012 task interface, with its own values.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time

import networkx
import pytest

import enginery
from enginery import (
    Dependency,
    DependencyTimeout,
    ImpossibleDependency,
    UnmetDependency,
    depend,
    dependent,
    require,
)

PATIENCE = 20.0


@pytest.fixture
def lview(rc):
    return rc.load_balanced_view()


def fail():
    raise ValueError("it fails")


def impossible(result) -> str:
    """What is said of a task that was not run because of what it depends on."""
    with pytest.raises(ImpossibleDependency) as caught:
        result.get(PATIENCE)
    return " ".join(str(caught.value).split())


# --- functional dependencies -----------------------------------------------------------------


def test_require_imports_modules_where_the_function_sees_them(lview):
    @require("numpy", "zmq")
    def myfunc():
        return numpy.arange(3).sum(), zmq.zmq_version_info()[0]  # noqa: F821

    assert lview.apply_sync(myfunc) == (3, 4)


def test_require_takes_modules_functions_and_other_names(lview):
    import json

    def twice(x):
        return 2 * x

    @require(json, twice, "xml.dom", limit=7)
    def task():
        return json.loads("1"), twice(4), limit, xml.dom.__name__  # noqa: F821

    assert lview.apply_sync(task) == (1, 8, 7, "xml.dom")


def test_what_can_be_imported_nowhere_is_impossible_and_says_why(lview):
    @require("no_such_module")
    def task():
        return 1

    text = impossible(lview.apply_async(task))
    assert "every engine has refused it: require('no_such_module'): No module named" in text


@pytest.mark.parametrize("need", [5, "no module", "a..b", None])
def test_require_refuses_what_names_no_module(need):
    with pytest.raises(TypeError, match="@require takes"):
        require(need)


def test_depend_runs_a_task_only_where_its_condition_holds(rc, lview):
    def platform_specific(plat):
        import sys

        return sys.platform == plat

    @depend(platform_specific, sys.platform)
    def mytask():
        return "ran"

    @depend(platform_specific, "nt")
    def wintask():
        return "ran"

    assert lview.apply_sync(mytask) == "ran"
    assert "every engine has refused it: depend(platform_specific)" in impossible(
        lview.apply_async(wintask)
    )


@pytest.mark.parametrize("value", [None, 0, "", [], True])
def test_only_false_itself_is_a_no(lview, value):
    assert lview.apply_sync(dependent(os.getpid, lambda x: x, value)) in lview.client[:].apply_sync(
        os.getpid
    )


def chosen(pid):
    import os

    return os.getpid() == pid


def test_a_task_is_given_to_each_engine_once_until_one_takes_it(rc, lview):
    pids = rc[:].apply_sync(os.getpid)
    for pid in pids:
        result = lview.apply_async(dependent(os.getpid, chosen, pid))
        assert result.get(PATIENCE) == pid
        tried = [step.engine_id for step in rc.story(result) if step.what == "send"]
        assert len(set(tried)) == len(tried)
        assert tried[-1] == pids.index(pid)


def test_unmet_dependency_raised_by_the_task_does_the_same(rc, lview):
    def only(pid):
        import os

        if os.getpid() != pid:
            raise UnmetDependency("not here")
        return "here"

    pids = rc[:].apply_sync(os.getpid)
    assert lview.map_sync(only, pids) == ["here"] * 4
    assert lview.map_sync(only, [pids[2]] * 10, chunksize=5) == ["here"] * 10


def test_on_one_engine_an_unmet_dependency_is_an_error(rc):
    with pytest.raises(UnmetDependency, match="chosen"):
        rc[0].apply_sync(dependent(os.getpid, chosen, -1))


def test_with_a_timeout_the_task_waits_for_engines_that_join(own_cluster):
    def engine_is_new():
        import os

        return "NEW_ENGINE" in os.environ

    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2)
        lview = rc.load_balanced_view()
        with lview.temp_flags(timeout=PATIENCE):
            result = lview.apply_async(dependent(os.getpid, engine_is_new))
        with lview.temp_flags(timeout=0.3):
            late = lview.apply_async(dependent(os.getpid, engine_is_new))
        with pytest.raises(DependencyTimeout, match=r"no engine took it in 0\.3 s"):
            late.get(PATIENCE)
        assert "refused by depend(engine_is_new)" in rc.explain(result)
        os.environ["NEW_ENGINE"] = "1"
        try:
            own_cluster.start_engines_sync(1)
        finally:
            del os.environ["NEW_ENGINE"]
        rc.wait_for_engines(3, timeout=PATIENCE)
        assert result.get(PATIENCE) == own_cluster.engine_pids[2]


# --- graph dependencies ----------------------------------------------------------------------


def test_after_and_follow_as_in_the_source(rc, lview):
    rc.block = False
    ar = lview.apply(os.getpid)
    ar2 = lview.apply(time.sleep, 0.1)
    with lview.temp_flags(after=[ar, ar2]):
        ar3 = lview.apply(time.time)
    with lview.temp_flags(follow=[ar], timeout=2.5):
        ar4 = lview.apply(os.getpid)
    ar3.get(PATIENCE)
    assert ar3.started >= max(ar.completed, ar2.completed)
    assert ar4.get(PATIENCE) == ar.get(PATIENCE)
    assert lview.after is None
    assert lview.follow is None
    assert lview.timeout == 0


def test_a_direct_request_may_be_waited_for_and_followed(rc, lview, gate):
    first = rc[2].apply_async(gate.held)
    with lview.temp_flags(follow=first):
        second = lview.apply_async(os.getpid)
    gate.open()
    assert second.get(PATIENCE) == rc[2].apply_sync(os.getpid)
    assert second.started >= first.completed


@pytest.mark.parametrize(
    ("switches", "runs"),
    [
        ({}, False),
        ({"all": False}, True),
        ({"success": False, "failure": True}, False),
        ({"all": False, "success": False, "failure": True}, True),
        ({"failure": True}, True),
        ({"all": False, "failure": True}, True),
    ],
)
def test_any_or_all_of_success_or_failure(lview, switches, runs):
    good, bad = lview.apply_async(abs, -1), lview.apply_async(fail)
    with lview.temp_flags(after=Dependency([good, bad], **switches)):
        result = lview.apply_async(abs, -2)
    if runs:
        assert result.get(PATIENCE) == 2
    else:
        assert "which it depends on" in impossible(result)


def test_cleanup_runs_only_after_a_failure(lview):
    after_failure = {"success": False, "failure": True}
    with lview.temp_flags(after=Dependency(lview.apply_async(fail), **after_failure)):
        assert lview.apply_sync(str, "cleaned") == "cleaned"
    good = lview.apply_async(abs, -1)
    with lview.temp_flags(after=Dependency(good, **after_failure)):
        text = impossible(lview.apply_async(str, "cleaned"))
    assert text.endswith(f"task {good.msg_ids[0]}, which it depends on, succeeded")


def test_what_hangs_on_the_impossible_is_impossible_too(rc, lview):
    begun = time.monotonic()
    bad = lview.apply_async(fail)
    with lview.temp_flags(after=bad):
        chain = [lview.apply_async(abs, -1)]
    for _ in range(20):
        with lview.temp_flags(after=chain[-1]):
            chain.append(lview.apply_async(abs, -1))
    assert bad.msg_ids[0] in impossible(chain[0])
    assert chain[-2].msg_ids[0] in impossible(chain[-1])
    assert time.monotonic() - begun < PATIENCE


def test_what_does_not_exist_cannot_be_waited_for(lview):
    with lview.temp_flags(after="nobody-1"):
        assert "there is no task nobody-1" in impossible(lview.apply_async(abs, -1))


def test_tasks_that_ran_on_several_engines_cannot_all_be_followed(rc, lview):
    spread = rc[0, 1].apply_async(os.getpid)
    with lview.temp_flags(follow=spread):
        text = impossible(lview.apply_async(os.getpid))
    assert "ran on several engines, 0 and 1" in text
    with lview.temp_flags(follow=Dependency(spread, all=False)):
        assert lview.apply_sync(os.getpid) in spread.get(PATIENCE)


def test_an_engine_that_is_gone_cannot_be_followed(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2)
        first = rc[1].apply_async(os.getpid)
        first.get(PATIENCE)
        rc.shutdown([1])
        lview = rc.load_balanced_view()
        with lview.temp_flags(follow=first):
            assert "the engine that it is to follow, 1, is gone" in impossible(
                lview.apply_async(os.getpid)
            )


def test_an_aborted_task_counts_as_failed(lview, gate):
    blocker = [lview.apply_async(gate.held) for _ in range(4)]
    first = lview.apply_async(abs, -1)
    with lview.temp_flags(after=first):
        second = lview.apply_async(abs, -2)
    first.abort()
    assert first.msg_ids[0] in impossible(second)
    gate.open()
    for each in blocker:
        each.get(PATIENCE)


def test_a_task_that_waits_explains_itself_and_can_be_aborted(rc, lview):
    first = rc[0].apply_async(time.sleep, 600)
    with lview.temp_flags(after=first, timeout=99):
        held = lview.apply_async(abs, -1)
    told = rc.explain(held)
    assert f"task {first.msg_ids[0]} is sent" in told
    assert "(timeout=99)" in told
    held.abort()
    with pytest.raises(enginery.TaskAborted):
        held.get(PATIENCE)
    first.abort(running=True)


@pytest.mark.parametrize("value", [5, 1.5, [3], object()])
def test_a_dependency_is_made_of_tasks(lview, value):
    with pytest.raises(TypeError, match="is no task id, no AsyncResult"):
        lview.after = value


def test_nothing_could_meet_a_dependency_on_neither():
    with pytest.raises(ValueError, match="success or failure"):
        Dependency("a-1", success=False)


def test_a_dependency_survives_as_plain_values():
    dependency = Dependency(["b-2", "a-1"], all=False, failure=True)
    again = Dependency(**dependency.as_dict())
    assert again == dependency == {"a-1", "b-2"}
    assert (again.all, again.success, again.failure) == (False, True, True)


def test_a_graph_of_networkx_runs_in_an_order_that_its_times_prove(lview):
    """The example of the 2012 documents: a random DAG, 32 nodes, 128 edges."""
    chance = random.Random(5)
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(32))
    while graph.number_of_edges() < 128:
        a, b = sorted(chance.sample(range(32), 2))
        graph.add_edge(a, b)
    results = {}
    for node in networkx.topological_sort(graph):
        with lview.temp_flags(after=[results[before] for before in graph.predecessors(node)]):
            results[node] = lview.apply_async(time.sleep, chance.random() / 50)
    for result in results.values():
        result.get(PATIENCE)
    for node in graph:
        for before in graph.predecessors(node):
            assert results[before].completed <= results[node].started


def known(rc, result):
    """Until the controller knows a task of another client; nothing tells of that."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            rc.result_status(result.msg_ids)
        except enginery.UnknownTask:
            assert time.monotonic() < deadline
        else:
            return


def test_dependencies_of_another_client_count_too(cluster, lview, gate):
    go = threading.Event()
    with cluster.connect_client_sync() as other:
        other.wait_for_engines(4)
        first = other[0].apply_async(gate.held)
        known(lview.client, first)  # ours may come to the controller before theirs
        with lview.temp_flags(after=first.msg_ids):
            second = lview.apply_async(os.getpid)
        second.add_done_callback(lambda _: go.set())
        gate.open()
        assert go.wait(PATIENCE)
        first.get(PATIENCE)
        assert second.started >= first.completed
