"""Functions as blobs: made once by the client, named by their content, sent once to an engine.

A cached blob must never be stale. So what is cached goes by the identity of everything in it that
cannot change (`wire.identity`), and a function that reaches anything that can is pickled anew at
each call; if nothing has changed its hash is the same and nothing is sent again.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import Any

from ..core.messages import Code
from ..error import UnsendableError
from .identity import Identity, identify
from .modules import Digests, install, unpack
from .pickler import dump
from .pickler import load as load_value
from .unsendable import describe

_RECENT = 64  # functions that are recognized without walking through them
_ENTRY = 1000  # bytes an entry takes besides its blob, about


@dataclass(slots=True)
class Function:
    """A function as an engine has it.

    `names` are lent by the client: they are to be set where the namespace lacks them, before each
    run of another function than the last. `stores` are the global names that the code itself
    sets. `withheld` says of names that did not come why. `live`: it holds a `Reference` and is to
    be loaded again before each run. `modules` are those that came in front of it.
    """

    call: Any
    names: dict[str, Any]
    stores: frozenset[str]
    withheld: dict[str, str]
    live: bool = False
    modules: Digests = ()


def load(code: Code) -> Function:
    """Build the function of a blob.

    Raises ModuleNotFoundError when it goes by the name of a module that cannot be imported here,
    and whatever else unpickling raises.
    """
    modules, blob = unpack(code if isinstance(code, bytes) else memoryview(code.data))
    digests = install(modules) if modules else ()
    value = load_value(blob, ())
    return Function(value.value, value.names, value.stores, value.withheld, value.live, digests)


class FunctionCache:
    """The blobs of functions that were sent lately, up to `limit_bytes` of them; thread safe."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._lock = Lock()
        self._entries: OrderedDict[tuple[object, ...], tuple[Identity, bytes, bytes, int]]
        self._entries = OrderedDict()
        self._recent: dict[int, tuple[Any, Identity, bytes, bytes]] = {}  # by id of the function

    def serialize(self, function: Any) -> tuple[bytes, bytes]:
        """Give the content hash (16 bytes) and the blob of anything that can be called.

        Raises UnsendableError, naming the object that cannot be sent.
        """
        recent = self._recent.get(id(function))
        if recent is not None and recent[0] is function and recent[1].holds():
            return recent[2], recent[3]
        identity = identify(function)
        if identity is not None:
            with self._lock:
                entry = self._entries.get(identity.key)
                if entry is not None:
                    self._entries.move_to_end(identity.key)
                    self._remember(function, identity, entry[1], entry[2])
                    return entry[1], entry[2]
        blob = _dump(function)
        hash = blake2b(blob, digest_size=16).digest()
        if identity is not None:
            after = identify(function)  # another thread may have changed it in between
            if after is not None and after.key == identity.key:
                self._keep(identity, hash, blob)
        return hash, blob

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<FunctionCache: {len(self)} functions, {self._size} of {self._limit} bytes>"

    def _remember(self, function: Any, identity: Identity, hash: bytes, blob: bytes) -> None:
        """Recognize this very object the next time, without walking through it."""
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[id(function)] = (function, identity, hash, blob)

    def _keep(self, identity: Identity, hash: bytes, blob: bytes) -> None:
        size = len(blob) + _ENTRY + sum(sys.getsizeof(part) for part in identity.parts)
        with self._lock:
            if identity.key in self._entries:
                return
            self._entries[identity.key] = (identity, hash, blob, size)
            self._size += size
            if self._size > self._limit:
                self._recent.clear()  # what is dropped is to go
            while self._size > self._limit:
                self._size -= self._entries.popitem(last=False)[1][3]


def _dump(function: Any) -> bytes:
    try:
        blob, _ = dump(function, lend=True, inside=float("inf"))
    except MemoryError:
        raise
    except Exception as error:  # user code may raise anything; it is told, with what and where
        raise UnsendableError(describe(function, error)) from error
    return blob
