"""What an engine does for a client besides the user's own functions.

Each is called like any function, as a task; it travels by its name alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ..wire.pulled import Pulled
from .namespace import here
from .properties import Properties
from .reply import ExecuteReply


def push(names: Mapping[str, Any]) -> None:
    """Set these names in the engine's namespace."""
    here().push(names)


def pull(names: str | Iterable[str]) -> Any:
    """The value of a name, or a list with the values of several; "a.b" is an attribute.

    Raises NameError for a name that is not there.
    """
    return _value(names) if isinstance(names, str) else [_value(name) for name in names]


def push_function(functions: Mapping[str, Any]) -> None:
    """As `push`."""
    here().push(functions)


def pull_function(names: str | Iterable[str]) -> Any:
    """As `pull`; TypeError for a value that cannot be called."""
    if not isinstance(names, str):
        return [pull_function(name) for name in names]
    value = _value(names)
    if not callable(value):
        raise TypeError(f"{names!r} is no function but {type(value).__name__}: pull() gives it")
    return value


def push_module(name: str) -> None:
    """Nothing: its source came in front of this function."""


def execute(code: str, filename: str = "", first_line: int = 1) -> ExecuteReply:
    """Run code as IPython does; what it raises is raised here, its frames from the code on.

    Tracebacks show it under `filename` from `first_line` on, or as the input of that number.
    """
    from .shell import shell_of

    shell = shell_of(here())
    with here().commands.noting(shell.number, here().task_id()):
        return shell.execute(code, filename, first_line)


def command(number: int | None = None) -> tuple[str, dict[str, str]]:
    """The id of the task that has executed the command of this number, or the last one, and what
    it printed; IndexError when none is known.
    """
    found = here().commands.command(number)
    return found.task, found.printed()


def string_task(code: str, push: Mapping[str, Any], pull: Iterable[str]) -> Pulled:
    """Set names, run code as by `execute`, and give the values of the names to pull.

    `id` in the code is the number of this engine, unless the user has set that name.
    """
    from .shell import shell_of

    here().push(push)
    here().lend_more({"id": engine_id()})
    shell_of(here()).execute(code)
    return Pulled((name, _result(name)) for name in pull)


def clear() -> None:
    """Remove every name of the user."""
    here().clear()


def keys() -> list[str]:
    """The names that the user has set, in the order in which he did."""
    return [name for name in _users_names() if not here().is_fallback(name)]


def properties() -> Properties:
    """The properties of the engine that this process is."""
    return here().properties


def get_properties(names: str | Iterable[str] | None = None) -> dict[str, Any]:
    """A copy of them, or of those of these names, which can be sent; KeyError."""
    if names is None:
        return dict(properties())
    return {name: _property(name) for name in ([names] if isinstance(names, str) else names)}


def update_properties(values: Mapping[str, Any]) -> None:
    """Set these properties, and leave the others."""
    properties().update(values)


def set_properties(values: Mapping[str, Any]) -> None:
    """Have these properties, and no others."""
    for name in set(properties()) - set(values):
        del properties()[name]
    properties().update(values)


def has_properties(names: str | Iterable[str]) -> Any:
    """Whether there is a property of this name; of several, a list that says so of each."""
    if isinstance(names, str):
        return names in properties()
    return [name in properties() for name in names]


def del_properties(names: str | Iterable[str]) -> None:
    """Remove these properties; KeyError, and none is removed, when one is not there."""
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        _property(name)
    for name in names:
        properties().pop(name, None)


def clear_properties() -> None:
    """Remove them all."""
    properties().clear()


def engine_id() -> int:
    """The number of the engine that this process is, as the controller gave it."""
    return here().engine_id()


def set_path(path: list[str]) -> None:
    """Import from these directories, in this order."""
    sys.path[:] = path


def change_directory(directory: str) -> None:
    """Make this the engine's working directory; OSError when it cannot be."""
    os.chdir(directory)


def _property(name: str) -> Any:
    if name not in properties():
        raise KeyError(f"engine {engine_id()} has no property {name!r}")
    return properties()[name]


def _value(name: str) -> Any:
    first, *rest = name.split(".")
    try:
        value = here().names[first]
    except KeyError:
        raise NameError(f"name {first!r} is not defined", name=first) from None
    for attribute in rest:
        value = getattr(value, attribute)
    return value


def _result(name: str) -> Any:
    """The value that a name has after a task; of the namespace itself, the user's names."""
    try:
        value = _value(name)
    except NameError as error:
        raise NameError(
            f"name {error.name!r} is not defined after the task has run, so it cannot be pulled",
            name=error.name,
        ) from None
    return _users_names() if value is here().names else value


def _users_names() -> dict[str, Any]:
    """What the user has in the namespace, without what Python and IPython put there."""
    names = here().names
    shell = names.get("get_ipython")
    hidden = shell().user_ns_hidden if callable(shell) else {}
    return {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and value is not names and hidden.get(name, here) is not value
    }
