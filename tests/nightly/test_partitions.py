"""Hosts that are cut off in silence, for a moment or for long, both ways or one (N1, N2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from enginery import Client
from enginery.core import messages as m
from tests.integration.test_hosts import CLIENT, ENGINE, begin
from tests.testbeds.hosts import Host, Hosts, copy

from .load import PATIENCE, Load, told, until

Figures = Callable[[str, str, str], None]

LONG_CUT = 30.0
"""Seconds of a long partition."""

WAYS = {
    "both ways": {},
    "what it sends": {"receives": False},
    "what it receives": {"sends": False},
}


class Site:
    """A controller on h1, two engines each on h2 and h3, a client on h4."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.controller, self.first, self.second, self.fourth = hosts
        begin(self.controller, f"--ip={self.controller.ip_address}")
        for host in (self.first, self.second):
            copy(self.controller.security() / ENGINE, host.security())
            host.enginery("engine", "-n", "2")
        with self.fourth.network():
            self.rc = Client(self.controller.security() / CLIENT, timeout=PATIENCE)
        self.rc.wait_for_engines(4, timeout=PATIENCE)

    def lives(self, host: Host | None = None) -> dict[int, str]:
        """The engines that the client knows (of a host), and the names of their lives."""
        engines = self.rc.link.engines.items()
        return {id: e.incarnation for id, e in engines if host is None or e.host == host.name}

    def late(self) -> int:
        """How many results the controller has dropped."""
        return int(self.rc.link.ask(m.Query(0, "status"))["late"])


@pytest.fixture
def site(hosts: Hosts) -> Iterator[Site]:
    """A cluster of four hosts."""
    made = Site(hosts)
    with made.rc:
        yield made


@contextmanager
def cut(site: Site, host: Host, seconds: float, **ways: bool) -> Iterator[None]:
    """A host is cut off for so long, at least until the block is done."""
    with site.hosts.partition(host, **ways):
        end = time.monotonic() + seconds
        yield
        time.sleep(max(0.0, end - time.monotonic()))


def test_two_seconds_cost_nothing(site: Site, tmp_path: Path, figures: Figures) -> None:
    load = Load(site.rc, tmp_path / "notes", 2000, retries=0)
    load.begun()
    lives = site.lives()
    for _ in range(3):
        with cut(site, site.first, 2.0):
            pass
        time.sleep(2.0)
    assert not load.result.ready()
    counts = load.counts()
    figures(
        "N1 a host of engines that is cut off for a moment loses nothing, and runs nothing twice",
        "silent partition of 2 s, three times, retries=0", told(counts),
    )  # fmt: skip
    assert counts == (0, 0, 0, 0)
    assert site.lives() == lives


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("ways", WAYS)
def test_a_host_of_engines_is_cut_off_for_long(
    site: Site, tmp_path: Path, figures: Figures, ways: str
) -> None:
    load = Load(site.rc, tmp_path / "notes", 3000, retries=5)
    load.begun()
    before = site.lives(site.first)
    with cut(site, site.first, LONG_CUT, **WAYS[ways]):
        given_up = until(site.rc, lambda: not site.lives(site.first))
        progress = load.result.progress
        until(site.rc, lambda: load.result.progress > progress)
    back = until(site.rc, lambda: len(site.lives(site.first)) == 2)
    after = site.lives(site.first)
    counts, late = load.counts(), site.late()
    figures(
        "N2 engines that are cut off are given up in 6 s, are back in 5 s under the same ids",
        f"{LONG_CUT:.0f} s, {ways}",
        f"given up {given_up:.1f} s, back {back:.1f} s, {told(counts)}, late {late}",
    )
    assert counts[:3] == (0, 0, 0)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert late == 0  # a life that was given up is not let in again, so nothing of it can be
    assert given_up <= 6.0
    assert back <= 5.0


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("whom", ["client", "controller"])
def test_a_client_or_the_controller_is_cut_off_for_long(
    site: Site, tmp_path: Path, figures: Figures, whom: str, ways: str
) -> None:
    load = Load(site.rc, tmp_path / "notes", 3000, retries=5)
    load.begun()
    host = site.fourth if whom == "client" else site.controller
    engines = site.lives().keys()
    with cut(site, host, LONG_CUT, **WAYS[ways]):
        pass
    progress = load.result.progress
    back = until(
        site.rc, lambda: load.result.progress > progress and site.lives().keys() == engines
    )
    counts = load.counts()
    figures(
        f"N2 a {whom} that is cut off: everybody finds each other again in 5 s",
        f"{LONG_CUT:.0f} s, {ways}", f"back {back:.1f} s, {told(counts)}",
    )  # fmt: skip
    assert counts[:3] == (0, 0, 0)
    assert back <= 5.0
