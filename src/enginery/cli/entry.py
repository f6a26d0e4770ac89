"""What every command does first and last, without traitlets: settings handed over, exit codes.

A process that `Cluster` starts gets its settings as one JSON object through its standard input
(`--settings=-`), not as arguments: it starts faster, and nothing is too long for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..error import EngineryError, NoControllerError, NotAllowedError

OK, FAILED, USAGE, NO_CONTROLLER, NOT_ALLOWED, INTERRUPTED = 0, 1, 2, 3, 4, 130
"""The exit codes of every command."""


class UsageError(EngineryError, ValueError):
    """The command line or a configuration file asks for something that is not possible."""


class HandedOver(NamedTuple):
    """The settings that came from the process that started this one, and where it looks at us."""

    settings: dict[str, Any]
    output: str


def handed_over(argv: Sequence[str]) -> HandedOver | None:
    """The settings that were handed over to this process, if any were."""
    if "--settings=-" not in argv:
        return None
    settings: dict[str, Any] = json.load(sys.stdin.buffer)
    return HandedOver(settings, settings.pop("output"))


@contextlib.contextmanager
def tidied(paths: Iterable[str | os.PathLike[str]]) -> Iterator[None]:
    """Remove these files at the end, if they are there and empty; errors are yet to be written."""
    yield
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if os.path.getsize(path) == 0:
                os.unlink(path)


def has_config_file(directory: str, name: str) -> bool:
    """Whether this profile directory holds a configuration file for this command."""
    return os.path.exists(os.path.join(directory, f"{name}_config.py"))


def guarded(prog: str, command: Callable[[], int]) -> int:
    """Run a command; its exit code. What the user can do something about is told in words."""
    try:
        return command()
    except UsageError as error:
        usage_error(prog, str(error))
        return USAGE
    except (EngineryError, OSError) as error:
        say(prog, error)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def exit_code(error: Exception) -> int:
    """The exit code of a command that ends by this error."""
    match error:
        case UsageError():
            return USAGE
        case NoControllerError():
            return NO_CONTROLLER
        case NotAllowedError():
            return NOT_ALLOWED
    return FAILED


def usage_error(prog: str, text: str) -> None:
    """Tell what is wrong with a command line, and where to read what is right."""
    print(f"{prog}: {text}\n  see: {prog} --help", file=sys.stderr)


def say(prog: str, error: Exception) -> None:
    """Print an error as one message for people; it may name what others have named."""
    from .tables import clean

    text = "\n".join(map(clean, str(error).split("\n")))
    print(f"{prog}: {text}", file=sys.stderr)
