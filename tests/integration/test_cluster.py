"""`Cluster` starts, changes and ends a controller and engines, and never leaves any behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from enginery import Client, Cluster, ClusterError, ControllerLost, NoControllerError
from enginery.cluster.process import Process, birth

SOON = 5.0
"""Seconds within which a cluster is gone after its program."""


def processes(*pids: int) -> list[Process]:
    """Handles of processes that run now."""
    return [Process("engine", pid, birth(pid)) for pid in pids]


def pids(cluster: Cluster) -> list[int]:
    """All processes that a cluster tells of."""
    return [cluster.controller_pid, *cluster.engine_pids.values()]


def survivors(watched: Iterable[Process], seconds: float = SOON) -> list[Process]:
    """Those that have not ended in so many seconds."""
    deadline = time.monotonic() + seconds
    return [p for p in watched if not p.wait(max(0.0, deadline - time.monotonic()))]


def run(program: str, profile: Path, **options: object) -> subprocess.Popen[str]:
    """Start a Python program; `PROFILE` in it is the profile directory."""
    code = textwrap.dedent(program).replace("PROFILE", repr(str(profile)))
    script = profile.parent / "program.py"
    script.write_text(code)
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


# --- starting and stopping ------------------------------------------------------------------------


def test_context_manager_gives_a_client_with_all_engines(tmp_path: Path) -> None:
    cluster = Cluster(n=2, profile_dir=tmp_path)
    with cluster as rc:
        there = dict(zip(rc.ids, rc[:].apply_sync(os.getpid), strict=True))
        assert there == cluster.engine_pids
        assert os.getpid() not in pids(cluster)
        running = processes(*pids(cluster))
    assert survivors(running, 0.0) == []
    assert list((tmp_path / "security").iterdir()) == []
    assert list((tmp_path / "pid").iterdir()) == []
    printed = [path.read_text() for path in (tmp_path / "log").glob("*.out")]
    assert all(text.startswith("ipengine: waiting for a controller") for text in printed)  # slow
    assert "has ended" in repr(cluster)
    cluster.stop_cluster_sync()  # again is fine


def test_awaited_forms(tmp_path: Path) -> None:
    async def use() -> list[Process]:
        cluster = Cluster(n=1, profile_dir=tmp_path)
        async with cluster as rc:
            running = processes(*pids(cluster))
            assert await rc[0].apply_async(os.getpid) == running[1].pid
            await cluster.start_engines(1)
            rc.wait_for_engines(2, timeout=10)
            assert len(rc.ids) == 2
            await cluster.signal_engines(signal.SIGINT)
            await cluster.restart_engine(0)
            await cluster.stop_engine(1)
            with await cluster.connect_client() as second:
                assert second.ids == [0]
        return running

    assert survivors(asyncio.run(use()), 0.0) == []


def test_several_in_one_profile(tmp_path: Path) -> None:
    with Cluster(n=1, profile_dir=tmp_path) as a, Cluster(n=1, profile_dir=tmp_path) as b:
        assert a[0].apply_sync(os.getpid) != b[0].apply_sync(os.getpid)


def test_a_client_waits_for_a_cluster_that_is_about_to_start(tmp_path: Path) -> None:
    with pytest.raises(NoControllerError):
        Client(profile_dir=tmp_path, cluster_id="soon", wait=0.05)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(Client, profile_dir=tmp_path, cluster_id="soon", wait=60)
        with (
            Cluster(n=1, profile_dir=tmp_path, cluster_id="soon") as own,
            waiting.result(60) as rc,
        ):
            rc.wait_for_engines(1, timeout=30)
            assert rc[0].apply_sync(os.getpid) == own[0].apply_sync(os.getpid)


def test_activated_outside_ipython_it_ends_again(tmp_path: Path) -> None:
    cluster = Cluster(n=1, profile_dir=tmp_path)
    with pytest.raises(RuntimeError, match="IPython"):
        cluster.start_and_connect_sync(activate=True)
    assert not cluster.running


def test_started_again_after_a_stop(tmp_path: Path) -> None:
    cluster = Cluster(n=1, profile_dir=tmp_path)
    cluster.start_cluster_sync()
    first = cluster.controller_pid
    cluster.stop_cluster_sync()
    old = tmp_path / "log" / "ipcontroller-c0ffee11.log"
    old.touch()
    os.utime(old, (time.time() - 40 * 86400,) * 2)
    with cluster:
        assert cluster.controller_pid != first
    assert not old.exists()  # of another one, forty days ago
    assert (tmp_path / "log" / f"ipcontroller-{cluster.cluster_id}.log").exists()


def test_a_client_keeps_its_cluster(tmp_path: Path) -> None:
    rc = Cluster(n=1, profile_dir=tmp_path).start_and_connect_sync()
    gc.collect()
    engine = rc[0].apply_sync(os.getpid)
    running = processes(engine)
    rc.close()
    del rc
    gc.collect()
    assert survivors(running) == []


def test_engines_have_the_import_path_and_directory_of_the_program(own_cluster: Cluster) -> None:
    with own_cluster.connect_client_sync() as rc:

        def where() -> tuple[list[str], str]:
            import os
            import sys

            return sys.path, os.getcwd()

        path, directory = rc[0].apply_sync(where)
    assert [entry for entry in map(str, sys.path) if entry] == [p for p in path if p in sys.path]
    assert directory == os.getcwd()


# --- engines ------------------------------------------------------------------------------------


def test_engines_come_and_go(own_cluster: Cluster) -> None:
    cluster = own_cluster
    cluster.start_engines_sync(1)
    assert sorted(cluster.engine_pids) == [0, 1, 2]
    stopped = processes(cluster.engine_pids[1])
    cluster.stop_engine_sync(1)
    assert sorted(cluster.engine_pids) == [0, 2]
    assert survivors(stopped) == []
    before = cluster.engine_pids
    cluster.restart_engines_sync([0])
    after = cluster.engine_pids
    assert (after[0] != before[0], after[2]) == (True, before[2])
    cluster.stop_engines_sync()
    assert cluster.engine_pids == {}


def test_a_killed_engine_is_replaced_under_its_id(own_cluster: Cluster) -> None:
    with own_cluster.connect_client_sync() as rc:
        before = own_cluster.engine_pids
        os.kill(before[0], signal.SIGKILL)
        assert rc.link.wait(lambda: 0 in rc.ids and rc.link.engines[0].pid != before[0], 10)
        assert own_cluster.engine_pids[1] == before[1]
        assert rc[0].apply_sync(os.getpid) == own_cluster.engine_pids[0]


def test_a_signal_interrupts_what_runs(own_cluster: Cluster) -> None:
    with own_cluster.connect_client_sync() as rc:

        def sleep(path: str) -> None:
            import pathlib
            import time

            pathlib.Path(path).touch()
            time.sleep(60)

        started = own_cluster.profile.path / "started"
        ar = rc[0].apply_async(sleep, str(started))
        deadline = time.monotonic() + 10
        while not started.exists() and time.monotonic() < deadline:
            ar.wait(0.01)
        own_cluster.signal_engine_sync(0, signal.SIGINT)
        with pytest.raises(Exception, match="KeyboardInterrupt"):
            ar.get(timeout=10)


def test_no_such_engine(own_cluster: Cluster) -> None:
    with pytest.raises(Exception, match="no engine 7 is registered"):
        own_cluster.stop_engine_sync(7)


# --- who it is ----------------------------------------------------------------------------------


def test_from_file(own_cluster: Cluster) -> None:
    same = Cluster.from_file(own_cluster.cluster_file)
    assert same.controller_pid == own_cluster.controller_pid
    assert same.engine_pids == own_cluster.engine_pids
    assert same.client_connection_file == own_cluster.client_connection_file
    with Client(same.client_connection_file) as rc:
        assert len(rc.ids) == 2
    log = own_cluster.profile.log
    name = f"own {own_cluster.cluster_id}"
    assert repr(same) == f"<Cluster {name}: running, local, 2 of 2 engines, log {log}>"
    running = processes(*pids(same))
    same.stop_cluster_sync()
    assert survivors(running, 0.0) == []


def test_from_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no cluster file"):
        Cluster.from_file(tmp_path / "cluster.json")
    (tmp_path / "cluster.json").write_text("{}")
    with pytest.raises(ClusterError, match="is not a cluster file"):
        Cluster.from_file(tmp_path / "cluster.json")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"n": -1}, ValueError, "n is a number of engines and cannot be -1"),
        ({"n": "4"}, ValueError, "n is a number of engines, not '4'"),
        ({"engines": "nosuch"}, ValueError, "engines='nosuch'"),
        ({"cluster_id": "../x"}, ClusterError, "'../x' cannot be a cluster id"),
        ({"profile": "nosuch"}, ClusterError, "there is no profile 'nosuch'"),
    ],
)
def test_what_cannot_be(
    options: dict[str, object],
    error: type[Exception],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    with pytest.raises(error, match=text):
        Cluster(**options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_engines_may_be_of_numpy(tmp_path: Path) -> None:
    assert type(Cluster(n=numpy.int64(4), profile_dir=tmp_path).n) is int


def test_not_running(tmp_path: Path) -> None:
    cluster = Cluster(n=1, profile_dir=tmp_path)
    assert "not running" in repr(cluster)
    with pytest.raises(ClusterError, match="start_cluster_sync"):
        _ = cluster.controller_pid
    cluster.stop_cluster_sync()


# --- what goes wrong ------------------------------------------------------------------------------


def test_the_second_of_one_id_is_refused(own_cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="is running already"):
        own_cluster.start_cluster_sync()
    assert len(own_cluster.engine_pids) == 2
    second = Cluster(n=1, profile_dir=own_cluster.profile.path, cluster_id=own_cluster.cluster_id)
    with pytest.raises(ClusterError) as refused:
        second.start_cluster_sync()
    assert f"(pid {own_cluster.controller_pid})" in str(refused.value)
    assert "--cluster-id" in str(refused.value)
    assert len(own_cluster.engine_pids) == 2
    assert Path(own_cluster.cluster_file).exists()


def test_a_port_in_use(own_cluster: Cluster, tmp_path: Path) -> None:
    with own_cluster.connect_client_sync() as rc:
        port = int(rc.link.file.url.rpartition(":")[2])
    other = Cluster(n=1, profile_dir=tmp_path / "other", client_port=port)
    with pytest.raises(ClusterError, match=f"cannot listen for clients at 127.0.0.1:{port}"):
        other.start_cluster_sync()


@pytest.mark.parametrize("which", ["ipcontroller", "ipengine"])
def test_a_process_that_does_not_start_says_why(tmp_path: Path, which: str) -> None:
    (tmp_path / f"{which}_config.py").write_text("c = get_config()\nc.X = 1 / 0\n")
    cluster = Cluster(n=1, profile_dir=tmp_path)
    with pytest.raises(ClusterError) as failed:
        cluster.start_cluster_sync()
    text = str(failed.value)
    assert "did not start: exit code 2" in text
    assert f"{which}_config.py, line 2: ZeroDivisionError: division by zero" in text
    assert f"-m enginery {which.removeprefix('ip')}" in text
    assert "Traceback" not in text
    assert not cluster.running


def test_configuration_files_of_the_profile(tmp_path: Path) -> None:
    (tmp_path / "ipcontroller_config.py").write_text("get_config().TaskScheduler.hwm = 3\n")
    with Cluster(n=1, profile_dir=tmp_path) as rc:
        assert rc.link.welcome is not None
        assert rc.link.welcome.hwm == 3
    with Cluster(n=1, profile_dir=tmp_path, hwm=5) as rc:
        assert rc.link.welcome is not None
        assert rc.link.welcome.hwm == 5


def test_a_killed_controller_leaves_nothing(tmp_path: Path) -> None:
    cluster = Cluster(n=1, profile_dir=tmp_path)
    cluster.start_cluster_sync()
    running = processes(*pids(cluster))
    os.kill(cluster.controller_pid, signal.SIGKILL)
    cluster.stop_cluster_sync()
    assert survivors(running, 0.0) == []
    assert not Path(cluster.cluster_file).exists()


# --- the end of the program -----------------------------------------------------------------------

STARTS = """
    import os, signal, sys
    from enginery import Cluster
    cluster = Cluster(n=2, profile_dir=PROFILE)
    rc = cluster.start_and_connect_sync()
    print(cluster.controller_pid, *rc[:].apply_sync(os.getpid), flush=True)
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "raise SystemExit(3)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os._exit(0)",
    ],
    ids=["end", "exit", "SIGTERM", "SIGKILL", "_exit"],
)
def test_a_cluster_ends_with_its_program(tmp_path: Path, end: str) -> None:
    # the program waits for us, so that we can look at its processes while they run
    with run(STARTS + "    sys.stdin.readline()\n    " + end, tmp_path, stdin=-1) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stderr is not None
        running = processes(*map(int, program.stdout.readline().split()))
        assert len(running) == 3
        program.stdin.write("\n")
        program.stdin.flush()
        program.wait(10)
        assert survivors(running) == []
        assert program.stdout.read() == ""
        assert program.stderr.read() == ""
    assert not list((tmp_path / "security").iterdir())


def test_a_fork_does_not_stop_its_parents_cluster(tmp_path: Path) -> None:
    program = """
        pid = os.fork()
        if pid == 0:
            del rc, cluster  # as garbage, and at exit
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print(len(cluster.engine_pids), rc[0].apply_sync(lambda: 7))
    """
    with run(textwrap.dedent(STARTS) + textwrap.dedent(program), tmp_path) as forking:
        out, err = forking.communicate(timeout=30)
    assert out.splitlines()[1:] == ["2 7"]
    assert err == ""


def test_a_program_needs_no_guard_and_prints_nothing_of_ours(tmp_path: Path) -> None:
    program = """
        from enginery import Cluster
        k = 10
        with Cluster(n=2, profile_dir=PROFILE) as rc:
            print(rc.load_balanced_view().map_sync(lambda x: x * k, range(3)))
    """
    with run(program, tmp_path) as plain:
        assert plain.communicate(timeout=30) == ("[0, 10, 20]\n", "")


def test_a_cluster_may_outlive_its_program(tmp_path: Path) -> None:
    program = STARTS.replace("profile_dir", "shutdown_atexit=False, profile_dir")
    program += "    print(cluster.cluster_file)\n"
    with run(program, tmp_path) as leaving:
        out, err = leaving.communicate(timeout=30)
    numbers, path = out.splitlines()
    assert err == ""
    left = processes(*map(int, numbers.split()))
    cluster = Cluster.from_file(path)
    try:
        assert all(process.running for process in left)
        with cluster.connect_client_sync() as rc:
            assert rc[0].apply_sync(lambda: 7) == 7
    finally:
        cluster.stop_cluster_sync()
    assert survivors(left, 0.0) == []


def test_clients_know_that_their_cluster_was_stopped(own_cluster: Cluster) -> None:
    clients = [own_cluster.connect_client_sync() for _ in range(3)]
    for rc in clients:
        rc.wait_for_engines(2, timeout=30)
    own_cluster.stop_cluster_sync()
    for rc in clients:
        assert rc.link.ended
        with pytest.raises(ControllerLost, match=r"^the controller has ended: "):
            rc[:].apply_sync(abs, -1)
        rc.close()


def test_the_end_of_a_cluster_is_waited_for(own_cluster: Cluster) -> None:
    assert not own_cluster.wait_for_end(0.1)
    own_cluster.stop_cluster_sync()
    assert own_cluster.wait_for_end(5)


def test_a_cluster_ends_while_its_controller_cannot_be_started_again(tmp_path: Path) -> None:
    cluster = Cluster(n=1, profile_dir=tmp_path)
    cluster.start_cluster_sync()
    (journal,) = (tmp_path / "journal").iterdir()
    os.mkfifo(journal / "999999999999.log")  # whoever opens that waits for ever
    killed = cluster.controller_pid
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while cluster.controller.pid == killed:
        assert time.monotonic() < deadline, "it was not started again"
        time.sleep(0.02)  # there is no event for what another thread starts
    watched = processes(cluster.controller_pid)
    begin = time.monotonic()
    cluster.stop_cluster_sync()
    assert time.monotonic() - begin < 20
    assert survivors(watched) == []
