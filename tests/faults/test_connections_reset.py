"""Connections are reset while engines run something for a long time: it goes on, and counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.gate import Gate
from tests.testbeds.bad_network import PATIENCE, behind
from tests.testbeds.proxy import Faults

RESETS = 6
"""Half a second apart: whoever has to be back at once is given up before they are over."""


def wait_for(condition: Callable[[], bool]) -> None:
    """What is not told by any event: look again and again."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_runs_goes_on_though_its_engine_cannot_connect_for_tasks_before_it_ends(
    tmp_path: Path, gate: Gate
) -> None:
    notes, held = tmp_path / "notes", gate.held
    notes.touch()

    def long() -> int:
        with notes.open("a") as file:
            file.write(f"{os.getpid()}\n")
        held()
        return os.getpid()

    def started() -> list[int]:
        return sorted(map(int, notes.read_text().split()))

    with behind(tmp_path, Faults()) as site:
        engines = {id: engine.incarnation for id, engine in site.rc.link.engines.items()}
        results = [site.rc[id].apply_async(long) for id in engines]
        wait_for(lambda: len(started()) == len(engines))
        proxy = site.proxies[-1]  # of the engines
        enough = proxy.connections + 2 * RESETS * len(engines)
        proxy.faults = Faults(cut_every=0.5)
        wait_for(lambda: proxy.connections >= enough)
        proxy.faults = Faults()
        gate.open()
        assert sorted(each.get(PATIENCE) for each in results) == started()
        assert {i: e.incarnation for i, e in site.rc.link.engines.items()} == engines
