"""Row I4: the pure scheme balances without Python, and says clearly what it cannot do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
import zmq

import enginery
from enginery import Client, Cluster, Dependency, EngineError, NotSupportedError
from enginery.core import messages as m
from enginery.net import monitors, sockets
from enginery.net.keys import ConnectionFile
from enginery.version import PROTOCOL
from enginery.wire import codec
from tests.gate import Gate

PATIENCE = 20.0


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(n=3, scheme="pure", profile_dir=tmp_path_factory.mktemp("pure") / "profile_p")
    cluster.start_cluster_sync()
    try:
        yield cluster
    finally:
        cluster.stop_cluster_sync()


@pytest.fixture
def rc(pure: Cluster) -> Iterator[Client]:
    with pure.connect_client_sync() as client:
        client.wait_for_engines(3, timeout=PATIENCE)
        yield client


@pytest.fixture
def lview(rc):
    return rc.load_balanced_view()


def test_tasks_run_on_all_engines_and_come_back_in_order(pure, lview):
    assert repr(lview) == "<LoadBalancedView all 3 engines, pure, retries=0>"
    assert lview.map_sync(abs, range(-3000, 0)) == list(range(3000, 0, -1))
    assert set(lview.map_sync(lambda _: os.getpid(), range(30))) == set(pure.engine_pids.values())


def test_the_controller_sees_none_of_them(rc, lview):
    result = lview.apply_async(abs, -1)
    assert result.get(PATIENCE) == 1
    assert result.msg_ids[0] not in rc.hub_history()


@pytest.mark.parametrize("life", range(4))
def test_the_first_results_may_be_large(tmp_path, life):
    with Cluster(n=2, scheme="pure", profile_dir=tmp_path / "profile_large") as rc:
        lview = rc.load_balanced_view()
        for size in (40_000, 10, 100_000):
            assert len(lview.apply_async(bytes, size).get(PATIENCE)) == size


def test_large_arguments_and_results_pass(lview):
    data = os.urandom(5_000_000)
    assert lview.apply_sync(lambda x: x[::-1], data) == data[::-1]


def test_errors_and_output_come_back(lview):
    with pytest.raises(ZeroDivisionError):
        lview.apply_sync(divmod, 1, 0)
    result = lview.apply_async(lambda: print("said"))
    result.get(PATIENCE)
    assert result.wait_for_output(PATIENCE)
    assert result.stdout == "said\n"


def test_an_unmet_dependency_is_an_error_there(lview):
    with pytest.raises(enginery.UnmetDependency):
        lview.apply_sync(enginery.dependent(abs, lambda: False), -1)


def test_direct_views_work_beside_it(pure, rc):
    assert rc[:].apply_sync(os.getpid) == list(pure.engine_pids.values())


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"retries": 1}, "retries"),
        ({"after": Dependency("a-1")}, "after"),
        ({"follow": "a-1", "timeout": 1}, "follow, timeout"),
        ({"priority": 1, "time_limit": 2}, "priority, time_limit"),
        ({"targets": [0]}, "targets"),
        ({"fits": bool}, "fits"),
        ({"recovery": abs}, "recovery"),
    ],
)
def test_what_it_cannot_do_is_refused(lview, flags, named):
    view = lview.variant(**flags)
    for call in (view.apply_async, view.map_async):
        with pytest.raises(NotSupportedError, match=f"^{named}: the scheme 'pure' cannot do that"):
            call(abs, [-1])


def test_abort_is_refused(rc, lview, gate):
    result = lview.apply_async(gate.held)
    with pytest.raises(NotSupportedError, match="cannot be aborted"):
        result.abort()
    with pytest.raises(NotSupportedError, match="cannot be aborted"):
        rc.abort()
    gate.open()
    assert result.get(PATIENCE) is None


def test_it_is_chosen_for_good(rc):
    with pytest.raises(enginery.ClusterError, match="for good"):
        rc.use_scheme("lru")


def test_what_a_dead_engine_took_ends_as_engine_error_and_the_rest_is_done(tmp_path):
    with Cluster(n=3, scheme="pure", profile_dir=tmp_path / "profile_p") as rc:
        lview = rc.load_balanced_view()
        result = lview.map_async(time.sleep, [0.01] * 300)
        assert rc.link.wait(lambda: result.progress > 20, PATIENCE)
        os.kill(rc.cluster.engine_pids[1], signal.SIGKILL)
        assert result.wait(PATIENCE)
        assert 0 < result.failed <= 120
        assert len(result.partial()) == 300 - result.failed
        with pytest.raises(enginery.CompositeError, match="the engine that took it was lost"):
            result.get()
        rc.wait_for_engines(3, timeout=PATIENCE)
        assert lview.map_sync(abs, range(-30, 0)) == list(range(30, 0, -1))


def test_with_one_engine_its_successor_goes_on(tmp_path):
    with Cluster(n=1, scheme="pure", profile_dir=tmp_path / "profile_p") as rc:
        lview = rc.load_balanced_view()
        victim = lview.apply_async(lambda: os.kill(os.getpid(), signal.SIGKILL))
        assert isinstance(victim.exception(PATIENCE), EngineError)
        assert lview.apply_sync(abs, -1) == 1


# --- its ports ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "role", "enters"),
    [
        ("front", "client", True), ("front", "task", True), ("front", "engine", False),
        ("front", "monitor", False), ("back", "engine", True), ("back", "client", False),
        ("back", "task", False),
    ],
)  # fmt: skip
def test_each_end_has_keys_of_its_own(pure, rc, end, role, enters):
    port = farm_port(pure, "engine" if end == "back" else "client")
    file = key_file(pure, role)
    context = sockets.new_context()
    try:
        _socket, monitor = sockets.dealer(context, file.at_port(port))
        event = None
        while not isinstance(event, monitors.Up | monitors.Failed):
            assert monitor.poll(PATIENCE * 1000)
            event = sockets.monitor_event(monitor)
        assert isinstance(event, monitors.Up) is enters
        assert enters or event.kind == "refused"
    finally:
        context.destroy(linger=0)


def key_file(cluster: Cluster, role: str) -> ConnectionFile:
    """The connection file for peers of this role."""
    return cluster.profile.read_file(role, cluster.cluster_id)


def farm_port(cluster: Cluster, role: str) -> int:
    """Where the controller sends peers of this role."""
    context = sockets.new_context()
    try:
        socket, monitor = sockets.dealer(context, key_file(cluster, role))
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        while not isinstance(sockets.monitor_event(monitor), monitors.Up):
            assert monitor.poll(PATIENCE * 1000)
        kind = "engine" if role == "engine" else "client"
        hello = m.Hello(
            PROTOCOL, "0", kind, "control",
            os.urandom(16), os.urandom(16) if kind == "engine" else b"",
        )  # fmt: skip
        assert sockets.send(socket, codec.encode([hello]))
        assert poller.poll(PATIENCE * 1000)
        [welcome, *_] = codec.decode(sockets.recv_frames(socket) or [])
        assert isinstance(welcome, m.Welcome)
        return welcome.farm_port
    finally:
        context.destroy(linger=0)


def test_a_result_that_is_not_acknowledged_yet_keeps_nobody_waiting(rc: Client, gate: Gate) -> None:
    wait = gate.held

    def large() -> bytes:
        wait()
        return bytes(100_000)

    held = [rc[i].apply_async(large) for i in range(3)]
    there = [rc.load_balanced_view().apply_async(abs, -i) for i in range(20)]
    gate.open()
    assert [result.get(30) for result in there] == list(range(20))
    assert all(result.get(30) == bytes(100_000) for result in held)
