"""Functions that run elsewhere when they are called: `@view.remote()`, `@view.parallel()`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from ..frames import trims
from .scatter import partition

if TYPE_CHECKING:
    from .views import View

F = TypeVar("F", bound=Callable[..., Any])


@trims
class RemoteFunction:
    """A function whose calls run on the engines of its view, honouring the view's `block`.

    On an engine it is the plain function: a decorated function may call itself or another one.
    """

    def __init__(self, view: View, function: Callable[..., Any], block: bool | None = None) -> None:
        functools.update_wrapper(self, function)
        self.view = view
        self.function = local_function(function)
        self.block = block

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function remotely; its value with `block`, an `AsyncResult` without."""
        return self.view.variant(block=self.block).apply(self.function, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return (local_function, (self.function,))

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        return f"<{type(self).__name__} {name} on {self.view!r}>"


@trims
class ParallelFunction(RemoteFunction):
    """A function that gets sequences in parts: `f(A, B)` hands each engine one piece of each.

    The pieces are contiguous and the answers are joined in their order (arrays in, array out).
    `f.map(A, B)` calls the function per element. Keyword arguments go to each part whole.
    """

    def __init__(
        self,
        view: View,
        function: Callable[..., Any],
        block: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(view, function, block)
        self.options = dict(options or {})

    def __call__(self, *sequences: Any, **kwargs: Any) -> Any:
        """Run the function on pieces of the sequences, which must be of one length."""
        if not sequences:
            raise TypeError(f"{self!r} needs a sequence to hand out")
        view = self.view.variant(block=self.block)
        sequences = tuple(s if hasattr(s, "__len__") else list(s) for s in sequences)
        lengths = {len(sequence) for sequence in sequences}
        if len(lengths) > 1:
            raise ValueError(f"sequences of one length are needed, not of {sorted(lengths)}")
        places = view.places()
        pieces = max(1, min(len(places), *lengths))
        parts = zip(*(partition(sequence, pieces) for sequence in sequences), strict=True)
        return view.finish(view.join(self.function, zip(places, parts, strict=False), kwargs))

    def map(self, *sequences: Any, **options: Any) -> Any:
        """Call the function on each item, or tuple of items of several sequences; as `View.map`."""
        given: dict[str, Any] = {} if self.block is None else {"block": self.block}
        return self.view.map(self.function, *sequences, **given | self.options | options)


def remote(view: View, block: bool | None = None) -> Callable[[Callable[..., Any]], RemoteFunction]:
    """Make a decorator: the function then runs on the view's engines when it is called.

    >>> @en.remote(dview, block=True)
    ... def twice(x):
    ...     return 2 * x
    >>> twice(21)
    [42, 42, 42, 42]
    """
    return lambda function: RemoteFunction(view, function, block)


def parallel(
    view: View, block: bool | None = None, **options: Any
) -> Callable[[Callable[..., Any]], ParallelFunction]:
    """Make a decorator: the function then gets sequences in parts; options are those of `map`.

    >>> @en.parallel(dview, block=True)
    ... def squares(xs):
    ...     return [x * x for x in xs]
    >>> squares(range(6))
    [0, 1, 4, 9, 16, 25]
    """
    return lambda function: ParallelFunction(view, function, block, options)


def interactive(function: F) -> F:
    """Run this function with the engine's names as its globals, whatever module it is from.

    >>> @en.interactive
    ... def scaled(x):
    ...     return scale * x  # a name of the engine
    >>> dview["scale"] = 10
    >>> dview.apply_sync(scaled, 4)
    [40, 40, 40, 40]
    """
    vars(function)["__interactive__"] = True  # `wire.lend` looks for this
    return function


def bound_copy(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a Python function that is `@interactive`; the function itself stays as it is."""
    function = local_function(function)
    if not isinstance(function, FunctionType):
        raise TypeError(f"bound=True is for Python functions, {function!r} is none")
    twin = FunctionType(
        function.__code__, function.__globals__, function.__name__,
        function.__defaults__, function.__closure__,
    )  # fmt: skip
    functools.update_wrapper(twin, function)
    del vars(twin)["__wrapped__"]
    twin.__kwdefaults__ = function.__kwdefaults__
    return interactive(twin)


def local_function(function: Any) -> Callable[..., Any]:
    """The function that a decorated one runs, or the function itself; TypeError if it is none."""
    if isinstance(function, RemoteFunction):
        return function.function
    if not callable(function):
        raise TypeError(f"a function is needed, not {function!r}")
    return function  # type: ignore[no-any-return]
