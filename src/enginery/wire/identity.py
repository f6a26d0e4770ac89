"""What a function is made of, as long as none of it can change.

The identity of a function is that of its parts: code, defaults, contents of its closure, global
names it reaches, and so on through the functions among these. It holds on to the parts, so that
their ids stay theirs.
"""

from __future__ import annotations

import functools
import sys
import typing
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from cloudpickle import list_registry_pickle_by_value

from .chunks import MapChunk
from .lend import belongs_to_main, by_name, importable, uses

_ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis), type(NotImplemented)}
)


_MISSING: Any = object()


class Identity(NamedTuple):
    """`key` is equal for equal functions; `parts` must be kept for as long as the key is."""

    key: tuple[object, ...]
    parts: list[Any]
    checks: Checks

    def holds(self) -> bool:
        """Whether nothing has changed since; much cheaper than to walk again."""
        return self.checks.hold()


class Checks:
    """What was seen on a walk, so that it can be seen at a glance whether all is as it was."""

    __slots__ = ("by_value", "cells", "functions", "modules", "names", "simple")

    def __init__(self) -> None:
        self.simple = True  # False: something was met that only a new walk can tell
        self.by_value = list_registry_pickle_by_value()  # names of modules
        self.modules = 0  # how many were loaded, if that matters
        self.functions: list[tuple[FunctionType, CodeType, Any]] = []
        self.names: list[tuple[dict[str, Any], str, Any]] = []  # namespace, name, value
        self.cells: list[tuple[CellType, Any]] = []

    def add(self, function: FunctionType) -> None:
        """A function was met: those with attributes or keyword defaults are not simple."""
        plain = not (function.__dict__ or function.__kwdefaults__ or function.__annotations__)
        self.simple = self.simple and plain
        self.functions.append((function, function.__code__, function.__defaults__))

    def hold(self) -> bool:
        """Whether all is as it was; False also when that is not certain."""
        if not self.simple or (self.modules and self.modules != len(sys.modules)):
            return False
        if self.by_value != list_registry_pickle_by_value():
            return False
        for function, code, defaults in self.functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__
                or function.__dict__
                or function.__annotations__
            ):
                return False
        for namespace, name, value in self.names:
            if namespace.get(name, _MISSING) is not value:
                return False
        return not self.cells or all(cell.cell_contents is value for cell, value in self.cells)


def identify(function: Any) -> Identity | None:
    """Give the identity of something callable; None when it reaches anything that can change."""
    walk = _Walk()
    if not walk.visit(function):
        return None
    if walk.packages:  # importing a submodule later changes what must go along
        walk.checks.modules = len(sys.modules)
        walk.key.append(walk.checks.modules)
    return Identity(tuple(walk.key), walk.parts, walk.checks)


class _Walk:
    def __init__(self) -> None:
        self.key: list[object] = []
        self.parts: list[Any] = []
        self.packages = False
        self.checks = Checks()
        self._seen: set[int] = set()

    def visit(self, value: Any) -> bool:
        """Add a value; False when it can change."""
        self.key.append(id(value))
        if id(value) in self._seen:
            return True
        self._seen.add(id(value))
        self.parts.append(value)
        kind = type(value)
        if kind in _ATOMS:
            return True
        if kind is tuple or kind is frozenset:
            return all(map(self.visit, value))
        if kind is FunctionType:
            return self._visit_function(value)
        if kind is functools.partial:
            self.checks.simple = False
            return (
                self.visit(value.func)
                and self.visit(value.args)
                and self._visit_items(value.keywords)
                and not value.__dict__
            )
        if kind is MapChunk:
            return self.visit(value.function)
        if kind is ModuleType:
            self.packages |= hasattr(value, "__path__")
            return by_name(value)
        if kind is BuiltinFunctionType or isinstance(value, type):
            return importable(value) is not None
        if kind.__module__ in {"types", "typing"} and (args := typing.get_args(value)):
            return all(map(self.visit, args))  # list[int], int | None: annotations
        return False

    def _visit_items(self, items: dict[str, Any] | None) -> bool:
        if not items:
            self.key.append(0)
            return True
        self.key.append(len(items))
        return all(self.visit(name) and self.visit(item) for name, item in items.items())

    def _visit_function(self, function: FunctionType) -> bool:
        to_main = belongs_to_main(function)
        self.key.append(to_main)
        if not to_main and importable(function):
            return True
        self.checks.add(function)
        code = function.__code__
        # None of these can change, so their ids tell; written out, as each call comes by here.
        fixed = (
            code, function.__name__, function.__qualname__, function.__module__, function.__doc__
        )  # fmt: skip
        self.key.append(tuple(map(id, fixed)))
        self.parts.append(fixed)
        return (
            (function.__defaults__ is None or self.visit(function.__defaults__))
            and self._visit_items(function.__kwdefaults__)
            and self._visit_items(function.__annotations__)
            and self._visit_items(function.__dict__)
            and all(map(self._visit_cell, function.__closure__ or ()))
            and self._visit_items(self._reached(function))
        )

    def _visit_cell(self, cell: CellType) -> bool:
        try:
            self.checks.cells.append((cell, cell.cell_contents))
            return self.visit(cell.cell_contents)
        except ValueError:  # empty so far
            return False

    def _reached(self, function: FunctionType) -> dict[str, Any]:
        used = uses(function.__code__)
        space = function.__globals__
        names = (*used.loads, *used.stores)
        self.checks.names += [(space, name, space.get(name, _MISSING)) for name in names]
        return {name: space[name] for name in names if name in space}
