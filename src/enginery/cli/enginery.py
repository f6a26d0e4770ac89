"""The umbrella command: `enginery cluster …`, `enginery controller …`, `enginery engine …`.

Does what the `ip…` commands do, also where another package has taken their names. Imports only
what the command at hand needs: this is how a cluster starts its processes.
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


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first argument names; the exit code."""
    first, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if first in COMMANDS:
        module = import_module(f".{COMMANDS[first][0]}", __package__)
        return int(module.main(rest, prog=f"enginery {first}"))
    if first in ("", "-h", "--help", "help"):
        print(_help())
        return OK if first else USAGE
    if first in ("-V", "--version"):
        print(__version__)
        return OK
    usage_error("enginery", f"there is no command {first!r}; there are {', '.join(COMMANDS)}")
    return USAGE


def _help() -> str:
    """What `enginery --help` prints."""
    lines = [f"  enginery {name:<12}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "enginery: interactive parallel computing with a controller, engines and clients",
            "",
            *lines,
            "",
            "More on each: enginery COMMAND --help",
        ]
    )
