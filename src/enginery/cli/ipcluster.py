"""`ipcluster`: start, list and stop clusters on this host."""

from __future__ import annotations

import sys

from ..version import __version__
from .entry import OK, USAGE, guarded, usage_error

COMMANDS = {
    "start": ("IPClusterStart", "start a controller and engines; Ctrl-C stops them"),
    "stop": ("IPClusterStop", "stop a cluster, and wait until it is gone"),
    "engines": ("IPClusterEngines", "add engines to a cluster"),
    "list": ("IPClusterList", "list the clusters that run, in all profiles"),
    "clean": ("IPClusterClean", "remove the files of clusters that are gone"),
}


def main(argv: list[str] | None = None, prog: str = "ipcluster") -> int:
    """Run a subcommand; the older form `ipcluster -n 4` is `ipcluster start -n 4`."""
    arguments = sys.argv[1:] if argv is None else argv
    first, *rest = arguments or [""]
    if first in ("", "-h", "--help", "help"):
        print(_help(prog))
        return OK if first else USAGE
    if first in ("-V", "--version"):
        print(__version__)
        return OK
    if first.startswith("-"):
        first, rest = "start", arguments
    if first not in COMMANDS:
        usage_error(prog, f"there is no command {first!r}; there are {', '.join(COMMANDS)}")
        return USAGE
    return guarded(f"{prog} {first}", lambda: _run(first, rest, f"{prog} {first}"))


def _run(name: str, argv: list[str], prog: str) -> int:
    from . import ipcluster_app

    command = getattr(ipcluster_app, COMMANDS[name][0])
    return int(command.read(argv, prog).run())


def _help(prog: str) -> str:
    """What `ipcluster --help` prints."""
    lines = [f"  {prog} {name:<10}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            f"{prog}: clusters of a controller and engines on this host",
            "",
            *lines,
            "",
            f"More on each: {prog} start --help. The older form, {prog} -n 4, starts one.",
        ]
    )
