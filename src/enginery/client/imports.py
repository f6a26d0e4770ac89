"""`with view.sync_imports():` imports in the block happen on the engines too.

What is imported, and under which name, is read from the bytecode of the block: `import numpy as
np` calls the import machinery with "numpy", and only the instruction after the call knows "np".
Imports that the imported modules make themselves are none of ours.
"""

from __future__ import annotations

import builtins
import dis
import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any

from ..frames import trimmed


class SyncImports:
    """A context manager that repeats on the engines what its block imports.

    At the end of the block `run` gets the import statements as text, one per line.
    """

    def __init__(self, run: Callable[[str], Any]) -> None:
        self._run = run
        self._statements: list[str] = []
        self._frame: FrameType | None = None
        self._original: Callable[..., Any] = builtins.__import__

    def __enter__(self) -> None:
        self._frame = sys._getframe(1)
        self._original = builtins.__import__
        builtins.__import__ = self._import

    @trimmed
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        builtins.__import__ = self._original
        self._frame = None
        if kind is None and self._statements:
            self._run("\n".join(self._statements))

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        module = self._original(name, globals, locals, fromlist, level)
        frame = sys._getframe(1)
        if frame is self._frame:
            if level:
                package = (globals or {}).get("__package__", "")
                name = importlib.util.resolve_name("." * level + name, package)
            self._statements.append(statement(frame.f_code, frame.f_lasti, name, fromlist))
        return module


def statement(code: CodeType, offset: int, name: str, fromlist: Any) -> str:
    """The import statement of an absolute module name whose IMPORT_NAME is at `offset`."""
    if fromlist == ("*",):
        return f"from {name} import *"
    stores = list(_names(code, offset))
    if fromlist:
        parts = (origin if origin == to else f"{origin} as {to}" for origin, to in stores)
        return f"from {name} import {', '.join(parts)}"
    attribute, stored = stores[0] if stores else ("", name)
    plain = not attribute and stored == name.partition(".")[0]
    return f"import {name}" if plain or not stores else f"import {name} as {stored}"


def _names(code: CodeType, offset: int) -> Iterator[tuple[str, str]]:
    """Yield (attribute or "", name it is stored under) for the import at `offset`."""
    following = (i for i in dis.get_instructions(code) if i.offset > offset)
    attribute = ""
    for instruction in following:
        if instruction.opname == "IMPORT_FROM":
            attribute = instruction.argval
        elif instruction.opname.startswith("STORE_"):
            stored = instruction.argval  # a pair where a load was folded into the same instruction
            yield attribute, stored if isinstance(stored, str) else stored[0]
            if not attribute:
                return
        elif instruction.opname != "SWAP" and (instruction.opname != "POP_TOP" or not attribute):
            return
