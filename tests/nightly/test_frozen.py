"""An engine, the controller or a client is stopped for 30 s, and goes on (F7)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from enginery import Cluster
from tests.faults.killing import Counts

from .load import PATIENCE, Load, told, until

Figures = Callable[[str, str, str], None]

FROZEN = 30.0


@contextmanager
def frozen(pid: int, seconds: float = FROZEN) -> Iterator[None]:
    """A process does nothing for so long, at least until the block is done."""
    process = psutil.Process(pid)
    end = time.monotonic() + seconds
    process.send_signal(signal.SIGSTOP)
    try:
        yield
        time.sleep(max(0.0, end - time.monotonic()))
    finally:
        process.send_signal(signal.SIGCONT)


def test_an_engine(own_cluster: Cluster, tmp_path: Path, figures: Figures) -> None:
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=PATIENCE)
        load = Load(rc, tmp_path / "notes", 1500, retries=5)
        load.begun()
        engine = rc.link.engines[0]
        with frozen(engine.pid):
            given_up = until(rc, lambda: 0 not in rc.link.engines)
        back = until(rc, lambda: 0 in rc.link.engines)
        again = rc.link.engines[0]
        counts = load.counts()
        figures(
            "F7 an engine that is frozen is given up, and is back in 2 s", f"{FROZEN:.0f} s",
            f"given up {given_up:.1f} s, back {back:.1f} s, {told(counts)}",
        )  # fmt: skip
        assert counts[:3] == (0, 0, 0)
        assert again.pid == engine.pid
        assert again.incarnation != engine.incarnation
        assert given_up <= 6.0
        assert back <= 2.0


def test_the_controller(own_cluster: Cluster, tmp_path: Path, figures: Figures) -> None:
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=PATIENCE)
        load = Load(rc, tmp_path / "notes", 800, retries=5)
        load.begun()
        pid = own_cluster.controller_pid
        assert pid is not None
        with frozen(pid):
            pass
        progress = load.result.progress
        back = until(rc, lambda: load.result.progress > progress)
        counts = load.counts()
        figures(
            "F7 a controller that is frozen: work goes on 2 s later", f"{FROZEN:.0f} s",
            f"after {back:.1f} s, {told(counts)}",
        )  # fmt: skip
        assert counts[:3] == (0, 0, 0)
        assert rc.ids == [0, 1]
        assert back <= 2.0


def test_a_client(own_cluster: Cluster, tmp_path: Path, figures: Figures) -> None:
    command = [sys.executable, "-m", "tests.nightly.client", own_cluster.client_connection_file]
    with subprocess.Popen(
        [*command, str(tmp_path / "notes"), "800"], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "begun\n"
        with frozen(client.pid):
            pass
        counts = Counts(*json.loads(client.communicate(timeout=PATIENCE)[0].splitlines()[-1]))
    figures("F7 a client that is frozen misses nothing", f"{FROZEN:.0f} s", told(counts))
    assert client.returncode == 0
    assert counts == (0, 0, 0, 0)
