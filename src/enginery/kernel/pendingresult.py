"""What a method of the 2008 interface gives with `block=False`: its result, later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, NoReturn, Protocol

from ..client.link import Link
from ..error import TimeoutError
from ..frames import trimmed, trims


class Waited(Protocol):
    """What can be waited for; an `AsyncResult` is one."""

    def ready(self) -> bool:
        """Whether it has ended."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for that, at most `timeout` seconds; whether it has."""

    def get(self) -> Any:
        """What it gave; raises what failed."""


@trims
class PendingResult:
    """The result of a method of `MultiEngineClient`, which may still be running.

    `then` makes it of what is waited for. What failed is raised each time it is asked for.
    """

    def __init__(self, waited: Waited, then: Callable[[Any], Any] | None = None) -> None:
        self._waited = waited
        self._then = then
        self._got: list[Any] = []

    @property
    def ready(self) -> bool:
        """Whether it is there, or has failed."""
        return self._waited.ready()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is there or has failed, at most `timeout` seconds; gives whether it is."""
        return self._waited.wait(timeout)

    def get_result(
        self, default: Any = None, block: bool = True, timeout: float | None = None
    ) -> Any:
        """The result; waits for it, or without `block` gives `default` while it is not there.

        Raises what failed, of several engines CompositeError; TimeoutError when it is not there
        after `timeout` seconds, and can be asked again then.
        """
        if not block and not self.ready:
            return default
        if not self.wait(timeout):
            raise TimeoutError(f"{self!r} is not there after {timeout:g} s; it can be asked again")
        if not self._got:
            value = self._waited.get()
            self._got.append(value if self._then is None else self._then(value))
        return self._got[0]

    @property
    @trimmed
    def r(self) -> Any:
        """As `get_result()`."""
        return self.get_result()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PendingResult stays with its client; send its result, pr.r")

    def __repr__(self) -> str:
        return repr(self._waited).replace("<AsyncResult", "<PendingResult", 1)


class Known:
    """What needs no waiting."""

    def __init__(self, name: str, value: Any) -> None:
        self._name, self._value = name, value

    def ready(self) -> bool:
        """Yes."""
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Not at all."""
        return True

    def get(self) -> Any:
        """The value."""
        return self._value

    def __repr__(self) -> str:
        return f"<PendingResult {self._name}: done>"


class Gone:
    """The end of engines, or of the lives that they live now."""

    def __init__(self, link: Link, engines: Sequence[int]) -> None:
        self._link = link
        self._lives = {id: link.engines[id].incarnation for id in engines if id in link.engines}
        self._count = len(engines)

    def ready(self) -> bool:
        """Whether all have ended."""
        self._link.look()
        return self._over()

    def _over(self) -> bool:
        now = self._link.engines
        return not any(id in now and now[id].incarnation == x for id, x in self._lives.items())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for that, at most `timeout` seconds; whether they have."""
        return self._link.wait(self._over, timeout)

    def get(self) -> list[None]:
        """None for each."""
        return [None] * self._count

    def __repr__(self) -> str:
        return f"<PendingResult kill: {'done' if self.ready() else 'pending'}>"


def barrier(pending: Sequence[PendingResult], timeout: float | None) -> None:
    """Wait until all of these are there; TimeoutError after `timeout` seconds."""
    for each in pending:
        if not isinstance(each, PendingResult):
            raise TypeError(f"a barrier is for PendingResults, not for {each!r}")
    deadline = None if timeout is None else monotonic() + timeout
    for each in pending:
        if not each.wait(None if deadline is None else max(0.0, deadline - monotonic())):
            left = sum(not other.ready for other in pending)
            raise TimeoutError(
                f"{left:,} of {len(pending):,} results are not there after {timeout:g} s; they "
                "will come, wait again"
            )
