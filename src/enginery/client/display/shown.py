"""What is shown in a notebook and changes there: results that are not done, and clients.

Each output has a display id, by which the front end replaces it in place: no script, no widgets.
One thread per client looks as long as something that is shown can still change, and publishes what
has changed. What is done stays as static HTML. That is seen to at the end of each cell, too, so
that a notebook that runs without a person (`nbclient`) is saved as it ended.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...colours import shell

if TYPE_CHECKING:
    from ..client import Client
    from ..results import AsyncResult

LOOK = 0.5
"""Seconds between two looks while something changes."""

SELDOM = 4.0
"""The same when nothing has changed for a while."""

CELL_ENDS = "post_run_cell"


def notebook() -> Any:
    """IPython's shell, if it is that of a Jupyter kernel; None elsewhere, as in a terminal."""
    ipython = shell()
    return ipython if getattr(ipython, "kernel", None) is not None else None


class Place:
    """One output of a notebook, which is replaced each time something else is shown in it."""

    def __init__(self) -> None:
        self._publisher = notebook().display_pub
        self._id = os.urandom(8).hex()
        self._last = ""

    def show(self, text: str, html: str) -> bool:
        """Show this, unless it is there already; whether it was not."""
        if html == self._last:
            return False
        update, self._last = bool(self._last), html  # before Ctrl-C can come in between
        self._publisher.publish(
            {"text/plain": text, "text/html": html},
            transient={"display_id": self._id},
            update=update,
        )
        return True


class ShownResult:
    """A result that is shown; held until it is done, so that its place tells how it ended."""

    def __init__(self, result: AsyncResult) -> None:
        self._result = result
        self._place = Place()
        self._lock = threading.Lock()

    @property
    def final(self) -> bool:
        """Whether it cannot change any more."""
        return self._result.ready()

    def show(self, *, ask: bool = True) -> bool:
        """Show how far it is; whether that has changed. Who may not `ask` shows what is known."""
        with self._lock:  # what is older must not come later
            return self._place.show(*self._result.shown_as(ask=ask))


class ShownClient:
    """A client that is shown, which this does not keep alive."""

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)
        self._place = Place()
        self._lock = threading.Lock()
        self._retired = False

    @property
    def final(self) -> bool:
        """Whether it is closed or forgotten."""
        client = self._client()
        return client is None or client.link.closed

    def show(self, *, ask: bool = True) -> bool:
        """Show what there is; whether that has changed. Nothing without asking, unless closed."""
        client = self._client()
        if client is None or not (ask or client.link.closed):
            return False
        with self._lock:
            return not self._retired and self._place.show(*client.shown_as(rows=True))

    def retire(self) -> None:
        """Stay as it is from now on."""
        with self._lock:
            self._retired = True


class Shown:
    """What is shown of a client: its results, and itself, the latest time only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: list[ShownResult | ShownClient] = []
        self._look = threading.Event()
        self._thread: threading.Thread | None = None

    def result(self, result: AsyncResult) -> None:
        """Show a result in the notebook, and keep it up to date until it is done.

        NotImplementedError, which IPython understands, where this is no notebook.
        """
        if notebook() is None or result.ready():
            raise NotImplementedError
        shown = ShownResult(result)
        shown.show()
        self._keep(shown)
        result.when_done(self._look.set)

    def client(self, client: Client) -> None:
        """Show a client in the notebook, and keep it up to date until it is closed.

        NotImplementedError, which IPython understands, where this is no notebook.
        """
        if notebook() is None or client.link.closed:
            raise NotImplementedError
        with self._lock:
            before = [each for each in self._shown if isinstance(each, ShownClient)]
            self._shown = [each for each in self._shown if each not in before]
        for each in before:
            each.retire()
        shown = ShownClient(client)
        shown.show()
        self._keep(shown)

    def look(self) -> None:
        """Something may have changed."""
        self._look.set()

    def _keep(self, shown: ShownResult | ShownClient) -> None:
        with self._lock:
            self._shown.append(shown)
            self._look.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._follow,
                    args=(_at_end_of_cells(self._cell_has_ended),),
                    name="enginery-shown",
                    daemon=True,
                )
                self._thread.start()

    def _cell_has_ended(self, *_: object) -> None:
        """Show how results have ended; in the thread of the cell, which may not wait."""
        with self._lock:
            shown = list(self._shown)
        for each in shown:
            if each.final:
                each.show(ask=False)

    def _follow(self, over: Callable[[], None]) -> None:
        """Look until nothing that is shown can change any more."""
        pause = LOOK
        while True:
            changed = self._update()
            with self._lock:
                if not self._shown:
                    self._thread = None
                    over()
                    return
                working = any(isinstance(each, ShownResult) for each in self._shown)
            pause = LOOK if changed or working else min(2 * pause, SELDOM)
            self._look.wait(pause)
            self._look.clear()

    def _update(self) -> bool:
        """Show everything as it is now, and forget what is final; whether something changed."""
        with self._lock:
            shown = list(self._shown)
        changed = False
        for each in shown:
            final = each.final  # before it is shown, so that its last state is
            changed = each.show() or changed
            if final:
                with self._lock:
                    self._shown = [other for other in self._shown if other is not each]
        return changed


def _at_end_of_cells(call: Callable[..., None]) -> Callable[[], None]:
    """Have this called when a cell has ended; gives a function that takes it back."""
    events = notebook().events
    events.register(CELL_ENDS, call)

    def over() -> None:
        if call in events.callbacks[CELL_ENDS]:
            events.unregister(CELL_ENDS, call)

    return over
