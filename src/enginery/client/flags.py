"""Flags of a view that are attributes: each checks what it is given."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from operator import index
from typing import Any


def flag(slot: str, check: Callable[[Any], Any], meaning: str) -> Any:
    """A property kept in `slot`; `check` turns what is assigned into what is kept, or raises."""
    name = slot.lstrip("_")

    def get(view: Any) -> Any:
        return getattr(view, slot)

    def set(view: Any, value: Any) -> None:
        try:
            checked = check(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
        setattr(view, slot, checked)
        view._wishes = None  # they are made anew

    return property(get, set, doc=meaning)


def seconds(value: Any) -> float:
    """A time; None stands for 0, which is no limit."""
    number_of = 0.0 if value is None else number(value)
    if number_of < 0:
        raise ValueError(f"a number of seconds from 0 up is needed, not {value!r}")
    return number_of


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"a number is needed, not {value!r}")
    if not isfinite(float(value)):
        raise ValueError(f"a finite number is needed, not {value!r}")
    return float(value)


def retries_number(value: Any) -> int:
    """A whole number from 0 up."""
    if isinstance(value, bool) or index(value) < 0:
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
