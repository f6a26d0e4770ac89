"""Cutting the frames of enginery from what is shown of an error: the user's own are what helps.

IPython shows what `render` gives it, so there an error keeps one frame of ours for %debug, which
goes to the innermost: that of `throw`, where the exception is `e`.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from opcode import opmap
from types import CodeType, FrameType, TracebackType
from typing import NoReturn, ParamSpec, TypeVar

from . import colours
from .error import EngineryError

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

OPERATORS = frozenset(
    {"__init__", "__getitem__", "__setitem__", "__next__", "__call__", "__enter__", "__exit__"}
)
"""What users call without naming it."""

RAISE = opmap["RAISE_VARARGS"]
"""The instruction of a `raise` statement."""

EVERY_FRAME = "ENGINERY_FULL_TRACEBACKS"
"""Set in the environment, it keeps every frame."""


def trim(error: E) -> E:
    """Cut the frames of enginery from an exception's traceback."""
    return error.with_traceback(_cut(error.__traceback__))


def _cut(tb: TracebackType | None, but: CodeType | None = None) -> TracebackType | None:
    """This traceback without the frames of enginery, but for those of one code."""
    if os.environ.get(EVERY_FRAME):
        return tb
    kept: list[TracebackType] = []
    while tb is not None:
        frame = tb.tb_frame
        # Our own context managers come through contextlib.
        ours = _ours(frame) or frame.f_globals.get("__name__") == "contextlib"
        if not ours or frame.f_code is but:
            kept.append(tb)
        tb = tb.tb_next
    trimmed: TracebackType | None = None
    for tb in reversed(kept):
        trimmed = TracebackType(trimmed, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)
    return trimmed


def _ours(frame: FrameType) -> bool:
    """Whether this is a frame of enginery."""
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == __name__.partition(".")[0]


def _meant(error: BaseException, caller: FrameType) -> bool:
    """Whether it is for the user: one of our classes, or what a `raise` statement of ours raised.

    Anything else that comes from here is a mistake of ours, and its frames tell where.
    """
    if isinstance(error, EngineryError | KeyboardInterrupt):
        return True
    if _ours(caller):
        return False  # who called it decides
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    if tb is None or not _ours(tb.tb_frame):
        return False
    return tb.tb_frame.f_code.co_code[tb.tb_lasti] == RAISE


def settle(error: BaseException) -> None:
    """Cut the frames of enginery; where `render` shows this error, that of `throw` is kept."""
    # IPython does not ask a SyntaxError how it is shown.
    rendered = isinstance(error, EngineryError) and not isinstance(error, SyntaxError)
    if rendered and colours.shell() is not None:
        error.__traceback__ = _cut(error.__traceback__, but=throw.__code__)
    else:
        trim(error)


def throw(e: BaseException) -> NoReturn:
    """Raise an exception in the frame to which %debug goes, where it is `e`."""
    raise e


def trimmed(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate what users call and what waits: its errors, and Ctrl-C, show no frame of ours.

    A bare `raise` adds no frame, so none is left when the outermost call is decorated.
    """

    @functools.wraps(call)
    def trimming(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            if _meant(error, sys._getframe(1)):
                settle(error)
            raise

    return trimming


def inner(call: Callable[P, T]) -> Callable[P, T]:
    """Mark a public method that is called by decorated ones only: it needs no trimming itself."""
    call.__dict__["inner"] = True
    return call


def trims(kind: type[T]) -> type[T]:
    """Decorate a class that users hold: every public method is `trimmed`, unless it is `inner`."""
    for name, value in list(vars(kind).items()):
        public = not name.startswith("_") or name in OPERATORS
        if public and inspect.isfunction(value) and not hasattr(value, "inner"):
            setattr(kind, name, trimmed(value))
    return kind


def render(error: BaseException) -> list[str]:
    """The lines that IPython shows for an exception: the user's frames, the message, its notes."""
    every_frame = error.__traceback__
    cut = _cut(every_frame)
    try:
        lines = colours.as_ipython(error, cut)
    except Exception:  # of another version than is known here; it is shown plainly
        lines = None
    if lines is not None:
        return lines
    try:
        plain = traceback.format_exception(error.with_traceback(cut))
    finally:
        error.__traceback__ = every_frame  # %debug wants them
    return "".join(plain).rstrip("\n").split("\n")
