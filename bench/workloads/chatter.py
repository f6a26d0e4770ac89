"""A map while the same engines print 1,000 lines each, beside the same map while they are silent.

Output goes its own way from the engines to the client; it must not keep results waiting.
"""

from __future__ import annotations

from importlib import import_module

from ..harness import Figure, Workload

ENGINES = 4
ITEMS = 10_000
LINES = 1_000
SENTENCE = "the quick brown fox jumps over the lazy dog"


def sample(peer: str) -> dict[str, float]:
    """Seconds from the first submission to the last result of the map."""
    adapter = import_module(f"bench.peers.{peer}")
    return {"seconds": adapter.chatter(talk if peer == "cluster" else hush)}


def talk() -> int:
    """Print the lines; how many."""
    for i in range(LINES):
        print(i, SENTENCE)
    return LINES


def hush() -> int:
    """Make the lines, and print none of them."""
    return sum(bool(f"{i} {SENTENCE}\n") for i in range(LINES))


CHATTER = Workload(
    name="chatter",
    figures={
        "seconds": Figure(
            f"map of {ITEMS:,} no-ops while each of {ENGINES} engines prints {LINES:,} lines",
            "s",
            targets={"silence": 1.2},
        )
    },
    sample=sample,
    quick=["silence"],
)
