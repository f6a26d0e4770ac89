"""The options of the magics, and what people may write for their values."""

from __future__ import annotations

import ast
import re
import signal as signals
from argparse import ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

GROUPS = ("type", "engine", "order")

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGKILL", "none")
"""Those that tab completion offers."""

SLICE = re.compile(r"\[?(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?\]?")


LIST = re.compile(r"\[[^\[\]]*\]")

VALUE = re.compile(r"(?:'[^']*'|\"[^\"]*\"|\[[^\[\]]*\]|\S+)(?:\s+|$)")


@dataclass
class Defaults:
    """What `%pxconfig` sets, besides the view's own `block` and `targets`.

    `progress_after` is in seconds: -1 never shows a bar, 0 at once. `signal` is sent to the engines
    when a `%px` is interrupted; with 0 they are left alone.
    """

    verbose: bool | None = None
    stream: bool = True
    progress_after: float = 2.0
    signal: int = int(signals.SIGINT)

    def with_(self, options: Namespace) -> Defaults:
        """These with what the options of one magic say otherwise."""
        given = {name: getattr(options, name) for name in vars(self)}
        return Defaults(**vars(self) | {k: v for k, v in given.items() if v is not None})

    def __str__(self) -> str:
        stream, verbose = ("" if on else "no-" for on in (self.stream, self.verbose))
        return (
            f"--{stream}stream --{verbose}verbose --progress-after {self.progress_after:g} "
            f"--signal-on-interrupt {signal_name(self.signal)}"
        )


class Parser(MagicArgumentParser):  # type: ignore[misc]
    """Parses the options of one magic; UsageError names the magic and what is wrong."""

    def __init__(self, magic: str, description: str) -> None:
        super().__init__(magic.removeprefix("%"), description=description)
        self.magic = magic

    def error(self, message: str) -> None:
        """Raise UsageError, with the options there are if this is about one there is not."""
        if "unrecognized" in message:
            message += f"; its options: {' '.join(self.names) or 'none'}"
        raise UsageError(f"{self.magic}: {message}")

    @property
    def names(self) -> list[str]:
        """The long names of its options."""
        return [n for n in self._option_string_actions if n.startswith("--")]

    def takes_value(self, name: str) -> bool:
        """Whether this is an option that has a value, which is the next word."""
        action = self._option_string_actions.get(name)
        return action is not None and action.nargs != 0

    def values(self, name: str) -> list[str]:
        """What may stand after an option, as far as that is a short list."""
        if name == "--signal-on-interrupt":
            return list(SIGNALS)
        action = self._option_string_actions.get(name)
        return list(getattr(action, "choices", None) or ())

    def options(self, line: str) -> Namespace:
        """Parse all of a line."""
        try:
            given: Namespace = self.parse_argstring(LIST.sub(_closed_up, line))
        except ValueError as error:  # a quotation that does not end
            self.error(str(error).lower())
        return given

    def split(self, line: str) -> tuple[str, str]:
        """The options that a line begins with, and the code after them.

        `-x` in front of what is Python is code; `--name` is an option at any rate.
        """
        rest = line.lstrip()
        if not re.match(r"--[a-z]", rest) and not (self._short(rest) and not is_python(rest)):
            return "", line
        given: list[str] = []
        while match := re.match(r"(--?[a-z][\w-]*)(=\S+)?(\s+|$)", rest):
            name, value, _ = match.groups()
            if name not in self._option_string_actions:
                self.error(f"unrecognized option {name}")
            given.append(match[0])
            rest = rest[match.end() :]
            if self.takes_value(name) and value is None:
                word = VALUE.match(rest)
                given.append(word[0] if word else "")
                rest = rest[word.end() :] if word else ""
        return " ".join(given), rest

    def _short(self, text: str) -> bool:
        first = text.split(None, 1)[0] if text else ""
        return first in self._option_string_actions


def px_parser(magic: str, description: str) -> Parser:
    """For `%px` and `%%px`."""
    parser = Parser(magic, description)
    _where_and_how(parser)
    parser.add_argument("--local", action="store_true", help="run the code here, too")
    _grouping(parser)
    return parser


def result_parser(magic: str, description: str, numbered: bool = False) -> Parser:
    """For `%pxresult` and `%result`."""
    parser = Parser(magic, description)
    _grouping(parser)
    if numbered:
        parser.add_argument(
            "number", nargs="?", type=int, help="which command of each engine (2008 interface)"
        )
    return parser


def config_parser(magic: str, description: str) -> Parser:
    """For `%pxconfig`."""
    parser = Parser(magic, description)
    _where_and_how(parser)
    return parser


def _where_and_how(parser: Parser) -> None:
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument(
        "-b", "--block", dest="block", action="store_true", default=None,
        help="wait for the engines, and show what they put out as it comes",
    )  # fmt: skip
    waiting.add_argument(
        "-a", "--noblock", dest="block", action="store_false", default=None,
        help="give an AsyncResult at once",
    )  # fmt: skip
    parser.add_argument(
        "-t", "--targets", metavar="SPEC",
        help="which engines: 0, 0,2, [0,2], ::2, all, or a variable that holds such",
    )  # fmt: skip
    parser.add_argument(
        "--stream", action=BooleanOptionalAction, default=None,
        help="show output as it comes, or when all is done",
    )  # fmt: skip
    parser.add_argument(
        "--verbose", action=BooleanOptionalAction, default=None,
        help="say first which engines the code runs on",
    )  # fmt: skip
    parser.add_argument(
        "--progress-after", metavar="S", type=seconds, default=None,
        help="seconds until a progress bar is shown: -1 never, 0 at once; 2 if nothing else is set",
    )  # fmt: skip
    parser.add_argument(
        "--signal-on-interrupt", dest="signal", metavar="SIG", type=signal_number, default=None,
        help="what Ctrl-C sends to the engines: a signal's name or number, or none; SIGINT if "
        "nothing else is set",
    )  # fmt: skip


def _grouping(parser: Parser) -> None:
    parser.add_argument(
        "--group-outputs", dest="group", choices=GROUPS, default=None,
        help="show output when all is done: by type (all of stdout, of stderr, of what was "
        "displayed), engine by engine, or in the order of the targets",
    )  # fmt: skip
    parser.add_argument(
        "-e", dest="group", action="store_const", const="engine", help="--group-outputs engine"
    )
    parser.add_argument(
        "-r", dest="group", action="store_const", const="order", help="--group-outputs order"
    )
    parser.add_argument(
        "-o", "--out", metavar="NAME", type=name, default=None,
        help="keep the AsyncResult under this name",
    )  # fmt: skip


def targets_of(spec: str, names: Mapping[str, Any]) -> Any:
    """The targets that a text means; a variable stands for its value. ValueError says why none."""
    text = spec.replace(" ", "")
    if text == "all":
        return "all"
    if text.isidentifier():
        if text not in names:
            raise ValueError(f"there is no variable {text!r} here")
        value = names[text]
        return getattr(value, "targets", value)
    if match := SLICE.fullmatch(text):
        return slice(*(int(part) if part else None for part in match.groups()))
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ValueError(
            "this names no engines; write 0, 0,2, [0,2], ::2, all, or the name of a variable"
        ) from None


def seconds(text: str) -> float:
    """A number of seconds; any below 0 stands for never."""
    value = float(text)
    if isnan(value):
        raise ArgumentTypeError(f"{text} is no number of seconds")
    return max(value, -1.0)


def name(text: str) -> str:
    """A name that a variable can have."""
    if not text.isidentifier():
        raise ArgumentTypeError(f"{text!r} cannot be the name of a variable")
    return text


def signal_number(text: str) -> int:
    """The number of a signal, by number or by name; 0 for none."""
    if text.lower() in {"none", "0"}:
        return 0
    name = text.upper()
    try:
        if text.isdigit():
            return int(signals.Signals(int(text)))
        return int(signals.Signals[name if name.startswith("SIG") else f"SIG{name}"])
    except (KeyError, ValueError):
        raise ArgumentTypeError(f"there is no signal {text!r}") from None


def signal_name(number: int) -> str:
    """What people call it."""
    return signals.Signals(number).name if number else "none"


def _closed_up(match: re.Match[str]) -> str:
    return match[0].replace(" ", "")


def is_python(code: str) -> bool:
    """Whether this can be compiled."""
    try:
        compile(code, "", "exec")
    except (SyntaxError, ValueError):
        return False
    return True
