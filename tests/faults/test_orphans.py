"""No orphans: whatever is killed, and however, what belongs to it ends within five seconds.

The engines are in the middle of user code each time, some of which lets nobody else at the GIL.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from enginery import Client, NoControllerError
from enginery.cluster.process import Process, birth

WITHIN = 5.0
"""Seconds in which all must have ended."""

SOON = 30.0
"""Seconds that a start may take on a busy machine."""

PROGRAM = """
import ctypes, sys, time
from enginery import Cluster

def holds_the_gil():
    ctypes.PyDLL(None).sleep(600)

rc = Cluster(n=2, profile_dir=sys.argv[1]).start_and_connect_sync()
rc[0].apply_async(holds_the_gil)
rc[1].apply_async(time.sleep, 600)
while sum(q["tasks"] for e, q in rc.queue_status().items() if e != "unassigned") < 2:
    time.sleep(0.01)
print(rc.cluster.controller_pid, *rc.cluster.engine_pids.values(), flush=True)
time.sleep(600)
"""


class Tree:
    """A program, its cluster, and what is what of it."""

    def __init__(self, program: int, controller: int, engines: list[int]) -> None:
        self.program, self.controller, self.engines = program, controller, engines
        nursery = psutil.Process(engines[0]).ppid()
        self.nursery, self.supervisor = nursery, psutil.Process(nursery).ppid()
        pids = {child.pid for child in psutil.Process(program).children(recursive=True)}
        assert pids >= {controller, *engines, self.nursery, self.supervisor}
        self.all = {pid: Process("engine", pid, birth(pid)) for pid in pids}

    def kill(self, *whats: str) -> None:
        """SIGKILL to these, one right after the other."""
        for what in whats:
            os.kill(getattr(self, what), signal.SIGKILL)

    def end(self, *pids: int) -> None:
        """All of these have ended in time."""
        began = time.monotonic()
        left = [pid for pid in pids if not self.all[pid].wait(began + WITHIN - time.monotonic())]
        print(f"{len(pids)} processes ended in {time.monotonic() - began:.2f} s")
        assert left == []


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A program with a busy cluster, which leads a session as a batch job does."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "profile_orphans")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as program:
        assert program.stdout is not None
        controller, *engines = map(int, program.stdout.readline().split())
        made = Tree(program.pid, controller, engines)
        try:
            yield made
        finally:
            program.kill()
            for process in made.all.values():
                process.kill()


ENDS: dict[str, Callable[[int], None]] = {
    "SIGTERM": lambda pid: os.kill(pid, signal.SIGTERM),
    "SIGKILL": lambda pid: os.kill(pid, signal.SIGKILL),
    "SIGHUP": lambda pid: os.kill(pid, signal.SIGHUP),
    "SIGTERM to the group": lambda pid: os.killpg(pid, signal.SIGTERM),
    "SIGKILL to the group": lambda pid: os.killpg(pid, signal.SIGKILL),
}
"""How a program, a batch job or a session is ended."""


@pytest.mark.parametrize("how", ENDS)
def test_a_program_takes_its_cluster_with_it(tree: Tree, how: str) -> None:
    ENDS[how](tree.program)
    tree.end(*tree.all)


def test_engines_end_with_their_supervisor(tree: Tree) -> None:
    tree.kill("supervisor")
    tree.end(tree.nursery, *tree.engines)
    assert tree.all[tree.controller].running


def test_engines_end_with_the_process_that_forked_them(tree: Tree) -> None:
    tree.kill("nursery")
    tree.end(*tree.engines)
    assert tree.all[tree.controller].running


@pytest.mark.parametrize("whats", ["supervisor controller", "program supervisor controller"])
def test_engines_end_when_all_above_them_are_killed_at_once(tree: Tree, whats: str) -> None:
    tree.kill(*whats.split())
    tree.end(tree.nursery, *tree.engines)


# --- a terminal that is closed ----------------------------------------------------------------

COMMANDS = {
    "ipcluster": "{python} -m enginery cluster start -n 2 --profile-dir={profile}",
    "ipcontroller and ipengine": (
        "{python} -m enginery controller --profile-dir={profile} & "
        "{python} -m enginery engine -n 2 --profile-dir={profile} & wait"
    ),
}
"""What a user has started in a session of ssh."""


@pytest.mark.parametrize("command", COMMANDS)
def test_what_runs_in_a_terminal_ends_when_that_is_closed(tmp_path: Path, command: str) -> None:
    profile = tmp_path / "profile_terminal"
    line = COMMANDS[command].format(python=sys.executable, profile=profile)
    pid, terminal = pty.fork()
    if not pid:  # the shell at the far end
        os.execv("/bin/sh", ["sh", "-c", line])
    try:
        everybody = started(pid, profile)
        os.close(terminal)
        began = time.monotonic()
        left = [p.pid for p in everybody if not p.wait(began + WITHIN - time.monotonic())]
        print(f"{len(everybody)} processes ended in {time.monotonic() - began:.2f} s")
        assert left == []
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def started(pid: int, profile: Path) -> list[Process]:
    """All that a shell has started, once two engines are there."""
    deadline = time.monotonic() + SOON
    while True:
        with suppress(NoControllerError), Client(profile_dir=profile, timeout=SOON) as rc:
            rc.wait_for_engines(2, timeout=SOON)
            found = psutil.Process(pid).children(recursive=True)
            assert len(found) >= 4  # controller, supervisor, engines
            return [Process("engine", p.pid, birth(p.pid)) for p in found]
        assert time.monotonic() < deadline, "there is no controller"
        time.sleep(0.05)  # nothing tells of a file that is to come
