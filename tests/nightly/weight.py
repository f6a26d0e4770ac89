"""A cluster with little room, how large its controller was at most, and what it cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from enginery import Client, Cluster

MEGABYTE = 1 << 20


def configured(path: Path, settings: Mapping[str, Any], n: int = 2) -> Cluster:
    """A cluster whose controller has these settings."""
    path.mkdir(mode=0o700)
    lines = [f"c.{name} = {value!r}\n" for name, value in settings.items()]
    (path / "ipcontroller_config.py").write_text("c = get_config()\n" + "".join(lines))
    return Cluster(n=n, profile_dir=path)


def resident(pid: int) -> float:
    """Megabytes of memory of a process."""
    return float(psutil.Process(pid).memory_info().rss) / MEGABYTE


def spent(pid: int) -> float:
    """Seconds of processor time of a process, exact; `/proc` tells hundredths."""
    return time.clock_gettime(~pid << 3 | 2)  # the clock that clock_getcpuclockid(3) gives


class Most:
    """The most that a process ever has, looked at all the time."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.megabytes = resident(pid)
        self.stop = threading.Event()

    def watch(self) -> None:
        """Look until told to stop."""
        while not self.stop.wait(0.02):
            self.megabytes = max(self.megabytes, resident(self.pid))


@contextmanager
def weighed(rc: Client) -> Iterator[Most]:
    """Watch the controller of a client while the block runs."""
    most = Most(rc.cluster.controller_pid)
    watching = threading.Thread(target=most.watch)
    watching.start()
    try:
        yield most
    finally:
        most.stop.set()
        watching.join()


def slope(samples: list[tuple[int, float]]) -> float:
    """Megabytes per 100,000 tasks, by least squares."""
    n = len(samples)
    mx, my = sum(x for x, _ in samples) / n, sum(y for _, y in samples) / n
    above = sum((x - mx) * (y - my) for x, y in samples)
    return 100_000 * above / sum((x - mx) ** 2 for x, _ in samples)
