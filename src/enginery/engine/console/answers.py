"""What a console asks besides having code run: completion, help, history, who this is.

Each answer is made of the engine's IPython in the kernel's thread, also while a task runs.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from IPython.core.completer import provisionalcompleter, rectify_completions
from IPython.utils.tokenutil import token_at_cursor

from ...version import __version__
from ..namespace import Namespace
from ..shell import shell_of
from . import banner
from .messages import VERSION

Content = Mapping[str, Any]

LANGUAGE = {
    "name": "python",
    "version": platform.python_version(),
    "mimetype": "text/x-python",
    "codemirror_mode": {"name": "ipython", "version": 3},
    "pygments_lexer": "ipython3",
    "nbconvert_exporter": "python",
    "file_extension": ".py",
}


def info(space: Namespace, asked: Content) -> dict[str, Any]:
    """Who this is."""
    return {
        "protocol_version": VERSION,
        "implementation": "enginery",
        "implementation_version": __version__,
        "language_info": LANGUAGE,
        "banner": banner(space.engine_id()),
        "help_links": [],
    }


def complete(space: Namespace, asked: Content) -> dict[str, Any]:
    """What could stand at the cursor."""
    code, at = _cursor(asked)
    with provisionalcompleter():
        raw = shell_of(space).interpreter.Completer.completions(code, at)
        found = list(rectify_completions(code, raw))
    types = [
        {"start": c.start, "end": c.end, "text": c.text, "type": c.type, "signature": c.signature}
        for c in found
    ]
    return {
        "matches": [c.text for c in found],
        "cursor_start": found[0].start if found else at,
        "cursor_end": found[0].end if found else at,
        "metadata": {"_jupyter_types_experimental": types},
    }


def inspect(space: Namespace, asked: Content) -> dict[str, Any]:
    """What stands at the cursor."""
    interpreter = shell_of(space).interpreter
    name = token_at_cursor(*_cursor(asked))
    level = 1 if asked.get("detail_level") else 0
    try:
        data = interpreter.object_inspect_mime(name, detail_level=level)
    except KeyError:
        return {"found": False, "data": {}, "metadata": {}}
    data = {kind: text for kind, text in data.items() if kind != "text/html"}
    return {"found": True, "data": data, "metadata": {}}


def is_complete(space: Namespace, asked: Content) -> dict[str, Any]:
    """Whether this is a whole input."""
    manager = shell_of(space).interpreter.input_transformer_manager
    status, indent = manager.check_complete(str(asked["code"]))
    return {"status": status, **({"indent": " " * indent} if status == "incomplete" else {})}


def history(space: Namespace, asked: Content) -> dict[str, Any]:
    """The inputs of this engine: number 0 of sessions, since it keeps no others."""
    inputs = shell_of(space).interpreter.history_manager.input_hist_raw
    pattern = str(asked.get("pattern") or "*")
    found = [(0, n, text) for n, text in enumerate(inputs) if n and fnmatchcase(text, pattern)]
    found = found[-int(asked.get("n") or len(inputs)) :]
    if asked.get("output"):
        return {"history": [(session, n, (text, None)) for session, n, text in found]}
    return {"history": found}


def comms(space: Namespace, asked: Content) -> dict[str, Any]:
    """Widgets: there are none."""
    return {"comms": {}}


ANSWERS: Mapping[str, Callable[[Namespace, Content], dict[str, Any]]] = {
    "kernel_info_request": info,
    "complete_request": complete,
    "inspect_request": inspect,
    "is_complete_request": is_complete,
    "history_request": history,
    "comm_info_request": comms,
}


def _cursor(asked: Content) -> tuple[str, int]:
    code = str(asked["code"])
    at = asked.get("cursor_pos")
    return code, len(code) if at is None else int(at)
