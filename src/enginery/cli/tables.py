"""Tables for people: as wide as the terminal and coloured there, plain and uncut anywhere else."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TextIO

GAP = "  "
LEAST = 8
"""Columns that a cut cell keeps at least."""

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Screen(NamedTuple):
    """What is printed on: how many columns it has (None: any number), and whether it has colour."""

    width: int | None = None
    colour: bool = False

    @classmethod
    def of(cls, stream: TextIO, wide: bool = False) -> Screen:
        """That of a stream; `wide`: nothing shall be cut, though it is a terminal."""
        if not stream.isatty():
            return cls()
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(None if wide else shutil.get_terminal_size().columns, colour)

    def paint(self, text: str, style: str) -> str:
        """The text in a style of `STYLES`, where there is colour; "" is no style."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.colour and style else text


def _plain(cell: str) -> str:
    return ""


class Column(NamedTuple):
    """A column: its title, whether its cells stand at the right, may be cut, and their style."""

    title: str
    right: bool = False
    cut: bool = False
    style: Callable[[str], str] = _plain


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], screen: Screen) -> str:
    """Columns under their titles, one line a row; those that are empty in every row are left out.

    Where the screen is too narrow, cells that may be cut end in "…", the widest first.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    used = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    columns = [columns[i] for i in used]
    cells = [[row[i] for i in used] for row in cells]
    widths = _widths(columns, cells, screen.width)
    titles = [_cell(c.title, c, w) for c, w in zip(columns, widths, strict=True)]
    lines = [screen.paint(GAP.join(titles).rstrip(), "bold")]
    for row in cells:
        line = [_cell(*each) for each in zip(row, columns, widths, strict=True)]
        line[-1] = line[-1].rstrip()
        styles = [column.style(cell) for cell, column in zip(row, columns, strict=True)]
        lines.append(GAP.join(map(screen.paint, line, styles)).rstrip())
    return "\n".join(lines)


def or_dash(value: Any) -> str:
    """What a cell says; "-" of what is not known, or not there."""
    return "-" if value in (None, "") else str(value)


def _widths(columns: Sequence[Column], rows: list[list[str]], limit: int | None) -> list[int]:
    """How wide each column is: as its widest cell, as far as there is room."""
    widths = [
        max([cells_of(column.title), *(cells_of(row[i]) for row in rows)])
        for i, column in enumerate(columns)
    ]
    if limit is None:
        return widths
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - limit
    flexible = [i for i, column in enumerate(columns) if column.cut and widths[i] > LEAST]
    while excess > 0 and flexible:
        widest = max(flexible, key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1
        if widths[widest] == LEAST:
            flexible.remove(widest)
    return widths


def _cell(text: str, column: Column, width: int) -> str:
    text = shortened(text, width)
    blanks = " " * (width - cells_of(text))
    return blanks + text if column.right else text + blanks


def sentence(head: str, text: str, screen: Screen) -> list[str]:
    """A sentence behind a head: on several lines, one below the other, where it is narrow."""
    indent = cells_of(plain(head))
    room = max(screen.width - indent, 3 * LEAST) if screen.width else len(text) + 1
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [(" " * indent if i else head) + line for i, line in enumerate(lines)]


def plain(text: str) -> str:
    """The text without its colours."""
    return re.sub(r"\x1b\[\d*m", "", text)


def fields(rows: Iterable[tuple[str, str]], screen: Screen, indent: str = "  ") -> str:
    """Names and values, one line each; those without a value are left out."""
    told = [(name, clean(value)) for name, value in rows if value]
    width = max((len(name) for name, _ in told), default=0)
    return "\n".join(
        f"{indent}{screen.paint(f'{name:<{width}}', 'dim')}{GAP}{value}" for name, value in told
    )


def clean(text: str) -> str:
    """The text with everything escaped that could break a line or speak to the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cells_of(text: str) -> int:
    """How many columns of a terminal a text takes: wide letters take two, accents none."""
    if text.isascii():
        return len(text)
    return sum(_cells(c) for c in text)


def _cells(c: str) -> int:
    return 0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")


def shortened(text: str, width: int) -> str:
    """The text, cut to so many columns and ended by "…" when it takes more."""
    if cells_of(text) <= width:
        return text
    kept, taken = "", 1
    for c in text:
        taken += _cells(c)
        if taken > width:
            break
        kept += c
    return kept + "…"
