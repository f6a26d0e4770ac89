"""Nothing hangs on a controller that was killed: every public call that waits comes to an end.

Row E6 of RELIABILITY 7.5. Calls with a timeout keep it; those without say `ControllerLost` once
the controller has been away for too long. The engines end by themselves, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import enginery
from enginery import Client, Cluster, ControllerLost, NoControllerError
from enginery.client.link import PATIENCE
from enginery.cluster.process import Process, birth

from .calls import (
    AS_ANOTHER,
    ASKED,
    CLASSES,
    LOCAL,
    NEVER,
    REQUESTS,
    TIMEOUT,
    WITH_THE_SAME_CLIENT,
    WITH_TIMEOUT,
    WITHOUT_TIMEOUT,
    Call,
    sleep,
)  # fmt: skip

ENGINES_PATIENCE = 2.0
"""Seconds that the engines are told to wait for a controller that is gone."""


CONTROL = "time.sleep"
"""What shows how much later than it should anything ends here, with so many threads at a time."""


class End(NamedTuple):
    """How a call ended, and after how many seconds from the kill, or from its beginning."""

    seconds: float
    given: Any
    raised: BaseException | None


class Waiter(threading.Thread):
    """One call, with a client of its own unless one is given."""

    def __init__(self, cluster: Cluster, call: Call, client: Client | None = None) -> None:
        super().__init__(daemon=True)
        self.client = client or cluster.connect_client_sync()
        self.client.wait_for_engines(2)
        self.result = self.client[:].apply_async(sleep)
        self.call = call
        self.given: Any = None
        self.raised: BaseException | None = None
        self.begins = threading.Event()
        self.begun = self.ended = 0.0

    def run(self) -> None:
        self.begun = time.monotonic()
        self.begins.set()
        try:
            self.given = self.call(self.client, self.result)
        except BaseException as error:  # told to the test
            self.raised = error
        self.ended = time.monotonic()

    def end(self, since: float, patience: float) -> End | None:
        """How it ended; None when it still waits at the end of patience."""
        self.join(max(0.0, since + patience - time.monotonic()))
        if not self.ended:
            return None
        return End(self.ended - max(self.begun, since), self.given, self.raised)


class Scene(NamedTuple):
    """What was seen when the controller was killed."""

    waiting: dict[str, End | None]  # calls that waited already
    timed: dict[str, End | None]  # calls that began afterwards
    requests: dict[str, End | None]
    closing: dict[str, float]
    survivors: list[Process]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Kill a controller for which all those calls wait, and make the others then."""
    profile = tmp_path_factory.mktemp("gone") / "profile_gone"
    profile.mkdir()
    config = f"get_config().IPEngine.patience = {ENGINES_PATIENCE}\n"
    (profile / "ipengine_config.py").write_text(config)
    cluster = Cluster(n=2, profile_dir=profile, restart_controller=False)
    cluster.start_cluster_sync()
    try:
        return play(cluster)
    finally:
        cluster.stop_cluster_sync()


def play(cluster: Cluster) -> Scene:
    waiting = {name: Waiter(cluster, call) for name, call in WITHOUT_TIMEOUT.items()}
    shared = waiting["ar.get"].client
    waiting |= {
        name: Waiter(cluster, lambda rc, ar: ar.get(), shared) for name in WITH_THE_SAME_CLIENT
    }
    timed = {name: Waiter(cluster, call) for name, call in WITH_TIMEOUT.items()}
    timed[CONTROL] = Waiter(cluster, lambda rc, ar: time.sleep(TIMEOUT))
    requests = {name: Waiter(cluster, call) for name, call in REQUESTS.items()}
    idle = Waiter(cluster, lambda rc, ar: None)
    everyone = [*waiting.values(), *timed.values(), *requests.values(), idle]
    engines = [Process("engine", pid, birth(pid)) for pid in cluster.engine_pids.values()]
    supervisors = [p for p in cluster.processes if p.what == "engine"]
    for waiter in waiting.values():
        waiter.start()
        assert waiter.begins.wait(10)
    os.kill(cluster.controller_pid, signal.SIGKILL)
    assert cluster.controller.wait(10)
    killed = time.monotonic()
    for waiter in (*timed.values(), *requests.values()):
        waiter.start()
    closing = {"of a client that never waited": seconds(idle.client.close)}
    patience = PATIENCE + 10
    ends = [
        {name: waiter.end(killed, patience) for name, waiter in waiters.items()}
        for waiters in (waiting, timed, requests)
    ]
    for name, waiter in waiting.items():
        closing[f"after {name}"] = seconds(waiter.client.close)
    for waiter in everyone:
        waiter.client.close()
        waiter.client.cluster = None
    left = [process for process in (*engines, *supervisors) if not process.wait(1.0)]
    return Scene(*ends, closing, left)


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


@pytest.mark.parametrize("kind", CLASSES)
def test_each_public_call_has_its_row(kind: str) -> None:
    public = {name for name in dir(CLASSES[kind]) if not name.startswith("_")}
    rows = {*WITHOUT_TIMEOUT, *WITH_TIMEOUT, *REQUESTS}
    named = {row.split("(")[0] for row in (*rows, *AS_ANOTHER)}
    waiting = {row.partition(".")[2] for row in named if row.startswith(f"{kind}.")}
    assert public - waiting - LOCAL[kind] == set()
    assert set(AS_ANOTHER.values()) <= rows


@pytest.mark.parametrize("name", [*WITHOUT_TIMEOUT, *WITH_THE_SAME_CLIENT])
def test_a_call_without_timeout_says_that_the_controller_is_lost(scene: Scene, name: str) -> None:
    end = scene.waiting[name]
    assert end is not None, "it hangs"
    assert end.seconds < PATIENCE + 2
    assert isinstance(end.raised, ControllerLost)


@pytest.mark.parametrize("name", WITH_TIMEOUT)
def test_a_timeout_is_kept(scene: Scene, name: str) -> None:
    end = scene.timed[name]
    assert end is not None, "it hangs"
    control = scene.timed[CONTROL]
    assert control is not None
    assert end.seconds < TIMEOUT + 1 + 2 * (control.seconds - TIMEOUT)
    if name == "ar.wait_for_send":  # no memory of the caller's is under way
        assert end.given is True
    elif end.raised is None:
        assert end.given is False or "has not answered" in end.given or "lost" in end.given
    else:
        assert isinstance(end.raised, enginery.TimeoutError | NoControllerError)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_given_up(scene: Scene, name: str) -> None:
    end = scene.requests[name]
    assert end is not None, "it hangs"
    assert end.seconds < ASKED + 1
    if name == "rc.shutdown(hub)":  # it has what it wanted
        assert end.raised is None
    else:
        assert isinstance(end.raised, enginery.TimeoutError | NoControllerError)


def test_the_texts(scene: Scene) -> None:
    lost = scene.waiting["ar.get"]
    assert lost is not None
    first, *rest = str(lost.raised).splitlines()
    assert first.startswith("no connection to the controller at tcp://127.0.0.1:")
    assert first.endswith(" for 10 s")
    assert rest == ["  What had been submitted may still run there; waiting again is possible."]


def test_closing_is_quick(scene: Scene) -> None:
    assert {why: s for why, s in scene.closing.items() if s > 1.0} == {}


def test_closing_does_not_wait_for_a_controller_that_dies_meanwhile(own_cluster: Cluster) -> None:
    rc = own_cluster.connect_client_sync()
    rc.wait_for_engines(1)
    os.kill(own_cluster.controller_pid, signal.SIGSTOP)
    rc[None].apply_async(sleep)  # nobody accepts it
    closing = threading.Thread(target=rc.close, daemon=True)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    os.kill(own_cluster.controller_pid, signal.SIGKILL)
    assert own_cluster.controller.wait(10)
    closing.join(3.0)  # it would take 5 if it waited
    assert not closing.is_alive()


def test_a_controller_that_ends_before_its_answer_has_left_has_ended(own_cluster: Cluster) -> None:
    rc = own_cluster.connect_client_sync()
    rc.wait_for_engines(1)
    os.kill(own_cluster.controller_pid, signal.SIGSTOP)
    ending = threading.Thread(target=lambda: rc.shutdown(hub=True, timeout=60), daemon=True)
    ending.start()
    ending.join(0.2)
    assert ending.is_alive()
    os.kill(own_cluster.controller_pid, signal.SIGKILL)
    assert own_cluster.controller.wait(10)
    ending.join(5.0)  # it would take 10 if it waited, and fail
    assert not ending.is_alive()
    assert repr(rc).endswith(": closed>")


def test_engines_and_their_supervisor_end_by_themselves(scene: Scene) -> None:
    assert scene.survivors == []


# --- it comes back -------------------------------------------------------------------------------


def test_who_waits_finds_a_controller_again_that_was_frozen(own_cluster: Cluster) -> None:
    with own_cluster.connect_client_sync() as rc:
        link, given = rc.link, []
        result = rc[None].map_async(time.sleep, [0.1] * 10)
        waiter = threading.Thread(target=lambda: given.extend(result.get()), daemon=True)
        waiter.start()
        controller = own_cluster.controller_pid
        os.kill(controller, signal.SIGSTOP)
        try:
            with link.changed:
                assert link.changed.wait_for(lambda: link.lost_since is not None, 15)
        finally:
            os.kill(controller, signal.SIGCONT)
        waiter.join(PATIENCE)
        assert given == [None] * 10
        assert link.lost_since is None


@contextlib.contextmanager
def lasting_cluster(profile: Path) -> Iterator[tuple[Client, Callable[[], Any]]]:
    """A client, and a function that kills the controller and gives a process that replaces it."""
    ports = {"client_port": free_port(), "engine_port": free_port()}
    settings: dict[str, Any] = ports | {"cluster_id": "again", "journal": "none"}
    cluster = Cluster(n=2, profile_dir=profile, **settings)
    options = [f"--{name.replace('_', '-')}={port}" for name, port in ports.items()]
    options += [f"--profile-dir={profile}", "--cluster-id=again", "--journal=none"]
    command = [sys.executable, "-m", "enginery", "controller", *options]
    with contextlib.ExitStack() as stack:
        rc = stack.enter_context(cluster)

        def replace() -> None:
            os.kill(cluster.controller_pid, signal.SIGKILL)
            assert cluster.controller.wait(10)
            second = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            stack.callback(second.wait, 10)
            stack.callback(second.terminate)

        yield rc, replace


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_without_a_journal_what_a_controller_knew_is_lost_with_it_and_told(tmp_path: Path) -> None:
    with lasting_cluster(tmp_path / "profile_again") as (rc, replace):
        result = rc[None].map_async(time.sleep, [0, NEVER, NEVER, NEVER])
        assert rc.link.wait(lambda: result.progress == 1, 10)  # so all of it is accepted
        replace()
        error = result.exception(15)
        assert str(error).splitlines() == [
            "3 of 4 items of map(sleep) failed",
            "  [map] EngineError: was lost: the controller was restarted   ×3 (items 1, 2, 3)",
        ]
        rc.wait_for_engines(2, timeout=10)


def test_a_controller_that_was_restarted_goes_on_with_the_engines(tmp_path: Path) -> None:
    with lasting_cluster(tmp_path / "profile_again") as (rc, replace):
        for i in range(40):  # so that the engines were told that their results have arrived
            assert rc[:].apply_sync(abs, -i) == [i, i]
        replace()
        assert rc[None].map_async(abs, [-7, -8]).get(5) == [7, 8]
