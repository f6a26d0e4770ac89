"""The commands start, list, extend and stop clusters, alone and together, and say what is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from enginery import Client, Cluster
from enginery.cluster.guard import OFTEN
from enginery.cluster.places import controller_pid
from enginery.cluster.process import Process, birth
from enginery.net.profile import Profile

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory of profiles; what still runs in it after the test is ended."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    yield tmp_path
    for path in tmp_path.glob("profile_*/security/cluster*.json"):
        Cluster.from_file(path).stop_cluster_sync()


def command(*words: str) -> list[str]:
    """A command line: `ipcluster` is found beside this Python, or run through the umbrella."""
    return [sys.executable, "-m", "enginery", *words]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts commands that stay; ends them after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        popen = subprocess.Popen(command(*words), stdout=pipe, stderr=pipe, text=True)
        started.append(popen)
        return popen

    yield start
    for popen in started:
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
        popen.communicate(timeout=15)


def told(popen: subprocess.Popen[str], what: str) -> str:
    """What a command prints up to a line with `what`."""
    assert popen.stdout is not None
    lines = []
    while line := popen.stdout.readline():
        lines.append(line)
        if what in line:
            return "".join(lines)
    raise AssertionError(f"no line with {what!r} in {lines}")


def processes(rc: Client) -> list[Process]:
    """The processes of the cluster of this client."""
    pids = [rc.link.file.pid, *rc[:].apply_sync(os.getpid)]
    return [Process("engine", pid, birth(pid)) for pid in pids]


# --- ipcluster start and stop ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["cluster", "start", "-n", "2"], ["cluster", "-n", "2"], ["cluster", "start", "--n=2"]],
)
def test_start_prints_lines_that_connect_and_ctrl_c_stops_all(
    start: Start, words: list[str], home: Path
) -> None:
    ipcluster = start(*words)
    text = told(ipcluster, "stop it:")
    assert re.match(r"a controller \(pid \d+\) and 2 engines are up after \d+\.\d s;", text)
    assert f"log files:  {home}/profile_default/log\n" in text
    lines = re.findall(r"^    (.*)$", text, re.MULTILINE)
    assert lines == ["import enginery", "rc = enginery.Client()"]
    namespace: dict[str, Client] = {}
    exec("\n".join(lines), namespace)
    with namespace["rc"] as rc:
        running = processes(rc)
    ipcluster.send_signal(signal.SIGINT)
    out, err = ipcluster.communicate(timeout=15)
    assert (ipcluster.returncode, out, err.strip()) == (0, "", "stopping the cluster")
    assert not any(process.running for process in running)


def test_the_terminals_ctrl_c_reaches_no_engine(start: Start) -> None:
    ipcluster = start("cluster", "start", "-n", "1", "--cluster-id=a")
    text = told(ipcluster, "stop it:")
    assert 'Client(cluster_id="a")' in text
    assert "ipcluster stop --cluster-id=a" in text
    with Client(cluster_id="a") as rc:
        sessions = {os.getsid(process.pid) for process in processes(rc)}
    assert os.getsid(0) not in sessions


def test_daemonize_and_stop(home: Path) -> None:
    started = run("cluster", "start", "-n", "2", "--daemonize")
    try:
        assert (started.returncode, started.stderr) == (0, "")
        with Client() as rc:
            running = processes(rc)
        assert len(running) == 3
        second = run("cluster", "start", "-n", "1")
        assert second.returncode == 1
        assert f"is running already (pid {running[0].pid})" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        stopped = run("cluster", "stop")
    assert (stopped.returncode, stopped.stdout) == (0, "cluster default has been stopped\n")
    assert not any(process.running for process in running)
    assert list(Profile().security.iterdir()) == []
    assert run("cluster", "stop").returncode == 3


def test_stop_ends_a_cluster_in_the_foreground(start: Start) -> None:
    ipcluster = start("cluster", "-n", "1")
    told(ipcluster, "stop it:")
    assert run("cluster", "stop").returncode == 0
    out, err = ipcluster.communicate(timeout=15)
    assert (ipcluster.returncode, out, err) == (0, "", "the cluster has been stopped\n")


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT], ids=["nohup", "background"])
def test_a_signal_that_is_to_be_ignored_ends_no_cluster(start: Start, signum: int) -> None:
    before = signal.signal(signum, signal.SIG_IGN)  # which those that are started inherit
    try:
        ipcluster = start("cluster", "-n", "1")
    finally:
        signal.signal(signum, before)
    told(ipcluster, "stop it:")
    ipcluster.send_signal(signum)
    with Client() as rc:
        rc[0].push({"a": 5}, block=True)
        running = processes(rc)
    assert ipcluster.poll() is None
    assert run("cluster", "stop").returncode == 0
    assert ipcluster.communicate(timeout=15)[1] == "the cluster has been stopped\n"
    assert not any(process.running for process in running)


def kill_controller(before: int = 0) -> int:
    """SIGKILL the default controller, once it is another one than `before`; its pid."""
    file = Profile().security / "ipcontroller-client.json"
    deadline = time.monotonic() + 30
    while (pid := json.loads(file.read_text())["pid"]) == before:
        assert time.monotonic() < deadline, "it is not started again"
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return int(pid)


def test_start_lets_a_controller_go_on_that_was_killed(start: Start) -> None:
    ipcluster = start("cluster", "-n", "1")
    told(ipcluster, "stop it:")
    with Client() as rc:
        rc[0].push({"a": 5}, block=True)
        kill_controller()
        assert rc[0].pull("a", block=True) == 5
    assert ipcluster.poll() is None
    assert run("cluster", "stop").returncode == 0
    ipcluster.communicate(timeout=15)
    assert ipcluster.returncode == 0


def stopped_elsewhere(ipcluster: subprocess.Popen[str]) -> None:
    """Stop the default cluster by a command; nobody starts its controller again."""
    found = run("cluster", "stop")
    assert (found.returncode, found.stdout) == (0, "cluster default has been stopped\n")
    _, err = ipcluster.communicate(timeout=15)
    assert ipcluster.returncode == 0
    assert err.endswith("the cluster has been stopped\n")
    assert controller_pid(Profile(), "") is None


def test_stop_ends_a_controller_that_hangs_for_good(start: Start) -> None:
    ipcluster = start("cluster", "-n", "1")
    told(ipcluster, "stop it:")
    with Client() as rc:
        running = processes(rc)
    running[0].signal(signal.SIGSTOP)
    stopped_elsewhere(ipcluster)
    assert not any(process.running for process in running)


def hold_restarts() -> None:
    """Have whoever opens the journal of the default cluster wait for ever."""
    os.mkfifo(Profile().path / "journal" / "default" / "999999999999.log")


def restarting(before: int) -> Process:
    """The default controller that is started in place of `before`, once it has the lock."""
    file = Profile().pid / "ipcontroller.pid"  # looked at only: to try the lock is to take it
    deadline = time.monotonic() + 30
    while (pid := int(file.read_text() or before)) == before:
        assert time.monotonic() < deadline, "it is not started again"
        time.sleep(0.02)  # nothing tells of a lock that another process takes
    return Process("controller", pid, birth(pid))


def test_stop_ends_a_controller_that_is_just_started_again(start: Start) -> None:
    ipcluster = start("cluster", "-n", "1")
    told(ipcluster, "stop it:")
    with Client() as rc:
        running = processes(rc)
    hold_restarts()
    running.append(restarting(before=kill_controller()))
    stopped_elsewhere(ipcluster)
    assert not any(process.running for process in running)


def test_start_says_when_its_controller_dies_again_and_again(start: Start) -> None:
    ipcluster = start("cluster", "-n", "1")
    told(ipcluster, "stop it:")
    pid = 0
    for _ in range(OFTEN + 1):
        pid = kill_controller(before=pid)
    _, err = ipcluster.communicate(timeout=15)
    assert ipcluster.returncode == 1
    assert f"the controller has ended {OFTEN + 1} times in 60 s" in err
    assert "the controller has ended: signal 9 (SIGKILL)" in err


# --- list, engines, clean -------------------------------------------------------------------------


def test_list(home: Path, start: Start) -> None:
    assert run("cluster", "list").stdout.startswith("no cluster is running")
    (home / "profile_gpu").mkdir()
    told(start("cluster", "-n", "2", "--profile=gpu", "--cluster-id=x"), "stop it:")
    table = run("cluster", "list").stdout.splitlines()
    assert table[0].split() == ["profile", "cluster_id", "engines", "pid", "started", "url"]
    assert table[1].split()[:3] == ["gpu", "x", "2"]
    found = json.loads(run("cluster", "list", "-o", "json").stdout)
    assert found["schema"] == 1
    (cluster,) = found["clusters"]
    assert (cluster["profile"], cluster["cluster_id"], cluster["engines"]) == ("gpu", "x", 2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", cluster["started"])


def test_engines_adds_some(start: Start) -> None:
    told(start("cluster", "-n", "1"), "stop it:")
    added = start("cluster", "engines", "-n", "2")
    told(added, "3 engines are there now")
    with Client() as rc:
        assert rc.ids == [0, 1, 2]
        added.send_signal(signal.SIGINT)
        assert added.wait(15) == 0
        assert rc.link.wait(lambda: rc.ids == [0], 10)
        assert run("cluster", "engines", "-n", "1", "--daemonize").returncode == 0
        assert rc.link.wait(lambda: len(rc.ids) == 2, 10)
        running = processes(rc)
    assert run("cluster", "stop").returncode == 0
    assert not any(process.running for process in running)


def test_what_a_killed_controller_leaves(home: Path) -> None:
    assert run("cluster", "start", "-n", "1", "--daemonize").returncode == 0
    with Client() as rc:
        controller, engine = processes(rc)
    controller.signal(signal.SIGKILL)
    assert controller.wait(5)
    assert run("cluster", "engines", "-n", "1").returncode == 3
    security = Profile().security
    left = [*security.glob("ipcontroller-*.json"), *(Profile().path / "journal").iterdir()]
    assert len(left) == 6  # a file of each role, the keys, and the journal
    removed = run("cluster", "clean").stdout.splitlines()
    assert sorted(removed) == sorted(f"removed {path}" for path in left)
    assert run("cluster", "stop").returncode == 0
    assert not engine.running
    stopped = run("cluster", "stop")
    assert (stopped.returncode, "no cluster is running" in stopped.stderr) == (3, True)
    assert run("cluster", "clean").stdout == "nothing to remove\n"
    assert list(security.iterdir()) == []


def test_clean_leaves_a_controller_alone_that_is_just_started_again(start: Start) -> None:
    told(start("cluster", "-n", "1"), "stop it:")
    hold_restarts()
    restarting(before=kill_controller())
    assert run("cluster", "clean").stdout == "nothing to remove\n"
    assert run("cluster", "stop").returncode == 0


def test_clean_leaves_a_controller_by_hand_alone_that_is_just_starting(start: Start) -> None:
    start("controller")
    with Client(wait=30):
        pass
    hold_restarts()
    killed = kill_controller()
    start("controller")
    restarting(before=killed)
    assert run("cluster", "clean").stdout == "nothing to remove\n"
    assert run("cluster", "stop").returncode == 0


# --- by hand ------------------------------------------------------------------------------------


def test_controller_and_engines_by_hand_in_any_order(home: Path, start: Start) -> None:
    early = start("engine")
    controller = start("controller", "--hwm=2")
    late = start("engine", "-n", "2")
    assert early.stderr is not None
    assert f"log directory {home}/profile_default/log" in early.stderr.readline()
    security = Profile().security
    with _connected(security / "ipcontroller-client.json", start) as rc:
        rc.wait_for_engines(3, timeout=30)
        assert len(set(rc[:].apply_sync(os.getpid))) == 3
    assert run("cluster", "stop").returncode == 0
    assert [popen.wait(15) for popen in (controller, early, late)] == [0, 0, 0]


def held(fifo: Path, seconds: float) -> None:
    """Let no other thread of this process run, though there is output to be sent."""
    import ctypes

    fifo.write_text("now")
    print("now")
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # unlike a CDLL, that keeps the GIL


def test_an_engine_that_is_slow_to_wake_hears_that_its_controller_ends(
    start: Start, tmp_path: Path
) -> None:
    controller, engine = start("controller"), start("engine")
    os.mkfifo(fifo := tmp_path / "fifo")
    with _connected(Profile().security / "ipcontroller-client.json", start) as rc:
        rc.wait_for_engines(1, timeout=30)
        rc[0].apply(held, fifo, 0.5)
        assert fifo.read_text() == "now"
        controller.terminate()
        assert [popen.wait(15) for popen in (controller, engine)] == [0, 0]


def test_so_does_one_whose_controller_ends_because_its_owner_was_killed(
    start: Start, tmp_path: Path
) -> None:
    code = (
        "import enginery as en; c = en.Cluster(n=0, cluster_id=''); c.start_cluster_sync(); input()"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    engine = start("engine")
    os.mkfifo(fifo := tmp_path / "fifo")
    with owner, _connected(Profile().security / "ipcontroller-client.json", start) as rc:
        rc.wait_for_engines(1, timeout=30)
        rc[0].apply(held, fifo, 0.5)
        assert fifo.read_text() == "now"
        owner.kill()
        assert engine.wait(15) == 0


def test_stop_ends_one_by_hand_that_goes_on_where_another_was_killed(start: Start) -> None:
    assert run("cluster", "start", "-n", "1", "--daemonize").returncode == 0
    with Client() as rc:
        _, engine = processes(rc)
    kill_controller()
    controller = start("controller")
    with Client(wait=30) as rc:
        rc.wait_for_engines(1, timeout=30)
    assert run("cluster", "stop").returncode == 0
    assert controller.poll() == 0
    assert not engine.running


def test_stop_ends_engines_that_have_not_met_the_controller_by_hand(start: Start) -> None:
    assert run("cluster", "start", "-n", "1", "--daemonize").returncode == 0
    with Client() as rc:
        _, engine = processes(rc)
    above = [process.pid for process in psutil.Process(engine.pid).parents()[:2]]
    nursery, supervisor = (Process("supervisor", pid, birth(pid)) for pid in above)
    for each in (supervisor, nursery, engine):
        each.signal(signal.SIGSTOP)
    kill_controller()
    controller = start("controller")
    with Client(wait=30) as rc:
        rc.wait_for_engines(1, timeout=30)  # which it knows of from its journal
    stop = start("cluster", "stop")
    controller.wait(30)
    for each in (supervisor, nursery, engine):
        each.signal(signal.SIGCONT)
    assert stop.wait(30) == 0
    assert not supervisor.running
    assert not engine.running


def test_a_copied_file_works_from_any_place(home: Path, start: Start, tmp_path: Path) -> None:
    told(start("cluster", "-n", "0"), "stop it:")
    copy = tmp_path / "anything.furl"
    copy.write_bytes((Profile().security / "ipcontroller-engine.json").read_bytes())
    copy.chmod(0o600)
    start("engine", f"--furl-file={copy}")
    with Client() as rc:
        rc.wait_for_engines(1, timeout=30)
        assert rc[0].apply_sync(lambda: 7) == 7


def test_a_controller_for_every_interface_gives_an_address_that_works(home: Path) -> None:
    assert run("cluster", "start", "-n", "1", "--daemonize", "--ip=*").returncode == 0
    with Client() as rc:
        assert "*" not in rc.link.file.url
        assert rc[0].apply_sync(lambda: 7) == 7
    assert run("cluster", "stop").returncode == 0


def test_given_ports_keep_files_valid_over_restarts(home: Path) -> None:
    ports = [f"--{who}-port={free_port()}" for who in ("client", "engine")]
    words = ["cluster", "start", "-n", "1", "--daemonize", *ports]
    client_file = Profile().security / "ipcontroller-client.json"
    keys = []
    for _ in range(2):
        assert run(*words).returncode == 0
        try:
            found = json.loads(client_file.read_text())
            keys.append((found["url"], found["server_key"], found["secret_key"]))
        finally:
            assert run("cluster", "stop").returncode == 0
    assert keys[0] == keys[1]


def test_a_broken_connection_file(home: Path) -> None:
    broken = home / "broken.json"
    broken.write_text("{")
    broken.chmod(0o600)
    found = run("engine", f"--file={broken}")
    assert found.returncode == 1
    assert str(broken) in found.stderr
    assert "Traceback" not in found.stderr


def free_port() -> int:
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _connected(path: Path, start: Start) -> Client:
    """A client of a controller that is just starting."""
    import time

    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)  # nothing tells of a file that another program writes
    return Client(path)
