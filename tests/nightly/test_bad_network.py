"""A network that delays, is slow, cuts and corrupts, between all and the controller (N4)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.testbeds.bad_network import behind
from tests.testbeds.proxy import Faults

from .load import PATIENCE, Load, told

Figures = Callable[[str, str, str], None]

BYTES = 1_500_000
"""Of a large argument: 12 seconds at 1 Mbit/s."""


@pytest.mark.parametrize(
    ("name", "faults", "items"),
    [
        ("200 ms of delay", Faults(delay=0.2), 400),
        ("1 Mbit/s", Faults(rate=125_000), 400),
        ("all connections reset every second", Faults(cut_every=1.0), 1000),
        ("a bit flipped in one of 50 chunks of bytes", Faults(flips=0.02), 1000),
    ],
    ids=["delay", "rate", "resets", "flips"],
)
def test_only_the_speed_suffers(
    tmp_path: Path, figures: Figures, name: str, faults: Faults, items: int
) -> None:
    with behind(tmp_path, faults) as site:
        began, controller = time.monotonic(), site.cluster.controller_pid
        # What a flipped bit makes of a length stops a connection until that is noticed.
        retries = 50 if faults.flips else 0
        load = Load(site.rc, tmp_path / "notes", items, retries)
        counts = load.counts()
        rate = items / (time.monotonic() - began)
        connections = sum(proxy.connections for proxy in site.proxies)
        flipped = sum(proxy.flipped for proxy in site.proxies)
        figures(
            "N4 a bad network costs time and nothing else", name,
            f"{rate:.0f} tasks/s of 20 to 80 ms on 2 engines, {connections} connections, "
            f"{flipped} flips, {told(counts)}",
        )  # fmt: skip
        assert counts[:3] == (0, 0, 0)
        if not retries:
            assert counts.recovered == 0
        if faults.flips:
            assert flipped > 0
        assert site.cluster.controller_pid == controller


def test_large_data_gets_through_a_slow_network(tmp_path: Path, figures: Figures) -> None:
    with behind(tmp_path, Faults(rate=125_000)) as site:
        before = sum(proxy.connections for proxy in site.proxies)
        lives = {id: e.incarnation for id, e in site.rc.link.engines.items()}
        big = os.urandom(BYTES)
        began = time.monotonic()
        assert site.rc[0].apply_async(bytes, big).get(timeout=PATIENCE) == big
        seconds = time.monotonic() - began
        cuts = sum(proxy.connections for proxy in site.proxies) - before
        figures(
            "N4 large data gets through a slow network",
            f"{BYTES / 1e6:.1f} MB to an engine and back, 1 Mbit/s",
            f"{seconds:.0f} s, {cuts} connections lost",
        )
        assert cuts == 0
        assert {id: e.incarnation for id, e in site.rc.link.engines.items()} == lives
