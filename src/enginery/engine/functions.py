"""The functions that an engine holds, by content hash."""

from __future__ import annotations

from ..core.messages import Code
from ..wire import functions, modules
from ..wire.functions import Function


class Functions:
    """Keeps what arrived; a function is loaded when it is first called, as part of that call.

    So what fails then, such as the import of a module that is not there, is that task's failure,
    and a later call tries again.
    """

    def __init__(self) -> None:
        self._codes: dict[bytes, Code] = {}
        self._loaded: dict[bytes, Function] = {}

    def keep(self, hash: bytes, code: Code) -> None:
        """Keep a function that has arrived."""
        self._codes[hash] = code

    def forget(self, hash: bytes) -> None:
        """Keep it no longer."""
        self._codes.pop(hash, None)
        self._loaded.pop(hash, None)

    def loaded(self, hash: bytes) -> Function | None:
        """The function, if it is loaded and need not be loaded again."""
        function = self._loaded.get(hash)
        if function is not None and function.modules and not modules.installed(function.modules):
            return None
        return function

    def load(self, hash: bytes) -> Function:
        """Load the function; raises whatever that raises."""
        function = functions.load(self._codes[hash])
        if not function.live:  # else it is loaded for each run, to look up what it refers to
            self._loaded[hash] = function
            if not function.modules:  # else its modules may have to be brought again
                del self._codes[hash]
        return function
