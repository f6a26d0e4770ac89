"""Direct views on real engines: targets, code, names, sequences, control."""

from __future__ import annotations

import copyreg
import os
import signal

import numpy
import pandas
import pytest

import enginery
from enginery import (
    Client,
    CompositeError,
    NoEnginesRegistered,
    NotSupportedError,
    RemoteError,
    TaskAborted,
)
from enginery.client.display import working

# --- clients, views, targets (C2, C3, C5) -----------------------------------------------------


def test_indexing(rc):
    assert rc.ids == [0, 1, 2, 3]
    assert len(rc) == 4
    assert [view.targets for view in rc] == [0, 1, 2, 3]
    assert rc[0].targets == 0
    assert rc[-1].targets == 3
    assert rc[::2].targets == [0, 2]
    assert rc[0, 1, 2].targets == [0, 1, 2]
    assert rc[[0, 2]].targets == [0, 2]
    assert rc[:].targets == [0, 1, 2, 3]
    assert rc.direct_view().targets == "all"
    assert rc[None] is rc.load_balanced_view()


def test_views_are_cached_by_kind_and_targets(rc):
    assert rc.load_balanced_view([1, 2, 3]) is rc.load_balanced_view([1, 2, 3])
    assert rc[:] is rc[0, 1, 2, 3]
    assert rc[0] is not rc[[0]]
    assert rc[[1]] is not rc.load_balanced_view([1])
    assert rc.direct_view([0, 1], block=True) is not rc[0, 1]


def test_assigning_targets_leaves_the_views_of_others_alone(rc):
    view = rc[0, 1]
    other = rc[2, 3]
    view.targets = [2, 3]
    assert view.apply_sync(os.getpid) == other.apply_sync(os.getpid)
    assert rc[2, 3] is other
    assert rc[0, 1] is not view
    assert rc[0, 1].targets == [0, 1]


def test_temp_targets_keep_the_view_cached(rc):
    view = rc[0, 1]
    with view.temp_flags(targets=[2]):
        assert rc[0, 1] is not view
    assert view.targets == [0, 1]


def test_an_engine_that_is_not_there(rc):
    for targets in (7, [0, 7]):
        with pytest.raises(IndexError, match="there is no engine 7; there are engines 0, 1, 2, 3"):
            rc[targets]
    with pytest.raises(NoEnginesRegistered, match="names no engine"):
        rc[9:]
    with pytest.raises(IndexError):
        rc[0].targets = 9


def test_views_made_later_start_with_the_block_of_the_client(rc):
    rc.block = True
    assert rc[0].apply(lambda: 5) == 5
    rc.block = False
    assert rc[0].block is True
    assert rc[1].block is False


def test_reprs(rc, cluster, monkeypatch):
    monkeypatch.setattr(working, "PATIENCE", 30)  # seconds, on a busy machine
    assert repr(rc[0]) == "<DirectView 0>"
    assert repr(rc[0, 2]) == "<DirectView [0, 2]>"
    assert repr(rc[None]) == "<LoadBalancedView all 4 engines, leastload, retries=0>"
    text = repr(rc)
    assert text.startswith(f"<Client shared {cluster.cluster_id}: 4 engines (")
    assert "0 tasks waiting" in text
    with cluster.connect_client_sync() as other:
        pass
    assert repr(other).endswith(": closed>")


# --- code (D1-D3) -----------------------------------------------------------------------------


def test_shapes_of_results(rc):
    pids = rc[:].apply_sync(os.getpid)
    assert len(set(pids)) == 4
    assert rc[1].apply_sync(os.getpid) == pids[1]
    assert rc[[1]].apply_sync(os.getpid) == [pids[1]]
    assert rc[3, 0].apply_sync(os.getpid) == [pids[3], pids[0]]
    assert rc.direct_view("all").apply_sync(os.getpid) == pids
    result = rc[:].apply(os.getpid)
    assert isinstance(result, enginery.AsyncResult)
    assert result.get(30) == pids
    assert rc.last is result


def test_arguments(rc):
    def f(*args, **kwargs):
        return args, kwargs

    assert rc[0].apply_sync(f, 1, "a", f=2, self=3, targets=4) == (
        (1, "a"),
        {"f": 2, "self": 3, "targets": 4},
    )


def test_execute_keeps_names(rc):
    view = rc[:]
    view.execute("a = 5", block=True)
    view.execute("b = 10", block=True)
    view.execute("c = a + b", targets=[0, 2])
    view.execute("c = a - b", targets=[1, 3])
    assert view.pull("c", block=True) == [15, -5, 15, -5]


def test_execute_replies(rc):
    replies = rc[:].execute("d = 10; print(d)\nd + 1", block=True)
    assert [reply.stdout for reply in replies] == ["10\n"] * 4
    assert [reply.engine for reply in replies] == [0, 1, 2, 3]
    assert [reply.result for reply in replies] == ["11"] * 4
    assert rc[1].execute("d", block=True).result == "10"


def test_run_takes_the_file_from_here(rc, tmp_path):
    path = tmp_path / "job.py"
    path.write_text("x = 3\ny = x**2\n")
    rc[:].run(path, block=True)
    path.unlink()
    assert rc[:].pull("y", block=True) == [9] * 4


def test_errors_of_code(rc):
    with pytest.raises(CompositeError, match="one or more exceptions from call to method: execute"):
        rc[:].execute("1/0", block=True)
    with pytest.raises(ZeroDivisionError) as caught:
        rc[0].execute("1/0", block=True)
    assert isinstance(caught.value, RemoteError)


# --- names (E1) -------------------------------------------------------------------------------


def test_push_and_pull(rc):
    view = rc[:]
    assert view.push({"a": 1.03234, "b": 3453}, block=True) == [None] * 4
    assert view.pull("a", block=True) == [1.03234] * 4
    assert view.pull("b", targets=0, block=True) == 3453
    assert view.pull(("a", "b"), block=True) == [[1.03234, 3453]] * 4
    assert view.zip_pull(("a", "b")) == [(1.03234,) * 4, (3453,) * 4]
    assert view.zip_pull(("a", "b"), targets=2) == [(1.03234,), (3453,)]
    assert view.pull("a").get(30) == [1.03234] * 4


def test_dictionary_interface(rc):
    view = rc[:]
    view["a"] = ["foo", "bar"]
    assert view["a"] == [["foo", "bar"]] * 4
    view.update({"b": 2}).get(30)
    assert view.get("b").get(30) == [2] * 4
    assert rc[0]["b"] == 2


def test_a_name_that_is_not_there(rc):
    with pytest.raises(NameError, match="'nothing'"):
        rc[0].pull("nothing", block=True)
    with pytest.raises(CompositeError, match=r"\[2:pull\]: NameError"):
        rc[:].pull("nothing", block=True)


def test_received_arrays_are_read_only(rc):
    array = numpy.zeros(2)
    rc[0].push({"a": array}, block=True)
    with pytest.raises(ValueError, match="read-only"):
        rc[0].execute("a[0] = 1", block=True)
    back = rc[0]["a"]
    assert back.flags.writeable is False
    array[0] = 1
    assert rc[0]["a"][0] == 0


def test_clear_removes_names(rc):
    rc[:].push({"a": 1}, block=True)
    rc[0, 1].clear(block=True)
    assert rc[2, 3]["a"] == [1, 1]
    with pytest.raises(NameError):
        rc[0].pull("a", block=True)


# --- sequences (E3) ---------------------------------------------------------------------------


def test_scatter_and_gather_of_a_range(rc):
    view = rc[:]
    assert view.scatter("a", range(16), block=True) == [None] * 4
    assert view["a"] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert view.gather("a", block=True) == list(range(16))
    assert list(view.gather("a").get(30)) == list(range(16))


def test_parallel_list_comprehension(rc):
    view = rc[:]
    view.scatter("x", range(64))
    view.execute("y = [i**10 for i in x]")
    assert view.gather("y", block=True) == [i**10 for i in range(64)]


@pytest.mark.parametrize(
    "sequence",
    [
        "some text",
        b"some bytes",
        tuple(range(9)),
        numpy.arange(20.0).reshape(10, 2),
        numpy.zeros((2, 3), "i2"),
        pandas.DataFrame({"a": range(6), "b": list("uvwxyz")}),
        pandas.Series([1.5, 2.5], index=["x", "y"]),
    ],
    ids=lambda s: type(s).__name__,
)
def test_scatter_and_gather_of_other_sequences(rc, sequence):
    rc[:].scatter("s", sequence, block=True)
    back = rc[:].gather("s", block=True)
    assert type(back) is type(sequence)
    equal = back == sequence
    assert equal if isinstance(equal, bool) else numpy.all(equal)


def test_flatten(rc):
    rc[:].scatter("a", [5, 6, 7, 8], flatten=True, block=True)
    assert rc[:]["a"] == [5, 6, 7, 8]
    assert rc[:].gather("a", block=True) == [5, 6, 7, 8]
    rc[:].scatter("a", [5, 6], flatten=True, block=True)
    assert rc[:].gather("a", block=True) == [5, 6]
    rc[:].scatter("a", numpy.arange(5), flatten=True, block=True)
    assert rc[:].gather("a", block=True).tolist() == list(range(5))
    rc[0].scatter("b", [1, 2], block=True)
    assert rc[0]["b"] == [1, 2]
    assert rc[0].gather("b", block=True) == [1, 2]


# --- decorators (D7) --------------------------------------------------------------------------


def test_remote_functions(rc):
    @rc[:].remote(block=True)
    def where(x):
        return x, os.getpid()

    assert [x for x, _ in where(3)] == [3] * 4
    assert len({pid for _, pid in where(3)}) == 4
    not_waiting = rc[0].remote()(where.function)
    assert not_waiting(4).get(30)[0] == 4


def test_parallel_functions_get_chunks_and_join(rc):
    @rc[:].parallel(block=True)
    def add(a, b):
        return a + b

    left, right = numpy.arange(10), numpy.arange(10) * 10
    total = add(left, right)
    assert isinstance(total, numpy.ndarray)
    assert (total == left + right).all()
    assert add([1, 2], [3, 4]) == [1, 3, 2, 4]  # lists of one item each are added
    assert add.map([1, 2], [3, 4]) == [4, 6]
    assert add(numpy.array([]), numpy.array([])).shape == (0,)


def test_sync_imports(rc):
    with rc[:].sync_imports():
        import textwrap as tw
        from fractions import Fraction
    assert tw is not None
    assert rc[:].pull("tw.__name__", block=True) == ["textwrap"] * 4
    assert rc[0].execute("Fraction(1, 2)", block=True).result == "Fraction(1, 2)"
    assert Fraction(1, 2) * 2 == 1


def test_sync_imports_imports_here_too(rc):
    with pytest.raises(NotSupportedError, match="On the engines alone"):
        rc[:].sync_imports(local=False)


def test_properties_of_engines(rc):
    view = rc[0, 1]
    view.block = True
    try:
        assert view.set_properties({"RAM": 64, "gpu": True}) == [None, None]
        view.update_properties({"RAM": 32}, targets=1)
        assert view.get_properties("RAM") == [{"RAM": 64}, {"RAM": 32}]
        assert view.has_properties(["gpu", "disk"]) == [[True, False]] * 2
        view.del_properties("gpu", targets=0)
        assert view.get_properties() == [{"RAM": 64}, {"RAM": 32, "gpu": True}]
        with pytest.raises(KeyError, match="gpu"):
            rc[0].get_properties("gpu", block=True)
    finally:
        view.clear_properties()
        view.block = False


def test_a_type_that_says_how_it_is_sent(rc):
    names = {"__name__": "__main__"}  # of a script
    exec(
        "class Grid:\n    def __init__(self, cells): self.cells = cells; self.it = iter(cells)",
        names,
    )
    grid, can = names["Grid"], lambda grid: grid.cells
    rc[:].apply_sync(enginery.register_type, grid, can, grid)
    enginery.register_type(grid, can, grid)
    try:
        doubled = rc[:].apply_sync(lambda g: type(g)(g.cells * 2), grid(numpy.ones(10_000)))
    finally:
        del copyreg.dispatch_table[grid]
    assert [each.cells.sum() for each in doubled] == [20_000] * 4


def test_sync_path(rc, monkeypatch, tmp_path):
    (tmp_path / "module_of_mine.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = rc[0].apply_sync(lambda: __import__("sys").path)
    try:
        rc[:].sync_path(block=True)
        rc[:].execute("from module_of_mine import answer", block=True)
        assert rc[:]["answer"] == [42] * 4
    finally:
        rc[:].apply_sync(lambda path: __import__("sys").path.__setitem__(slice(None), path), before)


# --- control (L1, I7) -------------------------------------------------------------------------


def test_signals_interrupt_what_runs(rc):
    result = rc[0].execute("import time; print('begun', flush=True); time.sleep(60)")
    assert rc.link.wait(lambda: bool(result._slots[0].outputs), 30)
    rc.send_signal("INT", targets=0)
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        result.get(30)
    assert rc[0].apply_sync(lambda: 1) == 1
    with pytest.raises(ValueError, match="there is no signal 'none'"):
        rc.send_signal("none")


def test_abort_of_what_waits(rc):
    view = rc[0]
    running = view.execute("import time; print('begun', flush=True); time.sleep(60)")
    waiting = [view.apply_async(lambda: 1) for _ in range(3)]
    elsewhere = rc[1].apply_async(lambda: 2)
    assert rc.link.wait(lambda: bool(running._slots[0].outputs), 30)
    assert view.queue_status()["queue"] + view.queue_status()["tasks"] >= 3
    view.abort(waiting)
    assert elsewhere.get(30) == 2
    assert not running.ready()
    rc.send_signal(signal.SIGINT, targets=0)
    for result in waiting:
        with pytest.raises(TaskAborted):
            result.get(30)


def test_queue_status(rc):
    queues = rc.queue_status()
    assert set(queues) == {0, 1, 2, 3, "unassigned"}
    assert set(rc.queue_status([1, 2])) == {1, 2, "unassigned"}
    assert rc.queue_status(0)["tasks"] == 0
    assert rc.queue_status(0, verbose=True)["tasks"] == []


def test_shutdown_and_restart_of_engines(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        before = rc[:].apply_sync(os.getpid)
        rc[0].shutdown(restart=True)
        assert rc.ids == [0, 1]
        after = rc[:].apply_sync(os.getpid)
        assert after[0] != before[0]
        assert after[1] == before[1]
        rc.shutdown(1)
        assert rc.ids == [0]


def test_shutdown_of_everything(own_cluster):
    rc = own_cluster.connect_client_sync()
    rc.shutdown(hub=True)
    with pytest.raises(enginery.NoControllerError):
        rc[:].apply(os.getpid)


def test_no_engines(tmp_path):
    cluster = enginery.Cluster(n=0, profile_dir=tmp_path / "profile_empty")
    cluster.start_cluster_sync()
    try:
        with Client(cluster.client_connection_file) as rc:
            assert rc.ids == []
            assert repr(rc[None]) == "<LoadBalancedView all 0 engines, leastload, retries=0>"
            for call in (
                lambda: rc[0],
                lambda: rc[:],
                lambda: rc.direct_view("all").apply(len, ""),
                lambda: rc.direct_view("all").map(len, [""]),
                lambda: rc[None].apply(len, ""),
                lambda: rc[None].map(len, [""]),
                lambda: rc[None].imap(len, [""]),
            ):
                with pytest.raises(NoEnginesRegistered, match=r"rc\.wait_for_engines"):
                    call()
            with pytest.raises(enginery.TimeoutError, match=r"0 of 1 engines are registered after"):
                rc.wait_for_engines(1, timeout=0.1)
    finally:
        cluster.stop_cluster_sync()
