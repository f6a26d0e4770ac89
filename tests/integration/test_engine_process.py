"""Engines as processes: how they find their controller, are interrupted, killed and ended."""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import enginery
from enginery import Client, Reference
from enginery.core.messages import Query

LONG = 60.0
"""Seconds that nothing here should ever take."""


class Host:
    """Processes started by hand, as a user does, in one profile."""

    def __init__(self, profile: Path) -> None:
        self.profile = profile
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, what: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "enginery", what, f"--profile-dir={self.profile}"]
        errors = subprocess.PIPE if what == "engine" else None
        process = subprocess.Popen([*command, *options], stderr=errors, text=True)
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def client(self, engines: int):
        path = self.profile / "security" / "ipcontroller-client.json"
        until(path.exists)
        with Client(path) as client:
            client.wait_for_engines(engines, timeout=LONG)
            yield client

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        stuck = []
        for process in self.processes:
            with process:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    stuck.append(process.args)
                    process.kill()
        assert not stuck


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path / "profile_host")
    yield host
    host.stop()


def until(condition):
    """Wait for something that no event tells."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def line_of(process, text):
    """The line that the process writes to stderr with this text in it; waits for it."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if select.select([process.stderr], [], [], 1)[0]:
            line = process.stderr.readline()
            if text in line:
                return line
            assert line, f"it ended with {process.wait()} and without {text!r}"
    raise AssertionError(f"{text!r} never came")


def gone(*pids):
    """Wait until these processes have ended."""
    until(lambda: not any(map(alive, pids)))


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sleep():
    """A task that says when it runs."""
    print("begun")
    time.sleep(LONG)


def nursery_of(supervisor):
    (child,) = psutil.Process(supervisor.pid).children()
    return child


# --- finding the controller -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_engines_that_start_first_wait_and_join(host, options):
    engine = host.start("engine", *options)
    line = line_of(engine, "waiting for a controller")
    assert str(host.profile / "security" / "ipcontroller-engine.json") in line
    host.start("controller")
    engines = 2 if options else 1
    with host.client(engines) as rc:
        assert rc[:].apply_sync(lambda: 41 + 1) == [42] * engines


def test_an_engine_alone_is_the_process_that_was_started(host):
    host.start("controller")
    engine = host.start("engine")
    with host.client(1) as rc:
        assert rc[0].apply_sync(os.getpid) == engine.pid
        engine.terminate()
        until(lambda: len(rc) == 0)
    assert engine.wait(LONG) == -signal.SIGTERM


@pytest.mark.parametrize("options", [(), ("-n", "1")])
def test_nobody_waits_for_ever(host, options):
    engine = host.start("engine", "--timeout=0.2", *options)
    assert engine.wait(LONG) == 3
    text = engine.stderr.read()
    assert "no controller within 0.2 s: looked for" in text
    assert "ipcontroller" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("options", [(), ("-n", "1")])
def test_a_file_that_others_can_read_is_refused(host, options):
    security = host.profile / "security"
    security.mkdir(mode=0o700, parents=True)
    (security / "ipcontroller-engine.json").write_text("{}")
    (security / "ipcontroller-engine.json").chmod(0o644)
    engine = host.start("engine", *options)
    assert engine.wait(LONG) == 1
    text = engine.stderr.read()
    assert "ipcontroller-engine.json" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_stale_file_is_waited_out(host, tmp_path, options):
    """The file names a controller that is gone; the next one writes it anew."""
    old = host.start("controller")
    stale = host.profile / "security" / "ipcontroller-engine.json"
    until((stale.parent / "ipcontroller-monitor.json").exists)  # the last one
    kept = tmp_path / "kept.json"
    shutil.copy(stale, kept)
    old.kill()
    old.wait()
    kept.rename(stale)
    (stale.parent / "ipcontroller-client.json").unlink()
    engine = host.start("engine", *options)
    assert "no answer" in line_of(engine, "waiting for a controller")
    host.start("controller")
    engines = 2 if options else 1
    with host.client(engines) as rc:
        assert rc[:].apply_sync(lambda: 1) == [1] * engines


# --- interrupting, asking, clearing ---------------------------------------------------------------


def test_an_interrupt_reaches_the_code_that_runs_and_nothing_else(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=LONG)
        view = rc[0]
        view.push({"a": 1}, block=True)
        running = view.apply_async(time.sleep, LONG)
        after = view.apply_async(abs, Reference("a"))
        while not running.ready():
            rc.send_signal(signal.SIGINT, 0)
            running.wait(0.2)
        with pytest.raises(enginery.RemoteError, match="KeyboardInterrupt"):
            running.get()
        assert after.get(LONG) == 1
        rc.send_signal(signal.SIGINT, 0)  # idle: it does not care
        assert view["a"] == 1


def test_a_busy_engine_answers_and_is_cleared_before_the_next_task(own_cluster, gate):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=LONG)
        view = rc[0]
        view.push({"a": 1}, block=True)

        running = view.execute(f"print('begun'); open({str(gate.path)!r}).close(); a")
        until(lambda: "begun" in running.stdout)
        rc.clear(0)
        after = view.apply_async(abs, Reference("a"))
        assert not running.ready()
        gate.open()
        assert running.get(LONG).result == "1"
        with pytest.raises(NameError):
            after.get(LONG)


def test_exit_in_user_code_fails_the_task_and_not_the_engine(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=LONG)
        pid = rc[0].apply_sync(os.getpid)
        with pytest.raises(enginery.RemoteError, match="SystemExit"):
            rc[0].apply_sync(sys.exit, 3)
        with pytest.raises(enginery.RemoteError, match="SystemExit"):
            rc[0].execute("raise SystemExit(3)").get()
        assert rc[0].apply_sync(os.getpid) == pid


def test_the_interpreter_is_a_full_ipython(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=LONG)
        view = rc[0]
        reply = view.execute("import asyncio\nawait asyncio.sleep(0, 'slept')").get()
        assert reply.result == "'slept'"
        shell = view.execute("!echo from the shell")
        shell.get()
        shell.wait_for_output(LONG)
        assert shell.stdout.splitlines() == ["from the shell"]
        with pytest.raises(ZeroDivisionError) as caught:
            view.execute("x = 1\n1 / 0").get()
        assert 'File "<In [3]>", line 2' in caught.value.traceback
        assert "IPython" not in caught.value.traceback


# --- output ---------------------------------------------------------------------------------------


def test_output_arrives_while_the_task_runs_and_all_of_it_in_order(own_cluster, gate):
    lines, held = 200_000, gate.held

    def talk():
        print("first")
        held()
        for i in range(lines):
            print(i)

    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=LONG)
        talking = rc[0].apply_async(talk)
        until(lambda: talking.stdout == "first\n")
        assert not talking.ready()
        gate.open()
        talking.get(LONG)
        talking.wait_for_output(LONG)
        assert talking.stdout == "first\n" + "".join(f"{i}\n" for i in range(lines))


# --- ends -----------------------------------------------------------------------------------------


def test_a_killed_engine_is_told_with_its_signal_and_replaced_in_its_place(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=LONG)
        pids = rc[:].apply_sync(os.getpid)
        with pytest.raises(enginery.EngineError, match=r"signal 9 \(SIGKILL\)"):
            rc[1].apply_sync(lambda: os.kill(os.getpid(), signal.SIGKILL))
        until(lambda: own_cluster.engine_pids.get(1, pids[1]) != pids[1] and rc.ids == [0, 1])
        assert rc[0].apply_sync(os.getpid) == pids[0]
        assert rc[1].apply_sync(os.getpid) == own_cluster.engine_pids[1]
        with pytest.raises(enginery.EngineError, match="exit code 7"):
            rc[1].apply_sync(os._exit, 7)


@pytest.fixture
def small_group():
    """A memory control group that holds 200 MB."""
    group = Path(f"/sys/fs/cgroup/memory/enginery-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control groups (version 1) to be had here")
    (group / "memory.limit_in_bytes").write_text(str(200 << 20))
    yield group
    until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_an_engine_that_the_kernel_killed_for_memory_is_told_so(own_cluster, small_group):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=LONG)

        def take_all(group):
            (group / "cgroup.procs").write_text(str(os.getpid()))
            return len(bytearray(1 << 30))

        with pytest.raises(enginery.EngineError) as caught:
            rc[0].apply_sync(take_all, small_group)
        assert caught.value.facts["oom"] is True
        assert caught.value.facts["memory"] > 100 << 20


def test_an_engine_in_a_group_with_a_limit_says_how_much_it_had(own_cluster, small_group):
    entering = f'echo $$ > {small_group}/cgroup.procs; exec "$@"'
    command = [sys.executable, "-m", "enginery", "engine", "-n", "1"]
    options = [
        f"--profile-dir={own_cluster.profile.path}",
        f"--cluster-id={own_cluster.cluster_id}",
    ]
    sh = ["sh", "-c", entering, "sh", *command, *options]
    supervisor = subprocess.Popen(sh, stderr=subprocess.PIPE)
    try:
        with own_cluster.connect_client_sync() as rc:
            rc.wait_for_engines(3, timeout=LONG)
            with pytest.raises(enginery.EngineError) as caught:
                rc[2].apply_sync(lambda: len(bytearray(1 << 30)))
            text = str(caught.value) + "".join(caught.value.__notes__)
            assert re.search(r"memory \d+\.\d MB of 209\.7 MB", text)
            assert "The kernel killed it for memory." in text
            rc.wait_for_engines(3, timeout=LONG)
            assert rc[2].apply_sync(abs, -1) == 1
            [warning] = rc.link.ask(Query(0, "warnings"))
            assert warning["fields"]["oom"] is True
            usage = rc.link.ask(Query(0, "usage"))["answers"]
            assert usage[2]["memory_limit"] == 200 << 20
    finally:
        supervisor.terminate()
        supervisor.communicate(timeout=LONG)


def test_what_user_code_left_running_ends_with_its_engine(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=LONG)

        def leave_something():
            return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid

        pid = rc[0].apply_sync(leave_something)
        with pytest.raises(enginery.EngineError):
            rc[0].apply_sync(os._exit, 1)
        gone(pid)


def test_engines_have_a_session_of_their_own_and_none_of_their_parents_files(host):
    host.start("controller")
    supervisor = host.start("engine", "-n", "2")
    with host.client(2) as rc:

        def about():
            files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1]]
            return os.getsid(0), os.getpid(), os.getppid(), sys.argv, sorted(files)

        told = rc[:].apply_sync(about)
        nursery = nursery_of(supervisor)
        for session, pid, parent, argv, files in told:
            assert (session, parent, argv) == (pid, nursery.pid, [""])
            assert files[0] == "/dev/null"
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(LONG) == 0
        gone(nursery.pid, *(pid for _, pid, *_ in told))


@pytest.mark.parametrize("busy", [False, True])
def test_a_supervisor_that_is_told_to_end_ends_everything_in_three_seconds(host, busy):
    host.start("controller")
    supervisor = host.start("engine", "-n", "2")
    with host.client(2) as rc:
        pids = rc[:].apply_sync(os.getpid)

        def stubborn():
            print("begun")
            while True:
                with contextlib.suppress(BaseException):
                    time.sleep(600)

        if busy:
            running = rc[0].apply_async(stubborn)
            until(lambda: "begun" in running.stdout)
        before = time.monotonic()
        supervisor.terminate()
        assert supervisor.wait(LONG) == 0
        assert time.monotonic() - before < 3.5
        gone(*pids)
        until(lambda: len(rc) == 0)


def test_when_the_supervisor_is_killed_its_engines_end(host):
    host.start("controller")
    supervisor = host.start("engine", "-n", "2")
    with host.client(2) as rc:
        pids = rc[:].apply_sync(os.getpid)
        nursery = nursery_of(supervisor)
        supervisor.kill()
        gone(nursery.pid, *pids)


def test_when_the_nursery_is_killed_everything_ends_and_is_told(host):
    host.start("controller")
    supervisor = host.start("engine", "-n", "2")
    with host.client(2) as rc:
        pids = rc[:].apply_sync(os.getpid)
        running = rc[0].apply_async(sleep)
        until(lambda: "begun" in running.stdout)
        nursery_of(supervisor).kill()
        with pytest.raises(enginery.EngineError, match="SIGKILL"):
            running.get(LONG)
        assert supervisor.wait(LONG) == 1
        gone(*pids)


def lives_on(rc, pid):
    """Whether the engine has a life other than the one of this process."""
    return [e.pid for e in rc.link.engines.values() if e.pid != pid] != []


def test_an_engine_that_dies_at_once_again_and_again_is_not_started_for_ever(host):
    host.start("controller")
    supervisor = host.start("engine", "-n", "1")
    with host.client(1) as rc:
        while supervisor.poll() is None:
            pid = rc.link.engines[0].pid
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: lives_on(rc, pid) or supervisor.poll() is not None)
        assert supervisor.wait(LONG) == 1
