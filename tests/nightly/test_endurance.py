"""Millions of tasks: queued (E1) and streamed (E2)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median

import psutil
import pytest

from enginery import Cluster
from enginery.core import messages as m
from enginery.wire import payload
from enginery.wire.functions import FunctionCache
from tests.hostile.peer import Peer, hello, key_file, peers_of

from .scale import scaled
from .weight import configured, resident, slope, spent

Figures = Callable[[str, str, str], None]

PATIENCE = 120.0

TOGETHER = 4000
"""Tasks in one submission."""

WARM = 200_000
"""Tasks after which the history is full, and nothing should grow any more."""


class Flood:
    """Submits for an engine that does nothing else, as the protocol asks, without a result."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.database: list[psutil.Process] = []
        stack.callback(self.bury)
        self.rc = stack.enter_context(configured(path, {}, n=1))
        self.held = self.rc[0].apply_async(time.sleep, 3600)
        self.controller = psutil.Process(self.rc.cluster.controller_pid)
        # It takes its share of the processors and their caches: at the beginning as at the end.
        assert self.rc.link.wait(lambda: bool(self.controller.children()), PATIENCE), "no database"
        self.database += self.controller.children()
        peers = stack.enter_context(peers_of(self.rc.cluster))
        self.peer = Peer(peers.context, key_file(self.rc.cluster, "client"))
        self.peer.say(hello("client"))
        self.name = self.peer.hear(m.Welcome).id
        self.function, blob = FunctionCache(1 << 20).serialize(len)
        self.arguments = payload.dumps(((bytes(170),), {}))[0]
        self.peer.say(m.Define(self.function, blob))
        self.seq = 0

    def submit(self) -> float:
        """Some tasks of 200 B; the seconds of processor time that the controller took."""
        ids = range(self.seq * TOGETHER, (self.seq + 1) * TOGETHER)
        tasks = [m.Task(f"{self.name}-{i}", self.function, self.arguments) for i in ids]
        self.seq += 1
        before = spent(self.controller.pid)
        self.peer.say(m.Submit(self.seq, tasks))
        while self.peer.hear(m.Accepted).seq < self.seq:
            pass
        return spent(self.controller.pid) - before

    def end(self) -> None:
        """Let the engine go on."""
        self.held.abort(running=True)
        self.peer.close()

    def bury(self) -> None:
        """After the cluster: nobody will read the rows that its database has still to write."""
        for process in self.database:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.usefixtures("quiet")
def test_a_million_queued_tasks(tmp_path: Path, figures: Figures) -> None:
    """E1: what the last hundred thousand cost, in turns with as many in an empty controller.

    In turns, since pages that nobody has touched for a while cost several times as much on a
    virtual machine, which has given them back to its host.
    """
    rounds = scaled(1_000_000) // TOGETHER
    last = max(1, rounds // 10)
    with ExitStack() as stack:
        full, empty = (Flood(tmp_path / f"profile_{name}", stack) for name in ("full", "empty"))
        for _ in range(rounds - last):
            full.submit()
        empty.submit()  # for the first time
        costs = [(full.submit(), empty.submit()) for _ in range(last)]
        megabytes = resident(full.controller.pid)
        ratio = median(cost for _, cost in costs) / median(cost for cost, _ in costs)
        number = rounds * TOGETHER
        figures(
            "E1 a million tasks of 200 B wait", f"{number:,} tasks",
            f"controller {megabytes:.0f} MB; {megabytes * 2**20 / number:.0f} B a task; submitted "
            f"at {ratio:.2f} of the rate at which an empty one takes them (CPU)",
        )  # fmt: skip
        assert megabytes <= 1024
        assert ratio >= 0.8
        full.end()
        empty.end()


def test_millions_streamed_through(tmp_path: Path, figures: Figures) -> None:
    """E2: results are collected; nobody grows, and no file or thread is left."""
    number = scaled(5_000_000)
    with Cluster(n=2, profile_dir=tmp_path / "profile_stream") as rc:
        pids = {"controller": rc.cluster.controller_pid, "client": os.getpid()}
        samples: dict[str, list[tuple[int, float]]] = {name: [] for name in pids}
        before, wrong, began = {}, 0, time.monotonic()
        view = rc.load_balanced_view()
        every = max(1, number // 40)
        for done, value in enumerate(view.imap(abs, range(number), max_outstanding=2000)):
            wrong += value != done
            if done % every == every - 1:
                for name, pid in pids.items():
                    samples[name].append((done, resident(pid)))
                if not before and done > WARM:
                    before = {name: open_things(pid) for name, pid in pids.items()}
        rate = number / (time.monotonic() - began)
        slopes = {name: slope([s for s in each if s[0] > WARM]) for name, each in samples.items()}
        figures(
            "E2 millions of tasks streamed through", f"{number:,} tasks",
            f"wrong {wrong}; {rate:,.0f} tasks/s; MB per 100,000 tasks: "
            + ", ".join(f"{name} {each:.2f}" for name, each in slopes.items()),
        )  # fmt: skip
        assert wrong == 0
        assert max(slopes.values()) <= 1.0
        after = {name: open_things(pid) for name, pid in pids.items()}
        assert {name: after[name] <= before[name] for name in pids} == dict.fromkeys(pids, True)


def open_things(pid: int) -> tuple[int, int]:
    """How many files and threads a process has."""
    process = psutil.Process(pid)
    return process.num_fds(), process.num_threads()
