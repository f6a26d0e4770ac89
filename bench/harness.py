"""How a workload is measured: every sample in a process of its own, the systems taking turns.

Turns, so that whatever else the machine does hits all of them alike; a new process for each
sample, so that none inherits the threads, caches or garbage of another. What counts is the median.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

OURS = "cluster"
SAMPLE_TIMEOUT = 120.0
"""Seconds after which a sample counts as hung."""


@dataclass(frozen=True)
class Workload:
    """What is measured, on whom, and what we want to be.

    `sample(peer)` runs once on the system of that adapter, checks its results, and returns a
    figure in `unit`. `targets` gives, for each other system, what our figure divided by its is to
    be: at least that where more is better, else at most.
    """

    name: str
    title: str
    unit: str
    more_is_better: bool
    targets: dict[str, float]
    sample: Callable[[str], float]
    repeat: int = 5

    @property
    def peers(self) -> list[str]:
        """Ours first."""
        return [OURS, *self.targets]


@dataclass(frozen=True)
class Comparison:
    """Our figure beside that of another system."""

    workload: Workload
    peer: str
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Our figure divided by theirs."""
        return self.ours / self.theirs

    @property
    def met(self) -> bool:
        """Whether the ratio is what was wanted."""
        target = self.workload.targets[self.peer]
        return self.ratio >= target if self.workload.more_is_better else self.ratio <= target

    def row(self) -> str:
        """One line of the table."""
        w = self.workload
        wanted = f"at {'least' if w.more_is_better else 'most'} {w.targets[self.peer]:g}"
        verdict = "met" if self.met else "**missed**"
        figures = f"{figure(self.ours)} {w.unit} | {self.peer}: {figure(self.theirs)} {w.unit}"
        return f"| {w.title} | {figures} | {self.ratio:.2f} | {wanted} | {verdict} |"


def figure(x: float) -> str:
    """As many digits as mean something."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


HEADER = """\
| workload | enginery | beside | ratio | target | |
|---|---|---|---|---|---|"""


def measure(workload: Workload, repeat: int, tell: Callable[[str], None]) -> Iterator[Comparison]:
    """Let the systems take turns, `repeat` times each; `tell` is told every sample."""
    samples: dict[str, list[float]] = {peer: [] for peer in workload.peers}
    for _ in range(repeat):
        for peer in workload.peers:
            samples[peer].append(sample_elsewhere(workload.name, peer))
            tell(f"{workload.name} {peer}: {figure(samples[peer][-1])} {workload.unit}")
    ours = median(samples[OURS])
    for peer in workload.targets:
        yield Comparison(workload, peer, ours, median(samples[peer]))


def sample_elsewhere(workload: str, peer: str) -> float:
    """One sample, taken in a new process; RuntimeError when it failed there."""
    command = [sys.executable, "-m", "bench", "--sample", workload, peer]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=SAMPLE_TIMEOUT, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}")
    return float(json.loads(done.stdout))
