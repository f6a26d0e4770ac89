"""All that enginery adds to one IPython shell: the magics of each suffix, and what they share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

from IPython.core.magic import no_var_expand

from .autopx import AutoPx
from .complete import Completion
from .parallel import ParallelMagics

if TYPE_CHECKING:
    from ..client import Client
    from ..direct import DirectView

KEY = "enginery"


def extension_of(shell: Any) -> Extension:
    """That of this shell; made when it is first asked for."""
    known = shell.magics_manager.registry
    if KEY not in known:
        known[KEY] = Extension(shell)
    extension: Extension = known[KEY]
    return extension


class Extension:
    """The magics of one shell, by their suffix; those without one are there from the beginning.

    As long as these were not told what to work on, or when that is gone, it is the first client
    that is not closed and whose controller has not ended.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.magics: dict[str, ParallelMagics] = {}
        self.auto = AutoPx(shell, self._is_ours)
        self._clients: list[ref[Client]] = []
        Completion(shell, self.magics).install()
        self._add("", self._found)

    def activate(self, suffix: str, view: Any) -> None:
        """Make the magics of this suffix work on a view; ValueError for a suffix that is none."""
        if not re.fullmatch(r"\w*", suffix):
            raise ValueError(f"suffix={suffix!r}: only letters, digits and _ can end %px's name")
        if suffix not in self.magics:
            self._add(suffix, lambda: None)
        self.magics[suffix].work_on(view)

    def offer(self, client: Client) -> None:
        """There is a client; it may be forgotten nevertheless."""
        self._clients.append(ref(client))

    def _found(self) -> DirectView | None:
        """The view of all engines of the first client that is of use; it waits for results."""
        there = [client for each in self._clients if (client := each()) is not None]
        open = [client for client in there if not client.link.closed]
        self._clients = [ref(client) for client in open]
        if not open:
            return None
        client = next((client for client in open if not client.link.ended), open[0])
        if client.magics_view is None:  # which lives as long as the client
            client.magics_view = client.direct_view("all", block=True)
        return client.magics_view

    def _add(self, suffix: str, found: Callable[[], DirectView | None]) -> None:
        magics = self.magics[suffix] = ParallelMagics(self.shell, self.auto, suffix, found)
        for name, (line, cell) in magics.functions.items():
            # Code is full of braces, which are not for IPython to fill in.
            self.shell.magics_manager.register_function(no_var_expand(line), "line", name)
            if cell is not None:
                self.shell.magics_manager.register_function(cell, "cell", name)

    def _is_ours(self, name: str) -> bool:
        return any(name in magics.functions for magics in self.magics.values())
