"""Ten minutes in which things happen all the time, in two clusters at once.

In one of this machine engines die, come and leave, clients too, and maps go on (E4). In one of four
hosts these are cut off from each other and heal, under load (N3).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enginery import Client
from tests.faults.killing import Counts
from tests.testbeds.hosts import Hosts

from .load import PATIENCE, Load, told
from .scale import scaled
from .test_endurance import WARM
from .test_partitions import WAYS, Site
from .weight import configured, resident, slope

Figures = Callable[[str, str, str], None]

SECONDS = scaled(600)
CYCLES = scaled(50)
RECORDS = 5000
SEED = 20261128


def work(item: int) -> int:
    """A few milliseconds of work."""
    time.sleep(item % 7 / 1000)
    return item * item


class Soak:
    """A cluster in which engines die, come and leave, and clients too, while maps go on."""

    def __init__(self, rc: Client, seconds: float) -> None:
        self.rc, self.until = rc, time.monotonic() + seconds
        self.random = random.Random(SEED)
        self.lost = self.wrong = self.maps = self.tasks = self.events = 0
        self.samples: list[tuple[int, float]] = []

    def maps_of(self, rc: Client) -> None:
        """Map after map, each of which must come out right."""
        view = rc.load_balanced_view(retries=20)
        while time.monotonic() < self.until:
            result = view.map_async(work, range(500), return_exceptions=True)
            if not result.wait(PATIENCE):
                self.lost += 500 - result.progress
                return
            self.wrong += sum(v != i * i for i, v in enumerate(result.get()))
            self.maps, self.tasks = self.maps + 1, self.tasks + 500

    def disturb(self) -> None:
        """One thing after the other happens."""
        while time.monotonic() < self.until:
            engines = list(self.rc.link.engines.values())
            self.events += 1
            match self.random.randrange(4):
                case 0 | 1 if len(engines) > 1:
                    os.kill(self.random.choice(engines).pid, signal.SIGKILL)
                case 2:
                    with self.rc.cluster.connect_client_sync() as guest:
                        guest.wait_for_engines(1, timeout=PATIENCE)
                        guest.load_balanced_view(retries=20).map_sync(abs, range(-100, 0))
                case 3:
                    self.rc[:].execute("x = 1; print(x)", block=False).wait(PATIENCE)
            self.samples.append((self.tasks, resident(self.rc.cluster.controller_pid)))
            time.sleep(0.5)

    def counts(self) -> Counts:
        """What has come of all maps."""
        return Counts(self.lost, 0, self.wrong, self.events)


class Partitions:
    """Hosts are cut off at random; at times links one by one, and healed in another order."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site, self.random = site, random.Random(SEED)
        self.load = Load(site.rc, directory, 50 * SECONDS, retries=200)
        self.seconds = 0.0
        self.thread = threading.Thread(target=self.go_on, name="partitions")
        self.thread.start()

    def go_on(self) -> None:
        """One after the other comes, and goes."""
        chance, hosts = self.random, list(self.site.hosts)
        began = time.monotonic()
        for cycle in range(CYCLES):
            time.sleep(max(0.0, began + cycle * SECONDS / CYCLES - time.monotonic()))
            victims = chance.sample(hosts, chance.choice([1, 1, 1, 2, 4]))
            for victim in victims:
                self.site.hosts.cut(victim, **WAYS[chance.choice(list(WAYS))])
                time.sleep(chance.uniform(0, 1))
            time.sleep(chance.choice([0.5, 2, 6, 9]) * chance.random())
            for victim in chance.sample(victims, len(victims)):
                self.site.hosts.heal(victim)
                time.sleep(chance.uniform(0, 1))
        self.seconds = time.monotonic() - began


@pytest.fixture(scope="module")
def partitions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partitions]:
    """They come and go from now on."""
    path = tmp_path_factory.mktemp("partitions")
    hosts = Hosts(4, path)
    try:
        site = Site(hosts)
        with site.rc:
            made = Partitions(site, path / "notes")
            yield made
            made.thread.join()
    finally:
        hosts.close()


@pytest.mark.usefixtures("partitions")
def test_soak(tmp_path: Path, figures: Figures) -> None:
    """E4."""
    room = {"IPController.record_limit": RECORDS}  # is full before anything is measured
    with configured(tmp_path / "profile_soak", room, n=4) as rc:
        soak = Soak(rc, SECONDS)
        with rc.cluster.connect_client_sync() as other:
            other.wait_for_engines(4, timeout=PATIENCE)
            threads = [threading.Thread(target=soak.maps_of, args=(c,)) for c in (rc, other)]
            for thread in threads:
                thread.start()
            soak.disturb()
            for thread in threads:
                thread.join(PATIENCE + 10)
        counts = soak.counts()
        warm = [s for s in soak.samples if s[0] > WARM] or soak.samples
        rising = slope(warm)
        figures(
            "E4 engines die, clients come and leave, maps go on",
            f"{SECONDS} s, a history of {RECORDS:,} tasks",
            f"{soak.tasks:,} tasks, {soak.events} events; lost {counts.lost}, duplicated "
            f"{counts.duplicated}, unexpected {counts.unexpected}; controller {rising:+.2f} MB "
            "per 100,000 tasks",
        )  # fmt: skip
        assert counts[:3] == (0, 0, 0)
        assert rc.link.wait(lambda: rc.ids == [0, 1, 2, 3], PATIENCE)


def test_partitions_come_and_go(partitions: Partitions, figures: Figures) -> None:
    """N3."""
    partitions.thread.join()
    counts = partitions.load.counts()
    figures(
        "N3 partitions that come and go lose nothing",
        f"{CYCLES} at random, swizzle-clog among them, in {partitions.seconds / 60:.0f} minutes "
        f"under load, {partitions.load.items:,} tasks",
        told(counts),
    )  # fmt: skip
    assert counts[:3] == (0, 0, 0)
