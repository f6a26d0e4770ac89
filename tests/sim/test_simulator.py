"""Many histories of a whole cluster keep every promise; and the simulator itself can be trusted."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from enginery.core.tasks import TRANSITIONS

from .__main__ import table
from .conftest import REPORT
from .faults import FAULTS
from .network import Clock, Connection
from .workload import ACTIONS
from .world import World

ROOT = Path(__file__).parents[2]


@pytest.fixture
def report(pytestconfig):
    return pytestconfig.stash[REPORT].result()


def test_every_promise_is_kept(report):
    print(table(report))
    assert not report.failures, "\n".join(
        f"{why}\n  python -m tests.sim {seed} --trace" for seed, why in report.failures.items()
    )
    assert report.recovered > 0


def test_everything_has_been_tried(report):
    assert {move for move in TRANSITIONS if not report.moves[move]} == set()
    assert {fault for fault in FAULTS if not report.faults[fault]} == set()
    assert {action for action in ACTIONS if not report.actions[action]} == set()
    assert {"ok", "error", "aborted", "lost", "kills"} <= set(report.ended)


@pytest.mark.parametrize("seed", [7, 1000754])
def test_the_same_seed_gives_the_same_trace(seed):
    code = (
        "from tests.sim.world import World\n"
        f"world = World({seed}, trace=True)\n"
        "world.run()\n"
        "print(*world.trace, sep='\\n')"
    )

    def trace(hash_seed):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, check=True)
        return done.stdout.splitlines()

    first = trace("1")
    assert first == trace("2")
    assert len(first) > 100


def test_a_failure_tells_how_to_replay_it():
    code = (
        "from tests.sim import ledger, __main__\n"
        "ledger.Entry.owing = True\n"
        "raise SystemExit(__main__.replay(7, False))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "python -m tests.sim 7 --trace" in done.stdout
    assert "lost: " in done.stderr


def test_another_seed_is_another_history():
    assert World(1).settings != World(2).settings


# --- the network ----------------------------------------------------------------------------------


class Listener:
    """Who reads a pipe."""

    role = name = "listener"

    def __init__(self):
        self.frozen = 0.0
        self.heard = []

    def arrived(self, connection, batch):
        self.heard.append(batch)

    def ended(self, connection):
        self.heard.append("end")


def connect(seed, jitter=0.01):
    from .network import Pipe

    clock, random, peer, far = Clock(), Random(seed), Listener(), Listener()
    link = Connection(peer, "tasks")
    link.up = Pipe(clock, random, link, far, (0.001, jitter))
    link.down = Pipe(clock, random, link, peer, (0.001, jitter))
    return clock, link, far


@pytest.mark.parametrize("seed", range(20))
def test_a_pipe_keeps_the_order_whatever_holds_it_up(seed):
    clock, link, far = connect(seed, jitter=1.0)
    random = Random(seed)
    for i in range(100):
        clock.at(i * 0.1, link.up.send, [i])
    for _ in range(3):
        clock.at(random.random() * 10, setattr, link.up, "clogged", 4 + random.random() * 4)
        clock.at(random.random() * 10, setattr, far, "frozen", 4 + random.random() * 4)
    clock.run()
    assert far.heard == [[i] for i in range(100)]


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_loses_a_suffix_and_then_the_end_is_heard(seed):
    clock, link, far = connect(seed)
    for i in range(20):
        clock.at(i * 0.001, link.up.send, [i])
    clock.at(0.01, link.cut)
    clock.run()
    *heard, end = far.heard
    assert end == "end"
    assert heard == [[i] for i in range(len(heard))]
    assert len(heard) <= 11


def test_a_connection_that_is_closed_loses_nothing():
    clock, link, far = connect(1)
    link.up.send(["goodbye"])
    link.close()
    link.up.send(["too late"])
    clock.run()
    assert far.heard == [["goodbye"], "end"]
