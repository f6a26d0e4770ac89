"""What an engine says of an exception, in a form that always arrives.

The texts are made where the exception was raised, with enginery's own frames cut out, and each is
bounded. The exception itself goes along as a pickle inside the pickle: whether the client can
have it is seen only when the client asks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from traceback import FrameSummary, StackSummary, TracebackException
from typing import Any, Literal

from .pickler import dump, load

TEXT_LIMIT = 64 * 1024
"""Characters that a message or a traceback may have; of longer ones the ends are kept."""

EXCEPTION_LIMIT = 1024 * 1024
"""Bytes that a pickled exception may have; of larger ones only type and message are sent."""

_FRAMES = 64
_NOTES = 20
_EARLIER = 3
_OS_FACTS = frozenset({"errno", "strerror", "filename", "filename2"})
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

Kind = Literal["call", "load", "result"]
Frame = tuple[str, int, str, str]
Earlier = tuple[str, str, str, list[Frame]]
"""What an exception came from: how, in words; its class, its message, and its frames."""


@dataclass(slots=True)
class Failure:
    """An exception as told by an engine.

    `kind` says what failed: the "call" itself, to "load" what was sent (the function, its
    arguments, a module that it brought along), or to send the "result". `frames` are (filename,
    line number, function, source line or ""), the innermost last. When a module is missing,
    `module` names it and `python` is the interpreter that lacks it. `earlier` are the exceptions
    that it came from, the last one first.
    """

    ename: str
    evalue: str
    traceback: str
    frames: list[Frame] = field(default_factory=list)
    exception: bytes | None = None
    notes: list[str] = field(default_factory=list)
    kind: Kind = "call"
    module: str = ""
    python: str = ""
    earlier: list[Earlier] = field(default_factory=list)

    @classmethod
    def capture(
        cls, error: BaseException, *, kind: Kind = "call", withheld: Mapping[str, str] | None = None
    ) -> Failure:
        """Describe an exception that was just caught; never raises.

        `withheld` holds names that the client did not send along, and why.
        """
        summary = _summary(error)
        frames = list(_every_frame(summary))
        if kind == "call" and isinstance(error, ImportError) and frames and _own(frames[-1]):
            kind = "load"  # it is our own code that could not import what was lent
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        ename, evalue = type(error).__name__, _cut(text_of(error))
        return cls(
            ename=ename,
            evalue=evalue,
            traceback=_cut(_formatted(summary, ename, evalue)),
            frames=_frames_of(frames),
            exception=_pickled(error, evalue),
            notes=_notes(error, withheld or {}),
            kind=kind,
            module=missing or "",
            python=sys.executable if missing else "",
            earlier=_earlier(error, summary),
        )

    def exception_here(self) -> BaseException | None:
        """Give the exception as an object of this process, None if it cannot be had here.

        It has no traceback, cause or context; those are in the text.
        """
        if self.exception is None:
            return None
        try:
            error = load(self.exception, (), names=False).value
        except Exception:  # its class is not here, or refuses; the texts say what it was
            return None
        return error if isinstance(error, BaseException) else None

    def __str__(self) -> str:
        return f"{self.ename}: {self.evalue}" if self.evalue else self.ename


def restore(cls: type[BaseException], text: str, attributes: dict[str, Any]) -> BaseException:
    """Build an exception that cannot be pickled, or unpickled, from its class and message."""
    error = cls.__new__(cls, text)
    if not error.args:  # OSError leaves them to `__init__` where a class has its own
        error.args = (text,)
    if isinstance(error, OSError):
        for name in _OS_FACTS & attributes.keys():
            setattr(error, name, attributes.pop(name))
    error.__dict__.update(attributes)
    return error


def restore_group(
    cls: type[BaseExceptionGroup[Any]],
    message: str,
    members: list[BaseException],
    attributes: dict[str, Any],
) -> BaseException:
    """The same of a group, whose members were sent each as well as it can be."""
    error = BaseExceptionGroup.__new__(cls, message, members)
    error.__dict__.update(attributes)
    return error


class _Bare:
    """Stands in the pickle for an exception that cannot be sent as it is."""

    def __init__(self, make: Callable[..., BaseException], *parts: Any) -> None:
        self.make, self.parts = make, parts

    def __reduce__(self) -> tuple[Any, ...]:
        return self.make, self.parts


def _pickled(error: BaseException, text: str) -> bytes | None:
    _, blob = _sent_form(error, text)
    return blob


def _sent_form(error: BaseException, text: str) -> tuple[Any, bytes | None]:
    """The first form of an exception that arrives as one of its class, and its pickle."""
    with suppress(RecursionError):  # of groups in groups, very many
        for form in _forms(error, text):
            try:
                blob = _blob(form)
                if isinstance(load(blob, (), names=False).value, type(error)):
                    return form, blob
            except Exception:  # user code: `__reduce__`, `__init__`; the next needs less of it
                continue
    return None, None


def _forms(error: BaseException, text: str) -> Iterator[Any]:
    """What may be sent for an exception, the most complete first."""
    yield error
    parts: tuple[Any, ...] = (restore, type(error), text)
    if isinstance(error, BaseExceptionGroup):
        members = [_sent_form(member, _cut(text_of(member)))[0] for member in error.exceptions]
        parts = (restore_group, type(error), error.message, members)
    attributes = _attributes(error)
    yield _Bare(*parts, attributes)
    yield _Bare(*parts, _sendable(attributes))
    yield _Bare(*parts, {})


def _attributes(error: BaseException) -> dict[str, Any]:
    """What it holds beside its arguments."""
    attributes = dict(getattr(error, "__dict__", {}))
    if isinstance(error, OSError):
        facts = {name: getattr(error, name) for name in _OS_FACTS}
        attributes |= {name: fact for name, fact in facts.items() if fact is not None}
    return attributes


def _blob(value: Any) -> bytes:
    blob, _ = dump(value, lend=False, inside=float("inf"), limit=EXCEPTION_LIMIT)
    return blob


def _sendable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Those attributes that can be sent; a lock among them is no reason to lose the others."""
    sendable = {}
    for name, value in attributes.items():
        try:
            load(_blob(value), (), names=False)
        except Exception:  # as above; the text has what matters of it
            continue
        sendable[name] = value
    return sendable


# --- frames and text --------------------------------------------------------------------------


def _summary(error: BaseException) -> TracebackException | None:
    try:
        return TracebackException(type(error), error, error.__traceback__, compact=True)
    except Exception:  # user code: `__cause__`, `__notes__` may be anything; we do without
        return None


def _every_frame(summary: TracebackException | None) -> Iterator[FrameSummary]:
    for frame in summary.stack if summary else ():
        if not frame.filename.startswith("<frozen importlib"):
            yield frame


def _frames_of(frames: Iterable[FrameSummary]) -> list[Frame]:
    """Those of user code, the innermost ones of very many."""
    return [_frame(frame) for frame in frames if not _own(frame)][-_FRAMES:]


def _earlier(error: BaseException | None, summary: TracebackException | None) -> list[Earlier]:
    """What it came from, as Python would print it above."""
    found: list[Earlier] = []
    while error is not None and summary is not None and len(found) < _EARLIER:
        if summary.__cause__ is not None:
            how, error, summary = "caused by", error.__cause__, summary.__cause__
        elif summary.__context__ is not None and not summary.__suppress_context__:
            how, error, summary = "raised while handling", error.__context__, summary.__context__
        else:
            break
        frames = _frames_of(_every_frame(summary))
        found.append((how, type(error).__name__, _cut(text_of(error)), frames))
    return found


def _own(frame: FrameSummary) -> bool:
    return frame.filename.startswith(_OWN)


def _frame(frame: FrameSummary) -> Frame:
    return frame.filename, frame.lineno or 0, frame.name, frame.line or ""


def _formatted(summary: TracebackException | None, ename: str, evalue: str) -> str:
    try:
        _cut_own_frames(summary)
        return "".join(summary.format()) if summary else f"{ename}: {evalue}\n"
    except Exception:  # as above
        return f"{ename}: {evalue}\n"


def _cut_own_frames(summary: TracebackException | None) -> None:
    if summary is None:
        return
    kept = [frame for frame in _every_frame(summary) if not _own(frame)]
    summary.stack = StackSummary.from_list(kept)
    for other in (summary.__cause__, summary.__context__, *(summary.exceptions or ())):
        _cut_own_frames(other)


def _notes(error: BaseException, withheld: Mapping[str, str]) -> list[str]:
    notes = getattr(error, "__notes__", None)
    lines = [_cut(text_of(note)) for note in notes[:_NOTES]] if isinstance(notes, list) else []
    name = error.name if isinstance(error, NameError) else None
    if name is not None and name in withheld:
        lines.append(f"{name!r} did not come along with the function: {withheld[name]}")
    return lines


def text_of(value: object) -> str:
    """The text of an exception; never raises."""
    try:
        return str(value)
    except Exception:  # user code; this is what Python prints, too
        return f"<{type(value).__name__} str() failed>"


def _cut(text: str) -> str:
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters cut …\n{text[-half:]}"
