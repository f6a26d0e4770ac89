"""What user code may do to the process it runs in, and what the cluster makes of it (row F8)."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enginery import Client, Cluster, EngineError, RemoteError
from tests.gate import Gate

SOON = 30.0
"""Seconds that any of it may take, on a busy machine."""

HEARTBEAT = 5.0
"""Seconds of silence after which a peer is given up (`net/sockets.py`)."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of two engines; what a test does to them is made good before the next."""
    with Cluster(n=2, profile_dir=tmp_path_factory.mktemp("user") / "profile_user") as rc:
        yield rc


@pytest.fixture
def rc(two: Client) -> Client:
    """The same, with both engines there."""
    two.wait_for_engines(2, timeout=SOON)
    return two


def life(rc: Client, engine: int) -> str:
    """The name of this life of an engine."""
    return rc.link.engines[engine].incarnation


def run(rc: Client, f: Any, *args: Any) -> Any:
    """The value of a call on engine 0, which lives on with nothing changed."""
    before = life(rc, 0)
    value = rc[0].apply_async(f, *args).get(SOON)
    assert rc[0].apply_async(os.getpid).get(SOON) == rc.link.engines[0].pid
    assert life(rc, 0) == before
    return value


def die(rc: Client, f: Any, *args: Any) -> EngineError:
    """The error of a call that ends engine 0; a new one takes its place, the other one goes on."""
    before, other = life(rc, 0), life(rc, 1)
    with pytest.raises(EngineError) as caught:
        rc[0].apply_async(f, *args).get(SOON)
    assert rc.link.wait(lambda: 0 in rc.link.engines and life(rc, 0) != before, 10)
    assert rc[:].apply_async(os.getpid).get(SOON) == [rc.link.engines[i].pid for i in (0, 1)]
    assert life(rc, 1) == other
    return caught.value


# --- it does not give way ------------------------------------------------------------------------


def test_an_engine_that_holds_its_gil_is_not_given_up(rc: Client, gate: Gate) -> None:
    def hold(path: bytes) -> None:  # with the GIL, until somebody opens the other end
        os.close(ctypes.PyDLL(None).open(path, os.O_RDONLY))

    before = life(rc, 0)
    held = rc[0].apply_async(hold, bytes(gate.path))
    assert rc[1].apply_sync(lambda: "goes on") == "goes on"
    assert not held.wait(HEARTBEAT + 1)  # both sides would have noticed by now
    assert life(rc, 0) == before
    gate.open()
    assert held.get(SOON) is None
    assert held.metadata.attempt == 1
    assert life(rc, 0) == before


def test_an_interrupt_waits_for_the_gil_and_then_hits(rc: Client) -> None:
    def hold(path: str) -> None:
        Path(path).touch()
        ctypes.PyDLL(None).usleep(300_000)
        time.sleep(60)

    begun = Path(rc.cluster.profile.path / "begun")
    held = rc[0].apply_async(hold, str(begun))
    rc.link.wait(begun.exists, 0.2)
    held.abort(running=True)
    assert held.wait(SOON)
    assert run(rc, lambda: "next") == "next"


# --- it ends the process -------------------------------------------------------------------------


def test_exit_at_once(rc: Client) -> None:
    error = die(rc, lambda: os._exit(3))
    assert str(error) == "engine 0 died while running apply(<lambda>): it ended with exit code 3"
    assert error.facts["started"]


def test_exit_at_once_with_zero(own_cluster: Cluster) -> None:
    with own_cluster.connect_client_sync() as rc:
        error = die(rc, lambda: os._exit(0))
        assert str(error).endswith("died while running apply(<lambda>): it ended with exit code 0")


def test_a_segmentation_fault(rc: Client) -> None:
    error = die(rc, lambda: ctypes.string_at(0))
    assert str(error).endswith("apply(<lambda>): killed by signal 11 (SIGSEGV)")


def test_all_descriptors_are_closed(rc: Client) -> None:
    error = die(rc, lambda: os.closerange(3, 1000))
    assert str(error).startswith("engine 0 died while running apply(<lambda>): ")


# --- it only fails -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, 0, 4, "words"])
def test_sys_exit_is_a_failure_of_the_task_only(rc: Client, code: Any) -> None:
    before = life(rc, 0)
    with pytest.raises(RemoteError) as caught:
        rc[0].apply_async(sys.exit, code).get(SOON)
    assert caught.value.ename == "SystemExit"
    assert caught.value.evalue == ("" if code is None else str(code))
    assert run(rc, lambda: 1) == 1
    assert life(rc, 0) == before


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, BaseException])
def test_what_is_no_exception_is_told_all_the_same(rc: Client, kind: Any) -> None:
    def fail() -> None:
        raise kind("no exception")

    before = life(rc, 0)
    with pytest.raises(RemoteError, match="no exception"):
        rc[0].apply_async(fail).get(SOON)
    assert run(rc, lambda: 1) == 1
    assert life(rc, 0) == before


def test_endless_recursion(rc: Client) -> None:
    def deep(n: int) -> int:
        return deep(n + 1)

    before = life(rc, 0)
    with pytest.raises(RecursionError):
        rc[0].apply_async(deep, 0).get(SOON)
    assert life(rc, 0) == before


# --- it makes other processes --------------------------------------------------------------------


def fork(child: Any) -> int:
    """Fork; what the child's end was."""
    pid = os.fork()
    if pid == 0:
        child()
        return -1  # goes on as if it were the engine
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_that_ends_by_itself(rc: Client) -> None:
    assert run(rc, fork, lambda: os._exit(7)) == 7


def test_a_fork_that_returns_is_no_second_engine(rc: Client) -> None:
    assert run(rc, fork, lambda: None) == 0


def test_a_fork_that_raises_is_no_second_engine(rc: Client) -> None:
    assert run(rc, fork, lambda: 1 / 0) == 1


def test_a_fork_that_is_terminated_takes_nobody_with_it(rc: Client) -> None:
    """As by `multiprocessing`, which ends its pools so."""

    def terminate() -> Any:
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        process.start()
        process.terminate()
        process.join(10)
        return process.exitcode

    assert run(rc, terminate) == -signal.SIGTERM


def test_a_pool_of_forks(rc: Client) -> None:
    def squares() -> list[float]:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(float, range(20))

    assert run(rc, squares) == list(range(20))


# --- it writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 10_000])
def test_a_megabyte_of_output_arrives(rc: Client, lines: int) -> None:
    def write(line: str, lines: int) -> str:
        for _ in range(lines):
            print(line)
        return "written"

    line = "x" * (1_000_000 // lines - 1)
    result = rc[0].apply_async(write, line, lines)
    assert result.get(SOON) == "written"
    assert result.wait_for_output(SOON)
    assert result.stdout == f"{line}\n" * lines
    assert result.stderr == ""


def test_closed_streams_stay_open(rc: Client) -> None:
    def close() -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.close()
        os.close(1)
        os.close(2)

    run(rc, close)
    result = rc[0].apply_async(lambda: print("still heard"))
    result.get(SOON)
    assert result.wait_for_output(SOON)
    assert result.stdout == "still heard\n"


def test_a_thread_that_writes_after_its_task(rc: Client) -> None:
    def leave_a_thread() -> None:
        stop = threading.Event()
        sys.modules["__main__"].stop = stop  # type: ignore[attr-defined]

        def write() -> None:
            while not stop.wait(0.001):
                print("on and on")

        threading.Thread(target=write, daemon=True).start()

    run(rc, leave_a_thread)
    assert rc[0].apply_async(lambda: 7).get(SOON) == 7
    rc[0].execute("stop.set()", block=True)
