"""The command lines of what one asks a cluster: options, help, and what is wrong with them.

They are read by argparse: traitlets take longer to start than most of these commands to run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from . import filters
from .entry import UsageError
from .output import FORMS, VARIABLE, Answer

Options = argparse.Namespace


class Option(NamedTuple):
    """An option: its names, its value's name ("": a switch), what it is for, how it is read."""

    names: str
    value: str
    help: str
    type: Callable[[str], Any] = str
    default: Any = None


class Arguments(NamedTuple):
    """What stands in a command line beside options: how it is written, how many, what is allowed.

    `many` is as in argparse; one of the `choices` is read as `what`, anything else as `selectors`.
    """

    usage: str
    many: str = "+"
    choices: tuple[str, ...] = ()


class Command(NamedTuple):
    """A command: what it is for, what it does, its arguments, its own options, examples."""

    description: str
    run: Callable[[Options], Answer]
    arguments: Arguments | None
    options: tuple[Option, ...]
    examples: tuple[str, ...]


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise UsageError(f"{text!r} is no number of seconds above 0")
    return number


def limit(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{text!r} is no number; 0 means all")
    return int(text)


COMMON = (
    Option("-o --output", "FORM", f"text (default), json or ids; also by {VARIABLE}"),
    Option("--profile", "NAME", "the profile of the cluster (default)", default=""),
    Option("--profile-dir", "DIR", "its directory, in place of a name", default=""),
    Option("--cluster-id", "ID", "tells several clusters of one profile apart", default=""),
    Option("--ssh", "SERVER", "reach the controller through ssh: me@host", default=""),
    Option("--sshkey", "PATH", "the key for that, when ssh would not find it", default=""),
    Option("--timeout", "SECONDS", "how long an answer may take (10)", _seconds, 10.0),
)
"""Options of every command."""

FILTERS = (
    Option("--label", "LABEL", "tasks with this label; may be repeated"),
    Option("--engine", "IDS", "engines, or tasks on them: 3, 0-3,7", filters.engines),
    Option("--function", "NAME", "calls of this function, * and ? allowed; may be repeated"),
)

LISTING = (
    Option(
        "--state", "WORDS", "of tasks: " + ", ".join(filters.WORDS) + "; of engines: busy, idle"
    ),
    *FILTERS,
    Option("--limit", "N", "the newest N; 0: all (50 tasks as text, else all)", limit),
    Option("--wide", "", "every column, and nothing cut"),
)

SELECTORS = Arguments("SELECTOR…")
SOME_SELECTORS = Arguments("[SELECTOR…]", "*")
SELECTOR_HELP = (
    "Selectors: 17, 1-10 or 1,3,5-8 (numbers as in enginery list tasks), last, all, 4374c3-17 (an"
    " id), fit (a label; label=17 where it looks like a number), - (read them from standard input)."
)

COLUMNS, LEAST = 96, 20
"""Columns that a help text has at most, and its texts at least."""
LISTS = Arguments("clusters|engines|tasks", choices=("clusters", "engines", "tasks"))
SHELLS = Arguments("bash|zsh|fish", choices=("bash", "zsh", "fish"))
ENGINES = Arguments("[ENGINE…]", "*")
LOGS = Arguments("[controller|ENGINE]", "?")
CALLS = Arguments("[LABEL|last|all]", "*")


class _Parser(argparse.ArgumentParser):
    """One that raises what is wrong, and whose help is as that of the other commands."""

    command: Command

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "))

    def format_help(self) -> str:
        """The text of --help."""
        command = self.command
        columns = min(COLUMNS, shutil.get_terminal_size((COLUMNS, 24)).columns)
        usage = f"{self.prog} {command.arguments.usage if command.arguments else ''}".rstrip()
        about = textwrap.wrap(f"{self.prog}: {command.description}", columns)
        lines = [*about, "", f"  {usage} [OPTIONS]", ""]
        for option in (*command.options, *COMMON):
            left = ", ".join(option.names.split()) + (f"={option.value}" if option.value else "")
            text = textwrap.wrap(option.help, max(columns - 24, LEAST))
            lines += [f"  {left:<22}{text[0]}", *(f"  {'':<22}{more}" for more in text[1:])]
        if command.arguments in (SELECTORS, SOME_SELECTORS):
            lines += ["", *textwrap.wrap(SELECTOR_HELP, columns)]
        examples = [f"  {line}" for line in command.examples]
        return "\n".join([*lines, "", "Examples:", *examples, ""])


def read(command: Command, prog: str, argv: Sequence[str]) -> Options:
    """What a command line asks for; UsageError, and SystemExit(0) after --help."""
    parser = _Parser(prog=prog, allow_abbrev=False)
    parser.command = command
    if (arguments := command.arguments) is not None:
        if arguments.choices:
            parser.add_argument("what", metavar=arguments.usage, choices=arguments.choices)
        else:
            word = arguments.usage.strip("[…]")
            parser.add_argument("selectors", metavar=word, nargs=arguments.many)
    for option in (*command.options, *COMMON):
        names = option.names.split()
        if not option.value:
            parser.add_argument(*names, action="store_true")
        elif option.names in ("--label", "--function"):
            parser.add_argument(*names, action="append", default=[])
        else:
            parser.add_argument(*names, type=_told(option.type), default=option.default)
    options = parser.parse_args(argv)
    given = options.output if options.output is not None else os.environ.get(VARIABLE) or "text"
    if given not in FORMS:
        source = "-o" if options.output is not None else VARIABLE
        raise UsageError(f"{source}: there is no form {given!r}; there are {', '.join(FORMS)}")
    options.output = given
    return options


def _told(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same for argparse, which passes on the words of its own exception only."""

    def told(text: str) -> Any:
        try:
            return read(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None

    return told
