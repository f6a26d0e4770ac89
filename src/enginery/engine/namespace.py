"""The engine's namespace: the `__main__` module of its process, and what functions lend to it.

A function from the client's `__main__` runs with this namespace as its globals. The names that it
refers to and that the user has not set here are *lent*: set before the function runs, and taken
back before another function does. So two clients with different `k` each see their own, a lent
name never shows in `pull` or `execute`, and what the user has set is never replaced. What a
function stores globally is the user's from then on.

Functions that were pushed are called later, by others; what they refer to stays as a *fallback*
that anything the user sets or a running function lends goes before.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, cast

from .commands import Commands
from .properties import Properties

NOBODY: Mapping[str, Any] = MappingProxyType({})
"""In the place of the names of the last function, when it was none."""


class MainModule(ModuleType):
    """The `__main__` of an engine; the slot keeps its `Namespace` out of the user's names."""

    __slots__ = ("__engine__",)
    __engine__: Namespace


class Namespace:
    """The names of one engine, in a fresh module. `names` is its dictionary."""

    def __init__(self) -> None:
        self.module = MainModule("__main__")
        self.module.__engine__ = self
        self.names: dict[str, Any] = self.module.__dict__
        self.names["__builtins__"] = builtins
        self.shell: Any = None  # the IPython shell, once something needed it
        self.making_shell = False
        self.desk: Any = None  # where consoles have code run, on an engine
        self.console: Any = None  # the Jupyter kernel, once it was asked for
        self.properties = Properties()
        self.engine_id: Callable[[], int] = lambda: -1  # until there is a controller
        self.task_id: Callable[[], str] = str  # of what runs now
        self.commands = Commands()
        self.display: Callable[[Mapping[str, Any]], None] = print  # what shows rich output
        self.report: Callable[[float], None] = lambda part: None  # is told how far a task is
        self._last: Mapping[str, Any] = NOBODY
        self._lent: dict[str, Any] = {}
        self._fallback: dict[str, Any] = {}

    def install(self) -> None:
        """Make it the `__main__` of this process."""
        sys.modules["__main__"] = self.module

    def lend(self, names: Mapping[str, Any], stores: Iterable[str] = ()) -> None:
        """Set what the function that runs next lends, after taking back what the last one lent.

        Nothing happens when `names` is the same object as the last time: the same function runs
        again. `stores` are names that it assigns globally.
        """
        if names is self._last:
            return
        self.take_back()
        self._last = names
        self._set(names, stores)

    def lend_more(self, names: Mapping[str, Any], stores: Iterable[str] = ()) -> None:
        """Set what functions among the arguments lend, for this one run."""
        if names:
            self._set(names, stores)
            self._last = NOBODY  # so that the next run begins with its own names alone

    def take_back(self) -> None:
        """Take back what is lent, but for what the user has set or deleted since."""
        for name, value in self._lent.items():
            if self.names.get(name, self) is not value:
                continue
            if name in self._fallback:
                self.names[name] = self._fallback[name]
            else:
                del self.names[name]
        self._lent.clear()
        self._last = NOBODY

    def push(self, names: Mapping[str, Any]) -> None:
        """Set names for the user; what functions among the values refer to stays behind them."""
        for name, value in self._lent.items():
            if name not in names and self.names.get(name, self) is value:
                self._fallback[name] = value
        self._lent.clear()
        for name in names:
            self._fallback.pop(name, None)
        self.names.update(names)

    def clear(self) -> None:
        """Remove every name but those like `__name__`; the shell's own come back when needed."""
        self._last, self._lent, self._fallback = NOBODY, {}, {}
        for name in list(self.names):
            if not (name.startswith("__") and name.endswith("__") and name.strip("_")):
                self.names.pop(name, None)
        if self.shell is not None:
            self.shell.forget()

    def _set(self, names: Mapping[str, Any], stores: Iterable[str]) -> None:
        for name, value in names.items():
            if name in self.names and not self.is_fallback(name):
                continue
            self.names[name] = value
            if name in stores:
                self._fallback.pop(name, None)  # it is the user's from now on
            else:
                self._lent[name] = value

    def is_fallback(self, name: str) -> bool:
        """Whether it is only there for functions that were pushed."""
        return name in self._fallback and self.names[name] is self._fallback[name]


def here() -> Namespace:
    """The namespace of the engine that this process is; RuntimeError when it is none."""
    module = sys.modules["__main__"]
    if not hasattr(module, "__engine__"):
        raise RuntimeError("this works only on an engine")
    return cast(MainModule, module).__engine__
