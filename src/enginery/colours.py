"""How IPython shows an error of ours: in its own form and colours, as those of the user's code.

Elsewhere nothing is coloured, and IPython is only looked for, never imported. NO_COLOR in the
environment, and IPython's own "nocolor", leave everything plain.
"""

from __future__ import annotations

import os
import re
import sys
from types import TracebackType
from typing import Any

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
"""What switches a terminal's colours."""

HEADER = "Traceback (most recent call last):\n"
"""The line by which a traceback is known as one."""

FRAME = re.compile(r' *File ".*", line \d+, in ')
"""A line that names a frame; its source line may stand below it."""


def shell() -> Any:
    """IPython's shell in this process, None when there is none."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get_ipython is None else get_ipython()


def cell(filename: str) -> str:
    """The name by which IPython's users know a cell of theirs: "Cell In[9]"; else the file's."""
    compiler = getattr(shell(), "compile", None)
    known = getattr(compiler, "format_code_name", lambda name: None)(filename)
    return filename if known is None else " ".join(known)


def colourless(ipython: Any) -> bool:
    """Whether nothing is to be coloured for those who sit at this shell."""
    return (
        ipython is None
        or bool(os.environ.get("NO_COLOR"))
        or str(getattr(ipython, "colors", "nocolor")).lower() == "nocolor"
    )


def coloured(traceback: str) -> str:
    """A traceback as text, in the colours of IPython's own; as it is where there are none."""
    return _highlighted(traceback, "PythonTracebackLexer")


def _highlighted(text: str, lexer: str) -> str:
    ipython = shell()
    if colourless(ipython):
        return text
    from pygments import formatters, highlight, lexers

    by = getattr(lexers, lexer)(stripnl=False, ensurenl=False)
    return str(highlight(text, by, formatters.Terminal256Formatter(style=_style(ipython))))


def _style(ipython: Any) -> Any:
    """The style that IPython's tracebacks have: by its theme, or before version 9 always one."""
    try:
        from IPython.utils.PyColorize import theme_table

        return theme_table[ipython.colors].as_pygments_style()
    except (ImportError, AttributeError, KeyError):
        return "default"


def as_ipython(error: BaseException, traceback: TracebackType | None) -> list[str] | None:
    """The lines that IPython itself would show for this error with this traceback.

    None when there is no IPython, or none that can.
    """
    ipython = shell()
    render = getattr(getattr(ipython, "InteractiveTB", None), "structured_traceback", None)
    if render is None:
        return None
    # It shows the class by its name; that of one that is two classes is for programs.
    named = type(type(error).__qualname__, (Exception,), {})
    lines = "\n".join(render(named, error, traceback)).split("\n")
    ipython.InteractiveTB.tb = error.__traceback__  # where %debug goes, as deep as it is
    if os.environ.get("NO_COLOR"):
        return [ESCAPES.sub("", line) for line in lines]
    return lines if colourless(ipython) else _with_notes_coloured(lines)


def _with_notes_coloured(lines: list[str]) -> list[str]:
    """The frames of engines stand in notes, which IPython leaves plain."""
    told: list[str] = []
    below = False  # a line that names a frame
    for line in lines:
        rest = line.lstrip()
        indent = line[: len(line) - len(rest)]
        if FRAME.match(line):
            line = indent + coloured(f"{HEADER}  {rest}\n").split("\n")[1].removeprefix("  ")
        elif below and rest:
            line = indent + _highlighted(rest, "PythonLexer")
        below = not below and bool(FRAME.match(indent + rest))
        told.append(line)
    return told
