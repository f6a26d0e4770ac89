"""What an engine does for a client besides the user's own functions.

Each is called like any function, as a task; it travels by its name alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

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


def execute(code: str, filename: str = "") -> ExecuteReply:
    """Run code as IPython does; what it raises is raised here, its frames from the code on.

    Tracebacks show it under `filename`, or as the input of that number.
    """
    from .shell import shell_of

    return shell_of(here()).execute(code, filename)


def clear() -> None:
    """Remove every name of the user."""
    here().clear()


def properties() -> Properties:
    """The properties of the engine that this process is."""
    return here().properties


def set_path(path: list[str]) -> None:
    """Import from these directories, in this order."""
    sys.path[:] = path


def change_directory(directory: str) -> None:
    """Make this the engine's working directory; OSError when it cannot be."""
    os.chdir(directory)


def _value(name: str) -> Any:
    first, *rest = name.split(".")
    try:
        value = here().names[first]
    except KeyError:
        raise NameError(f"name {first!r} is not defined", name=first) from None
    for attribute in rest:
        value = getattr(value, attribute)
    return value
