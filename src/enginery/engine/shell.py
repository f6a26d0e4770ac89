"""The engine's IPython: made when something is first executed, since it costs 50 ms.

It works on the engine's namespace and leaves nothing on disk. What an input raises is not shown
here but raised, so that `execute` fails like any other call.
"""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.profiledir import ProfileDir
from traitlets.config import Config

from .namespace import Namespace
from .reply import ExecuteReply


class _NoProfile(ProfileDir):  # type: ignore[misc]
    """A profile of which nothing is created."""

    def check_dirs(self) -> None:
        pass


class _Compiler(CachingCompiler):  # type: ignore[misc]
    """Names inputs for tracebacks."""

    filename = ""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        return self.filename or f"<In [{number}]>"


class _DisplayHook(DisplayHook):  # type: ignore[misc]
    """Keeps the last expression's value in its displayable forms, instead of printing it."""

    shown: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def start_displayhook(self) -> None:
        pass

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(
        self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None
    ) -> None:
        self.shown = (format_dict, md_dict or {})

    def finish_displayhook(self) -> None:
        pass


class _Interpreter(InteractiveShell):  # type: ignore[misc]
    """IPython without a terminal or files, whose errors are raised by `Shell.execute`."""

    compiler_class = _Compiler
    displayhook_class = _DisplayHook

    def init_ipython_dir(self, ipython_dir: str | None) -> None:
        """Use none, so that none is created."""

    def init_sys_path(self) -> None:
        """Leave `sys.path` as the client has set it."""

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        self._get_exc_info(exc_tuple)  # notes it for `%debug` and `%tb`

    def showsyntaxerror(self, *args: Any, **kwargs: Any) -> None:
        self._get_exc_info()

    def _format_exception_for_storage(self, exception: BaseException, *a: Any, **k: Any) -> Any:
        return {"ename": type(exception).__name__, "evalue": str(exception), "traceback": []}


class Shell:
    """Runs code in a namespace as IPython does."""

    def __init__(self, namespace: Namespace) -> None:
        self._names = namespace.names
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        _Interpreter.clear_instance()  # of an earlier life in this process
        self._shell: Any = _Interpreter.instance(
            config=config, profile_dir=_NoProfile(), user_module=namespace.module
        )
        warnings.filterwarnings("ignore", message="To exit: use")  # IPython's word on SystemExit

    def execute(self, code: str, filename: str = "") -> ExecuteReply:
        """Run code; what it raises is raised, its traceback beginning with the code's own frame."""
        shell = self._shell
        if "get_ipython" not in self._names:  # the namespace was cleared
            shell.init_user_ns()
        shell.displayhook.shown = ({}, {})
        shell.compile.filename = filename
        number = shell.execution_count
        result = shell.run_cell(code, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise error.with_traceback(_from_code(error.__traceback__, filename, number))
        data, metadata = shell.displayhook.shown
        translated = result.info.transformed_cell or code
        return ExecuteReply(number, code, translated, data.get("text/plain", ""), data, metadata)

    def forget(self) -> None:
        """Let go of the results of past inputs."""
        hook = self._shell.displayhook
        hook._ = hook.__ = hook.___ = ""
        hook.shown = ({}, {})
        self._shell.history_manager.output_hist.clear()


def shell_of(namespace: Namespace) -> Shell:
    """The shell of this namespace; made when it is first asked for."""
    if namespace.shell is None:
        namespace.shell = Shell(namespace)
    shell: Shell = namespace.shell
    return shell


def _from_code(traceback: TracebackType | None, filename: str, number: int) -> TracebackType | None:
    """The part of a traceback that begins in the code itself; all of it when none does."""
    name = filename or f"<In [{number}]>"
    frame = traceback
    while frame is not None and frame.tb_frame.f_code.co_filename != name:
        frame = frame.tb_next
    return frame
