"""Tables fit the terminal, and nowhere else are they cut, wrapped or coloured."""

from __future__ import annotations

import io
import os
import pty
import re
from collections.abc import Iterator
from typing import TextIO

import pytest

from enginery.cli.tables import Column, Screen, cells_of, clean, fields, shortened, table

COLUMNS = (
    Column("n", right=True),
    Column("function", cut=True),
    Column("label", cut=True, style=lambda cell: "red" if cell == "bad" else ""),
)
LONG = "map(" + "f" * 60 + ")"


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """The end of a pseudo-terminal that a program writes to."""
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as stream:
        yield stream
    os.close(reader)


def test_a_table() -> None:
    rows = [("1", "map(fit)", "a"), ("12", "execute", "")]
    assert table(COLUMNS, rows, Screen()).splitlines() == [
        " n  function  label",
        " 1  map(fit)  a",
        "12  execute",
    ]


def test_columns_that_are_empty_everywhere_are_left_out() -> None:
    assert table(COLUMNS, [("1", "", "a"), ("2", "", "b")], Screen()).splitlines()[0] == "n  label"


def test_where_the_screen_is_narrow_the_widest_cells_are_cut() -> None:
    lines = table(COLUMNS, [("1", LONG, "x" * 12)], Screen(40)).splitlines()
    assert [len(line) for line in lines[1:]] == [40]
    assert lines[1].startswith("1  map(ff")
    assert lines[1].endswith("…  " + "x" * 12)
    narrow = table(COLUMNS, [("1", LONG, "x" * 12)], Screen(5)).splitlines()[1]
    assert narrow == "1  map(fff…  xxxxxxx…"


def test_without_a_width_nothing_is_cut() -> None:
    assert LONG in table(COLUMNS, [("1", LONG, "x" * 500)], Screen())


def test_nothing_in_a_cell_breaks_a_line_or_speaks_to_the_terminal() -> None:
    text = table(COLUMNS, [("1", "a\nb\x1b[31m", "\u202ex\r")], Screen())
    assert len(text.splitlines()) == 2
    assert text.isprintable() or text.replace("\n", "").isprintable()
    assert clean("a\nb\x1b[31m\ud800") == r"a\nb\x1b[31m\ud800"


def test_wide_letters_and_accents_keep_columns_straight() -> None:
    assert (cells_of("模型"), cells_of("e\u0301t")) == (4, 2)
    assert shortened("模型訓練", 6) == "模型…"
    first, second = table(COLUMNS, [("1", "模型", "a"), ("2", "ab", "b")], Screen()).splitlines()[
        1:
    ]
    assert cells_of(first) == cells_of(second)


def test_colour_is_around_cells_and_changes_no_width() -> None:
    rows = [("1", "f", "bad"), ("2", "f", "good")]
    coloured = table(COLUMNS, rows, Screen(80, colour=True))
    assert "\x1b[31mbad\x1b[0m" in coloured
    plain = re.sub(r"\x1b\[\d+m", "", coloured)
    assert plain == table(COLUMNS, rows, Screen())


def test_fields_leave_out_what_has_no_value() -> None:
    told = fields([("state", "ok"), ("label", ""), ("submitted", "a\nb")], Screen())
    assert told.splitlines() == ["  state      ok", r"  submitted  a\nb"]


def test_a_pipe_has_no_width_and_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert Screen.of(io.StringIO()) == Screen(None, False)


def test_a_terminal_has_both(terminal: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Screen.of(terminal) == Screen(30, True)
    assert Screen.of(terminal, wide=True) == Screen(None, True)
    monkeypatch.setenv("TERM", "dumb")
    assert Screen.of(terminal) == Screen(30, False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen.of(terminal) == Screen(30, False)
