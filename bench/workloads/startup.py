"""From nothing to the first result of each of four engines, beside four bare interpreters."""

from __future__ import annotations

from importlib import import_module

from ..harness import Workload

ENGINES = 4


def sample(peer: str) -> float:
    """Seconds until the last of the four has answered; ending them does not count."""
    seconds: float = import_module(f"bench.peers.{peer}").start(ENGINES)
    return seconds


STARTUP = Workload(
    name="startup",
    title="start of 4 engines to the first result of each",
    unit="s",
    more_is_better=False,
    targets={"interpreters": 1.5},
    sample=sample,
)
