"""Magics of the engine's IPython about its consoles: `%px %console`, `%px %connect_info`."""

from __future__ import annotations

import socket

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from ..namespace import here
from . import bind_kernel, command, lives

UNBOUND = """this engine has no kernel yet
  Make it one:  %console
  Or in Python: from enginery import bind_kernel; bind_kernel()"""


@magics_class
class ConsoleMagics(Magics):  # type: ignore[misc]
    """See the module's theory."""

    @line_magic  # type: ignore[untyped-decorator]
    def console(self, line: str) -> None:
        """Make this engine a Jupyter kernel, and show how to open a console on it."""
        bind_kernel()

    @line_magic  # type: ignore[untyped-decorator]
    def connect_info(self, line: str) -> None:
        """Show how to connect to this engine's kernel, which `%console` makes."""
        space = here()
        if not lives(space):
            raise UsageError(UNBOUND)
        file = space.console.place.file
        print(
            f"connection file: {file} (on {socket.gethostname()})\n"
            f"terminal:        {command(file)}\n"
            f"window:          {command(file, 'qtconsole')}"
        )
