"""How numbers, times and lists of things are put into words for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

COLUMNS = 100
"""The width that messages keep to, as far as their words let them."""

LISTED = 5
"""Things named one by one before a list ends in "…"."""


def count(n: int, what: str = "") -> str:
    """A number, with its noun if there is one: "8,771", "1 item", "8,771 items"."""
    if not what:
        return f"{n:,}"
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def of(done: int, total: int) -> str:
    """A part of a whole: "8,771 of 10,000"."""
    return f"{done:,} of {total:,}"


def duration(seconds: float) -> str:
    """A time as people say it: "3 ms", "0.2 s", "28 s", "3 min 28 s", "2 h 14 min", "3 d 4 h"."""
    if seconds < 0.0995:
        ms = max(seconds, 0) * 1000
        return f"{ms:.0f} ms" if ms >= 1 else f"{ms:.1g} ms" if ms else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < 86400:
        return _two(whole, 3600, "h", 60, "min")
    return _two(whole, 86400, "d", 3600, "h")


def _two(seconds: int, big: int, big_unit: str, small: int, small_unit: str) -> str:
    rest = seconds % big // small
    return f"{seconds // big} {big_unit}" + (f" {rest} {small_unit}" if rest else "")


def rate(n: int, seconds: float) -> str:
    """How many in a second: "48/s", "0.25/s"."""
    value = n / seconds if seconds > 0 else 0.0
    return f"{value:,.0f}/s" if value >= 9.5 else f"{value:.2g}/s"


def size(nbytes: float) -> str:
    """A memory size in decimal units: "512 B", "3.9 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 999.5:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:,.1f} TB"


def some(items: Sequence[int], limit: int = LISTED) -> str:
    """The first few of a list: "5, 18, 77, 80, 91, …"."""
    return ", ".join(f"{item:,}" for item in items[:limit]) + (", …" if len(items) > limit else "")


def brief(text: str, width: int) -> str:
    """The first line of a text, cut to a width."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= width else line[: width - 1] + "…"


def fold(line: str, taken: int = 0) -> str:
    """A line as several of at most `COLUMNS`, broken after a clause where that can be.

    `taken` columns stand before it; what follows is indented. A longer word is left whole.
    """
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    lines, room = [], COLUMNS - taken
    while len(line) > room:
        cut = _cut(line, room, least=room // 2)
        if not cut:
            break
        lines.append(line[:cut])
        line, room = indent + line[cut:].lstrip(), COLUMNS
    return "\n".join([*lines, line])


def _cut(line: str, room: int, least: int) -> int:
    """Where to break a line: after the last clause in `room`, the last word, the next clause; 0."""
    strong, weak, words = (
        [match.start() + 1 for match in re.finditer(pattern, line)]
        for pattern in (r"[;:.] ", r"[,] ", r"\S ")
    )
    for cuts in (strong, weak, words):
        if fitting := [cut for cut in cuts if least < cut <= room]:
            return fitting[-1]
    return next((cut for cut in sorted(strong + weak) if cut > room), 0)


def ranges(numbers: Iterable[int]) -> str:
    """Numbers with their runs drawn together: "0-3, 7"."""
    runs: list[list[int]] = []
    for n in sorted(set(numbers)):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
