"""Ctrl-C while somebody waits: it ends the wait, says what goes on, and a second one ends that too.

The first press raises KeyboardInterrupt, as always; its text tells how far the call is. What is
waited for goes on. A second press within two seconds stops it, wherever it comes: in the same
wait, in another one, in what the user does next (by a handler of SIGINT that stands for those two
seconds, where else would be Python's own), at IPython's prompt (where Ctrl-C is a key), in a
notebook whose cell has ended (whose kernel ignores SIGINT otherwise), and in a program that is just
ending. A program that handles SIGINT itself keeps its handler: there only a second wait is a second
press.

Only the main thread can put a handler back, and nothing of ours runs there when the two seconds are
over. So it is done by the next press or by the first call in the main thread that submits, asks,
waits or closes, whichever comes first. Until then ours stands on, and does what Python's own does.
A program that asks whether Python's own is there sees the difference: asyncio.run(), begun before
that, does not cancel its main task at Ctrl-C, but ends with KeyboardInterrupt where it comes.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..colours import shell
from ..core.messages import Abort
from ..core.pools import chunk_id
from ..error import EngineryError
from ..frames import throw, trim
from . import text
from .display.working import Working

if TYPE_CHECKING:
    from .link import Link

TWICE = 2.0
"""Seconds after a press within which another one is the second."""

AT_EXIT = 0.7
"""Seconds after a press for which a program that ends listens for a second one."""

PATIENCE = 1.0
"""Seconds that the controller has to say that it stops the work."""

LOOK = 0.01
"""Seconds after which it is looked again whether a notebook's cell has ended."""


class Work(NamedTuple):
    """What was waited for: a call of `total` parts (`unit`: "items", "engines"), and how far it is.

    `pending` has its tasks that have not ended, each with the number of its parts. What its user
    can type: `again` to go on waiting, `stop` to end it ("" when nobody can), and `rest` to come by
    what is done once it is stopped.
    """

    name: str
    pending: Mapping[str, int]
    done: int
    failed: int
    total: int | None
    unit: str
    again: str
    stop: str
    rest: str = ""

    def so_far(self, running: frozenset[str] | None) -> str:
        """How far it is, when these tasks run; None: nobody knows."""
        if self.unit == "":
            if running is None:
                return ""
            return ": it is running" if running & self.pending.keys() else ": it has not started"
        parts = [] if self.total is None else [f"{text.of(self.done, self.total)} {self.unit} done"]
        parts += [f"{self.failed:,} failed"] * (self.failed > 0)
        if running is not None:
            at_work = sum(self.pending[id] for id in running & self.pending.keys())
            at_work += sum(chunk_id(id) in self.pending for id in running - self.pending.keys())
            waiting = sum(self.pending.values()) - at_work
            parts += [f"{at_work:,} running"] * (at_work > 0)
            parts += [f"{waiting:,} waiting"] * (waiting > 0)
        return f": {', '.join(parts)}" if parts else ""

    def was(self) -> str:
        """How far it was, now that it is stopped."""
        if self.unit == "" or self.total is None:
            return ""
        return f": {text.of(self.done, self.total)} {self.unit} were done, the others are aborted"


class Presses:
    """The last press of Ctrl-C that has ended a wait on this link, and what was waited for."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._first = float("-inf")
        self._work: Work | None = None  # while it can be stopped by a second press
        self._keys: Any = None  # those of IPython's prompt, once one of them is ours
        self._at_exit = False
        self.handler: Second | None = None  # ours, from a first press until it is put back

    @property
    def listening(self) -> bool:
        """Whether the next press is a second one."""
        return (
            self._work is not None and monotonic() - self._first <= TWICE and not self._link.closed
        )

    def put_back(self) -> None:
        """Put back the handler that was there before the first press, if the time is over.

        Another thread cannot. One that the program has put in its place stays; ours goes when it
        comes back.
        """
        if threading.current_thread() is not threading.main_thread() or self.listening:
            return
        if self.handler is not None and self.handler.leave():
            self.handler = None

    def tell(self, error: KeyboardInterrupt, work: Work) -> None:
        """Put into an exception that has ended a wait what that means for the work."""
        if not work.pending or self._link.closed:
            return
        if self._has_stopped(error):
            _say(error, *self._stop(work))
        elif self.listening:
            self._stop_first()
            _say(error, *self._stop(work))
        else:
            self._tell_first(error, work)

    def stopped(self) -> KeyboardInterrupt:
        """Stop the work, after a second press; the exception says so."""
        error = KeyboardInterrupt()
        vars(error)["presses"] = self  # not the other way: it has the frames that it ended
        _say(error, *self._stop_first())
        return error

    def _has_stopped(self, error: KeyboardInterrupt) -> bool:
        """Whether this is one of `stopped`."""
        return vars(error).get("presses") is self

    # --- the first --------------------------------------------------------------------------------

    def _tell_first(self, error: KeyboardInterrupt, work: Work) -> None:
        self._first, self._work = monotonic(), work if work.stop else None
        self._listen()
        try:
            seen = Working(self._link).look()
        except KeyboardInterrupt as again:  # the second one, already
            again = again if self._has_stopped(again) else self.stopped()
            error.args, vars(error)["__notes__"] = again.args, again.__notes__
            return
        self._first = monotonic()  # before, nobody could know of it
        _say(
            error,
            f"stopped waiting for {work.name}{work.so_far(seen.running if seen else None)}",
            f"The work goes on.  {work.again}" + (f"    {work.stop}" if work.stop else ""),
            f"Ctrl-C twice within {TWICE:g} s does both: stops waiting and stops the work."
            if work.stop
            else "",
        )

    def _listen(self) -> None:
        """Hear the next press, wherever it comes."""
        if self._work is None or threading.current_thread() is not threading.main_thread():
            return
        ipython = shell()
        handler = signal.getsignal(signal.SIGINT)
        if isinstance(handler, Second):
            handler.presses.handler = None
            handler = handler.before
        if handler is signal.default_int_handler:
            self.handler = Second(self, handler)
            signal.signal(signal.SIGINT, self.handler)
            if ipython is None and not hasattr(sys, "ps1") and not self._at_exit:
                self._at_exit = True
                atexit.register(self._listen_at_exit)
        if ipython is not None:
            self._listen_at_prompt(ipython)
            self._listen_between_cells()

    def _listen_at_prompt(self, ipython: Any) -> None:
        """At IPython's prompt in a terminal Ctrl-C is a key, and clears the line."""
        keys = getattr(getattr(ipython, "pt_app", None), "key_bindings", None)
        if keys is None or keys is self._keys:
            return
        from prompt_toolkit.application import run_in_terminal
        from prompt_toolkit.filters import Condition

        def stop(event: Any) -> None:
            event.current_buffer.reset()
            error = self.stopped()
            run_in_terminal(lambda: print(_text(error)))

        keys.add("c-c", filter=Condition(lambda: self.listening))(stop)
        self._keys = keys

    def _listen_between_cells(self) -> None:
        """Between two cells of a notebook its kernel runs a loop, and ignores SIGINT."""
        if "asyncio" not in sys.modules:
            return
        from asyncio import get_running_loop

        try:
            loop = get_running_loop()
        except RuntimeError:
            return

        def look() -> None:
            if not self.listening:
                return
            if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
                signal.signal(signal.SIGINT, Between(self))
                loop.call_later(TWICE, forget)
            else:
                loop.call_later(LOOK, look)

        def forget() -> None:
            if isinstance(signal.getsignal(signal.SIGINT), Between):
                signal.signal(signal.SIGINT, signal.SIG_IGN)

        loop.call_soon(look)

    def _listen_at_exit(self) -> None:
        """A program that ends because of the first press lets its user press once more."""
        rest = self._first + AT_EXIT - monotonic()
        if not isinstance(signal.getsignal(signal.SIGINT), Second) or not self._pending():
            return
        try:
            self._link.wait(lambda: not self._pending(), max(rest, 0.0))
        except KeyboardInterrupt as error:
            print(_text(error), file=sys.stderr)
        except EngineryError:
            pass  # the controller is gone: there is nothing to stop

    # --- the second -------------------------------------------------------------------------------

    def _stop_first(self) -> tuple[str, str]:
        work, self._work = self._work, None
        return ("", "") if work is None else self._stop(work)

    def _stop(self, work: Work) -> tuple[str, str]:
        """Stop this work; gives the lines that say so."""
        slots = self._link.slots
        try:
            self._link.ask(Abort([id for id in work.pending if id in slots], True), PATIENCE)
        except EngineryError as error:
            why = str(error).partition("\n")[0]
            return f"stopped waiting for {work.name}, but not the work: {why}", work.again
        return f"stopped {work.name}{work.was()}", work.rest

    def _pending(self) -> bool:
        work, slots = self._work, self._link.slots
        return work is not None and any(id in slots for id in work.pending)


class Second:
    """The handler of SIGINT after a first press; what was there `before` comes back."""

    def __init__(self, presses: Presses, before: Callable[[int, FrameType | None], Any]) -> None:
        self.presses, self.before = presses, before

    def leave(self) -> bool:
        """Put back what was there before; False when another handler is there now."""
        now: Any = signal.getsignal(signal.SIGINT)
        if now is not self:
            return False
        signal.signal(signal.SIGINT, self.before)
        return True

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Stop the work if the press comes in time; raises KeyboardInterrupt in any case."""
        if self.leave() and self.presses.handler is self:
            self.presses.handler = None
        try:
            if self.presses.listening:
                throw(self.presses.stopped())
            self.before(signum, frame)
        except KeyboardInterrupt as error:
            trim(error)
            raise


class Between:
    """The handler of SIGINT between two cells: raising would end the kernel's own loop."""

    def __init__(self, presses: Presses) -> None:
        self._presses = presses

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Stop the work if the press comes in time."""
        if self._presses.listening:
            print(_text(self._presses.stopped()), file=sys.stderr, flush=True)


def _say(error: KeyboardInterrupt, line: str, *notes: str) -> None:
    """What is shown of an exception."""
    error.args = (text.fold(line, len("KeyboardInterrupt: ")),) if line else ()
    vars(error)["__notes__"] = [text.fold(f"  {note.lstrip()}") for note in notes if note]


def _text(error: KeyboardInterrupt) -> str:
    return "\n".join([f"KeyboardInterrupt: {error}", *getattr(error, "__notes__", ())])
