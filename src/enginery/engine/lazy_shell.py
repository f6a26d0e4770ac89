"""Has the engine's shell made when a function first asks IPython whether there is one.

A function that runs on an engine may display things without anything ever having been executed
there. IPython only prints them where it knows of no shell, and making one in any case would cost
each engine 50 ms.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from .namespace import Namespace

NAME = "IPython"


class LazyShell(MetaPathFinder):
    """Finds IPython once, if it has not been imported, to know when it is there."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def install(self) -> None:
        """Answer for the shell of this namespace from now on."""
        if NAME in sys.modules:
            self.answer()
        else:
            sys.meta_path.insert(0, self)

    def uninstall(self) -> None:
        """Wait for IPython no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def answer(self) -> None:
        """IPython is there: its question is answered here."""
        from IPython.core.interactiveshell import InteractiveShell

        original = InteractiveShell.initialized.__func__

        def initialized(kind: type) -> bool:
            if self._namespace.shell is None and not self._namespace.making_shell:
                self._make()
            return bool(original(kind))

        InteractiveShell.initialized = classmethod(initialized)

    def _make(self) -> None:
        from .shell import shell_of

        shell_of(self._namespace)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where IPython is; of others, nothing."""
        if name != NAME:
            return None
        self.uninstall()
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader(Loader):
    """Loads IPython as another loader does, and tells when it is there."""

    def __init__(self, loader: Loader, lazy_shell: LazyShell) -> None:
        self._loader = loader
        self._lazy_shell = lazy_shell

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._lazy_shell.answer()
