"""Millions of tasks: queued (E1) and streamed (E2)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from enginery import Cluster
from enginery.core import messages as m
from enginery.wire import payload
from enginery.wire.functions import FunctionCache
from tests.hostile.peer import Peer, hello, key_file, peers_of

from .scale import scaled
from .weight import configured, resident, slope

Figures = Callable[[str, str, str], None]

PATIENCE = 120.0

WARM = 200_000
"""Tasks after which the history is full, and nothing should grow any more."""


@pytest.mark.usefixtures("quiet")
def test_a_million_queued_tasks(tmp_path: Path, figures: Figures) -> None:
    """E1: by a client that says what the protocol asks for and no more."""
    number, round = scaled(1_000_000), 4000
    # A virtual machine may have given back to its host what is free here; to be the first to touch
    # a page costs several times as much then, and more of those come at the end.
    assert len(b"." * scaled(2 << 30)) > 0
    with configured(tmp_path / "profile_queue", {}, n=1) as rc, peers_of(rc.cluster) as peers:
        held = rc[0].apply_async(time.sleep, 3600)
        controller = psutil.Process(rc.cluster.controller_pid)
        # It takes its share of the processors and their caches: at the beginning as at the end.
        assert rc.link.wait(lambda: bool(controller.children()), PATIENCE), "there is no database"
        others = controller.children()
        peer = Peer(peers.context, key_file(rc.cluster, "client"))
        peer.say(hello("client"))
        name = peer.hear(m.Welcome).id
        hash, blob = FunctionCache(1 << 20).serialize(len)
        arguments = payload.dumps(((bytes(170),), {}))[0]
        peer.say(m.Define(hash, blob))
        costs: list[float] = []
        for seq in range(1, number // round + 1):
            first = (seq - 1) * round
            tasks = [m.Task(f"{name}-{first + i}", hash, arguments) for i in range(round)]
            before = controller.cpu_times()
            peer.say(m.Submit(seq, tasks))
            while peer.hear(m.Accepted).seq < seq:
                pass
            after = controller.cpu_times()
            costs.append(after.user + after.system - before.user - before.system)
        megabytes = resident(controller.pid)
        tenth = max(1, len(costs) // 10)
        early, late = sum(costs[:tenth]) / tenth, sum(costs[-tenth:]) / tenth
        ratio = early / late
        figures(
            "E1 a million tasks of 200 B wait", f"{number:,} tasks",
            f"controller {megabytes:.0f} MB; {megabytes * 2**20 / number:.0f} B a task; submitted "
            f"at the end at {ratio:.2f} of the rate at the beginning (CPU)",
        )  # fmt: skip
        assert megabytes <= 1024
        assert ratio >= 0.8
        held.abort(running=True)
        peer.close()
    psutil.wait_procs(others, PATIENCE)  # a million rows go into the database after the end


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
