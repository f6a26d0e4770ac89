"""How far a call is, shown while somebody waits for it: a bar, a few lines, or a call of their own.

Items are counted, not messages. "auto" shows something only to a person at a prompt, and only
when the wait is long; a program prints nothing that it was not asked to.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from . import text

if TYPE_CHECKING:
    from .results import AsyncResult

AUTO_AFTER = 2.0
"""Seconds of waiting after which "auto" begins to show something."""

INTERVAL = 0.1
"""Seconds between two looks."""

LINES = 10
"""Parts of the whole, after each of which a line is printed where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is: items that are `done` well, that `failed`, and of how many.

    `elapsed` is in seconds since submission; `eta`, the seconds left if it goes on like this, and
    `running`, the items that are at work now, are None when not known.
    """

    done: int
    failed: int
    total: int
    elapsed: float
    eta: float | None = None
    running: int | None = None

    @property
    def ended(self) -> int:
        """Items that are done or have failed."""
        return self.done + self.failed


Wanted = bool | Literal["auto"] | Callable[[Progress], Any]


class Display(Protocol):
    """Something that shows how far a call is."""

    def update(self, progress: Progress) -> None:
        """Show this."""

    def close(self) -> None:
        """Take away what is not to stay."""


def follow(
    result: AsyncResult,
    wanted: Wanted,
    *,
    timeout: float | None = None,
    interval: float = INTERVAL,
    stream: TextIO | None = None,
) -> bool:
    """Wait for a result and show how far it is; gives whether it is done within `timeout` s.

    `wanted`: True shows a bar in a terminal and a line per tenth elsewhere, on `stream` (stderr);
    "auto" the same, at a prompt and after 2 s; a callable is given a `Progress` at each change.
    """
    end = None if timeout is None or timeout < 0 else time.monotonic() + timeout
    out = sys.stderr if stream is None else stream
    if wanted is False or (wanted == "auto" and not interactive()):
        return result.wait(timeout)
    if wanted == "auto" and result.wait(_until(end, AUTO_AFTER)):
        return True
    display = _display(wanted, result, out)
    done = False
    try:
        display.update(snapshot(result))
        while not done and (end is None or time.monotonic() < end):
            done = result.wait(_until(end, interval))
            display.update(snapshot(result))
    finally:  # also when Ctrl-C ends the wait
        display.close()
    if done and not callable(wanted):
        print(summary(result), file=out, flush=True)
    return done


def snapshot(result: AsyncResult) -> Progress:
    """How far a result is now."""
    ended, failed, elapsed = result.progress, result.failed, result.elapsed
    eta = elapsed / ended * (result.total - ended) if ended else None
    return Progress(ended - failed, failed, result.total, elapsed, eta)


def summary(result: AsyncResult) -> str:
    """The line that stays: "map(fit): 10,000 items on 4 engines in 3 min 28 s (48/s), 3 failed"."""
    every = result.metadata if isinstance(result.metadata, list) else [result.metadata]
    engines = {each["engine_id"] for each in every} - {None}
    retried = sum((each["attempt"] or 1) > 1 for each in every)
    line = f"{result.name}: {text.count(result.total, 'item')}"
    line += f" on {text.count(len(engines), 'engine')} in {text.duration(result.elapsed)}"
    line += f" ({text.rate(result.total, result.elapsed)})"
    line += f", {result.failed:,} failed" if result.failed else ""
    return line + (f", {retried:,} retried" if retried else "")


def interactive() -> bool:
    """Whether a person sits at a prompt: Python's or IPython's."""
    return hasattr(sys, "ps1")


def _until(end: float | None, seconds: float) -> float:
    return seconds if end is None else max(0.0, min(seconds, end - time.monotonic()))


def _display(wanted: Wanted, result: AsyncResult, out: TextIO) -> Display:
    if callable(wanted):
        return Caller(wanted)
    return Bar(result.name, out) if out.isatty() else Lines(result.name, out)


class Caller:
    """Calls a function of the user, when something has changed."""

    def __init__(self, call: Callable[[Progress], Any]) -> None:
        self._call = call
        self._last = (-1, -1)

    def update(self, progress: Progress) -> None:
        """Show this."""
        now = (progress.done, progress.failed)
        if now != self._last:
            self._last = now
            self._call(progress)

    def close(self) -> None:
        """Nothing stays."""


class Lines:
    """Prints a line for each tenth of the whole, and none for the end."""

    def __init__(self, name: str, out: TextIO) -> None:
        self._name, self._out = name, out
        self._part = 0

    def update(self, progress: Progress) -> None:
        """Show this."""
        part = LINES * progress.ended // max(progress.total, 1)
        if part == self._part or progress.ended == progress.total:
            return
        self._part = part
        line = f"{self._name}: {text.of(progress.done, progress.total)} done"
        line += f", {progress.failed:,} failed" if progress.failed else ""
        line += f", {text.rate(progress.ended, progress.elapsed)}"
        line += f", {text.duration(progress.eta)} left" if progress.eta is not None else ""
        print(line, file=self._out, flush=True)

    def close(self) -> None:
        """All lines stay."""


class Bar:
    """A tqdm bar in a terminal."""

    def __init__(self, name: str, out: TextIO) -> None:
        self._bar: Any = None
        self._name, self._out = name, out

    def update(self, progress: Progress) -> None:
        """Show this."""
        if self._bar is None:
            self._bar = _quiet_tqdm()(
                total=progress.total, desc=self._name, unit=" items", file=self._out, leave=False
            )
            self._bar.start_t -= progress.elapsed
        if progress.failed:
            self._bar.set_postfix_str(f"{progress.failed:,} failed", refresh=False)
        self._bar.n = progress.ended
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _quiet_tqdm() -> Any:
    """Make a tqdm that starts no monitor thread and no lock between processes."""
    from tqdm import tqdm

    bar = type("Bar", (tqdm,), {"monitor_interval": 0})
    bar.set_lock(threading.RLock())  # type: ignore[attr-defined]  # tqdm is untyped
    return bar
