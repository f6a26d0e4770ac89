"""One attempt's call, from its arguments to what is sent of its result.

A result is what the function returned, at that moment. Large buffers are put into memory that the
controller shares, which is a copy. Where it shares none they are sent without a copy and
kept until the controller has them, so memory that somebody on the engine could still write to is
copied first: that of `pull("a")`, not that of an array which the function made and nobody else
holds.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from ..core.messages import Attempt, Buffer
from ..error import UnsendableError
from ..wire import inputs, payload
from ..wire.chunks import ChunkFailed, MapChunk, salvage
from ..wire.codec import sayable
from ..wire.dependent import Fit, dependent
from ..wire.failure import Failure, Kind, text_of
from ..wire.functions import Function
from .functions import Functions
from .namespace import Namespace

REASON = 500
"""Characters at most of why a task was refused; the controller keeps them."""

Packed = tuple[bytes, tuple[Buffer, ...]]
Lend = Callable[[tuple[Buffer, ...]], tuple[Buffer, ...]]


class Call:
    """Calling it runs user code and packs what it returned; any step of that may raise."""

    __slots__ = ("attempt", "functions", "kind", "namespace", "packed", "withheld")

    def __init__(self, attempt: Attempt, functions: Functions, namespace: Namespace) -> None:
        self.attempt = attempt
        self.functions = functions
        self.namespace = namespace
        self.kind: Kind = "load"  # what fails if it fails now
        self.withheld: dict[str, str] = {}
        self.packed: Packed = (b"", ())

    def __call__(self) -> None:
        attempt, namespace = self.attempt, self.namespace
        function = ready(self.functions, namespace, attempt.function)
        if attempt.clear_before:
            if isinstance(function.call, dependent | Fit):
                function.call.check()  # else an engine that is not to run it would lose its names
            namespace.clear()
            namespace.lend(function.names, function.stores)
        if payload.is_plain(attempt.arguments, attempt.buffers) and not attempt.inputs:
            self.withheld = function.withheld
            args, kwargs = pickle.loads(attempt.arguments)
        else:
            args, kwargs = self._arguments(function.withheld)
        self.kind = "call"
        value = function.call(*args, **kwargs)
        self.kind = "result"
        self.packed = _pack(value, isinstance(function.call, MapChunk))

    def _arguments(self, withheld: dict[str, str]) -> Any:
        """Those that are more than plain values, and what they lend."""
        attempt = self.attempt
        with inputs.given(attempt.inputs) if attempt.inputs else nullcontext():
            loaded = payload.loads(attempt.arguments, attempt.buffers)
        self.namespace.lend_more(loaded.names, loaded.stores)
        self.withheld = withheld | loaded.withheld
        return loaded.value

    def result(self, lend: Lend | None = None) -> Packed:
        """What to send when it has returned; `lend` puts what is large into shared memory."""
        return to_send(self.packed, lend)

    def failure(self, error: BaseException) -> Packed:
        """What to send when it has raised."""
        if isinstance(error, ChunkFailed):
            try:
                return payload.dumps(error, lend=False)
            except UnsendableError:
                return payload.dumps(salvage(error.outcomes), lend=False)
        failure = Failure.capture(error, kind=self.kind, withheld=self.withheld)
        return payload.dumps(failure, lend=False)


def ready(functions: Functions, namespace: Namespace, hash: bytes) -> Function:
    """A function that can be called now; loading it runs user code, which may raise."""
    function = functions.loaded(hash)
    if function is None:
        namespace.take_back()  # what it refers to is looked up among the user's own names
        function = functions.load(hash)
    namespace.lend(function.names, function.stores)
    return function


def to_send(packed: Packed, lend: Lend | None) -> Packed:
    """The same, with what is large in shared memory, or in memory that nobody else can change."""
    data, buffers = packed
    if not buffers:
        return packed
    if lend is not None and (lent := lend(buffers)) is not buffers:
        return data, lent
    return data, tuple(map(own, buffers))


def reason_of(error: BaseException) -> str:
    """Why an engine will not run a task."""
    return (sayable(text_of(error)) or "UnmetDependency")[:REASON]


def _pack(value: Any, chunk: bool) -> Packed:
    try:
        return payload.dumps(value, lend=False)
    except UnsendableError:
        if chunk:  # the items that can be sent are
            raise salvage(value) from None
        raise


def own(buffer: Buffer) -> Buffer:
    """This buffer, or a copy if somebody else could write to its memory."""
    view = memoryview(buffer.data)
    if view.readonly or _unshared(view):
        return buffer
    return Buffer(view.tobytes())


def _unshared(view: memoryview) -> bool:
    """Whether the writable memory of `view` is reachable only through what is to be sent."""
    owner: Any = view.obj
    if type(owner) not in _owners() or getattr(owner, "base", None) is not None:
        return False
    # Held by: what is to be sent, `view`, `owner`, and the call that counts.
    return sys.getrefcount(owner) <= 4


def _owners() -> tuple[type, ...]:
    numpy = sys.modules.get("numpy")
    return (bytearray,) if numpy is None else (bytearray, numpy.ndarray)
