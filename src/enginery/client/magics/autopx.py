"""`%autopx`: while it is on, every input runs on the engines.

An input transformer turns what was typed into a call of `%%px`. It comes after IPython has asked
whether the input is complete, so inputs of several lines work as ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MAGIC = re.compile(r"%{1,2}(\w+)")

LEAVE = {"exit", "quit", "exit()", "quit()"}
"""Inputs that end the session here, and nothing on the engines."""


class AutoPx:
    """Where inputs go: `suffix` names the magics that run them, None means here.

    `is_ours` tells whether a magic is one of ours; those stay here.
    """

    has_side_effects = True  # so IPython does not use it to find out whether an input is complete

    def __init__(self, shell: Any, is_ours: Callable[[str], bool]) -> None:
        self.suffix: str | None = None
        self._shell, self._is_ours = shell, is_ours

    def toggle(self, suffix: str) -> None:
        """Send inputs to `%px<suffix>` from now on, or, if that is so already, run them here."""
        transforms = self._shell.input_transformers_cleanup
        if self.suffix == suffix:
            self.suffix = None
            transforms.remove(self)
            print("Auto Parallel Disabled")
            return
        if self.suffix is None:
            transforms.append(self)
        self.suffix = suffix
        print(f"Auto Parallel Enabled\nType %autopx{suffix} to disable")

    @contextmanager
    def off(self) -> Iterator[None]:
        """Run inputs here for the time of a `with` block."""
        before, self.suffix = self.suffix, None
        try:
            yield
        finally:
            self.suffix = before

    def __call__(self, lines: list[str]) -> list[str]:
        """What IPython runs for these lines of input."""
        cell = "".join(lines)
        if self.suffix is None or not self._for_engines(cell.strip()):
            return lines
        return [f"get_ipython().run_cell_magic('px{self.suffix}', '--no-verbose', {cell!r})\n"]

    def _for_engines(self, cell: str) -> bool:
        if not cell or cell in LEAVE:
            return False
        if cell == f"autopx{self.suffix}":  # magics need no % where nothing else has that name
            return cell in self._shell.user_ns or not self._shell.automagic
        magic = MAGIC.match(cell)
        return magic is None or not self._is_ours(magic[1])
