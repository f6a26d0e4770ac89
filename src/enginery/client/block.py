"""`with view.remote_block():`, whose body runs on the engines and not here.

Entering it finds the body's text and sets a trace function on the frame that entered: at the first
line of the body that raises what only the block's end catches. The end executes the text, and
gives back the trace function that was there before: a debugger's, or that of coverage, which
counts calls and returns and so must be told of both or of none.
"""

from __future__ import annotations

import sys
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..error import EngineryError
from ..frames import inner, trim, trimmed, trims
from .block_text import Body, body_of
from .results import AsyncResult

if TYPE_CHECKING:
    from .direct import DirectView


@trims
class RemoteBlock:
    """A `with` block that runs on the engines of a view; made by `DirectView.remote_block`.

    After the block, `result` is the `AsyncResult` of its execution, as that of `execute`, and
    `code` the text that was run.
    """

    def __init__(self, view: DirectView) -> None:
        self._view = view
        self._body: Body | None = None
        self._skip: Skip | None = None
        self._result: AsyncResult | None = None

    @property
    def code(self) -> str:
        """The text of the block; "" before it was entered."""
        return self._body.code if self._body else ""

    @property
    @trimmed
    def result(self) -> AsyncResult:
        """What the engines say of it; RuntimeError before the block's end."""
        if self._result is None:
            raise RuntimeError("a remote block has a result after its end, not before")
        return self._result

    def __enter__(self) -> Self:
        frame = caller()
        self._body, self._result = body_of(frame, frame.f_lineno), None
        self._skip = Skip(frame, self._body.lines)
        self._skip.begin()
        return self

    @inner
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        skip, self._skip = self._skip, None
        assert skip is not None
        try:
            caught = self._leave(skip, error)
        except BaseException as failure:
            if isinstance(failure, EngineryError | KeyboardInterrupt | RuntimeError):
                trim(failure)
            skip.end()  # no call comes after this
            raise
        skip.end()
        return caught

    def _leave(self, skip: Skip, error: BaseException | None) -> bool:
        """The end of the block; gives whether `error` is ours."""
        assert self._body is not None
        if error is None:
            raise RuntimeError(
                "the block ran here and not on the engines: something has replaced the trace "
                "function by which it is skipped; use view.execute('...')"
            )
        if error is not skip.reached:
            return False
        with_no_context(self._run, self._body)
        return True

    def _run(self, body: Body) -> None:
        view = self._view
        self._result = view.execute_at(body.code, body.filename, "execute", body.first_line)
        view.finish(self._result)

    def __repr__(self) -> str:
        engines = self._view.targets
        where = f" of {self._body.filename}:{self._body.first_line}" if self._body else ""
        return f"<RemoteBlock{where} on {engines}: {self._result or 'not run'}>"


class Skip:
    """Leaves the body of a `with` statement as soon as it begins, by raising `reached` there."""

    def __init__(self, frame: FrameType, lines: range) -> None:
        self.reached = Reached()
        self._frame, self._lines = frame, lines
        self._before: tuple[Any, Any, bool] = (None, None, True)

    def begin(self) -> None:
        """Watch the frame from now on."""
        frame = self._frame
        self._before = sys.gettrace(), frame.f_trace, frame.f_trace_lines
        frame.f_trace, frame.f_trace_lines = self._watch, True
        sys.settrace(self._pass_on)

    def end(self) -> None:
        """Trace as before."""
        trace, of_frame, lines = self._before
        frame = self._frame
        frame.f_trace, frame.f_trace_lines = of_frame, lines
        sys.settrace(trace)

    def _watch(self, frame: FrameType, event: str, detail: Any) -> Any:
        if event == "line" and frame.f_lineno in self._lines:
            raise self.reached
        return self._watch

    def _pass_on(self, frame: FrameType, event: str, detail: Any) -> Any:
        """What is called meanwhile, by other parts of the statement, is for whoever traced it."""
        trace = self._before[0]
        if trace is None:
            return None
        local = trace(frame, event, detail)
        sys.settrace(self._pass_on)  # some set themselves at each call
        return local


class Reached(BaseException):
    """The body of a block that is to run elsewhere was reached; the block's end catches it."""

    def __str__(self) -> str:
        return "a remote block has begun, and something other than its end has caught this"


def caller() -> FrameType:
    """The frame that has called us."""
    frame = sys._getframe(1)
    while str(frame.f_globals.get("__name__", "")).partition(".")[0] == __name__.partition(".")[0]:
        assert frame.f_back is not None
        frame = frame.f_back
    return frame


def with_no_context(run: Any, *args: Any) -> None:
    """Call this at a block's end; what it raises does not come with what has left the block."""
    try:
        run(*args)
    except BaseException as error:
        error.__context__ = None
        raise
