"""Arguments and results as bytes and buffers: pickle, as fast as it goes, for anything.

Stock pickle does it alone for most values. What belongs to `__main__`, or to a module that is to be
sent by value, or what it cannot send, or arrays that would arrive writable, are pickled again by
`wire.pickler`.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pickle import PickleBuffer, Pickler
from typing import Any

from cloudpickle import list_registry_pickle_by_value

from ..core.messages import Buffer
from ..error import UnsendableError
from .layout import INSIDE, Chunks, Head, apart, large_chunks, pack
from .pickler import Value as Loaded
from .pickler import dump, load
from .unsendable import describe

__all__ = ["Loaded", "dumps", "dumps_scalars", "loads", "value_of"]

_SCALARS = frozenset({type(None), bool, int, float, complex, str})


def dumps(value: Any, *, lend: bool = True) -> tuple[bytes, tuple[Buffer, ...]]:
    """Pickle a value; buffers and bytes that are large are not copied.

    Large are buffers (arrays) of 16 KiB and more, and `bytes` of 64 KiB and more; all the rest
    together, when it is 256 KiB and more, is one buffer, too. With `lend`,
    the names that functions of `__main__` in it mention go along. Raises UnsendableError, naming
    the object.
    """
    if (packed := dumps_scalars(value)) is not None:
        return packed
    chunks = Chunks()
    buffers: list[PickleBuffer] = []
    try:
        Pickler(chunks, 5, buffer_callback=buffers.append).dump(value)
    except Exception:  # the other pickler can do more, and says so if it cannot either
        plain = False
    else:
        plain = _is_plain(chunks)
    if not plain:
        return _dumps_by_value(value, lend)
    if len(chunks) == 1 and not buffers:
        return chunks[0], ()
    return apart(*pack(chunks, buffers, Head()))


def dumps_scalars(value: Any) -> tuple[bytes, tuple[Buffer, ...]] | None:
    """The same of a scalar, or of the arguments of a call with scalars only; else None.

    This takes half of the time, and is what small tasks send.
    """
    return apart(pickle.dumps(value, 5), ()) if _only_scalars(value) else None


def loads(data: bytes, buffers: Sequence[Buffer], *, names: bool = True) -> Loaded:
    """Unpickle what `dumps` gave; arrays in it are read-only views of `data` and `buffers`.

    `Loaded.names` are those that functions in it lend, none unless `names`. Raises
    ModuleNotFoundError when it needs a module that cannot be imported here, and whatever else
    unpickling raises.
    """
    if is_plain(data, buffers):
        return Loaded(pickle.loads(data))
    return load(data, buffers, names=names)


def value_of(data: bytes, buffers: Sequence[Buffer]) -> Any:
    """What `loads` gives without the names, which only engines ask for."""
    return pickle.loads(data) if is_plain(data, buffers) else load(data, buffers).value


def is_plain(data: bytes, buffers: Sequence[Buffer]) -> bool:
    """Whether this is stock pickle's work alone."""
    return data[:1] == b"\x80" and not buffers


def _only_scalars(value: Any) -> bool:
    """Whether this is a scalar, or the arguments of a call with scalars only."""
    if type(value) is not tuple:
        return type(value) in _SCALARS
    if len(value) != 2 or type(value[0]) is not tuple or type(value[1]) is not dict:
        return False
    return not value[1] and _SCALARS.issuperset(map(type, value[0]))


def _is_plain(chunks: Chunks) -> bool:
    """Whether stock pickle's work will do there: nothing of `__main__`, no array in the stream."""
    modules = list_registry_pickle_by_value()
    if len(chunks) == 1:
        return not needs_more(chunks[0], modules)
    return not any(
        needs_more(chunk, modules) for chunk, direct in large_chunks(chunks) if not direct
    )


def needs_more(pickled: Any, modules: set[str]) -> bool:
    """Whether stock pickle's work may not do there; `modules` are those to be sent by value."""
    if b"__main__" in pickled or b"reconstruct" in pickled:
        return True
    return bool(modules) and any(name.encode() in pickled for name in modules)


def _dumps_by_value(value: Any, lend: bool) -> tuple[bytes, tuple[Buffer, ...]]:
    try:
        return apart(*dump(value, lend=lend, inside=INSIDE))
    except MemoryError:
        raise
    except Exception as error:  # user code may raise anything; it is told, with what and where
        raise UnsendableError(describe(value, error)) from error
