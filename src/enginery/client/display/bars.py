"""How progress looks: a bar in a terminal, a bar in a notebook, lines elsewhere, or a call."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from . import reprs
from .shown import Place, notebook

if TYPE_CHECKING:
    from .progress import Progress, Wanted, Watched

LINES = 10
"""Parts of the whole, after each of which a line is printed where there is no terminal."""


class Display(Protocol):
    """Something that shows how far a call is."""

    def update(self, progress: Progress) -> None:
        """Show this."""

    def hide(self) -> None:
        """Make room for something else, until the next update."""

    def close(self, line: str | None) -> None:
        """Take away what is not to stay; the line, if there is one, stays."""


def display(wanted: Wanted, watched: Watched, stream: TextIO | None) -> Display:
    """What suits the place where this runs; on `stream`, if one is given."""
    if callable(wanted):
        return Caller(wanted)
    if stream is None and notebook() is not None:
        return HtmlBar(watched.name)
    out = sys.stderr if stream is None else stream
    if out.isatty():
        return Bar(watched.name, watched.unit, out)
    return Lines(watched.name, out)


class Caller:
    """Calls a function of the user, when something has changed."""

    def __init__(self, call: Callable[[Progress], Any]) -> None:
        self._call = call
        self._last: tuple[float | None, ...] = ()

    def update(self, progress: Progress) -> None:
        """Show this."""
        now = (progress.advanced, progress.done, progress.running, progress.retried)
        if now != self._last:
            self._last = now
            self._call(progress)

    def hide(self) -> None:
        """Nothing is there."""

    def close(self, line: str | None) -> None:
        """Nothing stays."""


class Lines:
    """Prints a line for each tenth of the whole."""

    def __init__(self, name: str, out: TextIO) -> None:
        self._name, self._out = name, out
        self._part = 0

    def update(self, progress: Progress) -> None:
        """Show this."""
        part = int(LINES * progress.advanced / max(progress.total, 1))
        if part != self._part and progress.ended < progress.total:
            self._part = part
            print(f"{self._name}: {progress}", file=self._out, flush=True)

    def hide(self) -> None:
        """Nothing is in the way."""

    def close(self, line: str | None) -> None:
        """All lines stay, and one comes for the end."""
        if line is not None:
            print(line, file=self._out, flush=True)


class Bar:
    """A tqdm bar in a terminal."""

    def __init__(self, name: str, unit: str, out: TextIO) -> None:
        self._bar: Any = None
        self._name, self._unit, self._out = name, unit, out

    def update(self, progress: Progress) -> None:
        """Show this."""
        if self._bar is None:
            self._bar = _quiet_tqdm()(
                total=progress.total,
                desc=self._name,
                unit=f" {self._unit}s",
                file=self._out,
                leave=False,
                dynamic_ncols=True,
            )
            self._bar.start_t -= progress.elapsed
        self._bar.set_postfix_str(", ".join(progress.details()), refresh=False)
        self._bar.n = round(progress.advanced, 2) if progress.part else progress.ended
        self._bar.refresh()

    def hide(self) -> None:
        """Clear its line."""
        if self._bar is not None:
            self._bar.clear()

    def close(self, line: str | None) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
        if line is not None:
            print(line, file=self._out, flush=True)


class HtmlBar:
    """A bar in a notebook: plain HTML, which is replaced as long as the call runs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._place = Place()
        self._last = name

    def update(self, progress: Progress) -> None:
        """Show this."""
        self._last = f"{self._name}: {progress}"
        bar = reprs.progress_bar(progress.advanced, progress.total)
        self._place.show(self._last, reprs.note(self._last, bar))

    def hide(self) -> None:
        """It is in nobody's way."""

    def close(self, line: str | None) -> None:
        """A line stays: how it ended, or how far it was when nobody waited any more."""
        told = self._last if line is None else line
        self._place.show(told, reprs.note(told))


def _quiet_tqdm() -> Any:
    """Make a tqdm that starts no monitor thread and no lock between processes."""
    from tqdm import tqdm

    bar = type("Bar", (tqdm,), {"monitor_interval": 0})
    bar.set_lock(threading.RLock())  # type: ignore[attr-defined]  # tqdm is untyped
    return bar
