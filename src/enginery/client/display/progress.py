"""How far a call is, shown while somebody waits for it: a bar, a few lines, or a call of their own.

Items are counted, not messages. "auto" shows something only to a person at a prompt, and only
when the wait is long; a program prints nothing that it was not asked to. How it looks is made by
`bars`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TextIO

from .. import text

if TYPE_CHECKING:
    from ..link import Link
    from ..results import AsyncResult
    from .bars import Display

AUTO_AFTER = 2.0
"""Seconds of waiting after which "auto" begins to show something."""

INTERVAL = 0.1
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is: items that are `done` well, `running` now, and `failed`, of how many.

    `elapsed` is in seconds since submission; `eta`, the seconds left if it goes on like this, and
    `running` are None when not known. `retried` items ended well or not after more than one
    attempt. `part` is how much of those that run is done, in items, as far as they tell
    (`enginery.progress`).

    As a text: "8,771 of 10,000 done, 7 running, 3 failed, 48/s, 2 min 3 s left".
    """

    done: int
    running: int | None
    failed: int
    total: int
    elapsed: float
    eta: float | None = None
    retried: int = 0
    part: float = 0.0

    @property
    def advanced(self) -> float:
        """How far the bar is, in items."""
        return self.ended + self.part

    @property
    def ended(self) -> int:
        """Items that are done or have failed."""
        return self.done + self.failed

    def details(self) -> list[str]:
        """What else there is to say: "7 running", "3 failed", "5 retried", where it is not 0."""
        numbers = {"running": self.running, "failed": self.failed, "retried": self.retried}
        return [f"{n:,} {what}" for what, n in numbers.items() if n]

    def __str__(self) -> str:
        speed = text.rate(self.ended, self.elapsed) if self.ended and self.elapsed else ""
        return ", ".join(filter(None, [*self._counts(), speed, self._left()]))

    def told(self) -> str:
        """The same without the speed."""
        return ", ".join(filter(None, [*self._counts(), self._left()]))

    def _counts(self) -> list[str]:
        return [f"{text.of(self.done, self.total)} done", *self.details()]

    def _left(self) -> str:
        return "" if self.eta is None else f"{text.duration(self.eta)} left"


Wanted = bool | Literal["auto"] | Callable[[Progress], Any]


class Watched(Protocol):
    """What can be waited for and is done bit by bit."""

    name: str
    unit: str
    """What the bits are called: "item"."""

    def done(self) -> bool:
        """Whether all of it is done."""

    def wait(self, timeout: float | None) -> bool:
        """Wait for it at most `timeout` seconds; whether it is done."""

    def now(self) -> Progress:
        """How far it is."""

    def summary(self) -> str:
        """The line that stays when it is done."""


class Call:
    """A result, as what is watched."""

    unit = "item"

    def __init__(self, result: AsyncResult) -> None:
        self._result = result
        self.name = result.name

    def done(self) -> bool:
        """Whether all of it is done."""
        return self._result.ready()

    def wait(self, timeout: float | None) -> bool:
        """Wait for it at most `timeout` seconds; whether it is done."""
        return self._result.wait(timeout)

    def now(self) -> Progress:
        """How far it is."""
        return snapshot(self._result)

    def summary(self) -> str:
        """The line that stays when it is done."""
        return summary(self._result)


class Engines:
    """Engines that are to come, as what is watched."""

    unit = "engine"
    name = "engines"

    def __init__(self, link: Link, number: int) -> None:
        self._link, self._number = link, number
        self._begin = time.monotonic()

    def done(self) -> bool:
        """Whether all have come."""
        return len(self._link.engines) >= self._number

    def wait(self, timeout: float | None) -> bool:
        """Wait for them at most `timeout` seconds; whether all have come."""
        return self._link.wait(self.done, timeout)

    def now(self) -> Progress:
        """How many have come."""
        there = min(len(self._link.engines), self._number)
        return Progress(there, None, 0, self._number, time.monotonic() - self._begin)

    def summary(self) -> str:
        """The line that stays when all have come."""
        engines = text.count(len(self._link.engines), "engine")
        return f"{engines} after {text.duration(time.monotonic() - self._begin)}"


class Watcher:
    """Shows how far something is, for whoever waits for it in a loop of their own.

        with Watcher(result, after=2.0) as watcher:
            while not result.wait(0.1):
                watcher.update()

    Shows nothing in the first `after` seconds. `wanted` and `stream` are as for `follow`. Who
    prints something else meanwhile calls `hide()` before; the next `update()` shows the bar again.
    `close()` takes the bar away, and leaves one line when all is done and a bar was shown.
    """

    def __init__(
        self,
        watched: AsyncResult | Watched,
        wanted: Wanted = True,
        *,
        after: float = 0.0,
        stream: TextIO | None = None,
    ) -> None:
        self._watched = _watched(watched)
        self._wanted, self._stream = wanted, stream
        self._begin = time.monotonic() + after
        self._display: Display | None = None
        self._closed = wanted is False or (wanted == "auto" and not interactive())

    def update(self) -> None:
        """Look, and show what there is."""
        if self._closed or time.monotonic() < self._begin:
            return
        if self._display is None:
            from .bars import display  # not needed by who is shown nothing

            self._display = display(self._wanted, self._watched, self._stream)
        self._display.update(self._watched.now())

    def hide(self) -> None:
        """Take the bar away until the next update, so that something else can be printed."""
        if self._display is not None:
            self._display.hide()

    def close(self) -> None:
        """Show no more; of what was shown and is done, a line stays."""
        shown, self._display, self._closed = self._display, None, True
        if shown is not None:
            shown.close(self._watched.summary() if self._watched.done() else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def follow(
    watched: AsyncResult | Watched,
    wanted: Wanted,
    *,
    timeout: float | None = None,
    interval: float = INTERVAL,
    stream: TextIO | None = None,
) -> bool:
    """Wait for a result and show how far it is; gives whether it is done within `timeout` s.

    `wanted`: True shows a bar in a terminal and in a notebook, and a line per tenth elsewhere, on
    `stream` (stderr); "auto" the same, at a prompt and after 2 s; a callable is given a `Progress`
    at each change.
    """
    end = None if timeout is None or timeout < 0 else time.monotonic() + timeout
    if wanted is False or (wanted == "auto" and not interactive()):
        return watched.wait(timeout)
    if wanted == "auto" and watched.wait(_until(end, AUTO_AFTER)):
        return True
    done = False
    with Watcher(watched, wanted, stream=stream) as watcher:  # closed also by Ctrl-C
        watcher.update()
        while not done and (end is None or time.monotonic() < end):
            done = watched.wait(_until(end, interval))
            watcher.update()
    return done


def snapshot(result: AsyncResult, *, ask: bool = True) -> Progress:
    """How far a result is now; unless it shall `ask`, with what was last heard of what runs."""
    failed = result.failed
    done = result.progress - failed
    running = result.at_work if ask else result.last_at_work
    elapsed, total = result.elapsed, result.total
    part = result.part
    eta = left(done + failed + part, total, elapsed)
    return Progress(done, running, failed, total, elapsed, eta, result.retried, part)


def left(ended: float, total: int, elapsed: float) -> float | None:
    """Seconds until all have ended, if it goes on as until now; None when nobody can tell."""
    if not ended or not elapsed or ended >= total:
        return None
    return elapsed / ended * (total - ended)


def summary(result: AsyncResult) -> str:
    """The line that stays: "map(fit): 10,000 items on 4 engines in 3 min 28 s (48/s), 3 failed"."""
    line = f"{result.name}: {text.count(result.total, 'item')}"
    line += f" on {text.count(len(result.ran_on), 'engine')}"
    if result.elapsed:
        line += f" in {text.duration(result.elapsed)} ({text.rate(result.total, result.elapsed)})"
    line += f", {result.failed:,} failed" if result.failed else ""
    return line + (f", {result.retried:,} retried" if result.retried else "")


def _watched(what: AsyncResult | Watched) -> Watched:
    from ..results import AsyncResult  # which imports this module

    return Call(what) if isinstance(what, AsyncResult) else what


def interactive() -> bool:
    """Whether a person sits at a prompt: Python's or IPython's."""
    return hasattr(sys, "ps1")


def _until(end: float | None, seconds: float) -> float:
    return seconds if end is None else max(0.0, min(seconds, end - time.monotonic()))
