"""A module that engines lack: where it is here, and how to get it there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..error import RemoteError
from ..wire.failure import Failure
from . import text
from .failed import Call, Failed, note
from .modules import sendable
from .original import restore

INSTALLED = {"site-packages", "dist-packages"}


def missing(failed: Failed) -> str:
    """The module that was missing when what had been sent was loaded there, or ""."""
    failure = failed.remote()
    return failure.module if failure is not None and failure.kind == "load" else ""


def module_missing(module: str, failures: Sequence[Failed], call: Call) -> RemoteError:
    """One error for all the items that failed for want of this module."""
    engines = sorted({failed.outcome.engine for failed in failures})
    among = text.of(len(engines), max(len(call.engines), len(engines)))
    which = f"engine{'s' * (len(engines) > 1)} {text.some(engines)}"
    message = f"no module named '{module}' on {which} ({among})"
    error = restore(ModuleNotFoundError(message, name=module))
    if error is None:
        raise AssertionError("a ModuleNotFoundError can always be made a RemoteError")
    error.ename, error.evalue = "ModuleNotFoundError", message
    error.traceback = getattr(failures[0].why, "traceback", "")
    error.engine_id, error.method, error.task = engines[0], call.method, failures[0].outcome.id
    needs = f"{call.name} names what is in {module}, so each engine must be able to import it."
    ran = f"{text.of(call.good, call.total)} {call.unit} ran."
    note(error, f"{needs} {ran if call.total > 1 else 'It did not run.'}")
    for line in _remedies(module.partition(".")[0], _where(failures, engines, call)):
        note(error, line)
    return error


def remedies(failures: Sequence[Failure | None]) -> list[str]:
    """What can be done when user code wanted one and the same module, and it is to be had here."""
    modules = {failure.module if failure is not None else "" for failure in failures}
    name = modules.pop() if len(modules) == 1 else ""
    if not name or _path_here(name.partition(".")[0]) is None:
        return []
    pythons = sorted({failure.python for failure in failures if failure is not None})
    return _remedies(name.partition(".")[0], f"with {', '.join(pythons)}")


def _where(failures: Sequence[Failed], engines: Sequence[int], call: Call) -> str:
    """Hosts and interpreters: "on n1, n2, with /usr/bin/python"."""
    hosts = sorted({call.engines[e].host for e in engines if e in call.engines})
    pythons = sorted({failed.why.python for failed in failures if isinstance(failed.why, Failure)})
    parts = [f"on {', '.join(hosts)}"] * bool(hosts) + [f"with {', '.join(pythons)}"]
    return ", ".join(parts)


def _remedies(module: str, where: str) -> list[str]:
    """What can be done.

    A module of the user's own is not looked for on PyPI: there the name may be a stranger's.
    """
    pip = (f"python -m pip install {module}", where)
    path = _path_here(module)
    if not path:
        return ["Here it cannot be found either.", *_columns(pip)]
    root = next((str(p) for p in path.parents if str(p) in sys.path), "")
    through = f", found through sys.path[{sys.path.index(root)}]" if root else ""
    here = f"Here it is {path}{through}."
    sync = ("rc[:].sync_path()", "give the engines this sys.path (shared disk)")
    if INSTALLED & set(path.parts):
        return [here, *_columns(sync, pip)]
    what = sendable(module)
    push = (f'rc[:].push_module("{module}")', f"send this {what}, also to engines that join later")
    return [here, *_columns(*[push] * bool(what), sync)]


def _columns(*ways: tuple[str, str]) -> list[str]:
    """One or more things to do and what they are, one below the other."""
    width = max(len(code) for code, _ in ways)
    lines = [f"{code:{width}}     {what}" for code, what in ways]
    if len(lines) == 1:
        return lines
    return [f"{'' if i else 'One of:':9}{line}" for i, line in enumerate(lines)]


def _path_here(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    return Path(found) if found else None
