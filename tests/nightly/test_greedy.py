"""Clients that want too much (H3), millions of mutants (H4), user code that lets nobody in (F8)."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from enginery import Client, Cluster, QueueFull
from tests.gate import Gate
from tests.hostile.mutants import play

from .scale import scaled
from .weight import MEGABYTE, configured, weighed

Figures = Callable[[str, str, str], None]

ROOM, LIMIT = 192, 512
"""Megabytes of tasks, and of the whole controller: a sixth of what they are by default."""

SETTINGS = {
    "TaskScheduler.queue_bytes": ROOM * MEGABYTE,
    "TaskScheduler.result_bytes": ROOM * MEGABYTE,
    "IPController.record_bytes": ROOM * MEGABYTE // 4,
    "IPController.memory_limit": LIMIT * MEGABYTE,
    "IPController.shared_memory": False,
}


def p99(rc: Client, calls: int = 2000) -> float:
    """Milliseconds within which 99 of a hundred short calls are done."""
    took = []
    for n in range(calls):
        began = time.perf_counter()
        assert rc[1].apply_sync(abs, -n) == n
        took.append(1000 * (time.perf_counter() - began))
    return sorted(took)[calls * 99 // 100]


@pytest.mark.usefixtures("quiet")
def test_a_client_that_submits_without_end(tmp_path: Path, gate: Gate, figures: Figures) -> None:
    """H3: it runs out of room, the controller stays small, and another client is served."""
    wanted = scaled(10_000_000)
    with configured(tmp_path / "profile_greedy", SETTINGS) as rc, weighed(rc) as most:
        before = p99(rc)
        with rc.cluster.connect_client_sync() as hog:
            hog.when_full = "raise"
            view = hog.load_balanced_view(targets=0)
            held, submitted = view.apply_async(gate.held), 0
            with suppress(QueueFull):
                while submitted < wanted:
                    view.apply_async(len, b"x" * 200)
                    submitted += 1
            during = p99(rc)
            figures(
                "H3 a client submits without end", f"{wanted:,} tasks wanted",
                f"{submitted:,} went in; controller {most.megabytes:.0f} of {LIMIT} MB; p99 of "
                f"another one {during:.1f} ms, {during / before:.1f} x that before",
            )  # fmt: skip
            assert most.megabytes <= LIMIT
            hog.abort()
            gate.open()
            assert held.wait(60)


SLEEPER = """
import json, os, signal, sys
from enginery import Client, ResultExpired
rc = Client(sys.argv[1])
rc.wait_for_engines(2)
view = rc.load_balanced_view()
results = [view.apply_async(bytes, 10_000_000) for _ in range(int(sys.argv[2]))]
rc.link.wait(lambda: not rc.link._under_way, 30)
print(len(results), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
kept = gone = 0
for result in results:
    try:
        kept += len(result.get(60)) == 10_000_000
    except ResultExpired:
        gone += 1
print(json.dumps([kept, gone]), flush=True)
"""


@pytest.mark.usefixtures("quiet")
def test_a_client_that_does_not_fetch_a_gigabyte(tmp_path: Path, figures: Figures) -> None:
    """H3: the oldest are given up, and that is told; each call ends."""
    number = scaled(100)
    with configured(tmp_path / "profile_unread", SETTINGS) as rc, weighed(rc) as most:
        file = rc.cluster.client_connection_file
        command = [sys.executable, "-c", SLEEPER, str(file), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sleeper:
            assert sleeper.stdout is not None
            assert sleeper.stdout.readline() == f"{number}\n"

            def done() -> bool:
                status = rc.queue_status()
                waiting = status.pop("unassigned")
                return not waiting and not any(q["tasks"] + q["queue"] for q in status.values())

            deadline = time.monotonic() + 120
            while not done():
                assert time.monotonic() < deadline, "the tasks do not end"
                time.sleep(0.2)
            during = p99(rc)
            sleeper.send_signal(signal.SIGCONT)
            kept, gone = json.loads(sleeper.stdout.readline())
        figures(
            "H3 a client does not fetch its results", f"{number} of 10 MB",
            f"{kept} kept, {gone} told to be gone, lost {number - kept - gone}; controller "
            f"{most.megabytes:.0f} of {LIMIT} MB; p99 of another one {during:.1f} ms",
        )  # fmt: skip
        assert kept + gone == number
        assert most.megabytes <= LIMIT


@pytest.mark.timeout(3000)
def test_ten_million_mutants(figures: Figures) -> None:
    """H4."""
    number, parts, began = scaled(10_000_000), 50, time.monotonic()
    with ProcessPoolExecutor(2) as pool:
        told = [pool.submit(play, 1000 + seed, number // parts) for seed in range(parts)]
        counts = sum((each.result() for each in told[1:]), told[0].result())
    figures(
        "H4 mutated messages", f"{counts.total():,} mutants",
        f"{dict(counts)}; other errors 0, broken laws 0; {time.monotonic() - began:.0f} s",
    )  # fmt: skip


def hold(seconds: float) -> int:
    """Keep the GIL for so long."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return os.getpid()


@pytest.mark.usefixtures("quiet")
def test_a_minute_with_the_gil(tmp_path: Path, figures: Figures) -> None:
    """F8."""
    seconds = scaled(60)
    with Cluster(n=2, profile_dir=tmp_path / "profile_gil") as rc:
        lives = {id: engine.incarnation for id, engine in rc.link.engines.items()}
        held = rc[0].apply_async(hold, seconds)
        slowest = p99(rc)
        assert held.get(seconds + 60) == rc.link.engines[0].pid
        assert {id: engine.incarnation for id, engine in rc.link.engines.items()} == lives
        figures(
            "F8 user code holds the GIL", f"{seconds} s",
            f"not declared dead; another engine: p99 {slowest:.1f} ms",
        )  # fmt: skip
