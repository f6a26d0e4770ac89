"""What a task waits for: `Dependency`, and everything that may stand for one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core import messages as m
from ..wire.codec import sayable
from .results import AsyncResult


class Dependency(set[str]):
    """A set of task ids, and when it is met: by `all` of these tasks or by any of them.

    With `success` the tasks count that ended well, with `failure` those that did not. The default
    is all, and well.

    >>> Dependency(["7f3-1", "7f3-2"], all=False, failure=True)
    Dependency(['7f3-1', '7f3-2'], all=False, success=True, failure=True)
    """

    def __init__(
        self, jobs: Any = (), all: bool = True, success: bool = True, failure: bool = False
    ) -> None:
        super().__init__(_ids(jobs))
        if not (success or failure):
            raise ValueError("success or failure must be True, or nothing could meet it")
        self.all, self.success, self.failure = bool(all), bool(success), bool(failure)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values; `Dependency(**d)` takes it, with "jobs" for the ids."""
        return {
            "jobs": sorted(self),
            "all": self.all,
            "success": self.success,
            "failure": self.failure,
        }

    def message(self) -> m.Dependency:
        """As it is sent."""
        ids = map(sayable, self)
        return m.Dependency(tuple(sorted(ids)), self.all, self.success, self.failure)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Dependency):
            return self.as_dict() == other.as_dict()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:  # a set has its own
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        switches = f"all={self.all}, success={self.success}, failure={self.failure}"
        return f"Dependency({sorted(self)}, {switches})"


def dependency(value: Any) -> Dependency | None:
    """The dependency that a user means by ids, results, a list of them, a dict, or None."""
    if value is None or isinstance(value, Dependency):
        return value
    if isinstance(value, dict):
        return Dependency(**value)
    return Dependency(value) if value or isinstance(value, AsyncResult) else None


def _ids(jobs: Any) -> Iterable[str]:
    if isinstance(jobs, AsyncResult):
        return jobs.msg_ids
    if isinstance(jobs, str):
        return [jobs]
    try:
        parts = list(jobs)
    except TypeError:
        raise TypeError(f"{jobs!r} is no task id, no AsyncResult, and no list of them") from None
    return [id for part in parts for id in _ids(part)]
