"""One `execute_request` of a console, run in the engine's main thread.

Its output goes to the console and not to a task; what it asks by `input()` is asked there. It
shares the names, the numbers of inputs and the `Out` of the engine's IPython.
"""

from __future__ import annotations

import builtins
import getpass
import json
import queue
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from IPython.core.error import UsageError

from ..namespace import Namespace
from ..shell import Shell, shell_of
from ..streams import Streams
from .desk import Guarded
from .messages import Message, plain

LEAVING = re.compile(r"(exit|quit)\s*(\(\s*\))?")

LEAVE = {"source": "ask_exit", "keepkernel": True}
"""Tells a console that it is to end, and the kernel not."""

NO_INPUT = "input() was called, but who typed this cannot be asked"
GONE = "the console that was asked for input has left"


OURS = str(Path(__file__).parents[2])
"""Where the files of this package lie."""


class Outlet(Protocol):
    """Where an execution says what happens; each may be called from any thread."""

    def publish(self, request: Message, kind: str, content: dict[str, Any], size: int = 0) -> None:
        """Tell every console; `size` is how long that is, for output."""

    def ask(self, work: Execution, prompt: str, password: bool) -> None:
        """Ask who typed this for a line; `Execution.answer` takes it."""

    def finish(self, work: Execution, reply: dict[str, Any]) -> None:
        """It has ended like this."""


class Execution:
    """See the module's theory. `answer` and `gone` are for the kernel's thread."""

    def __init__(
        self, request: Message, namespace: Namespace, streams: Streams, outlet: Outlet
    ) -> None:
        self.request = request
        self.number = 0  # at the desk
        self._namespace = namespace
        self._streams = streams
        self._outlet = outlet
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        content = request.content
        self.code = str(content["code"])
        self.silent = bool(content.get("silent", False))
        self.store = bool(content.get("store_history", True)) and not self.silent
        self.may_ask = bool(content.get("allow_stdin", True))
        self.stops_others = bool(content.get("stop_on_error", True))
        self._expressions = dict(content.get("user_expressions") or {})
        self._shown: dict[str, Any] = {}
        self._shown_metadata: dict[str, Any] = {}
        self._payload: list[Any] = []
        self._values: dict[str, Any] = {}

    # --- the kernel's thread -------------------------------------------------------------------

    def answer(self, line: str) -> None:
        """What was asked for; Ctrl-D is told as "\\x04"."""
        self._answers.put(None if line == "\x04" else line)

    def gone(self) -> None:
        """Who typed this cannot answer any more."""
        self.may_ask = False
        self._answers.put(None)

    # --- the main thread -----------------------------------------------------------------------

    def run(self, guarded: Guarded) -> None:
        """Run it to its end, whatever that is."""
        space = self._namespace
        space.take_back()
        shell = shell_of(space)
        number = shell.number
        if not self.silent:
            self._publish("execute_input", {"code": self.code, "execution_count": number})
        with self._streams.aside(self._output), self._asked():
            error = guarded(lambda: self._run(shell))
        if self._shown and not self.silent:
            self._publish("execute_result", {
                "execution_count": number,
                "data": self._shown,
                "metadata": self._shown_metadata,
            })  # fmt: skip
        reply: dict[str, Any] = {"status": "ok", "user_expressions": self._values}
        if error is not None:
            failed = failure(shell.interpreter, error)
            self._publish("error", failed)
            reply = {"status": "error", **failed}
        shell.interpreter.payload_manager.clear_payload()
        reply |= {"execution_count": number, "payload": self._payload}
        self._outlet.finish(self, reply)

    @property
    def leaves(self) -> bool:
        """Whether this says no more than that whoever typed it leaves."""
        return LEAVING.fullmatch(self.code.strip()) is not None

    def _run(self, shell: Shell) -> None:
        try:
            given = shell.execute(self.code, store=self.store, silent=self.silent)
            self._shown = _sayable(given.data)
            self._shown_metadata = _sayable(given.data_metadata)
            values = shell.interpreter.user_expressions(self._expressions)
            self._values = {name: _expressed(value) for name, value in values.items()}
        finally:
            self._payload = plain(shell.interpreter.payload_manager.read_payload())

    def _publish(self, kind: str, content: dict[str, Any], size: int = 0) -> None:
        self._outlet.publish(self.request, kind, content, size)

    def _output(self, stream: str, text: str) -> None:
        """What user code writes or displays, from any of its threads (`streams`)."""
        if stream != "display":
            self._publish("stream", {"name": stream, "text": text}, len(text))
            return
        shown = json.loads(text)
        kind = "update_display_data" if shown.pop("update", False) else "display_data"
        self._publish(kind, shown, len(text))

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Meanwhile `input()` asks at the console."""
        before = builtins.input, getpass.getpass
        builtins.input = lambda prompt="", /: self._ask(prompt, False)
        getpass.getpass = lambda prompt="Password: ", *_, **__: self._ask(prompt, True)
        try:
            yield
        finally:
            builtins.input, getpass.getpass = before

    def _ask(self, prompt: object, password: bool) -> str:
        if not self.may_ask:
            raise EOFError(NO_INPUT)
        self._outlet.ask(self, str(prompt), password)
        line = self._answers.get()
        if line is None:
            raise EOFError("" if self.may_ask else GONE)
        return line


def _sayable(forms: dict[str, Any]) -> dict[str, Any]:
    """These forms of a value, by MIME type, without those that cannot be sent; tells of these."""
    said = {}
    for kind, form in forms.items():
        try:
            said[str(kind)] = plain(form)
        except Exception as error:
            why = f"{type(error).__name__}: {text_of(error)}"
            print(f"This cannot be shown as {kind}: {why}", file=sys.stderr)
    return said


def _expressed(value: dict[str, Any]) -> Any:
    """What became of one of the expressions that came with the input."""
    try:
        return plain(value)
    except Exception as error:
        return {"status": "error", **told(error)}


def told(error: BaseException) -> dict[str, Any]:
    """An error as consoles are told it, without a traceback. Raises nothing."""
    return {"ename": type(error).__name__, "evalue": text_of(error), "traceback": []}


def failure(interpreter: Any, error: BaseException) -> dict[str, Any]:
    """An error as consoles are told it."""
    return told(error) | {"traceback": _traceback(interpreter, error)}


def _traceback(interpreter: Any, error: BaseException) -> list[str]:
    """Its traceback, as IPython shows it."""
    try:
        if isinstance(error, UsageError):
            return [f"UsageError: {error}"]
        if hasattr(error, "_render_traceback_"):
            return [str(line) for line in error._render_traceback_()]
        if isinstance(error, SyntaxError):
            shown = interpreter.SyntaxTB.structured_traceback(type(error), error, [])
        else:
            shown = interpreter.InteractiveTB.structured_traceback(
                type(error), error, _from_user_code(error.__traceback__)
            )
        return [str(line) for line in shown]
    except BaseException:  # the user's own class, which cannot show itself; this is told
        return [f"{type(error).__name__}: {text_of(error)}"]


def _from_user_code(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback below the engine's own frames."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(OURS):
        traceback = traceback.tb_next
    return traceback


def text_of(error: BaseException) -> str:
    """What an error says. Raises nothing."""
    try:
        return str(error)
    except BaseException:  # the user's own __str__
        return "(its text cannot be had)"
