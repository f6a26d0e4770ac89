"""What the objects of a client say of themselves: a line of text, and the same as static HTML.

The HTML has no script and no style sheet: colours are Jupyter's own variables, so that dark themes
work, with a value for where there are none. A text says as much as its HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .. import text

ENGINES = 20
"""Engines at most that are listed one by one."""

FONT = (
    "font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 1em)"
)
QUIET = "color: var(--jp-ui-font-color2, inherit)"
CELL = "padding: 0 1em 0 0; text-align: left; border: none"

State = Mapping[str, Any]


def listed(ids: Sequence[int]) -> str:
    """Engine ids: "[0, 1, 2]", "[0, 1, …, 19, … and 44 more]"."""
    more = _more(len(ids))
    return f"[{', '.join([*map(str, ids[:ENGINES]), *more])}]"


def cluster_now(status: State) -> str:
    """What the controller says: "4 engines (3 busy, 1 idle) on 2 hosts, 12 tasks waiting"."""
    busy, engines = status["busy"], status["engines"]
    state = f" ({busy} busy, {engines - busy} idle)" if engines else ""
    hosts = f" on {status['hosts']} hosts" if status["hosts"] > 1 else ""
    waiting = text.count(status["waiting"], "task")
    failed = status.get("failed", 0)
    cannot = f" and {failed} that cannot start" if failed else ""
    return f"{text.count(engines, 'engine')}{state}{hosts}{cannot}, {waiting} waiting"


def rows(engines: Iterable[State]) -> list[tuple[str, str, str, str]]:
    """What stands in a table of engines: id, whether it is busy, host, process id."""
    return [
        (
            f"engine {each['id']}",
            "busy" if each["load"] else "idle",
            each["host"],
            f"pid {each['pid']}",
        )
        for each in engines
    ]


def with_rows(line: str, table: Sequence[Sequence[str]]) -> str:
    """A line, and below it a table as text."""
    shown = table[:ENGINES]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in shown
    ]
    return "\n".join([line, *(f"  {each.rstrip()}" for each in [*lines, *_more(len(table))])])


def html(line: str, bar: str = "", table: Sequence[Sequence[str]] = ()) -> str:
    """A repr "<Kind name: facts>" as HTML, with a bar before the facts, and a table below."""
    head, _, facts = line.removeprefix("<").removesuffix(">").partition(": ")
    if not facts:  # of a view: "<DirectView [0, 1]>"
        head, _, facts = head.partition(" ")
    told = " ".join(filter(None, [f"<b>{escape(head)}</b>", bar, escape(facts)]))
    return f'<div style="{FONT}">{told}{_table(table)}</div>'


def note(told: str, bar: str = "") -> str:
    """A plain text as HTML, perhaps with a bar before it."""
    return f'<div style="{FONT}">{bar}{" " if bar else ""}{escape(told)}</div>'


def progress_bar(ended: float, total: int) -> str:
    """How many of a number have ended, as a bar."""
    style = "width: 16em; accent-color: var(--jp-brand-color1, auto)"
    value = f"{ended:.2f}".removesuffix(".00")
    return f'<progress value="{value}" max="{max(total, 1)}" style="{style}"></progress>'


def _table(table: Sequence[Sequence[str]]) -> str:
    if not table:
        return ""
    lines = [
        "<tr>" + "".join(f'<td style="{CELL}">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in table[:ENGINES]
    ]
    more = [f'<tr><td style="{CELL}" colspan="9">{told}</td></tr>' for told in _more(len(table))]
    return f'<table style="{QUIET}; margin: 0; border: none">{"".join([*lines, *more])}</table>'


def _more(n: int) -> list[str]:
    return [f"… and {n - ENGINES} more"] if n > ENGINES else []
