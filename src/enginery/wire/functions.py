"""Functions as blobs: made once by the client, named by their hash, sent once to an engine.

A cached blob must never be stale. So what is cached goes by the identity of everything in it that
cannot change (`wire.identity`), and a function that reaches anything that can is pickled anew at
each call; if nothing has changed its hash is the same and nothing is sent again.

Large data in a function is not looked through for its name. In front of the blob stands what names
it instead: where it lies in shared memory (the same data lie in the same place for as long as
anybody has them there), or else a hash that this process alone can take. So nobody else can give
other data for the same name.

    0x04, mark of the data (16 bytes), the rest (see `wire.layout`)
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import Any

from ..core.messages import Buffer, Code, Large, fields_of
from ..core.names import content_hash
from ..error import UnsendableError
from .identity import Identity, identify
from .layout import APART, apart
from .modules import Digests, install, unpack
from .pickler import dump
from .pickler import load as load_value
from .unsendable import describe

MARK = b"\x04"
_MARKED = len(MARK) + 16  # bytes in front of a blob that holds large data

_RECENT = 64  # functions that are recognized without walking through them
_ENTRY = 1000  # bytes an entry takes besides its blob, about

Lend = Callable[[tuple[Buffer, ...]], tuple[Buffer, ...]]
"""What puts buffers into memory that others can open; the same ones where that cannot be done."""


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
    blob, buffers = fields_of(code)
    modules, blob = unpack(blob)
    if blob[:1] == MARK:
        blob = blob[_MARKED:]
    digests = install(modules) if modules else ()
    value = load_value(blob, buffers)
    return Function(value.value, value.names, value.stores, value.withheld, value.live, digests)


class FunctionCache:
    """The functions that were sent lately, up to `limit_bytes` of them; thread safe.

    `lender` gives what puts large data into memory that others can open, or None: functions are
    then to hold all of their data.
    """

    def __init__(self, limit_bytes: int, lender: Callable[[], Lend | None] = lambda: None) -> None:
        self._limit = limit_bytes
        self._lender = lender
        self._size = 0
        self._lock = Lock()
        self._entries: OrderedDict[tuple[object, ...], tuple[Identity, bytes, Code, int]]
        self._entries = OrderedDict()
        self._recent: dict[int, tuple[Any, Identity, bytes, Code]] = {}  # by id of the function
        self._secret = os.urandom(16)

    def serialize(self, function: Any) -> tuple[bytes, Code]:
        """Give the name (16 bytes, see `content_hash`) and the code of anything that can be called.

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
        code = self._dump(function, self._lender())
        hash = content_hash(code)
        if identity is not None:
            after = identify(function)  # another thread may have changed it in between
            if after is not None and after.key == identity.key:
                self._keep(identity, hash, code)
        return hash, code

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<FunctionCache: {len(self)} functions, {self._size} of {self._limit} bytes>"

    def _dump(self, function: Any, lend: Lend | None) -> Code:
        try:
            if lend is None:
                return dump(function, lend=True, inside=float("inf"))[0]
            blob, buffers = apart(*dump(function, lend=True, inside=APART))
        except MemoryError:
            raise
        except Exception as error:  # user code may raise anything; it is told, with what and where
            raise UnsendableError(describe(function, error)) from error
        if not buffers:
            return blob
        lent = lend(buffers)
        if lent is buffers:  # they may change before they are sent
            lent = tuple(Buffer(bytes(buffer)) for buffer in buffers)
        return Large(MARK + self._mark(lent) + blob, lent)

    def _mark(self, buffers: tuple[Buffer, ...]) -> bytes:
        """What names these data: 16 bytes."""
        mark = sha256(self._secret)
        for buffer in buffers:
            reference = None if buffer.part is None else buffer.part.reference
            if reference is None:
                mark.update(buffer.nbytes.to_bytes(8, "big"))
                mark.update(buffer.data)
            else:  # the same data are in the same place, and others will have another token
                segment, *place = reference
                mark.update(segment.token + repr(place).encode())
        return mark.digest()[:16]

    def _remember(self, function: Any, identity: Identity, hash: bytes, code: Code) -> None:
        """Recognize this very object the next time, without walking through it."""
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[id(function)] = (function, identity, hash, code)

    def _keep(self, identity: Identity, hash: bytes, code: Code) -> None:
        size = len(code) + _ENTRY + sum(sys.getsizeof(part) for part in identity.parts)
        with self._lock:
            if identity.key in self._entries:
                return
            self._entries[identity.key] = (identity, hash, code, size)
            self._size += size
            if self._size > self._limit:
                self._recent.clear()  # what is dropped is to go
            while self._size > self._limit:
                self._size -= self._entries.popitem(last=False)[1][3]
