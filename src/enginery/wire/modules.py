"""Modules that travel as source, in front of the functions of the client that has pushed them.

So whichever engine runs a function has its modules before it: one that joins later, or takes the
place of one that died, and also for the arguments, which are loaded after the function. On the
engine a finder of the import system has the source; nothing is written to a disk. Modules go by
their content, so that an engine looks at each only once, and two clients whose modules differ
each get their own.

    0x03, length of the modules (4 bytes), modules, the function (see `wire.layout`)
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any

from msgspec import Struct, msgpack

from ..core.messages import Code, code_of, fields_of

MARK = b"\x03"

Digests = tuple[tuple[str, bytes], ...]
"""Modules by name, each with the digest of its content."""


class File(Struct, array_like=True, frozen=True):
    """A file of Python source; `path` is where it is on the client's side, as tracebacks say."""

    path: str
    source: bytes


class Module(Struct, array_like=True, frozen=True):
    """A module or package: its own file and those of its submodules, by their dotted names."""

    name: str
    files: dict[str, File]

    @property
    def digest(self) -> bytes:
        """What tells it from others of its name, and from what it was before."""
        return blake2b(msgpack.encode(self), digest_size=16).digest()


# --- on the client's side -----------------------------------------------------------------------


class PushedModules:
    """The modules that go with the functions of one client."""

    def __init__(self) -> None:
        self._modules: dict[str, Module] = {}
        self._packed = b""

    def __bool__(self) -> bool:
        return bool(self._packed)

    def add(self, module: Module) -> None:
        """Take this module along from now on, in place of an earlier one of its name."""
        self._modules = {**self._modules, module.name: module}
        packed = zlib.compress(msgpack.encode(list(self._modules.values())))
        self._packed = MARK + len(packed).to_bytes(4, "big") + packed

    def with_function(self, code: Code) -> Code:
        """Give a function with the modules in front of it."""
        blob, buffers = fields_of(code)
        return code_of(self._packed + blob, buffers)


# --- on the engine's side -----------------------------------------------------------------------


def unpack(blob: bytes) -> tuple[list[Module], bytes]:
    """Give the modules in front of a function, and the function."""
    if blob[:1] != MARK:
        return [], blob
    end = 5 + int.from_bytes(blob[1:5], "big")
    return msgpack.decode(zlib.decompress(blob[5:end]), type=list[Module]), blob[end:]


class SourceFinder(SourceLoader):
    """Finds and loads a module from its source, before any that this process could find itself."""

    def __init__(self, module: Module, digest: bytes) -> None:
        self.name, self.digest = module.name, digest
        self._files = module.files
        self._sources = {file.path: file.source for file in module.files.values()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that is here; None of any other."""
        file = self._files.get(fullname)
        return spec_from_file_location(fullname, file.path, loader=self) if file else None

    def get_filename(self, fullname: str) -> str:
        """Where the source is on the client's side; ImportError when it is none of these."""
        try:
            return self._files[fullname].path
        except KeyError:
            raise ImportError(f"{fullname} is no part of {self.name}", name=fullname) from None

    def get_data(self, path: Any) -> bytes:
        """The source of a file; OSError when it is none of these."""
        try:
            return self._sources[str(path)]
        except KeyError:
            raise FileNotFoundError(f"{path} did not come along with module {self.name}") from None


def install(modules: Iterable[Module]) -> Digests:
    """Let this process import these from now on; what it has imported by their names is renewed.

    Raises what that raises. Names that were imported from them before stay what they are, as with
    `importlib.reload`; modules among the user's names are renewed.
    """
    digests = []
    for module in modules:
        digest = module.digest
        digests.append((module.name, digest))
        here = _finder(module.name)
        if here is None or here.digest != digest:
            if here is not None:
                sys.meta_path.remove(here)
            sys.meta_path.insert(0, SourceFinder(module, digest))
            _renew(module)
    return tuple(digests)


def installed(digests: Digests) -> bool:
    """Whether these are what this process imports."""
    for name, digest in digests:
        here = _finder(name)
        if here is None or here.digest != digest:
            return False
    return True


def _finder(name: str) -> SourceFinder | None:
    for finder in sys.meta_path:
        if type(finder) is SourceFinder and finder.name == name:
            return finder
    return None


def _renew(module: Module) -> None:
    old = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name == module.name or name.startswith(module.name + ".")
    }
    for name in old:
        if name in module.files:
            importlib.import_module(name)
    names = sys.modules["__main__"].__dict__
    for name, value in list(names.items()):
        if isinstance(value, ModuleType) and old.get(value.__name__) is value:
            names[name] = sys.modules.get(value.__name__, value)
