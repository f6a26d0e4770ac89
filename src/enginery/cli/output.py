"""What a command prints: text for people, one JSON object for programs, ids for other commands.

The JSON is a promise: its names are those of the metadata in Python, its times are UTC in ISO 8601,
and its durations are seconds.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .tables import Screen

FORMS = ("text", "json", "ids")
VARIABLE = "ENGINERY_OUTPUT"
"""The environment variable that says the form where the command line does not."""

SCHEMA = 1


class Answer(NamedTuple):
    """What a command has to say: the parts of its JSON object, its ids, and how to write text.

    The exit code is 1 where that is not good.
    """

    parts: Mapping[str, Any]
    ids: Sequence[str]
    text: Callable[[Screen], str]
    code: int = 0


def wanted(argv: Sequence[str]) -> str:
    """The form that a command line asks for, also where the rest of it is wrong; "text" if none.

    So a program that asks for JSON gets its complaints as JSON, too.
    """
    form = os.environ.get(VARIABLE, "")
    for i, word in enumerate(argv):
        if word in ("-o", "--output"):
            form = argv[i + 1] if i + 1 < len(argv) else ""
        elif word.startswith("--output="):
            form = word.partition("=")[2]
        elif word.startswith("-o") and len(word) > 2:
            form = word[2:].removeprefix("=")
    return form if form in FORMS else "text"


def show(answer: Answer, form: str, wide: bool = False) -> None:
    """Print an answer in this form."""
    if hasattr(sys.stdout, "reconfigure"):  # names may have letters that a terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    match form:
        case "json":
            print(as_json(answer.parts))
        case "ids":
            for id in answer.ids:
                print(id)
        case _:
            if text := answer.text(Screen.of(sys.stdout, wide)):
                print(text)
    sys.stdout.flush()


def as_json(parts: Mapping[str, Any]) -> str:
    """The one object that a command prints."""
    return json.dumps({"schema": SCHEMA, **parts}, indent=1)


def failure(error: BaseException, hint: str = "") -> dict[str, Any]:
    """An error as a part of the JSON object; the lines after its first are what to do."""
    message, _, rest = str(error).partition("\n")
    hint = hint or "\n".join(line.strip() for line in rest.splitlines())
    return {"error": {"type": type(error).__name__, "message": message, "hint": hint}}


def moment(seconds: float) -> str | None:
    """A time since the epoch as UTC in ISO 8601; None for 0, which means not yet."""
    if not seconds:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
