"""What a shell is offered to complete a command line."""

from __future__ import annotations

from typing import Any

import pytest

from enginery.cli import completion
from enginery.cli.ask import COMMANDS

GOOD = ["a.b,c:d=e+f/g@h-i", "fit", "größe", "学習"]
BAD = [
    "x$(cmd)", "x`cmd`", "x;cmd", "x|cmd", "x&", "x>y", "x y", "x\ny", "x\n", "x\ty", "x'", 'x"',
    "x\\", "x*", "x?", "~", "!x", "#x", "{x,y}", "[x]", "x\x1b[31m", "x\u2028y", "x\u202ey",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for names has these."""

    def names(self: Any, query: Any) -> list[str]:
        return [*GOOD, *BAD]

    monkeypatch.setattr(completion._There, "_ask", names)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["list", "tasks", "--label", ""], GOOD),
        (["list", "tasks", "--label", "x"], []),
        (["list", "tasks", "--label=x"], []),
        (["list", "tasks", "--label=fi"], ["--label=fit"]),
        (["errors", "--function", "x"], []),
        (["show", "x"], []),
        (["show", "f"], ["fit"]),
        (["show", "17,f"], ["17,fit"]),
    ],
)
def test_what_a_shell_might_run_is_not_offered(words: list[str], offered: list[str]) -> None:
    assert completion.candidates(words, COMMANDS, ()) == offered
