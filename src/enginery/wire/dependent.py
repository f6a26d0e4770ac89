"""Functions that first look whether this engine may run them: `depend`, `require`, `Fit`.

They are called on the engine, where a condition that is not met raises `UnmetDependency`: the
controller then gives the task to another engine, and never to the same one again. What depends on
the engine's properties raises `Unfit`, which holds only until these change.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from ..error import UnmetDependency


class Unfit(UnmetDependency):
    """The properties of this engine, as they were at their `changes`th change, do not suit."""

    def __init__(self, reason: str, changes: int = 0) -> None:
        super().__init__(reason)
        self.changes = changes


class dependent:
    """A function with a condition: `dependent(f, condition, *args, **kwargs)`.

    Called on an engine it first calls the condition with these arguments; if that gives `False`
    itself (nothing else that is false), the task goes to another engine.
    """

    def __init__(
        self, f: Callable[..., Any], condition: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        for function in (f, condition):
            if not callable(function):
                raise TypeError(f"a function is needed, not {function!r}")
        functools.update_wrapper(self, f, updated=())
        self.f, self.condition, self.args, self.kwargs = f, condition, args, kwargs

    def check(self) -> None:
        """Raise UnmetDependency unless the condition is met here."""
        if self.condition(*self.args, **self.kwargs) is False:
            raise UnmetDependency(f"depend({_name(self.condition)})")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here, if the condition is met; UnmetDependency otherwise."""
        self.check()
        return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _dependent, (self.f, self.condition, self.args, self.kwargs)

    def __repr__(self) -> str:
        return f"<dependent {_name(self.f)} on {_name(self.condition)}>"


def _dependent(
    f: Callable[..., Any], condition: Callable[..., Any], args: Any, kwargs: Any
) -> dependent:
    return dependent(f, condition, *args, **kwargs)


def depend(
    condition: Callable[..., Any], *args: Any, **kwargs: Any
) -> Callable[[Callable[..., Any]], dependent]:
    """Decorate a function: it runs only on engines where `condition(*args, **kwargs)` is not False.

    >>> import sys
    >>> @depend(lambda name: sys.platform == name, "linux")
    ... def task():
    ...     return 1
    """
    if not callable(condition):
        raise TypeError(
            f"@depend takes a function that says whether an engine suits, not {condition!r}"
        )
    return lambda f: dependent(f, condition, *args, **kwargs)


class Required:
    """Puts what a function needs among its global names; the condition of `require`."""

    def __init__(self, needs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.needs, self.named = needs, named

    @property
    def __name__(self) -> str:
        names = [need if isinstance(need, str) else _name(need) for need in self.needs]
        return f"require({', '.join([*names, *self.named])})"

    def met(self, f: Callable[..., Any]) -> None:
        """Import the modules, and set them and the functions; UnmetDependency if that fails."""
        names = dict(self.named)
        for need in self.needs:
            if isinstance(need, str):
                try:
                    importlib.import_module(need)
                except ImportError as error:
                    raise UnmetDependency(f"require({need!r}): {error}") from error
                top = need.partition(".")[0]
                names[top] = importlib.import_module(top)
            else:
                names[_name(need)] = need
        _globals(f).update(names)


class requiring(dependent):
    """A function that runs only where what it requires can be had; made by `require`."""

    def __init__(self, f: Callable[..., Any], required: Required) -> None:
        super().__init__(f, required.met, f)
        self.required = required

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here, with what it requires among its names."""
        self.required.met(self.f)
        return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return requiring, (self.f, self.required)


def require(*needs: Any, **named: Any) -> Callable[[Callable[..., Any]], requiring]:
    """Decorate a function: it runs only on engines that can import these modules.

    `needs` are names of modules ("numpy", "scipy.linalg"), modules, functions or classes, and
    `named` anything under a name of its own; the function finds them all under their names,
    wherever it was defined.

    >>> @require("math")
    ... def root(x):
    ...     return math.sqrt(x)
    """
    parts: list[Any] = []
    for need in needs:
        if isinstance(need, ModuleType):
            parts.append(need.__name__)
        elif callable(need) or _is_module_name(need):
            parts.append(need)
        else:
            raise TypeError(f"@require takes names of modules, modules and functions, not {need!r}")
    required = Required(tuple(parts), named)
    return lambda f: requiring(f, required)


class Fit:
    """A function for engines whose properties suit: `fits(properties)` says whether they do.

    What `fits` raises counts as no. On an engine only.
    """

    def __init__(self, f: Callable[..., Any], fits: Callable[[Any], Any]) -> None:
        functools.update_wrapper(self, f, updated=())
        self.f, self.fits = f, fits

    def check(self) -> None:
        """Raise `Unfit` unless the engine's properties suit."""
        properties = pkgutil.resolve_name("enginery.engine.actions:properties")()
        changes = properties.changes
        try:
            suits = bool(self.fits(properties))
        except Exception as error:  # user code; it counts as no, and the reason says what it was
            raise Unfit(
                f"depend({_name(self.fits)}): {type(error).__name__}: {error}", changes
            ) from None
        if not suits:
            raise Unfit(f"depend({_name(self.fits)})", changes)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here, if the engine's properties suit; `Unfit` otherwise."""
        self.check()
        return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Fit, (self.f, self.fits)


def _is_module_name(need: Any) -> bool:
    return isinstance(need, str) and all(part.isidentifier() for part in need.split("."))


def _name(value: Any) -> str:
    return getattr(value, "__name__", None) or type(value).__name__


def _globals(f: Any) -> dict[str, Any]:
    """The global names that a function sees, also when it is wrapped."""
    while not isinstance(f, FunctionType):
        inner = getattr(f, "f", None) or getattr(f, "func", None) or getattr(f, "__wrapped__", None)
        if inner is None:
            return {}
        f = inner
    return f.__globals__
