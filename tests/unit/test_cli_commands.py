"""The commands that ask a cluster: each has its help, its schema, its place in the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from enginery.cli.ask import COMMANDS
from enginery.cli.command_line import LISTS
from enginery.cli.enginery import ASKING

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SCHEMA = json.loads((REFERENCE / "commands-1.json").read_text())


def test_the_short_help_names_every_command() -> None:
    assert set(COMMANDS) == set(ASKING)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_schema_and_a_row_in_the_reference(name: str) -> None:
    names = [f"list {what}" for what in LISTS.choices] if name == "list" else [name]
    assert set(names) <= set(SCHEMA["$defs"])
    text = (REFERENCE / "command-line.md").read_text()
    assert all(re.search(rf"^\| `enginery {each}\b", text, re.MULTILINE) for each in names)
