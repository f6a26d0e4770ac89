"""An exception of an engine, raised here as what it was there and as one of ours.

`except ValueError` and `except RemoteError` must both catch it, so a class with both bases is made
when the first `ValueError` arrives. It is found again among the subclasses of the original class,
which Python keeps weakly: nothing here holds on to a class of the user.
"""

from __future__ import annotations

import builtins
import copy
from collections.abc import Callable
from traceback import format_exception_only
from typing import Any

from ..error import RemoteError, TimeoutError

SILENT = (StopIteration, StopAsyncIteration)
"""Raised here, these would end the user's loop in silence."""


def remote_class(original: type[Exception]) -> type[RemoteError]:
    """The class that is both `RemoteError` and `original`; shown by the original's name."""
    bases = (RemoteError, original)
    for known in original.__subclasses__():
        if known.__bases__ == bases and "_original_" in vars(known):
            return known  # type: ignore[return-value]  # its bases say so
    names = {"__module__": original.__module__, "__qualname__": original.__qualname__}
    body = {"_original_": original, "__reduce__": _reduce}
    # IPython shows any SyntaxError itself, by this name.
    plain = issubclass(original, SyntaxError)
    name = original.__name__ if plain else f"RemoteError[{original.__name__}]"
    return type(name, bases, body | names)


def restore(original: BaseException) -> RemoteError | None:
    """`original` as an instance of its own class and of RemoteError; None when that cannot be.

    It cannot be for what is no `Exception` (it would end the program), what ends loops in silence,
    our own TimeoutError (here that means an elapsed wait), and classes that refuse.
    """
    if isinstance(original, RemoteError):
        return original
    if not isinstance(original, Exception) or isinstance(original, (*SILENT, TimeoutError)):
        return None
    try:
        both = remote_class(type(original))
        return _change_class(original, both) or _rebuild(original, both)
    except Exception:  # the class refuses; the caller makes a plain RemoteError, which tells all
        return None


def _change_class(original: Exception, both: type[RemoteError]) -> RemoteError | None:
    """The instance itself, with all its attributes: works for classes written in Python."""
    try:
        original.__class__ = both
    except TypeError:
        return None
    return original if isinstance(original, RemoteError) else None


def _rebuild(original: Exception, both: type[RemoteError]) -> RemoteError:
    """A copy, made as pickle would: right for the built-in classes."""
    parts: Any = original.__reduce__()
    if parts[0] is not type(original):
        raise TypeError(f"{parts[0]!r} makes this exception, not its class")
    error = both(*parts[1])
    if len(parts) > 2:
        error.__setstate__(parts[2])
    return error


def copied(error: Exception) -> Exception:
    """A copy of an exception, or itself when its class makes none that is shown alike.

    What is raised gets the frames of who called, and whoever keeps it keeps these, too.
    """
    try:
        other = copy.copy(error)
        alike = format_exception_only(other) == format_exception_only(error)
    except Exception:  # the class refuses
        return error
    if not alike or type(other) is not type(error):
        return error
    other.__cause__, other.__context__ = error.__cause__, error.__context__
    other.__suppress_context__ = error.__suppress_context__
    return other


def by_name(ename: str, evalue: str) -> RemoteError | None:
    """An exception of a built-in class, when only its name and its message could be sent."""
    original = getattr(builtins, ename, None)
    if not isinstance(original, type) or not issubclass(original, Exception):
        return None
    try:
        return restore(original(evalue))
    except Exception:  # it wants other arguments; the caller makes a plain RemoteError
        return None


def _reduce(self: Any) -> tuple[Any, ...]:
    """Pickles as the original does, and is made one of both again."""
    make, *rest = self._original_.__reduce__(self)
    return (_revive, (self._original_ if make is type(self) else make, *rest[0]), *rest[1:])


def _revive(make: Callable[..., BaseException], *args: Any) -> BaseException:
    error = make(*args)
    return restore(error) or error
