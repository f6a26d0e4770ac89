"""Has the engine's shell made when a function first asks IPython whether there is one.

A function that runs on an engine may display things without anything ever having been executed
there. IPython only prints them where it knows of no shell, and making one in any case would cost
each engine 50 ms.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .namespace import Namespace

NAME = "IPython"


class LazyShell(MetaPathFinder):
    """Stands before the other finders until IPython is imported, to know when it is there."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._answering = False
        self._before: Any = None  # what InteractiveShell itself had as `initialized`, if anything
        self._ours: Any = None

    def install(self) -> None:
        """Answer for the shell of this namespace from now on."""
        if NAME in sys.modules:
            self.answer()
        elif self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def uninstall(self) -> None:
        """Wait for IPython no more, and answer no more."""
        self._stand_aside()
        if not self._answering:
            return
        self._answering = False
        from IPython.core.interactiveshell import InteractiveShell

        if vars(InteractiveShell).get("initialized") is not self._ours:
            return  # someone else answers before us, and asks us as well
        if self._before is None:
            del InteractiveShell.initialized
        else:
            InteractiveShell.initialized = self._before

    def answer(self) -> None:
        """IPython is there: its question is answered here."""
        self._stand_aside()
        if self._answering:
            return
        from IPython.core.interactiveshell import InteractiveShell

        original = InteractiveShell.initialized.__func__

        def initialized(kind: type) -> bool:
            space = self._namespace
            if self._answering and space.shell is None and not space.making_shell:
                self._make()
            return bool(original(kind))

        self._answering = True
        self._before = vars(InteractiveShell).get("initialized")
        self._ours = InteractiveShell.initialized = classmethod(initialized)

    def _stand_aside(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def _make(self) -> None:
        from .shell import shell_of

        shell_of(self._namespace)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where the finders behind this one find IPython; of others, nothing.

        It may only be looked for, not imported, so this one stays until it is there.
        """
        if name != NAME:
            return None
        spec = self._ask_others(name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self)
        return spec

    def _ask_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        finders = list(sys.meta_path)
        behind = finders.index(self) + 1 if self in finders else 0
        for finder in finders[behind:]:
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find_spec and find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


class _Loader(Loader):
    """Loads IPython as another loader does, and tells when it is there."""

    def __init__(self, loader: Any, lazy_shell: LazyShell) -> None:
        self._loader = loader
        self._lazy_shell = lazy_shell

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._lazy_shell.answer()
