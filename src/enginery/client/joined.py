"""The result of a call whose parts are pieces of one thing: `gather`, `f(A, B)` of `@parallel`."""

from __future__ import annotations

from typing import Any

from .results import AsyncResult
from .scatter import join


class JoinedResult(AsyncResult):
    """As `AsyncResult`, but `get` joins the pieces, in the order of the engines: `scatter.join`."""

    def _assemble(self, values: list[Any]) -> Any:
        return join(values)

    @property
    def _raised_alone(self) -> bool:
        return len(self._slots) == 1
