"""Whether there is room for more tasks of a client, and what is done when there is none.

There is none when the client has as many tasks as its user wants to have at most, and when the
controller takes no more: its queue is full, or its memory. Either the call waits then, or it raises
`QueueFull`.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any, Generic, Protocol, TypeVar

from ..error import QueueFull
from .flags import Checked, seconds, whole

T = TypeVar("T")

WAIT, RAISE = "wait", "raise"


def _when(value: Any) -> str:
    """What is done when there is no room."""
    if value not in (WAIT, RAISE):
        raise ValueError(f'"wait" or "raise" is needed, not {value!r}')
    return str(value)


def _patience(value: Any) -> float | None:
    """A number of seconds, or None for any."""
    return None if value is None else seconds(value)


class Link(Protocol):
    """What this has to know of a link."""

    @property
    def slots(self) -> Sized: ...

    @property
    def refusal(self) -> str: ...

    @property
    def credited(self) -> bool: ...

    def wait(self, done: Callable[[], bool], timeout: float | None) -> bool: ...


class Admission:
    """See the module's text."""

    queue_limit = Checked(whole, "Tasks of this client that have not ended, at most; 0: any.")
    when_full = Checked(_when, "What is done when there is no room.")
    queue_timeout = Checked(_patience, "Seconds that a wait for room may take; None: any number.")

    def __init__(self, link: Link) -> None:
        self._link = link
        self.queue_limit, self.when_full, self.queue_timeout = 0, WAIT, None

    def enter(self, tasks: int) -> None:
        """Let so many tasks in, as soon as there is room; QueueFull when that is not to be."""
        raises = self.when_full == RAISE

        def decided() -> bool:
            lacking = bool(self._lacking(tasks))
            return lacking if raises and lacking else self._link.credited and not lacking

        if not self._link.wait(decided, self.queue_timeout):
            why = self._lacking(tasks) or "what was submitted before is still on its way"
            waited = f"That was so for {self.queue_timeout:g} s (queue_timeout)"
            raise QueueFull(f"{why}\n  {waited}. Nothing was submitted.")
        if raises and (lacking := self._lacking(tasks)):
            raise QueueFull(f"{lacking}\n  Nothing was submitted; try again when some have ended.")

    def _lacking(self, tasks: int) -> str:
        """Why there is no room; one call always goes when nothing else is there."""
        open = len(self._link.slots)
        limit = self.queue_limit
        if limit and open and open + tasks > limit:
            return f"{open:,} tasks of this client have not ended; its queue_limit is {limit:,}"
        if self._link.refusal:
            return f"the controller takes no more tasks: {self._link.refusal}"
        return ""


class Admitting(Generic[T]):
    """A setting of `Admission`, as an attribute of the client."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else getattr(client.link.admission, self._name)

    def __set__(self, client: Any, value: T) -> None:
        setattr(client.link.admission, self._name, value)
