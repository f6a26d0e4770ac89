"""The result of a call whose parts are pieces of one thing: `gather`, `f(A, B)` of `@parallel`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .results import AsyncResult
from .scatter import join


class JoinedResult(AsyncResult):
    """As `AsyncResult`, but `get` joins the pieces, in the order of the engines: `scatter.join`."""

    of_one = False
    """Whether one engine was asked, and not a list of them with one in it."""

    @property
    def assembly(self) -> Callable[[list[Any]], Any]:
        """The same on an engine."""
        return join

    def _assemble(self, values: Sequence[Any]) -> Any:
        return join(values)

    @property
    def _raised_alone(self) -> bool:
        return self.of_one
