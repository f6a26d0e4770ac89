"""The calls of 2010 on the client itself, with the values of the documents of 2010 and 2011."""

from __future__ import annotations

import os

import numpy
import pytest

from enginery import AsyncResult, DependencyTimeout, DirectView, LoadBalancedView


def test_view_by_targets_and_kind(rc):
    assert rc.view() is rc[None] is rc.load_balanced_view()
    assert rc.view([1, 2, 3]) is rc[1, 2, 3]
    assert rc.view(0) is rc[0]
    assert rc.view("all").targets == "all"
    assert rc.view([1, 2, 3], balanced=True) is rc.load_balanced_view([1, 2, 3])
    assert rc.view(balanced=True) is rc.view(None, balanced=None) is rc[None]
    assert rc.view("all", balanced=True) is rc[None]
    assert rc.view([1, 2], balanced=False) is rc[1, 2]
    assert isinstance(rc.view("all"), DirectView)
    assert isinstance(rc.view([2], balanced=True), LoadBalancedView)


def test_the_kind_of_a_view_cannot_be_changed(rc):
    for view in (rc.view(0), rc.view()):
        with pytest.raises(AttributeError):
            view.balanced = True
        with pytest.raises(TypeError, match="has no flag 'balanced'"):
            view.set_flags(balanced=True)
    with pytest.raises(TypeError, match="targets=None means load balancing"):
        rc.view(0).targets = None


def test_the_steps_of_the_overview(rc):
    def f(x, y=1):
        return 10.0 * x**4 + y

    ar = rc.apply(f, (2,), {"y": 5}, targets=None)
    assert isinstance(ar, AsyncResult)
    assert rc.get_results(ar.msg_ids).get(30) == [165.0]
    assert rc.get_results(ar.msg_ids[0]).get(30) == ar.get(30) == 165.0
    assert rc.get_results([ar], block=True) == [165.0]
    assert rc.get_results().msg_ids == rc.get_result().msg_ids == ar.msg_ids


def test_apply_waits_as_the_client_says_or_the_call(rc):
    assert rc.block is False
    assert isinstance(rc.apply(os.getpid), AsyncResult)
    assert rc.apply(abs, [-3], block=True) == 3
    rc.block = True
    assert rc.apply(abs, (-3,)) == 3
    assert rc.map(abs, [-1, -2]) == [1, 2]
    assert isinstance(rc.apply(os.getpid, block=False), AsyncResult)
    assert isinstance(rc.map(abs, [-1], block=False), AsyncResult)
    with pytest.raises(TypeError, match="block: True or False is needed, not 'yes'"):
        rc.block = "yes"
    assert rc.block is True


def test_flags_of_views_are_those_of_the_views(rc):
    rc.view().block = rc.view("all").block = True
    try:
        assert isinstance(rc.apply(os.getpid), AsyncResult)
        assert isinstance(rc.apply(os.getpid, targets="all"), AsyncResult)
        rc.apply(os.getpid, block=True, track=True)
        assert rc.view().track is False
    finally:
        rc.view().block = rc.view("all").block = False


def test_targets_of_apply(rc):
    rc.block = True
    pids = rc[:].apply(os.getpid)
    assert rc.apply(os.getpid, targets="all") == pids
    assert rc.apply(os.getpid, targets=[3, 0]) == [pids[3], pids[0]]
    assert rc.apply(os.getpid, targets=[1]) == [pids[1]]
    assert rc.apply(os.getpid, targets=2) == pids[2]
    assert rc.apply(os.getpid, targets=-1) == pids[3]
    assert rc.apply(os.getpid) in pids
    assert rc.apply(os.getpid, targets=None) in pids
    assert rc.apply(os.getpid, targets="all", balanced=True) in pids


def test_balanced_with_targets_goes_to_one_of_them(rc):
    pids = rc[1, 3].apply_sync(os.getpid)
    results = [rc.apply(os.getpid, targets=[1, 3], balanced=True) for _ in range(10)]
    assert {result.get(30) for result in results} <= set(pids)
    mapped = rc.map(abs, range(10), targets=[1, 3], balanced=True)
    assert mapped.get(30) == list(range(10))
    assert set(mapped.engine_id) <= {1, 3}


def test_all_is_every_engine_there_is_at_the_call(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=30)
        rc.block = True
        view = rc.view("all")
        assert len(view.apply(os.getpid)) == len(rc.apply(os.getpid, targets="all")) == 2
        rc.shutdown(0)
        assert len(view.apply(os.getpid)) == len(rc.apply(os.getpid, targets="all")) == 1


def test_dependencies_of_balanced_calls(rc, gate):
    first = rc.apply(gate.held)
    after = rc.apply(os.getpid, after=first)
    mapped = rc.map(abs, [-1, -2], after=[first])
    late = rc.apply(os.getpid, after=first, timeout=0.05)
    with pytest.raises(DependencyTimeout):
        late.get(30)
    assert not after.ready()
    assert not mapped.ready()
    gate.open()
    assert mapped.get(30) == [1, 2]
    assert after.wait(30)
    assert first.wait(30)
    assert after.started >= first.completed
    before = rc.apply(os.getpid)
    assert rc.apply(os.getpid, follow=before).get(30) == before.get(30)
    assert rc.apply(os.getpid, targets=[0, 1], balanced=True, after=before).get(30) in (
        rc[0, 1].apply_sync(os.getpid)
    )


def test_tracked_sends(rc):
    array = numpy.random.random((256, 256))
    result = rc.apply(lambda x: 2 * x, (array,), targets=0, track=True)
    assert result.wait_on_send(30)
    assert result.sent
    assert (result.get(30) == 2 * array).all()


def test_map_as_in_the_document(rc):
    rc.block = True
    serial_result = [x**10 for x in range(32)]
    assert rc[None].map(lambda x: x**10, range(32)) == serial_result
    assert rc.map(lambda x: x**10, range(32)) == serial_result
    assert rc.map(lambda x: x**10, range(32), targets="all") == serial_result
    assert rc.map(lambda x, y: x * y, range(5), range(1, 9), targets=[2, 0]) == [0, 2, 6, 12, 20]


def test_map_gives_each_of_the_targets_one_piece(rc):
    engines = rc.map(lambda x: os.getpid(), range(8), targets=[3, 1]).get(30)
    pids = rc[3, 1].apply_sync(os.getpid)
    assert engines == [pids[0]] * 4 + [pids[1]] * 4


def test_options_of_map(rc):
    assert rc.map(abs, range(-6, 0), chunksize=3, label="six").get(30) == [6, 5, 4, 3, 2, 1]
    failed = rc.map(lambda x: 1 / x, [1, 0], return_exceptions=True, block=True)
    assert failed[0] == 1.0
    assert isinstance(failed[1], ZeroDivisionError)


def test_parallel_functions_as_in_the_document(rc):
    rc.block = True
    expected = [10.0 * x**4 for x in range(32)]
    assert expected[:3] == [0.0, 10.0, 160.0]

    @rc.view().parallel()
    def f(x):
        return 10.0 * x**4

    @rc.parallel()
    def g(x):
        return 10.0 * x**4

    @rc.parallel(targets="all", block=False)
    def h(x):
        return 10.0 * x**4

    assert f.map(range(32)) == expected
    assert g.map(range(32)) == expected
    result = h.map(range(32))
    assert result.get(30) == expected
    assert sorted(set(result.engine_id)) == [0, 1, 2, 3]


def test_parallel_functions_on_one_of_the_targets(rc):
    @rc.parallel([1, 2], balanced=True, block=True)
    def double(part):
        return [2 * x for x in part]

    assert double(range(9)) == list(range(0, 18, 2))
    assert double.map([[1], [2]]) == [[2], [4]]


def test_apply_equals_pull(rc):
    rc[:].push({"a": 5}, block=True)
    read = eval("lambda: a", {"__name__": "__main__"})
    assert rc.apply(read, targets="all").get(30) == rc.view("all").pull("a").get(30) == [5] * 4


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"args": 5}, r"args is the tuple or list of all arguments, as in \(x,\); not 5"),
        ({"args": "ab"}, "args is the tuple or list"),
        ({"kwargs": [1]}, "kwargs is a dictionary of keyword arguments"),
        ({"balanced": False}, "balanced=False needs targets: an engine id"),
        ({"balanced": "no", "targets": 0}, "balanced: True or False is needed, not 'no'"),
        ({"targets": 0, "after": []}, "after: only for load-balanced execution"),
        (
            {"targets": "all", "follow": "x", "timeout": 3},
            "follow, timeout: only for load-",
        ),
        ({"targets": "some"}, "the only name is 'all'"),
        ({"block": "no"}, "block: True or False is needed"),
        ({"timeout": "soon"}, "timeout: a number is needed"),
        ({"args": (1,), "x": 2}, "unexpected keyword argument 'x'"),
    ],
)
def test_what_makes_no_sense(rc, arguments, text):
    history = rc.history
    with pytest.raises(TypeError, match=text):
        rc.apply(abs, **arguments)
    assert rc.history == history


def test_engines_that_are_not_there(rc):
    for call in (rc.view, lambda targets: rc.map(abs, [1], targets=targets)):
        with pytest.raises(IndexError, match="there is no engine 7; there are engines 0, 1, 2, 3"):
            call(7)
    with pytest.raises(TypeError, match="a function is needed, not 'abs'"):
        rc.apply("abs", (1,))
    with pytest.raises(TypeError, match="has no flag 'colour'"):
        rc.map(abs, [1], colour=3)


def test_what_a_client_says_of_itself(rc, cluster):
    ar = rc.apply(os.getpid)
    ar.get(30)
    assert ar.msg_ids[0].startswith(rc.id)
    assert ar.msg_ids[0] in [task["msg_id"] for task in rc.db_query({"client": rc.id})]
    assert rc.scheme == "leastload"
    rc.use_scheme("lru")
    try:
        assert rc.scheme == "lru"
    finally:
        rc.use_scheme("leastload")
