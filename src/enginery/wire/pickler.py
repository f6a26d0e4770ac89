"""Pickling by value what belongs to `__main__`, and what stock pickle cannot send.

cloudpickle sends lambdas, nested functions and classes. Different here:

* a function of `__main__` is rebuilt with the engine's `__main__` as its globals, and the names it
  mentions go along (`lend`): after the value, into the same stream, each pickled with the same
  memo, so that an object that is both an argument's default and a global stays one object;
* closures that share a variable still share it there;
* a class that comes home is left as it is: what an engine made of its copy of the class does not
  change the original.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
import typing
import uuid
from collections import ChainMap
from collections.abc import Callable
from pickle import PickleBuffer
from types import CellType, CodeType, FunctionType
from typing import Any, ClassVar

import cloudpickle
from msgspec import Struct

from ..core.messages import Buffer
from .arrays import is_array, reduce_array, reduce_memoryview
from .codec import sayable
from .layout import Chunks, Head, Meter, TooLargeError, pack, unpack
from .lend import Lent, belongs_to_main, bring, submodules, uses
from .reference import Reference
from .taking import taken_by

_CACHED = type(functools.lru_cache(len))
_STANDARD = frozenset({_CACHED, functools.cached_property, typing.NewType})
_FUNCTION_PARTS = (
    "__defaults__",
    "__kwdefaults__",
    "__qualname__",
    "__module__",
    "__doc__",
    "__annotations__",
    "__type_params__",
)


NAMELESS = "<dynamic-code>"
"""What cloudpickle 3.1.3 calls the file of all code."""


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles into `file`, hands buffers to `take`, and notes in `lent` what functions mention."""

    dispatch_table: ClassVar[ChainMap[type, Any]] = ChainMap(
        {memoryview: reduce_memoryview}, *cloudpickle.Pickler.dispatch_table.maps
    )

    def __init__(self, file: Any, take: Callable[[Any], Any], lent: Lent | None) -> None:
        super().__init__(file, protocol=5, buffer_callback=take)
        self.live = False
        self._lent = lent
        self._cells: dict[int, CellType] = {}

    def reducer_override(self, value: Any) -> Any:
        """Say how to pickle anything that is not of a plain built-in type."""
        kind = type(value)
        if kind is FunctionType and belongs_to_main(value):
            return self._reduce_function(value)
        if kind is CodeType:
            return _reduce_code(value)
        if kind is CellType and id(value) in self._cells:
            return CellType, ()  # filled once its functions are there: they may be inside
        if kind in _STANDARD and (parts := _reduce_standard(kind, value)) is not None:
            return parts
        if kind is Reference:
            self.live = True
        elif is_array(value):
            return reduce_array(value)
        reduction = super().reducer_override(value)
        if isinstance(value, type) and type(reduction) is tuple and len(reduction) == 6:
            if "__enginery_home__" not in value.__dict__:
                type.__setattr__(value, "__enginery_home__", here())
                reduction = super().reducer_override(value)  # its copies carry the mark
            make, arguments, state, _, _, fill = reduction
            return make, arguments, (fill, state), None, None, fill_class
        return reduction

    def _reduce_function(self, function: FunctionType) -> Any:
        if self._lent is not None:
            self._lent.add(function)
        cells = function.__closure__ or ()
        contents = {}
        for i, cell in enumerate(cells):
            self._cells[id(cell)] = cell
            try:
                contents[i] = cell.cell_contents
            except ValueError:  # empty: its variable has no value yet
                continue
        parts = {name: value for name in _FUNCTION_PARTS if (value := _part(function, name))}
        reached = submodules(contents.values(), uses(function.__code__).attributes)
        state = (contents, parts, dict(function.__dict__), tuple(reached.values()))
        arguments = (function.__code__, function.__name__, cells)
        return make_function, arguments, state, None, None, fill_function


def _part(function: FunctionType, name: str) -> Any:
    try:
        return getattr(function, name, None)
    except Exception:  # annotations that are evaluated only now; nobody needs them to call it
        return None


def _reduce_code(code: CodeType) -> Any:
    """Let code keep the name of its file, which tracebacks show; cloudpickle may take it away."""
    make, parts = cloudpickle.Pickler.dispatch_table[CodeType](code)
    name = "".join(code.co_filename)  # not the one that is known here: blobs must be alike
    return make, tuple(name if part == NAMELESS else part for part in parts)


def _reduce_standard(kind: type, value: Any) -> Any:
    """Reduce what pickle looks for in the `__main__` there, or refuses for the lock in it."""
    if kind is functools.cached_property:
        return kind, (value.func,), {"attrname": value.attrname}
    if value.__module__ != "__main__":
        return None
    if kind is typing.NewType:
        return kind, (value.__name__, value.__supertype__), {"__module__": "__main__"}
    about = value.cache_parameters()
    return cached, (value.__wrapped__, about["maxsize"], about["typed"])


# --- what the pickles call where they are loaded ----------------------------------------------


def make_function(code: CodeType, name: str, cells: tuple[CellType, ...]) -> FunctionType:
    """Build a function whose globals are the namespace of this engine."""
    return FunctionType(code, sys.modules["__main__"].__dict__, name, None, cells)


def fill_function(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Give a function what may refer to the function itself."""
    contents, parts, attributes, _ = state
    for i, value in contents.items():
        (function.__closure__ or ())[i].cell_contents = value
    for name, value in parts.items():
        setattr(function, name, value)
    function.__dict__.update(attributes)


def fill_class(cls: type, state: tuple[Callable[[Any, Any], Any], Any]) -> None:
    """Give a class its attributes, unless this is the class they were read from, come home."""
    fill, attributes = state
    if cls.__dict__.get("__enginery_home__") != here():
        fill(cls, attributes)


def cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    """Put an empty cache before a function."""
    return functools.lru_cache(maxsize, typed)(function)


def here() -> str:
    """Give a name of this process; a fork of it has another."""
    return f"{_birth()}.{os.getpid()}"


@functools.cache
def _birth() -> str:
    return uuid.uuid4().hex


# --- values -----------------------------------------------------------------------------------


def dump(
    value: Any, *, lend: bool, inside: float, limit: float = float("inf")
) -> tuple[bytes, tuple[Buffer, ...]]:
    """Pickle by value, and lay out; TooLargeError when it takes more than `limit` bytes.

    Buffers of less than `inside` bytes go into the bytes. With `lend`, the names that functions
    in it mention go along.
    """
    if limit != float("inf"):
        _try(value, limit)
    chunks = Chunks()
    buffers: list[PickleBuffer] = []
    lent = Lent() if lend else None
    pickler = Pickler(chunks, buffers.append, lent)
    pickler.dump(value)
    head = Head()
    while lent and (item := lent.next()):
        name, mentioned, size = item
        try:  # apart at first: a pickle that fails half way would spoil the memo and the stream
            with taken_by(None):  # a result is an argument, or is not sent
                _try(mentioned, size)
        except TooLargeError as error:  # told in the NameError, should the name be used
            lent.withheld[name] = f"{error}; push it first: rc[:].push({{{name!r}: {name}}})"
            continue
        except Exception as error:
            lent.withheld[name] = _text(error)
            continue
        pickler.dump(mentioned)
        head.names.append(name)
    head.live = pickler.live
    if lent:
        head.imports, head.withheld = lent.imports, lent.withheld
        head.stores = sorted(lent.stores)
    return pack(chunks, buffers, head, inside)


def _try(value: Any, limit: float) -> None:
    meter = Meter(limit)
    Pickler(meter, meter.take, None).dump(value)


def refusal(value: Any) -> Exception | None:
    """Say why this value cannot be pickled, None when it can."""
    try:
        _try(value, float("inf"))
    except Exception as error:  # whatever it is, it is what the caller asks for
        return error
    return None


class Value(Struct):
    """What was sent, and the names that go with the functions in it."""

    value: Any
    names: dict[str, Any] = {}
    stores: frozenset[str] = frozenset()  # global names that the functions set themselves
    withheld: dict[str, str] = {}  # names that are missing, and why
    live: bool = False  # it holds references, to be looked up at each use


def load(data: bytes, frames: Any, *, names: bool = True) -> Value:
    """Unpickle what `dump` gave; without `names`, leave the lent ones alone.

    Raises ModuleNotFoundError when the value needs a module that cannot be imported here, and
    whatever else unpickling raises.
    """
    head, file, buffers = unpack(data, frames)
    unpickler = pickle.Unpickler(file, buffers=buffers)
    value = unpickler.load()
    lent: dict[str, Any] = {}
    withheld = dict(head.withheld)
    if names:
        lent = {name: bring(what) for name, what in head.imports.items()}
        for i, name in enumerate(head.names):
            try:
                lent[name] = unpickler.load()
            except Exception as error:  # told in the NameError, should the name be used
                why = f"{name!r} cannot be loaded there: {_text(error)}"
                withheld.update(dict.fromkeys(head.names[i:], why))
                break
    return Value(value, lent, frozenset(head.stores), withheld, head.live)


def _text(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return sayable(text[:500])
