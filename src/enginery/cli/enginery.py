"""The umbrella command: `enginery cluster …`, `enginery status`, `enginery list tasks` and more.

Does what the `ip…` commands do, also where another package has taken their names, and asks running
clusters (`ask`). Imports only what the command at hand needs: this is how a cluster starts its
processes.
"""

from __future__ import annotations

import sys
from importlib import import_module

from ..version import __version__
from .entry import OK, USAGE, usage_error

COMMANDS = {
    "cluster": ("ipcluster", "start, list and stop clusters; as ipcluster"),
    "controller": ("ipcontroller", "run a controller; as ipcontroller"),
    "engine": ("ipengine", "run engines; as ipengine"),
}

ASKING = {
    "status": "what a cluster is doing: controller, engines, tasks",
    "list": "list clusters, engines or tasks",
    "show": "what is known of tasks: states, stories, tracebacks",
    "explain": "why tasks do not run, or where they are",
    "errors": "what has failed, each kind of failure once",
    "progress": "wait until tasks have ended, with a bar",
    "logs": "what controller and engines have logged",
    "stacks": "what engines are doing now, line by line",
    "doctor": "look for what commonly goes wrong",
    "abort": "keep tasks from starting, or stop them",
    "resubmit": "run finished tasks once more",
    "clean": "remove the files of clusters that are gone",
    "completion": "let your shell complete all this",
}
"""Commands that ask a running cluster, and what they are for."""


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first argument names; the exit code."""
    first, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if first in COMMANDS:
        module = import_module(f".{COMMANDS[first][0]}", __package__)
        return int(module.main(rest, prog=f"enginery {first}"))
    if first in ASKING:
        from . import ask

        return ask.main(first, rest)
    if first == "complete":
        from . import ask

        return ask.complete(rest[1:] if rest[:1] == ["--"] else rest, tuple(COMMANDS))
    if first in ("", "-h", "--help", "help"):
        print(_help())
        return OK if first else USAGE
    if first in ("-V", "--version"):
        print(__version__)
        return OK
    from difflib import get_close_matches

    known = [*COMMANDS, *ASKING]
    guess = get_close_matches(first, known, n=1)
    hint = f"did you mean {guess[0]}?" if guess else f"there are {', '.join(known)}"
    usage_error("enginery", f"there is no command {first!r}; {hint}")
    return USAGE


def _help() -> str:
    """What `enginery --help` prints."""
    texts = {name: text for name, (_, text) in COMMANDS.items()}
    run, ask = ([f"  enginery {n:<12}{t}" for n, t in each.items()] for each in (texts, ASKING))
    return "\n".join(
        [
            "enginery: interactive parallel computing with a controller, engines and clients",
            "",
            *run,
            "",
            *ask,
            "",
            "More on each: enginery COMMAND --help",
        ]
    )
