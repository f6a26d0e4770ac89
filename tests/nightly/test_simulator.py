"""The simulator's histories of a night, played while the other runs went on, and to its end."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.__main__ import table

from .histories import START, Histories
from .scale import scaled

Figures = Callable[[str, str, str], None]


def test_no_history_breaks_a_promise(
    histories: Histories, figures: Figures, morning: float
) -> None:
    report = histories.end(morning)
    print(table(report))
    moves = min(report.moves.values())
    verdicts = ", ".join(
        f"{word} {report.verdicts[word]}" for word in ("lost", "duplicated", "unexpected")
    )
    figures(
        "7.6 histories in the simulator",
        f"{report.histories:,}, {report.events:,} events, from seed {START} on",
        f"{verdicts}, recovered {report.recovered:,}; each transition at least {moves:,} times, "
        f"each fault {min(report.faults.values()):,}",
    )  # fmt: skip
    assert not report.failures, "\n".join(
        f"{why}\n  python -m tests.sim {seed} --trace" for seed, why in report.failures.items()
    )
    assert moves >= scaled(100)
