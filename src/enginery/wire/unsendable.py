"""Saying which part of a value cannot be sent, and what to do instead.

This runs only after a failure, so it may be slow: from the value down, it pickles the parts of
what cannot be pickled, until none of the parts is to blame.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from ..error import UnsendableError
from .lend import belongs_to_main, importable, uses
from .pickler import refusal
from .taking import Takeable

_DEEPEST = 40
_WIDEST = 10_000
_WIDTH = 100
_BOUND = frozenset(
    {"_thread", "threading", "socket", "_socket", "ssl", "_ssl", "select", "selectors", "_io", "io"}
    | {"mmap", "subprocess", "multiprocessing", "concurrent", "asyncio", "_asyncio", "tempfile"}
    | {"sqlite3", "_sqlite3", "psycopg", "zmq"}
)
"""Packages whose objects are bound to the process that made them."""
_LAZY = frozenset({"generator", "async_generator", "coroutine", "async_generator_asend"})


class Step(NamedTuple):
    """From a value to a part of it: `[3]`, `.handlers`; in a function `scope` says which name."""

    text: str
    scope: str = ""


class Found(NamedTuple):
    """The part to blame, and how to get there."""

    steps: tuple[Step, ...]
    part: Any
    cause: Exception

    def where(self, root: str) -> list[str]:
        """Give what it is and where, in one line or, where that is too long, two."""
        kind = _kind(self.part)
        scopes = [i for i, step in enumerate(self.steps) if step.scope]
        if not scopes:
            return [f"{_path(root, self.steps)} is {kind}"]
        first, last = scopes[0], scopes[-1]
        lead = f"{_path(root, self.steps[:first])} holds {kind}"
        if self.steps[last + 1 :]:
            lead += f", as {_path(self.steps[last].text, self.steps[last + 1 :])}"
        found = f"found in {self.steps[last].scope}"
        line = f"{lead}; {found}"
        return [line] if len(line) <= _WIDTH - 2 else [lead, found]


def explain_unsendable(
    call: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    cause: BaseException,
    function: Any = None,
    *,
    names: Sequence[str] = (),
) -> UnsendableError:
    """Give the error for a call that cannot be sent; `call` is how it is shown: "fit(x, lock)".

    `names` are what the function calls its positional arguments, as far as that is known. Raise it
    `from cause`: what `payload.dumps` or `FunctionCache.serialize` raised.
    """
    roots = [
        (f"argument {i + 1}", f"args[{i}]", value, name)
        for i, (value, name) in enumerate(zip_longest(args, names, fillvalue=""))
    ]
    roots += [(f"argument {k!r}", f"kwargs[{k!r}]", value, k) for k, value in kwargs.items()]
    if function is not None:
        roots.insert(0, ("the function", "", function, ""))
    for subject, root, value, name in roots:
        if (found := find(value)) is not None:
            head = f"{_short(call, 60)}: {subject} cannot be sent to an engine"
            lines = [*found.where(root or _name(value)), *_said(found)]
            return UnsendableError(
                _text(head, *lines, "Nothing was submitted.", *_remedy(found, name))
            )
    head = f"{_short(call, 60)}: this cannot be sent to an engine"
    return UnsendableError(_text(head, _one_line(cause), "Nothing was submitted."))


def describe(value: Any, error: Exception) -> str:
    """Give the text for a value that cannot be sent; `error` is what pickling it raised."""
    found = find(value)
    if found is None:
        return _text("this cannot be sent to another process", _one_line(error))
    head = f"a {type(value).__name__} cannot be sent to another process"
    return _text(head, *found.where("it"), *_said(found))


def find(value: Any) -> Found | None:
    """Give the innermost part of this value that cannot be pickled; None when all of it can."""
    cause = refusal(value)
    if cause is None:
        return None
    steps: tuple[Step, ...] = ()
    seen = {id(value)}
    while len(steps) < _DEEPEST and not isinstance(cause.__cause__, RecursionError):
        for step, part in _parts(value):
            if id(part) not in seen and (inner := refusal(part)) is not None:
                seen.add(id(part))
                value, cause, steps = part, inner, (*steps, step)
                break
        else:
            break
    return Found(steps, value, cause)


# --- the parts of a value ---------------------------------------------------------------------


def _parts(value: Any) -> Iterator[tuple[Step, Any]]:
    parts: Iterator[tuple[Step, Any]]
    if isinstance(value, dict):
        parts = _items(value)
    elif isinstance(value, list | tuple):
        parts = ((Step(f"[{i}]"), item) for i, item in enumerate(value))
    elif isinstance(value, set | frozenset):
        parts = ((Step(" (one of its items)"), item) for item in value)
    elif isinstance(value, FunctionType):
        parts = _parts_of_function(value)
    elif isinstance(value, functools.partial):
        parts = iter((Step(f".{n}"), getattr(value, n)) for n in ("func", "args", "keywords"))
    elif isinstance(value, MethodType):
        parts = iter(((Step(".__self__"), value.__self__), (Step(".__func__"), value.__func__)))
    elif isinstance(value, type):
        parts = ((Step(f".{name}"), part) for name, part in list(vars(value).items()))
    else:
        parts = _parts_of_object(value)
    for _, part in zip(range(_WIDEST), parts, strict=False):
        yield part


def _items(value: dict[Any, Any]) -> Iterator[tuple[Step, Any]]:
    for key, item in list(value.items()):
        yield Step(f" (its key {_short(_repr(key), 40)})"), key
        yield Step(f"[{_short(_repr(key), 40)}]"), item


def _parts_of_function(function: FunctionType) -> Iterator[tuple[Step, Any]]:
    if importable(function) and not belongs_to_main(function):
        return
    code = function.__code__
    of = f"of {_name(function)} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield Step(name, f"closure variable {name!r} {of}"), cell.cell_contents
        except ValueError:
            continue
    arguments = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    for name, value in zip(arguments[len(arguments) - len(defaults) :], defaults, strict=False):
        yield Step(name, f"the default of argument {name!r} {of}"), value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield Step(name, f"the default of argument {name!r} {of}"), value
    for name, value in function.__dict__.items():
        yield Step(name, f"attribute {name!r} {of}"), value
    if not belongs_to_main(function):
        for name in uses(code).loads:
            if name in function.__globals__:
                yield Step(name, f"global variable {name!r} {of}"), function.__globals__[name]


def _parts_of_object(value: Any) -> Iterator[tuple[Step, Any]]:
    try:
        reduction = value.__reduce_ex__(5)
    except Exception:  # then it is this one that cannot be sent, not a part of it
        return
    if not isinstance(reduction, tuple):
        return
    arguments, state, items, pairs = (*reduction[1:5], None, None, None)[:4]
    for attributes in state if isinstance(state, tuple) else (state,):
        if isinstance(attributes, dict):
            for name, part in list(attributes.items()):
                yield Step(f".{name}"), part
        elif attributes is not None:
            yield Step(" (its state)"), attributes
    for i, item in enumerate(items or ()):
        yield Step(f"[{i}]"), item
    for key, item in pairs or ():
        yield Step(f"[{_short(_repr(key), 40)}]"), item
    for part in arguments or ():
        if not isinstance(part, type):
            yield Step(" (what it is made from)"), part


# --- words ------------------------------------------------------------------------------------


def _remedy(found: Found, name: str) -> list[str]:
    """What to do; `name` is what the whole argument is called."""
    kind = type(found.part)
    name = found.steps[-1].text.strip(".[]'\" ") if found.steps else name
    name = name if name.isidentifier() else "thing"
    if isinstance(found.part, Takeable):
        return [
            "As an argument it arrives as its value, when that is there:",
            f"    lview.apply(f, {name if name != 'thing' else 'ar'})",
        ]
    if kind.__name__ in _LAZY:
        return [
            "Generators and coroutines live in the process that runs them. Send what they yield:",
            f"    list({name if name != 'thing' else '...'})",
        ]
    if any(base.__module__.partition(".")[0] in _BOUND for base in kind.__mro__):
        code = f"{name} = ..."
        if kind.__module__ == "_thread" and kind.__name__ in {"lock", "RLock"}:
            code = f"import threading; {name} = threading.{kind.__name__.replace('l', 'L')}()"
        return [
            "Locks, open files, sockets and connections cannot leave their process. "
            "Make it on the engine:",
            f'    dview.execute("{code}")',
            f'    lview.map(f, xs, Reference("{name}"))',
        ]
    return [
        "Send the plain data it is made of and build it there, or make it on the engine:",
        f'    dview.execute("{name} = ...")',
        f'    lview.map(f, xs, Reference("{name}"))',
    ]


def _said(found: Found) -> list[str]:
    """Pickle's own words, when they say more than that the type is wrong."""
    words = _one_line(found.cause)
    return [] if words.startswith("TypeError: cannot pickle") else [words]


def _text(head: str, *lines: str) -> str:
    return "\n".join(
        (_short(head, _WIDTH - 17), *(f"  {_short(line, _WIDTH - 2)}" for line in lines))
    )


def _path(root: str, steps: Sequence[Step]) -> str:
    return root + "".join(step.text for step in steps)


def _kind(part: Any) -> str:
    if isinstance(part, FunctionType):
        return _name(part)
    cls = part if isinstance(part, type) else type(part)
    module = "" if cls.__module__ in {"builtins", "__main__"} else f"{cls.__module__}."
    name = f"{module}{cls.__qualname__}"
    return f"class {name}" if isinstance(part, type) else f"a {name}"


def _name(value: Any) -> str:
    if isinstance(value, FunctionType):
        return f"function {value.__name__}"
    return f"the {type(value).__name__}"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # user code; its type must do
        return f"<{type(value).__name__}>"


def _one_line(error: BaseException) -> str:
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 2 - width // 3]}…{text[-width // 3 :]}"
