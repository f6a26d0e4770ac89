"""Messages keep to their width, broken where people would; small numbers are told as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginery.client.text import COLUMNS, duration, fold

LONG = "engine 1 died while running item 4,321 of 5,000 of map(fit): killed by signal 9 (SIGKILL)"


def test_what_fits_stays_as_it_is() -> None:
    assert fold(LONG) == LONG
    assert fold("x" * COLUMNS) == "x" * COLUMNS


def test_a_line_is_broken_after_a_clause() -> None:
    first, second = fold(LONG, taken=20).splitlines()
    assert first == "engine 1 died while running item 4,321 of 5,000 of map(fit):"
    assert second == "  killed by signal 9 (SIGKILL)"


def test_a_line_without_clauses_is_broken_after_a_word() -> None:
    lines = fold("  " + "word " * 30).splitlines()
    assert lines[0] == "  " + " ".join(["word"] * 19)
    assert lines[1].startswith("    word ")


def test_a_long_path_is_left_whole() -> None:
    path = "/x" * 60
    assert fold(f"Here it is {path}, found there.") == f"Here it is {path},\n  found there."
    assert fold(path) == path


@given(st.text("ab,.;: ", max_size=400), st.integers(0, 60))
def test_no_word_is_lost(line: str, taken: int) -> None:
    assert fold(line, taken).split() == line.split()


@given(
    st.lists(st.sampled_from(["a", "word", "clause,", "end;"]), max_size=100), st.integers(0, 60)
)
def test_lines_keep_to_the_width(words: list[str], taken: int) -> None:
    first, *others = fold(" ".join(words), taken).split("\n")
    assert len(first) <= COLUMNS - taken
    assert all(len(line) <= COLUMNS for line in others)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (2e-5, "0.02 ms"),
        (4e-4, "0.4 ms"),
        (0.0312, "31 ms"),
        (0.2, "0.2 s"),
    ],
)
def test_short_times(seconds: float, text: str) -> None:
    assert duration(seconds) == text
