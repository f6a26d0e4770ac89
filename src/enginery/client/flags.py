"""The flags of views: attributes that check what they are given."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from operator import index
from sys import intern
from typing import Any

from ..wire.codec import sayable


class Checked:
    """An attribute, kept under its name after a "_"; `check` turns what is assigned into what is
    kept, or raises.
    """

    def __init__(self, check: Callable[[Any], Any], meaning: str) -> None:
        self._check = check
        self.__doc__ = meaning

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        # One string for all look-ups: the interpreter remembers each that is new, wherever it lies.
        self._kept = intern(f"_{name}")

    def __get__(self, holder: Any, owner: type) -> Any:
        return self if holder is None else getattr(holder, self._kept)

    def __set__(self, holder: Any, value: Any) -> None:
        try:
            checked = self._check(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self._name}: {error}") from None
        setattr(holder, self._kept, checked)


class Flag(Checked):
    """One of a view, whose wishes are made anew when it changes."""

    def __set__(self, holder: Any, value: Any) -> None:
        super().__set__(holder, value)
        holder._wishes = None


def truth(value: Any) -> bool:
    """True or False."""
    if value not in (True, False):
        raise TypeError(f"True or False is needed, not {value!r}")
    return bool(value)


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"a text is needed, not {value!r}")
    if sayable(value) != value:
        raise ValueError(
            f"{value!r} cannot be sent, since it is no UTF-8, as some names of files; "
            'this can: text.encode(errors="replace").decode()'
        )
    return value


def progress_shown(value: Any) -> Any:
    """True, False, "auto", or what is called with the progress."""
    if value not in (True, False, "auto") and not callable(value):
        raise TypeError(f'True, False, "auto" or a callable is needed, not {value!r}')
    return value


def seconds(value: Any) -> float:
    """A time; None stands for 0, which is no limit."""
    given = 0.0 if value is None else number(value)
    if given < 0:
        raise ValueError(f"a number of seconds from 0 up is needed, not {value!r}")
    return given


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"a number is needed, not {value!r}")
    if not isfinite(float(value)):
        raise ValueError(f"a finite number is needed, not {value!r}")
    return float(value)


def whole(value: Any) -> int:
    """A whole number from 0 up, as far as a message can hold it."""
    if isinstance(value, bool) or not 0 <= index(value) < 1 << 63:
        raise ValueError(f"a whole number from 0 up is needed, not {value!r}")
    return index(value)


def function_or_none(value: Any) -> Callable[..., Any] | None:
    """A function."""
    if value is not None and not callable(value):
        raise TypeError(f"a function is needed, not {value!r}")
    return value  # type: ignore[no-any-return]


def functions(value: Any) -> tuple[Callable[..., Any], ...]:
    """A function or several; None stands for none."""
    if value is None:
        return ()
    several = tuple(value) if isinstance(value, list | tuple) else (value,)
    for each in several:
        function_or_none(each)
        if each is None:
            raise TypeError("a function is needed, not None")
    if len({id(each) for each in several}) < len(several):
        raise ValueError("the same function twice: a recovery that has failed is not run again")
    return several
