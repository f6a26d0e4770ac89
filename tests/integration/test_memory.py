"""Large arrays between processes of one host: right, read-only, copied once, and nothing is left.

What holds with shared memory holds without it, so most tests run with both kinds of cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from enginery import Client, Cluster
from enginery.wire.memory.windows import IDLE_TIME
from tests.gate import Gate
from tests.hostile.peer import key_file

KINDS = ("memory", "frames")
LARGE = 300_000
"""Numbers in an array of 2.4 MB."""

PATIENCE = 20.0
"""Seconds after which something that must happen has not happened."""


def until(look: Callable[[], Any]) -> Any:
    """Look until something true is seen; give that."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, "it has not happened"
        threading.Event().wait(0.02)  # there is no event for what other processes have open
    return seen


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of three engines; their controller shares memory, or does not."""
    profile = tmp_path_factory.mktemp(request.param) / "profile_memory"
    profile.mkdir()
    shares = request.param == "memory"
    config = profile / "ipcontroller_config.py"
    config.write_text(f"c = get_config()\nc.IPController.shared_memory = {shares}\n")
    with Cluster(n=3, profile_dir=profile) as client:
        client.wait_for_engines(3, timeout=30)
        assert (client.link.memory.controller > 0) == shares
        yield client


@pytest.fixture
def shared(own_cluster: Cluster) -> Iterator[Client]:
    """A client of two engines that share memory with it, for one test."""
    with own_cluster.connect_client_sync() as client:
        client.wait_for_engines(2, timeout=30)
        assert client.link.memory.controller > 0
        yield client
        client.last = None  # pytest keeps the client, and it its last result, beyond the last look


def numbers(seed: int = 0, size: int = LARGE) -> Any:
    """An array of these numbers, always the same."""
    return np.random.default_rng(seed).random(size)


def memory_file(array: Any) -> tuple[str, int] | None:
    """Device and inode of the memory file in which an array lies; None when it lies in none."""
    at = array.__array_interface__["data"][0]
    with open("/proc/self/maps") as maps:
        for line in maps:
            low, high = (int(end, 16) for end in line.split()[0].split("-"))
            if low <= at < high:
                return None if "/memfd:" not in line else (line.split()[3], int(line.split()[4]))
    return None


def segments_of(pid: int) -> int:
    """How many memory files a process has open."""
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += "/memfd:enginery" in os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:  # closed meanwhile
            continue
    return found


def mappings_of(pid: int) -> int:
    """How many memory files a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text().count("/memfd:enginery")


def written(directory: Path) -> list[Path]:
    """The files of the journal of `own_cluster` in which large buffers stand."""
    return list(directory.glob("profile_own/journal/*/*.buffer"))


def controller_of(cluster: Cluster) -> int:
    """The process id of the controller."""
    pid: int = key_file(cluster, "client").pid
    return pid


# --- the same either way ------------------------------------------------------------------------


def look_at(a: Any, *, k: Any) -> Any:
    return a.sum(), k[3], a.flags.writeable, k.flags.writeable, a + k


def test_arguments_and_results(both: Client) -> None:
    a, k = numbers(1), numbers(2)
    for total, number, *writeable, result in both[:].apply_sync(look_at, a, k=k):
        assert (total, number, writeable) == (a.sum(), k[3], [False, False])
        assert result.tobytes() == (a + k).tobytes()
        assert not result.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            result[0] = 1


def test_push_and_pull(both: Client) -> None:
    view = both[:]
    names = {"a": numbers(3), "b": b"bytes" * LARGE, "c": np.arange(LARGE).reshape(3, -1)}
    view.push(names, block=True)
    assert view.execute("a[0] = 5", block=False).exception(PATIENCE) is not None
    for a, b, c in view.pull(["a", "b", "c"], block=True):
        assert a.tobytes() == names["a"].tobytes()
        assert b == names["b"]
        assert c.tolist() == names["c"].tolist()
        assert (a.flags.writeable, c.flags.writeable) == (False, False)


def test_scatter_and_gather(both: Client) -> None:
    a = numbers(4, 3 * LARGE + 2).reshape(2, -1).T
    both[:].scatter("part", a, block=True)
    assert both[:].gather("part", block=True).tobytes() == np.ascontiguousarray(a).tobytes()


def test_balanced_tasks_and_maps(both: Client) -> None:
    arrays = [numbers(i) for i in range(12)]
    view = both.load_balanced_view()
    assert view.map_sync(lambda a: a[::2] * 2, arrays, chunksize=5)[7][3] == arrays[7][6] * 2
    sent = [view.apply_async(lambda a: a, a) for a in arrays]
    for a, result in zip(arrays, sent, strict=True):
        assert result.get(PATIENCE).tobytes() == a.tobytes()


def test_functions_that_hold_arrays(both: Client) -> None:
    a, view = numbers(7), both.load_balanced_view()
    assert view.map_sync(lambda i: a[i], range(50)) == a[:50].tolist()
    assert view.apply_sync(partial(np.take, a), 3) == a[3]
    for there, writeable in both[:].apply_sync(lambda: (a, a.flags.writeable)):
        assert (there.tobytes(), writeable) == (a.tobytes(), False)
    a[3] = 8
    assert view.apply_sync(partial(np.take, a), 3) == 8


def test_what_was_received_can_be_sent_again(both: Client) -> None:
    a = numbers(5)
    (there,) = both[[0]].apply_sync(lambda x: x, a)
    assert both[1].apply_sync(lambda x: (x[1:], x.tobytes()), there)[1] == a.tobytes()
    assert both[1].apply_sync(lambda x: __import__("pickle").dumps(x), there)


def test_a_later_change_of_an_array_is_not_sent(both: Client) -> None:
    a = numbers(6)
    before = a.tobytes()
    result = both[:].apply_async(lambda x: (__import__("time").sleep(0.2), x.tobytes())[1], a)
    assert result.wait_for_send(PATIENCE)
    a[:] = 0
    assert set(result.get(PATIENCE)) == {before}


def test_an_array_that_was_changed_is_sent_as_it_is(both: Client) -> None:
    a = numbers(7)
    for i in range(6):
        a[LARGE // 2] = i
        assert set(both[:].apply_sync(lambda x: float(x[len(x) // 2]), a)) == {float(i)}


def test_results_are_not_changed_by_later_ones(both: Client) -> None:
    def made(i: int) -> Any:
        import numpy

        return numpy.full(300_000, float(i))

    kept = [both[0].apply_sync(made, i) for i in range(20)]
    assert [(float(a.min()), float(a.max())) for a in kept] == [
        (i, i) for i in map(float, range(20))
    ]


def test_sent_is_told_before_the_work_is_done(both: Client, tmp_path: Path) -> None:
    def waits(a: Any, path: str) -> float:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        return float(a[0])

    go = tmp_path / "go"
    a = numbers(8)
    result = both[0].apply_async(waits, a, str(go))
    assert result.wait_on_send(PATIENCE)
    assert result.sent
    assert not result.ready()
    go.touch()
    assert result.get(PATIENCE) == a[0]


# --- with shared memory -------------------------------------------------------------------------


def test_a_broadcast_is_one_copy(shared: Client) -> None:
    before = segments_of(os.getpid())
    shared[:].push({"a": numbers(9)}, block=True)
    shared[:].push({"memory_file": memory_file}, block=True)
    shared[:].execute("where = memory_file(a)", block=True)
    first, second = shared[:].pull("where", block=True)
    assert first == second
    assert first is not None
    assert segments_of(os.getpid()) == before + 1


def test_an_array_may_be_changed_at_once(own_cluster: Cluster, shared: Client) -> None:
    controller = controller_of(own_cluster)
    a = numbers(11)
    before = a.tobytes()
    os.kill(controller, signal.SIGSTOP)
    try:
        result = shared[:].apply_async(lambda x: x.tobytes(), a)
        assert result.sent
        a[:] = 0
    finally:
        os.kill(controller, signal.SIGCONT)
    assert set(result.get(PATIENCE)) == {before}


def test_the_same_array_again_is_the_same_memory(shared: Client) -> None:
    a = numbers(10)
    files = {shared[0].apply_sync(memory_file, a) for _ in range(5)}
    assert len(files) == 1
    assert files != {None}


def test_what_several_tasks_get_is_written_down_once(
    shared: Client, gate: Gate, tmp_path: Path
) -> None:
    shared.wait_for_engines(2, timeout=PATIENCE)
    numbers, lview = np.arange(LARGE), shared.load_balanced_view()
    held = gate.held
    results = [lview.apply_async(lambda x, i: (held(), x[i])[1], numbers, i) for i in range(6)]
    assert until(lambda: written(tmp_path))
    gate.open()
    assert [result.get(PATIENCE) for result in results] == list(range(6))
    assert len(written(tmp_path)) == 1


def test_an_array_in_a_function_is_one_copy(shared: Client, tmp_path: Path) -> None:
    a = numbers(8)
    first, second = shared[:].apply_sync(lambda: memory_file(a))
    assert first == second
    assert first is not None
    assert shared.load_balanced_view().map_sync(lambda i: a[i], [5]) == [a[5]]
    assert len(until(lambda: written(tmp_path))) == 1


def test_memory_is_used_again(shared: Client) -> None:
    shared[0].apply_sync(int)
    before = segments_of(os.getpid())
    for i in range(200):  # more than the controller keeps of what is done
        assert shared[0].apply_sync(lambda x: float(x[0]), np.full(LARGE, i)) == i
    assert segments_of(os.getpid()) < before + 150


def test_a_result_outlives_the_cluster(tmp_path: Path) -> None:
    with Cluster(n=1, profile_dir=tmp_path / "profile_ends") as client:
        a = client[0].apply_sync(lambda: __import__("numpy").arange(1_000_000))
        assert memory_file(a) is not None
    assert a.sum() == 499_999_500_000
    assert memory_file(a) is not None


SENDER = """
import sys, numpy
from enginery import Client
client = Client(sys.argv[1])
client.wait_for_engines(2, timeout=30)
def work(path, a):
    import os, time
    while not os.path.exists(path):
        time.sleep(0.01)
    return a * 2
result = client[:].apply_async(work, sys.argv[2], numpy.arange(300_000.0))
client.ids, client.queue_status()  # asked after the submission: the controller has it
print(*result.msg_ids, flush=True)
sys.stdin.read()
"""


def test_what_a_client_sent_lives_on_when_it_is_killed(
    own_cluster: Cluster, shared: Client, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    command = [sys.executable, "-c", SENDER, own_cluster.client_connection_file, str(go)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sender:
        assert sender.stdout is not None
        ids = sender.stdout.readline().split()
        sender.kill()
    assert len(ids) == 2
    go.touch()
    for a in shared.get_result(ids).get(PATIENCE):
        assert a.tolist() == (np.arange(LARGE) * 2.0).tolist()


def test_the_controller_lets_go_of_what_is_purged(own_cluster: Cluster, shared: Client) -> None:
    pid = controller_of(own_cluster)
    before = segments_of(pid)
    view = shared.load_balanced_view()
    for _ in range(10):
        sent = [view.apply_async(lambda x: x, np.full(40_000, i)) for i in range(100)]
        assert [a.get(PATIENCE)[0] for a in sent] == list(range(100))
    shared.purge_results("all")
    until(lambda: segments_of(pid) <= before)


def test_an_engine_lets_go_of_its_arguments_when_a_task_is_done(shared: Client) -> None:
    engine = shared[0].apply_sync(os.getpid)
    before = mappings_of(engine)
    sent = [shared[0].apply_async(lambda x: float(x[0]), numbers(i)) for i in range(3)]
    assert [result.get(PATIENCE) for result in sent] == [numbers(i)[0] for i in range(3)]
    until(lambda: mappings_of(engine) <= before)


def test_and_does_so_while_it_works_on_another_one(shared: Client, gate: Gate) -> None:
    engine = shared[0].apply_sync(os.getpid)
    before = mappings_of(engine)
    assert shared[0].apply_sync(len, numbers()) == LARGE
    held = shared[0].apply_async(gate.held)
    until(lambda: mappings_of(engine) <= before)
    assert not held.ready()
    gate.open()
    assert held.get(PATIENCE) is None


def test_a_client_lets_go_of_what_it_had_while_it_waits(shared: Client, gate: Gate) -> None:
    before = mappings_of(os.getpid())
    assert shared[0].apply_sync(np.zeros, LARGE).sum() == 0
    shared.last = None
    seen = mappings_of(os.getpid())
    held = shared[0].apply_async(gate.held)
    with pytest.raises(TimeoutError):
        held.get(timeout=2 * IDLE_TIME)
    assert mappings_of(os.getpid()) <= before < seen
    gate.open()
    assert held.get(PATIENCE) is None


def test_an_engine_lets_go_of_results_while_it_has_more_to_do(shared: Client, gate: Gate) -> None:
    def unacked() -> int:
        import gc
        import time

        from enginery.core.engine import Engine

        time.sleep(0.01)
        (machine,) = (each for each in gc.get_objects() if type(each) is Engine)
        return len(machine.unacked)

    shared[0].apply_async(gate.held)
    sent = [shared[0].apply_async(bytes, 100_000) for _ in range(50)]
    counts = [shared[0].apply_async(unacked) for _ in range(100)]
    gate.open()
    assert all(result.get(PATIENCE) == bytes(100_000) for result in sent)
    assert min(count.get(PATIENCE) for count in counts) < 10


def test_nothing_is_left_of_an_engine_that_is_killed(own_cluster: Cluster, shared: Client) -> None:
    pid = controller_of(own_cluster)
    before = segments_of(pid)
    view = shared.load_balanced_view()
    view.retries = 20
    engines = shared[:].apply_sync(os.getpid)
    sent = [view.apply_async(lambda x: x * 2, numbers(i)) for i in range(60)]
    os.kill(engines[0], signal.SIGKILL)
    for i, result in enumerate(sent):
        assert result.get(PATIENCE)[5] == numbers(i)[5] * 2
    shared.purge_results("all")
    del sent, result
    until(lambda: segments_of(pid) <= before)


def test_a_result_is_not_lost_when_its_engine_stops(
    own_cluster: Cluster, shared: Client, tmp_path: Path
) -> None:
    def waits(path: str) -> Any:
        import os
        import time

        import numpy

        while not os.path.exists(path):
            time.sleep(0.01)
        return numpy.ones(300_000)

    go = tmp_path / "go"
    controller, engine = controller_of(own_cluster), psutil.Process(shared[1].apply_sync(os.getpid))
    before = segments_of(engine.pid)
    result = shared[1].apply_async(waits, str(go))
    until(lambda: shared.queue_status(1)["tasks"])
    os.kill(controller, signal.SIGSTOP)
    try:
        go.touch()
        until(lambda: segments_of(engine.pid) > before)
        until(lambda: engine.status() == psutil.STATUS_SLEEPING)  # the result is on its way
        engine.terminate()
        with pytest.raises(psutil.TimeoutExpired):
            engine.wait(0.1)
    finally:
        os.kill(controller, signal.SIGCONT)
    assert result.get(PATIENCE).sum() == LARGE
