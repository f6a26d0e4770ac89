"""Nothing hangs on a controller that was killed: every public call that waits comes to an end.

Row E6 of RELIABILITY 7.5. Calls with a timeout keep it; those without say `ControllerLost` once
the controller has been away for too long. The engines end by themselves, too.
"""

from __future__ import annotations

import asyncio
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

TIMEOUT = 1.0
"""Seconds that the calls with a timeout get."""

ASKED = 10.0
"""Seconds that a request gets which says nothing else."""

ENGINES_PATIENCE = 2.0
"""Seconds that the engines are told to wait for a controller that is gone."""

Call = Callable[[Client, Any], Any]
"""A client, and the result of a task that never ends."""

NEVER = 600.0


def sleep(*_: Any) -> None:
    """A task that never ends."""
    time.sleep(NEVER)


def awaited(rc: Client, ar: Any) -> Any:
    """The result, awaited."""

    async def wait() -> Any:
        return await ar

    return asyncio.run(wait())


WITHOUT_TIMEOUT: dict[str, Call] = {
    "ar.get": lambda rc, ar: ar.get(),
    "ar.result": lambda rc, ar: ar.result(),
    "ar.r": lambda rc, ar: ar.r,
    "ar.exception": lambda rc, ar: ar.exception(),
    "ar.get_dict": lambda rc, ar: ar.get_dict(),
    "ar.wait": lambda rc, ar: ar.wait(),
    "ar.wait_for_output": lambda rc, ar: ar.wait_for_output(),
    "ar.display_outputs": lambda rc, ar: ar.display_outputs(),
    "ar.wait_interactive": lambda rc, ar: ar.wait_interactive(),
    "await ar": awaited,
    "ar[0]": lambda rc, ar: ar[0],
    "for value in ar": lambda rc, ar: list(ar),
    "rc.wait": lambda rc, ar: rc.wait(),
    "rc.wait(ar)": lambda rc, ar: rc.wait(ar),
    "rc.get_result": lambda rc, ar: rc.get_result(ar, block=True),
    "rc.wait_for_engines": lambda rc, ar: rc.wait_for_engines(99),
    "view.apply_sync": lambda rc, ar: rc[0].apply_sync(sleep),
    "view.map_sync": lambda rc, ar: rc[:].map_sync(sleep, range(4)),
    "view.execute": lambda rc, ar: rc[:].execute("pass", block=True),
    "view.push": lambda rc, ar: rc[:].push({"a": 1}, block=True),
    "view.pull": lambda rc, ar: rc[:].pull("a", block=True),
    "view[name]": lambda rc, ar: rc[0]["a"],
    "view.scatter": lambda rc, ar: rc[:].scatter("a", range(4), block=True),
    "view.gather": lambda rc, ar: rc[:].gather("a", block=True),
    "lview.apply_sync": lambda rc, ar: rc[None].apply_sync(sleep),
    "lview.map_sync": lambda rc, ar: rc[None].map_sync(sleep, range(4)),
    "lview.map_lazy": lambda rc, ar: list(rc[None].imap(sleep, range(4))),
    "lview.reduce": lambda rc, ar: rc[None].reduce(sleep, range(4)),
}
"""Calls that wait until something is done that will never be done."""

WITH_THE_SAME_CLIENT = ["second thread", "third thread"]
"""Threads that wait with the client that "ar.get" waits with."""

WITH_TIMEOUT: dict[str, Call] = {
    "ar.get": lambda rc, ar: ar.get(TIMEOUT),
    "ar.wait": lambda rc, ar: ar.wait(TIMEOUT),
    "ar.exception": lambda rc, ar: ar.exception(TIMEOUT),
    "ar.get_dict": lambda rc, ar: ar.get_dict(TIMEOUT),
    "ar.wait_for_output": lambda rc, ar: ar.wait_for_output(TIMEOUT),
    "ar.wait_for_send": lambda rc, ar: ar.wait_for_send(TIMEOUT),
    "ar.wait_interactive": lambda rc, ar: ar.wait_interactive(timeout=TIMEOUT),
    "rc.wait": lambda rc, ar: rc.wait(timeout=TIMEOUT),
    "rc.wait_for_engines": lambda rc, ar: rc.wait_for_engines(99, timeout=TIMEOUT),
    "rc.shutdown": lambda rc, ar: rc.shutdown(timeout=TIMEOUT),
    "repr(rc)": lambda rc, ar: repr(rc),
    "Client(timeout=)": lambda rc, ar: Client(rc.cluster.client_connection_file, timeout=TIMEOUT),
}
"""Calls that were given a second, or take no more."""

REQUESTS: dict[str, Call] = {
    "ar.abort": lambda rc, ar: ar.abort(),
    "ar.cancel": lambda rc, ar: ar.cancel(),
    "rc.abort": lambda rc, ar: rc.abort(),
    "rc.abort(id)": lambda rc, ar: rc.abort("nobody-1"),
    "rc.get_result(id)": lambda rc, ar: rc.get_result("nobody-1"),
    "rc.queue_status": lambda rc, ar: rc.queue_status(),
    "rc.clear": lambda rc, ar: rc.clear(),
    "rc.send_signal": lambda rc, ar: rc.send_signal("SIGINT"),
    "rc.shutdown": lambda rc, ar: rc.shutdown(block=False),
    "rc.shutdown(hub)": lambda rc, ar: rc.shutdown(hub=True),
    "cluster.engine_pids": lambda rc, ar: rc.cluster.engine_pids,
    "cluster.restart_engines": lambda rc, ar: rc.cluster.restart_engines_sync([0]),
}
"""What the controller is asked."""


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
    cluster = Cluster(n=2, profile_dir=profile)
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
    assert end.seconds < TIMEOUT + 1
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
    cluster = Cluster(n=2, profile_dir=profile, cluster_id="again", **ports)  # type: ignore[arg-type]
    options = [f"--{name.replace('_', '-')}={port}" for name, port in ports.items()]
    options += [f"--profile-dir={profile}", "--cluster-id=again"]
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


def test_what_a_controller_knew_is_lost_with_it_and_told(tmp_path: Path) -> None:
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
