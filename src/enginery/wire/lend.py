"""Which names a function of `__main__` needs from its client, and how the engine gets them.

Such a function runs with the engine's namespace as its globals. What its code mentions goes along
and is there for names that the engine lacks: modules, and what can be imported from one, by name;
functions and classes of `__main__` by value; data if it is small.
"""

from __future__ import annotations

import dis
import importlib
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import cloudpickle

from .layout import Import

DATA_LIMIT = 64 * 1024
"""Bytes of pickle up to which data that a function mentions goes along with it."""

_EVERY_MODULE_HAS_ITS_OWN = frozenset(
    {"__builtins__", "__doc__", "__loader__", "__name__", "__package__", "__spec__"}
)
_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_STORES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})


class Uses(NamedTuple):
    """The global names that code mentions, also in the functions and classes inside it."""

    loads: tuple[str, ...]  # in the order of the code
    stores: frozenset[str]
    attributes: frozenset[str]  # all names, also those of attributes


@lru_cache(maxsize=4096)
def uses(code: CodeType) -> Uses:
    """Give the global names that this code mentions."""
    loads: dict[str, None] = {}
    stores: set[str] = set()
    attributes = set(code.co_names)
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOADS:
            loads[instruction.argval] = None
        elif instruction.opname in _STORES:
            stores.add(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            inside = uses(inner)
            loads.update(dict.fromkeys(inside.loads))
            stores |= inside.stores
            attributes |= inside.attributes
    return Uses(tuple(loads), frozenset(stores), frozenset(attributes))


def belongs_to_main(function: FunctionType) -> bool:
    """Whether this function runs in the engine's namespace: of `__main__`, or `@interactive`."""
    return function.__globals__.get("__name__") == "__main__" or (
        function.__dict__.get("__interactive__") is True
    )


def importable(value: Any) -> tuple[str, str] | None:
    """Give module and qualified name of a function or class that can be had by import, or None."""
    if not isinstance(value, FunctionType | BuiltinFunctionType | type):
        return None
    module, path = value.__module__, value.__qualname__
    if type(module) is not str or type(path) is not str or module == "__main__":
        return None
    by_value = cloudpickle.list_registry_pickle_by_value()
    if by_value and any(module == name or module.startswith(name + ".") for name in by_value):
        return None
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return (module, path) if found is value else None


def by_name(module: ModuleType) -> bool:
    """Whether an engine can be expected to get this module by importing it."""
    return sys.modules.get(module.__name__) is module


def submodules(values: Iterable[Any], attributes: frozenset[str]) -> dict[str, ModuleType]:
    """Give the imported submodules that code with these attributes can reach through `values`.

    `import concurrent.futures` binds only `concurrent`; the rest must be imported there as well.
    """
    found = {}
    for package in values:
        if isinstance(package, ModuleType) and hasattr(package, "__path__"):
            start = package.__name__ + "."
            for name, module in list(sys.modules.items()):
                if name.startswith(start) and attributes.issuperset(name[len(start) :].split(".")):
                    found[name] = module
    return found


class Lent:
    """The names that the functions in one value mention, collected while it is pickled."""

    def __init__(self) -> None:
        self.imports: dict[str, Import] = {}
        self.stores: set[str] = set()
        self.withheld: dict[str, str] = {}
        self._seen: set[str] = set()
        self._code: deque[tuple[str, Any]] = deque()
        self._data: deque[tuple[str, Any]] = deque()

    def add(self, function: FunctionType) -> None:
        """Collect what this function mentions and its client has; the first to use a name wins."""
        used = uses(function.__code__)
        self.stores |= used.stores
        for name in used.loads:
            if name not in function.__globals__ or name in _EVERY_MODULE_HAS_ITS_OWN:
                continue
            value = function.__globals__[name]
            if isinstance(value, ModuleType) and by_name(value):
                self._add_module(name, value, used.attributes)
            elif name not in self._seen:
                self._add_value(name, value)
            self._seen.add(name)

    def _add_module(self, name: str, module: ModuleType, attributes: frozenset[str]) -> None:
        known = self.imports.get(name)
        if known is None and name in self._seen:
            return
        more = submodules((module,), attributes)
        if known is not None:
            more = dict.fromkeys(known[2]) | more  # type: ignore[assignment]
        self.imports[name] = (module.__name__, "", tuple(more))

    def _add_value(self, name: str, value: Any) -> None:
        to_main = isinstance(value, FunctionType) and belongs_to_main(value)
        where = None if to_main else importable(value)
        if where is not None:
            self.imports[name] = (*where, ())
        elif isinstance(value, FunctionType | type):
            self._code.append((name, value))
        else:
            self._data.append((name, value))

    def next(self) -> tuple[str, Any, float] | None:
        """Give a name still to be pickled, its value and the bytes it may take.

        Data comes last: only data can fail to load there, and then takes what follows with it.
        """
        if self._code:
            return (*self._code.popleft(), float("inf"))
        return (*self._data.popleft(), DATA_LIMIT) if self._data else None


def bring(what: Import) -> Any:
    """Import something on the engine; an `Absent` in its place if that cannot be done."""
    module, path, more = what
    try:
        value: Any = importlib.import_module(module)
        for part in path.split(".") if path else ():
            value = getattr(value, part)
    except Exception as error:  # told to whoever uses it; a name that is not used does no harm
        return Absent(module, error)
    for name in more:
        with suppress(ImportError):  # reaching for it says that it is not there
            importlib.import_module(name)
    return value


class Absent:
    """Stands for what this engine cannot import, and says so as soon as it is used."""

    def __init__(self, module: str, error: Exception) -> None:
        # It stays as long as the function; its frames would keep all that the first call was given.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self.__dict__.update(_module=module, _error=error)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # tools look for such names, and expect this answer
            raise AttributeError(f"{self._error} (looking for {name!r})")
        raise _again(self._module, self._error)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise _again(self._module, self._error)

    def __repr__(self) -> str:
        return f"<{self._module}, absent from this engine: {self._error}>"


def _again(module: str, error: Exception) -> ImportError:
    if isinstance(error, ModuleNotFoundError):
        return ModuleNotFoundError(str(error), name=error.name or module)
    text = f"{module} cannot be imported on this engine: {type(error).__name__}: {error}"
    return ImportError(text, name=module)
