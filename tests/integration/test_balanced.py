"""The load-balanced view on real engines, and what a client knows of its tasks."""

from __future__ import annotations

import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy
import pytest

from enginery import Client, ImpossibleDependency, TaskAborted, UnknownTask, UnsendableError

# --- calls (I1, I5) ---------------------------------------------------------------------------


def test_apply(rc):
    lview = rc.load_balanced_view()
    assert lview.apply(lambda x: x + 1, 2).get(30) == 3
    assert lview.apply_async(lambda x: x + 1, 3).get(30) == 4
    assert lview.apply_sync(lambda x, y=0: x + y, 4, y=1) == 5
    lview.block = True
    assert lview.apply(lambda: 6) == 6


def test_all_engines_take_part(rc):
    lview = rc.load_balanced_view()
    pids = lview.map_sync(lambda _: (__import__("time").sleep(0.02), os.getpid())[1], range(40))
    assert set(pids) == set(rc[:].apply_sync(os.getpid))


def test_results_do_not_wait_for_what_was_sent_with_them_and_takes_long(rc, gate):
    def brief_or_long(x):
        return gate.held() if x is None else x

    lview = rc.load_balanced_view(1)
    lview.map_sync(brief_or_long, range(200))
    before = [lview.apply_async(brief_or_long, i) for i in range(5)]
    long = lview.apply_async(brief_or_long, None)
    after = lview.apply_async(brief_or_long, 5)
    assert [result.get(30) for result in before] == list(range(5))
    assert not long.ready()
    gate.open()
    assert (long.get(30), after.get(30)) == (None, 5)


def test_what_was_sent_behind_something_long_runs_elsewhere(rc, gate):
    def brief_or_long(x):
        return gate.held() if x is None else x

    lview = rc.load_balanced_view()
    lview.map_sync(brief_or_long, range(200))
    results = lview.map_async(brief_or_long, [None, *range(100)])
    assert [results[i] for i in range(1, 101)] == list(range(100))
    assert not results.ready()
    gate.open()
    assert results.get(30) == [None, *range(100)]


def test_targets_are_kept_to(rc):
    lview = rc.load_balanced_view([1, 3])
    allowed = set(rc[1, 3].apply_sync(os.getpid))
    assert set(lview.map_sync(lambda _: os.getpid(), range(30))) <= allowed
    one = rc.load_balanced_view().map_sync(lambda _: os.getpid(), range(5), targets=2)
    assert set(one) == {rc[2].apply_sync(os.getpid)}


def test_errors_are_those_of_the_function(rc):
    with pytest.raises(ValueError, match="no luck"):
        rc[None].apply_sync(int, "no luck")


def test_retries_run_a_failed_task_again(rc, tmp_path):
    marks = tmp_path / "marks"

    def flaky(path):
        with open(path, "a") as file:
            file.write("x")
        with open(path) as file:
            if len(file.read()) < 3:
                raise ValueError("not yet")
        return "done"

    lview = rc.load_balanced_view()
    with lview.temp_flags(retries=2):
        assert lview.apply_sync(flaky, str(marks)) == "done"
    assert marks.read_text() == "xxx"
    marks.unlink()
    with pytest.raises(ValueError, match="not yet"):
        lview.apply_sync(flaky, str(marks))
    assert marks.read_text() == "x"


def test_what_cannot_be_sent_is_named_and_nothing_is_submitted(rc):
    lock = threading.Lock()
    before = rc.history

    def fit(x, lock):
        return x

    for call in (
        lambda: rc[None].apply(fit, 1, lock),
        lambda: rc[:].apply(fit, 1, lock),
        lambda: rc[None].map(fit, [1], [lock]),
        lambda: rc[:].map(fit, [1], [lock]),
    ):
        with pytest.raises(UnsendableError, match="Nothing was submitted") as caught:
            call()
        assert "_thread.lock" in str(caught.value)
        assert str(caught.value).startswith(("fit(", "map(fit)"))
    assert rc.history == before


def test_what_cannot_be_sent_later_in_a_map_stops_what_came_before(rc):
    def items():
        yield from range(1000)
        yield threading.Lock()

    with pytest.raises(UnsendableError, match="calls before it were submitted; they are aborted"):
        rc[None].map(lambda x: x, items())
    assert rc.wait(timeout=30)


# --- what a client knows (F3, F4, A8) -----------------------------------------------------------


def test_history_outstanding_and_wait(rc):
    lview = rc.load_balanced_view()
    results = [lview.apply_async(lambda x: x, i) for i in range(5)]
    ids = [result.msg_ids[0] for result in results]
    assert rc.history[-5:] == ids
    assert rc.wait(results, timeout=30) is True
    assert rc.wait(ids, timeout=0) is True
    assert rc.wait([-1, results[0]], timeout=0) is True
    assert rc.wait(timeout=30) is True
    assert rc.outstanding == set()
    rc.spin()


def test_a_wait_that_takes_too_long(rc):
    result = rc[None].apply_async(time.sleep, 60)
    assert rc.wait(result, timeout=0.05) is False
    assert rc.wait(timeout=0.05) is False
    assert rc.outstanding == set(result.msg_ids)
    with pytest.raises(TimeoutError):
        result.get(0.05)
    rc.abort(result, running=True)
    assert rc.wait(result, timeout=30)


def test_results_and_metadata_by_id(rc):
    result = rc[None].apply_async(lambda: 7)
    (id,) = result.msg_ids
    result.wait(30)
    assert rc.results[id] == 7
    assert rc.metadata[id]["status"] == "ok"
    assert id in rc.results
    assert id in list(rc.results)
    with pytest.raises(KeyError):
        rc.results["nothing"]


def test_results_are_held_by_their_owner_only(rc):
    result = rc[None].apply_async(lambda: 7)
    (id,) = result.msg_ids
    result.wait(30)
    rc.last = None
    del result
    gc.collect()
    assert id not in rc.results
    assert rc.get_result(id).get(30) == 7


def test_get_result_of_ones_own(rc):
    result = rc[None].apply_async(lambda: 8)
    assert rc.get_result(result.msg_ids[0]).get(30) == 8
    assert rc.get_result(numpy.int64(-1)).get(30) == 8
    assert rc.get_result().get(30) == 8
    assert rc.get_result(result).get(30) == [8]
    assert rc.get_result([result, -1], block=True) == [8]


def test_another_client_fetches_results(rc, cluster):
    with cluster.connect_client_sync() as first:
        done = first[None].map_async(lambda x: x * 2, range(10))
        done.wait(30)
        later = first[0].apply_async(lambda: "later")
        ids = done.msg_ids
        assert rc.get_result(ids).get(30) == [x * 2 for x in range(10)]
        assert rc.get_result(later.msg_ids[0]).get(30) == "later"
    assert rc.get_result(ids[0]).get(30) == 0


@pytest.mark.parametrize("wrong", ["nothing", "", "abc-12"])
def test_an_id_that_is_none(rc, wrong):
    with pytest.raises(UnknownTask, match="no task has the id"):
        rc.get_result(wrong)
    with pytest.raises(UnknownTask):
        rc.wait(wrong)
    with pytest.raises(TypeError, match="no task id"):
        rc.get_result(3.5)
    with pytest.raises(UnknownTask, match="the history of this client has no task 999999"):
        rc.get_result(999_999)


def test_names_that_are_no_utf8_keep_nothing_from_leaving(rc):
    name = os.fsdecode(b"caf\xe9")
    lview = rc.load_balanced_view()

    def f(x):
        return x

    f.__name__ = name
    ar = lview.apply_async(f, 1)
    assert ar.get(30) == 1
    assert rc.db_query({"msg_id": ar.msg_ids[0]}, ["name"]) == [{"name": r"apply(caf\udce9)"}]
    assert lview.map_sync(f, range(3)) == [0, 1, 2]
    assert lview.apply_async(dict, **{name: lview.apply_async(f, 1)}).get(30) == {name: 1}
    with lview.temp_flags(after=[name]), pytest.raises(ImpossibleDependency):
        lview.apply_async(f, 1).get(30)
    with pytest.raises(UnsendableError, match="the controller cannot be asked that"):
        rc.get_result(name)
    assert lview.apply_sync(f, 2) == 2


def test_two_clients_share_the_namespaces(rc, cluster):
    rc[:].push({"shared": 5}, block=True)
    with cluster.connect_client_sync() as other:
        assert other[:]["shared"] == [5] * 4


# --- aborting (I7) ----------------------------------------------------------------------------


def test_abort(rc):
    lview = rc.load_balanced_view([0])
    running = lview.apply_async(time.sleep, 60)
    waiting = [lview.apply_async(lambda: 1) for _ in range(20)]
    begin = time.monotonic()
    rc.abort(waiting)
    assert time.monotonic() - begin < 5
    for result in waiting:
        with pytest.raises(TaskAborted):
            result.get(30)
    assert not running.ready()
    lview.abort(running=True)
    with pytest.raises(TaskAborted):
        running.get(30)
    rc.abort(running)  # done: nothing happens


def test_abort_of_an_id_that_is_none(rc):
    with pytest.raises(UnknownTask, match="no task has the id 'nothing'"):
        rc.abort("nothing")


def test_clients_and_views_stay_here(rc):
    for stays in (rc, rc[:], rc[None]):
        with pytest.raises(UnsendableError, match=f"{type(stays).__name__} stays"):
            rc[None].apply(len, stays)


# --- Ctrl-C (L2) ------------------------------------------------------------------------------


def test_an_interrupt_ends_the_wait_and_not_the_work(cluster, tmp_path):
    script = (
        "import enginery, pathlib, time\n"
        f"rc = enginery.Client({cluster.client_connection_file!r})\n"
        f"go = pathlib.Path({str(tmp_path / 'go')!r})\n"
        "def wait_for(path):\n"
        "    while not path.exists(): time.sleep(0.01)\n"
        "    return 'done'\n"
        "try:\n"
        "    print('waiting', flush=True)\n"
        "    rc.load_balanced_view().apply_sync(wait_for, go)\n"
        "except KeyboardInterrupt:\n"
        "    go.touch()\n"
        "    print(rc.last.get(30))\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "waiting\n"
        while cluster._ask("Query", what="status")["running"] == 0:
            pass
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=30)[0] == "done\n"
    assert program.returncode == 0


# --- the end (L3) -----------------------------------------------------------------------------


def threads():
    return {t for t in threading.enumerate() if t.name == "enginery-client"}


def test_a_closed_client_leaves_no_thread(cluster):
    before = threads()
    with cluster.connect_client_sync() as rc:
        assert len(threads()) == len(before) + 1
        rc[0].apply_async(lambda: 1)
    assert threads() == before
    rc.close()
    with pytest.raises(ConnectionError, match="closed"):
        rc[0].apply(lambda: 1)


def test_a_forgotten_client_closes_itself(cluster):
    before = threads()
    rc = Client(cluster.client_connection_file)
    rc[:].apply_sync(lambda: 1)
    gone = weakref.ref(rc)
    del rc
    gc.collect()
    assert gone() is None
    assert threads() == before


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise SystemExit(3)", "1/0"])
def test_a_program_that_ends_without_closing_does_not_hang(cluster, ending):
    script = (
        "import sys, enginery\n"
        f"rc = enginery.Client({cluster.client_connection_file!r})\n"
        "lview = rc.load_balanced_view()\n"
        "results = [lview.apply_async(int, i) for i in range(100)]\n"
        f"print(results[0].get(30), flush=True)\n{ending}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "0\n"
    assert done.returncode == (0 if not ending else 1 if "1/0" in ending else 3)
    assert "Traceback" not in done.stderr or "1/0" in ending


def test_callbacks_are_called_where_no_thread_can_be_started(rc, cluster, gate, monkeypatch):
    start, told = threading.Thread.start, queue.Queue()

    def started(thread):
        if thread.name == "enginery-callback":
            raise RuntimeError("can't start new thread")
        start(thread)

    def callback(ar):  # which may wait, as ever
        told.put((ar.get(), rc[1].apply_sync(abs, -7), threading.current_thread().name))

    monkeypatch.setattr(threading.Thread, "start", started)
    held = [rc[0].apply_async(gate.held) for _ in range(2)]
    for result in held:
        result.add_done_callback(callback)
    gate.open()
    for _ in held:  # nobody waits for them but who reads the news
        assert told.get(timeout=30) == (None, 7, "enginery-client")
    done = rc[0].apply_async(abs, -3)
    done.add_done_callback(callback)
    assert done.get(30) == 3
    assert told.get(timeout=30) == (3, 7, "enginery-client")
    done.add_done_callback(callback)
    assert told.get(timeout=30) == (3, 7, "enginery-client")
    with cluster.connect_client_sync() as other:
        done = other[0].apply_async(abs, -4)
        assert done.get(30) == 4
    done.add_done_callback(callback)  # its client is closed
    assert told.get(timeout=0)[:2] == (4, 7)


def test_a_timeout_is_a_number(rc):
    result = rc[0].apply_async(time.sleep, 0.2)
    with pytest.raises(TypeError, match="timeout is a number of seconds, or None, not '5'"):
        result.get("5")
    assert result.get(5) is None
