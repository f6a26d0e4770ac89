"""A result among the arguments of a call arrives as its value, which does not pass the client."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import signal
import sys
import threading
from concurrent.futures import wait

import numpy
import pytest

import enginery
from enginery import Cluster, ImpossibleDependency, NotSupportedError, RemoteError

PATIENCE = 30.0


@pytest.fixture
def lview(rc):
    return rc.load_balanced_view()


def add(a, b):
    return a + b


def fail(*args):
    raise ValueError("it fails")


def same(*args, **kwargs):
    return args, kwargs


def impossible(result) -> ImpossibleDependency:
    """The error of a task that was not run because of what it takes."""
    with pytest.raises(ImpossibleDependency) as caught:
        result.get(PATIENCE)
    return caught.value


def said(error: BaseException) -> str:
    """Its message in one line."""
    return " ".join(str(error).split())


@pytest.fixture
def later(gate):
    """A function that gives its argument when the gate is open."""
    held = gate.held

    def later(value):
        held()
        return value

    return later


# --- where results may stand -------------------------------------------------------------------


def test_at_any_depth_and_mentioned_many_times(lview, gate, later):
    a, b = lview.apply_async(later, [1]), lview.apply_async(later, "b")
    held = lview.apply_async(same, a, {"x": [a, (b, {"y": {"z": a}})]}, k=b, n=[[[b]]])
    gate.open()
    value = [1], {"x": [[1], ("b", {"y": {"z": [1]}})]}
    assert held.get(PATIENCE) == (value, {"k": "b", "n": [[["b"]]]})


def test_one_result_is_one_object_in_a_call_and_another_in_the_next(lview, gate, later):
    def change(x, y):
        x.append(1)
        return x is y, y

    a = lview.apply_async(later, [0])
    first, second = (lview.apply_async(change, a, a) for _ in range(2))
    gate.open()
    assert first.get(PATIENCE) == second.get(PATIENCE) == (True, [0, 1])
    assert a.get(PATIENCE) == [0]


@pytest.mark.parametrize("done", [False, True], ids=["running", "done"])
def test_every_kind_of_result_arrives_as_what_get_gives(rc, lview, gate, later, done):
    dview = rc[:]
    if done:
        gate.open()
    dview.push({"n": [7], "piece": [1, 2]}, block=True)
    results = [
        lview.apply_async(later, 3),
        lview.map_async(later, range(5)),
        lview.map_async(later, range(7), chunksize=3),
        lview.map_async(later, []),
        dview.apply_async(later, 5),
        rc[0].apply_async(later, 6),
        rc[[0]].apply_async(later, 6),
        dview.map_async(later, range(9)),
        rc[0].pull("n", block=False),
        dview.pull(["n", "n"], block=False),
        dview.gather("piece", block=False),
        rc[1, 2].push({"m": 1}, block=False),
    ]
    if done:
        for each in results:
            each.get(PATIENCE)
    arrived = lview.apply_async(list, results)
    gate.open()
    assert arrived.get(PATIENCE) == [each.get(PATIENCE) for each in results]


def test_the_future_of_an_executor_is_one_too(lview, gate, later):
    executor = lview.executor
    a = executor.submit(later, 2)
    b = executor.submit(pow, a, a)
    c = lview.apply_async(add, b, [executor.submit(len, "xy")][0])
    gate.open()
    assert wait([a, b], PATIENCE).not_done == set()
    assert (b.result(), c.get(PATIENCE)) == (4, 6)
    assert asyncio.run(_awaited(c)) == 6


async def _awaited(result):
    return await result


def test_an_item_of_a_map_may_be_a_result(lview, gate, later):
    parts = [lview.apply_async(later, i) for i in range(4)]
    one_by_one = lview.map_async(add, parts, range(4))
    chunks = lview.map_async(add, parts, [0, parts[0], 0, parts[1]], chunksize=3)
    gate.open()
    assert one_by_one.get(PATIENCE) == [0, 2, 4, 6]
    assert chunks.get(PATIENCE) == [0, 1, 2, 4]
    assert list(lview.imap(add, parts, range(4))) == [0, 2, 4, 6]


def test_a_result_that_is_a_sequence_of_a_map_is_read_here(lview):
    squares = lview.map_async(pow, range(4), [2] * 4)
    assert lview.map_sync(add, squares, squares) == [0, 2, 8, 18]


def test_a_direct_request_waits_and_then_joins_the_queue(rc, gate, later):
    first = rc[3].apply_async(later, 20)
    held = rc[0].apply_async(add, first, 1)
    both = rc[:2].apply_async(add, held, first)
    assert rc[0].apply_async(abs, -1).get(PATIENCE) == 1  # which does not wait for that
    told = rc.explain(held)
    assert f"task {first.msg_ids[0]} is sent, for its argument a" in told
    gate.open()
    assert both.get(PATIENCE) == [41, 41]
    assert (held.engine_id, both.engine_id) == (0, [0, 1])


def test_names_that_are_pushed_may_be_results(rc, lview, gate, later):
    first = lview.apply_async(later, [1, 2, 3, 4])
    pushed = rc[:].push({"data": {"inner": first}}, block=False)
    scattered = rc[:2].scatter("piece", [first, first], block=False)
    gate.open()
    pushed.get(PATIENCE)
    scattered.get(PATIENCE)
    assert rc[3]["data"] == {"inner": [1, 2, 3, 4]}
    assert rc[:2]["piece"] == [[[1, 2, 3, 4]]] * 2


def test_a_recovery_and_a_retry_get_the_values_too(lview, gate, later):
    first = lview.apply_async(later, 5)
    with lview.temp_flags(retries=2, recovery=lambda x, y: (x, y, "recovered")):
        result = lview.apply_async(lambda x, y: x / 0, first, [first])
    gate.open()
    assert result.get(PATIENCE) == (5, [5], "recovered")
    assert result.attempt == 4


def test_dependencies_of_both_kinds_hold_together(rc, lview, gate, later):
    first, second = lview.apply_async(later, 1), lview.apply_async(fail)
    with lview.temp_flags(after=enginery.Dependency(second, success=False, failure=True)):
        result = lview.apply_async(add, first, 1)
    with lview.temp_flags(after=enginery.Dependency(second, failure=True)):
        bad = lview.apply_async(add, second, 1)  # the flag does not change what an argument needs
    assert isinstance(impossible(bad).__cause__, ValueError)
    gate.open()
    assert result.get(PATIENCE) == 2
    with lview.temp_flags(follow=result):
        assert lview.apply_async(os.getpid).get(PATIENCE) == rc[result.engine_id].apply_sync(
            os.getpid
        )


# --- what fails --------------------------------------------------------------------------------


def test_the_original_error_is_the_cause_through_two_levels(lview):
    bad = lview.apply_async(fail)
    first = lview.apply_async(add, 1, bad)
    second = lview.apply_async(same, 2, k=[0, first])
    errors = impossible(first), impossible(second)
    for error in errors:
        assert isinstance(error.__cause__, ValueError)
        assert isinstance(error.__cause__, RemoteError)
        assert str(error.__cause__) == "it fails"
        assert error.__cause__.task == bad.msg_ids[0]
        assert "in fail" in error.__cause__.traceback
    assert said(errors[0]) == (
        f"apply(add) was not run: its argument b is the value of task {bad.msg_ids[0]} "
        "(apply(fail)), which failed"
    )
    assert said(errors[1]) == (
        f"apply(same) was not run: its argument k[1] is the value of task {first.msg_ids[0]} "
        f"(apply(add)), which was not run because task {bad.msg_ids[0]} failed"
    )


def test_an_error_that_came_before_is_the_cause_as_well(rc, lview):
    bad = lview.apply_async(fail)
    bad.wait(PATIENCE)
    assert isinstance(impossible(lview.apply_async(len, [bad])).__cause__, ValueError)
    assert isinstance(impossible(rc[0].apply_async(len, [bad])).__cause__, ValueError)


def test_the_item_of_a_chunk_that_failed_is_the_cause(lview):
    bad = lview.map_async(lambda x: 1 / x, [1, 0, 2], chunksize=3)
    error = impossible(lview.apply_async(sum, bad))
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "its argument 1 is the value of task" in said(error)


def test_one_failed_item_makes_the_call_impossible_that_takes_all(lview):
    some = lview.map_async(lambda x: 1 / x, [1, 0, 2])
    assert isinstance(impossible(lview.apply_async(sum, some)).__cause__, ZeroDivisionError)
    parts = lview.map_async(add, [some, lview.apply_async(abs, -1)], [[], 1])
    with pytest.raises(ImpossibleDependency, match=r"item 0 of 2 of map\(add\)"):
        parts.get(PATIENCE)
    assert parts.partial() == {1: 2}


def test_what_was_aborted_is_the_cause(lview, gate):
    blockers = [lview.apply_async(gate.held) for _ in range(4)]
    first = lview.apply_async(abs, -1)
    second = lview.apply_async(add, first, 1)
    first.abort()
    error = impossible(second)
    assert isinstance(error.__cause__, enginery.TaskAborted)
    assert "which was aborted" in said(error)
    gate.open()
    for each in blockers:
        each.get(PATIENCE)


def test_what_waits_can_be_aborted(lview, gate, later):
    first = lview.apply_async(later, 1)
    second = lview.apply_async(add, first, 1)
    third = lview.apply_async(add, second, 1)
    assert second.cancel()
    assert isinstance(impossible(third).__cause__, enginery.TaskAborted)
    gate.open()
    assert first.get(PATIENCE) == 1


def test_a_chain_of_the_impossible_ends_at_once(lview):
    last = lview.apply_async(fail)
    for _ in range(100):
        last = lview.apply_async(add, last, 1)
    assert isinstance(impossible(last).__cause__, ValueError)


def test_an_engine_that_dies_is_the_cause_or_is_made_up_for_by_retries(own_cluster, gate):
    held = gate.held

    def die_once(value, mark):
        if not os.path.exists(mark):
            open(mark, "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    def die(value):
        held()
        os.kill(os.getpid(), signal.SIGKILL)

    mark = str(gate.path) + ".mark"
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2)
        lview = rc.load_balanced_view()
        large = lview.apply_async(numpy.arange, 100_000)
        with lview.temp_flags(retries=1):
            again = lview.apply_async(die_once, large, mark)
        total = lview.apply_async(numpy.sum, again)
        assert total.get(PATIENCE) == sum(range(100_000))
        assert again.attempt == 2
        dead = lview.apply_async(die, total)
        direct = rc[0].apply_async(len, [dead])
        gate.open()
        error = impossible(direct)
        assert isinstance(error.__cause__, enginery.EngineError)
        assert "died while running apply(die)" in said(error.__cause__)


# --- values ------------------------------------------------------------------------------------


def test_a_large_array_arrives_as_any_argument_does(lview):
    def look(x, y):
        return x.shape, x.flags.writeable, x is y, float(x[-1])

    large = lview.apply_async(numpy.arange, 2_000_000.0)
    assert lview.apply_sync(look, large, large) == ((2_000_000,), False, True, 1999999.0)
    large.wait(PATIENCE)
    assert lview.apply_sync(look, large, large) == ((2_000_000,), False, True, 1999999.0)


def test_a_large_value_is_not_sent_by_the_client(rc, lview, monkeypatch):
    sizes = []
    submit = rc.link.submit

    def noted(tasks, *args, **kwargs):
        sizes.extend(task.size() for task in tasks)
        return submit(tasks, *args, **kwargs)

    monkeypatch.setattr(rc.link, "submit", noted)
    large = lview.apply_async(bytes, 10_000_000)
    large.wait(PATIENCE)
    assert lview.apply_sync(len, large) == 10_000_000
    assert max(sizes) < 2000


def test_what_was_forgotten_goes_along_from_the_client_that_has_it(rc, lview):
    large, small = lview.apply_async(bytes, 100_000), lview.apply_async(abs, -1)
    array = lview.apply_async(numpy.arange, 50_000)
    for each in (large, small, array):
        each.wait(PATIENCE)
    rc.purge_results([large, small, array])
    assert lview.apply_sync(lambda x, y, z: (len(x), y, z.sum()), large, small, array) == (
        100_000,
        1,
        sum(range(50_000)),
    )


def test_what_is_forgotten_while_others_wait_for_it_stays_for_them(rc, lview, gate, later):
    large, gated = lview.apply_async(bytes, 100_000), lview.apply_async(later, 1)
    held = lview.apply_async(lambda x, y: len(x) + y, large, gated)
    direct = rc[1].apply_async(lambda x, y: len(x) + y, large, gated)
    large.wait(PATIENCE)
    rc.purge_results(large)
    gate.open()
    assert (held.get(PATIENCE), direct.get(PATIENCE)) == (100_001, 100_001)


def test_what_nobody_has_any_more_is_impossible_and_says_what_to_do(rc, lview):
    bad = lview.apply_async(fail)
    bad.wait(PATIENCE)
    rc.purge_results(bad)
    assert "pass ar.get() instead" in said(impossible(lview.apply_async(len, bad)))


def test_run_again_it_takes_the_new_values_of_what_is_run_again(rc, lview):
    first = lview.apply_async(os.urandom, 8)
    second = lview.apply_async(bytes.hex, first)
    assert second.get(PATIENCE) == first.get(PATIENCE).hex()
    again = rc.resubmit(second)
    assert again.get(PATIENCE) == second.get(PATIENCE)
    again = rc.resubmit([first, second])
    assert again.get(PATIENCE)[1] == again.get(PATIENCE)[0].hex() != second.get(PATIENCE)
    rc.purge_results(first)
    with pytest.raises(enginery.UnknownTask, match="takes the value of task"):
        rc.resubmit(second)


# --- graphs ------------------------------------------------------------------------------------


def test_a_tree_of_255_additions(lview):
    level = list(range(256))
    while len(level) > 1:
        level = [lview.apply_async(add, a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
    assert level[0].get(PATIENCE) == sum(range(256))


def test_a_chain_of_100(lview):
    last = lview.apply_async(add, 0, 1)
    for _ in range(99):
        last = lview.apply_async(add, last, 1)
    assert last.get(PATIENCE) == 100


# --- other clients, other clusters -------------------------------------------------------------


def test_the_results_of_another_client_can_be_taken(cluster, rc, lview, gate, later):
    with cluster.connect_client_sync() as other:
        theirs = other.load_balanced_view().apply_async(later, 4)
        direct = lview.apply_async(add, theirs, 1)  # at once: it may not have arrived there
        known = lview.apply_async(add, rc.get_result(theirs.msg_ids[0], block=False), 2)
        gate.open()
        assert (direct.get(PATIENCE), known.get(PATIENCE)) == (5, 6)
        bad = other[0].apply_async(fail)
        bad.wait(PATIENCE)
        error = impossible(lview.apply_async(len, bad))
        assert isinstance(error.__cause__, ValueError)


def test_a_result_of_another_cluster_is_refused(own_cluster, lview):
    with own_cluster.connect_client_sync() as other:
        other.wait_for_engines(2)
        strange = other[0].apply_async(abs, -1)
        with pytest.raises(ValueError, match="is of another cluster"):
            lview.apply_async(add, [strange], 1)
        with pytest.raises(ValueError, match="is of another cluster"):
            lview.map_async(add, [1, strange], [1, 1])
    assert lview.apply_sync(add, 1, 1) == 2


def test_the_pure_scheme_takes_no_results(tmp_path):
    cluster = Cluster(n=1, profile_dir=tmp_path / "profile_pure", scheme="pure")
    with cluster.start_and_connect_sync() as rc:
        result = rc[0].apply_async(abs, -1)
        with pytest.raises(NotSupportedError, match="the scheme 'pure' cannot do that"):
            rc.load_balanced_view().apply_async(add, result, 1)
        result.get(PATIENCE)
    cluster.stop_cluster_sync()


# --- where results may not stand ---------------------------------------------------------------


def test_a_closure_cannot_hold_a_result(lview):
    result = lview.apply_async(abs, -1)

    def use():
        return result

    with pytest.raises(enginery.UnsendableError) as caught:
        lview.apply_async(use)
    assert "closure variable 'result' of function use" in said(caught.value)
    assert "As an argument it arrives as its value" in said(caught.value)


def test_beside_what_cannot_be_sent_a_result_is_not_blamed(lview):
    result = lview.apply_async(abs, -1)
    with pytest.raises(enginery.UnsendableError, match=r"args\[1\] is a _thread.lock"):
        lview.apply_async(same, result, threading.Lock())


def test_elsewhere_a_result_is_not_pickled_and_a_copy_is_itself(lview):
    result = lview.apply_async(abs, -1)
    with pytest.raises(TypeError, match="its value is sent where it is the argument of a call"):
        pickle.dumps(result)
    assert copy.copy(result) is copy.deepcopy(result) is result
    assert copy.deepcopy([result])[0] is result


def test_threads_do_not_mix_up_their_arguments(lview):
    def work(k):
        last = lview.apply_async(add, k, 0)
        for _ in range(30):
            last = lview.apply_async(add, last, [last][0])
        sums[k] = last.get(PATIENCE)

    sums = {}
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    assert sums == {k: k * 2**30 for k in range(4)}
