"""A journal whose files were cut or changed, at a thousand places (F6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.unit.test_journal_files import RECORDS, change_any_bit, cut_anywhere, written

from .scale import scaled

__all__ = ["written"]

Figures = Callable[[str, str, str], None]


def test_a_damaged_journal(written: Path, figures: Figures) -> None:
    times, content = max(100, scaled(1000)), written.read_bytes()
    counts = cut_anywhere(written, times, seed=3)
    written.write_bytes(content)
    refusals = change_any_bit(written, times, seed=4)
    figures(
        "F6 the journal is cut or damaged", f"{times:,} cuts, {times:,} changed bits, real files",
        f"after cuts all before them, in each case; {len(refusals):,} bits refused by record and "
        f"byte, {times - len(refusals):,} in the last record, which then does not count",
    )  # fmt: skip
    assert len(counts) > RECORDS / 2
    assert len(refusals) > 0.8 * times
