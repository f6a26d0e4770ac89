"""The source of modules that are here, for engines that lack them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from ..error import UnsendableError
from ..wire.modules import File, Module

LIMIT = 4 << 20
"""Bytes of source that a module may have: it goes to each engine with each new function."""


def module_source(module: str | ModuleType) -> Module:
    """Read the source of a module, or of the whole package that it is in.

    ModuleNotFoundError when it is not here, UnsendableError when it is not Python source alone.
    """
    name = top_level(module)
    spec = _spec(name)
    if name == __name__.partition(".")[0] or name in sys.stdlib_module_names:
        raise _refused(name, "every engine has it")
    files: dict[str, File] = {}
    left = LIMIT
    for inner, path in _files(name, spec):
        source = path.read_bytes()
        left -= len(source)
        if left < 0:
            raise _refused(name, f"it has more than {LIMIT >> 20} MiB of source", advice=True)
        files[inner] = File(str(path), source)
    if name not in files:  # a package without a file of its own
        files[name] = File(str(Path(_places(spec)[0], "__init__.py")), b"")
    return Module(name, dict(sorted(files.items())))


def sendable(module: str) -> str:
    """What a push of this module would send, "file" or "package"; "" when it cannot be pushed."""
    try:
        files = module_source(module).files
    except (ImportError, UnsendableError, OSError):
        return ""
    return "file" if len(files) == 1 else "package"


def top_level(module: str | ModuleType) -> str:
    """The name of a module, or of the package that it is in; TypeError for what is none."""
    name = module.__name__ if isinstance(module, ModuleType) else module
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise TypeError(f"push_module takes a module or its name, not {module!r}")
    return name.partition(".")[0]


def _spec(name: str) -> ModuleSpec:
    if name == "__main__":
        raise _refused(name, "what you define at the prompt or in a script travels by itself")
    try:
        spec = find_spec(name)
    except ValueError:  # somebody has made it by hand
        raise _refused(name, "it was not loaded from a file") from None
    if spec is None:
        raise ModuleNotFoundError(
            f"no module named {name!r} here; what is pushed must be importable here", name=name
        )
    return spec


def _files(name: str, spec: ModuleSpec) -> Iterator[tuple[str, Path]]:
    """The dotted names and the files of a module and its submodules."""
    places = _places(spec)
    for place in places:
        for path in sorted(place.rglob("*")):
            inside = path.relative_to(place).with_suffix("").parts
            if path.name.endswith(tuple(EXTENSION_SUFFIXES)):
                raise _refused(name, f"{path} is compiled code", advice=True)
            if path.suffix == ".py" and all(part.isidentifier() for part in inside):
                parts = inside[:-1] if inside[-1] == "__init__" else inside
                yield ".".join((name, *parts)), path
    if not places:
        path = Path(spec.origin or "")
        if path.suffix != ".py" or not path.is_file():
            raise _refused(name, f"it is no file of Python source but {path}", advice=True)
        yield name, path


def _places(spec: ModuleSpec) -> list[Path]:
    """The directories of a package; none of a module."""
    return [Path(place) for place in spec.submodule_search_locations or ()]


def _refused(name: str, why: str, *, advice: bool = False) -> UnsendableError:
    remedy = "\n  Install it on the engines, or give them this sys.path: rc[:].sync_path()"
    return UnsendableError(
        f"module {name!r} cannot be pushed: {why}\n  Nothing was submitted.{remedy * advice}"
    )
