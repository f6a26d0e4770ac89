"""The events in the log: each one that the code can write stands in the reference, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import enginery
from enginery.log import LEVELS

ROOT = Path(enginery.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "log-events.md"

WRITERS = {"Log", "event", "log", "_log", "_once"}
"""What is called to write a line, or to ask for one."""

NAME = re.compile(r"[a-z]+\.[a-z_]+")
ROW = re.compile(r"^\| `([a-z_.]+)` \| ([a-z]+)", re.MULTILINE)


def called(call: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def written() -> Iterator[tuple[str, str]]:
    """Every event in the source, with its level, if that stands beside it."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and called(node) in WRITERS:
                texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
                texts = [text for text in texts if isinstance(text, str)]
                for name in filter(NAME.fullmatch, texts):
                    levels = [text for text in texts if text in LEVELS]
                    yield name, "".join(levels)


def test_every_event_is_in_the_reference_and_the_reference_has_no_other() -> None:
    assert {name for name, _ in written()} == {name for name, _ in ROW.findall(PAGE.read_text())}


def test_the_reference_has_the_right_levels() -> None:
    rows = set(ROW.findall(PAGE.read_text()))
    wrong = [(name, level) for name, level in written() if level and (name, level) not in rows]
    assert wrong == []
