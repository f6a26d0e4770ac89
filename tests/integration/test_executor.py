"""Row X8: a view as an executor; futures, `await` and `as_completed`."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent import futures

import pytest

import enginery

PATIENCE = 20.0


@pytest.fixture
def lview(rc):
    return rc.load_balanced_view()


def test_it_does_what_an_executor_does(lview):
    with lview.executor as executor:
        several = [executor.submit(pow, i, 2) for i in range(20)]
        done, waiting = futures.wait(several, PATIENCE)
        assert not waiting
        assert sorted(future.result() for future in done) == [i**2 for i in range(20)]
        assert list(executor.map(pow, range(9), [2] * 9, chunksize=4)) == [i**2 for i in range(9)]
        assert {future.result() for future in futures.as_completed(several)} == {
            i**2 for i in range(20)
        }
    with pytest.raises(RuntimeError, match="was shut down"):
        executor.submit(abs, -1)


def test_failures_are_those_of_the_view(lview):
    with lview.executor as executor:
        future = executor.submit(divmod, 1, 0)
        assert isinstance(future.exception(PATIENCE), ZeroDivisionError)
        with pytest.raises(enginery.UnsendableError):
            executor.submit(len, threading.Lock())


def test_a_direct_view_gives_the_list_of_all_engines(rc):
    with rc[:2].executor as executor:
        assert executor.submit(os.getpid).result(PATIENCE) == rc[:2].apply_sync(os.getpid)


def test_cancel_tells_the_truth(rc, gate):
    with rc.load_balanced_view(0).executor as executor:
        running = executor.submit(gate.held)
        waiting = executor.submit(time.sleep, 600)
        assert waiting.cancel()
        assert waiting.cancelled()
        with pytest.raises(futures.CancelledError):
            waiting.result(0)
        gate.open()
        assert running.result(PATIENCE) is None
        assert not running.cancel()
        assert futures.wait([waiting], 1).done == {waiting}


def test_callbacks_may_wait(lview):
    told: list[int] = []
    with lview.executor as executor:
        future = executor.submit(abs, -3)
        future.add_done_callback(lambda f: told.append(f.result() + lview.apply_sync(abs, -4)))
        future.result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told == [7]


def test_map_keeps_its_timeout_and_aborts_the_rest(rc):
    view = rc.load_balanced_view(1)
    with view.executor as executor, pytest.raises(TimeoutError, match="item 1 of map"):
        list(executor.map(time.sleep, [0, 2, 600], timeout=0.5))
    assert rc.wait(timeout=PATIENCE)


def test_a_controller_that_does_not_answer_holds_nobody_up(own_cluster, gate, tmp_path):
    """Nor does it stand before the error of who has waited."""
    begun, held = tmp_path / "begun", gate.held
    os.mkfifo(begun)

    def told():
        begun.write_text("it runs")
        held()

    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2)
        executor = rc.load_balanced_view(0).executor
        future = executor.submit(told)
        assert begun.read_text() == "it runs"
        values = executor.map(pow, [1], [2], timeout=0.1)
        os.kill(own_cluster.controller_pid, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            assert future.cancel() is False
            with pytest.raises(TimeoutError, match="item 0 of map"):
                next(values)
            assert time.monotonic() - begin < 5.0  # each would wait for ten
        finally:
            os.kill(own_cluster.controller_pid, signal.SIGCONT)
        gate.open()
        assert future.result(PATIENCE) is None


def test_results_can_be_awaited_together(lview):
    async def gather():
        several = [lview.apply_async(abs, -i) for i in range(10)]
        return await asyncio.gather(*several)

    async def wrapped():
        with lview.executor as executor:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(executor, abs, -5)

    assert asyncio.run(gather()) == list(range(10))
    assert asyncio.run(wrapped()) == 5


def test_futures_end_when_the_controller_is_lost(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2)
        future = rc.load_balanced_view().executor.submit(time.sleep, 600)
        os.kill(own_cluster.controller_pid, signal.SIGKILL)
        assert isinstance(future.exception(PATIENCE), enginery.ControllerLost)
