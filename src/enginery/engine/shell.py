"""The engine's IPython: made when something is first executed, since it costs 50 ms.

It works on the engine's namespace and leaves nothing on disk. What an input raises is not shown
here but raised, so that `execute` fails like any other call. What user code displays goes to the
client with its output (`namespace.display`).

An engine may execute a million inputs, so what IPython remembers of them is bounded: the last ones
are there, under their numbers, and what they printed is not kept at all (`commands` does that).
"""

from __future__ import annotations

import ast
import linecache
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.profiledir import ProfileDir
from traitlets.config import Config

from ..colours import ESCAPES
from .console.magics import ConsoleMagics
from .namespace import Namespace
from .reply import ExecuteReply

KEPT = 1000
"""Inputs whose text is remembered: the last ones, as `In[n]`, `_i<n>` and in tracebacks."""

DEFINES = re.compile(r"\b(?:def|class|lambda)\b")

RESULT = re.compile(r"_{1,3}|_\d+")

END = "rc.shutdown(id) does that, from the client"


class _NoProfile(ProfileDir):  # type: ignore[misc]
    """A profile of which nothing is created."""

    def check_dirs(self) -> None:
        pass


class _Compiler(CachingCompiler):  # type: ignore[misc]
    """Names inputs for tracebacks, and knows at which line of their file they begin.

    It has the source of the last inputs, and of the last ones that define something: a function
    may be called long after the input that it is from.
    """

    filename = ""
    first_line = 1

    def __init__(self) -> None:
        super().__init__()
        self._defining: dict[str, None] = {}
        self._others: dict[str, None] = {}

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        return self.filename or f"<In [{number}]>"

    def ast_parse(self, source: str, filename: str = "<unknown>", symbol: str = "exec") -> Any:
        try:
            tree = super().ast_parse(source, filename, symbol)
        except SyntaxError as error:
            if error.lineno is not None:
                error.lineno += self.first_line - 1
            raise
        return ast.increment_lineno(tree, self.first_line - 1)

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        code = "\n" * (self.first_line - 1) + transformed_code
        name: str = super().cache(code, number, raw_code)
        if self.first_line > 1 and os.path.exists(name):
            del linecache.cache[name]  # it is a part of that file, which is here
        self._note(name, DEFINES.search(code) is not None)
        return name

    def _note(self, name: str, defines: bool) -> None:
        """This input is the last one; the oldest of its sort is forgotten when there are many."""
        self._defining.pop(name, None)
        self._others.pop(name, None)
        names = self._defining if defines else self._others
        names[name] = None
        while len(names) > KEPT:
            oldest = next(iter(names))
            del names[oldest]
            linecache.cache.pop(oldest, None)
            self._filename_map.pop(oldest, None)


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

    def cull_cache(self) -> None:
        """Let go of the oldest outputs, and of the names that stand for them."""
        super().cull_cache()
        names = self.shell.user_ns_hidden
        outputs = self.shell.user_ns.get("_oh", {})
        for name in [n for n in names if n[1:].isdecimal() and RESULT.fullmatch(n)]:
            if int(name[1:]) not in outputs:
                del names[name]


class _DisplayPublisher(DisplayPublisher):  # type: ignore[misc]
    """Sends what is displayed along with the output of the task."""

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *args: Any,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **kwargs: Any,
    ) -> None:
        shown = {
            "data": data, "metadata": metadata or {}, "transient": transient or {},
            "update": update,
        }  # fmt: skip
        self.shell.namespace.display(shown)

    def clear_output(self, wait: bool = False) -> None:
        """Do nothing: what was put out is at the client."""


class _Interpreter(InteractiveShell):  # type: ignore[misc]
    """IPython without a terminal or files, whose errors are raised by `Shell.execute`."""

    compiler_class = _Compiler
    displayhook_class = _DisplayHook
    display_pub_class = _DisplayPublisher

    namespace: Namespace

    @contextmanager
    def _tee(self, channel: str) -> Iterator[None]:
        """Keep nothing of what is printed, as IPython 9 does for `%notebook` in unbounded lists."""
        yield

    def enable_gui(self, gui: str | None = None) -> None:
        """Do nothing: no window is opened on an engine."""

    def ask_exit(self) -> None:
        """`exit` at a prompt; an engine is not left like this."""
        raise RuntimeError(f"exit does not end an engine; {END}")

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
        self._shell.namespace = namespace
        self._shell.set_hook("show_in_pager", _print_page, 99)
        self._shell.register_magics(ConsoleMagics)
        warnings.filterwarnings("ignore", message="To exit: use")  # IPython's word on SystemExit

    @property
    def interpreter(self) -> Any:
        """The IPython object, what `get_ipython()` gives."""
        return self._shell

    def execute(
        self,
        code: str,
        filename: str = "",
        first_line: int = 1,
        *,
        store: bool = True,
        silent: bool = False,
    ) -> ExecuteReply:
        """Run code; what it raises is raised, its traceback beginning with the code's own frame.

        `first_line` is the line of the file at which the code begins. An input that is not to be
        stored gets no number; a silent one has no result either.
        """
        shell = self._shell
        if "get_ipython" not in self._names:  # the namespace was cleared
            shell.init_user_ns()
        shell.displayhook.shown = ({}, {})
        shell.compile.filename = filename
        shell.compile.first_line = first_line + _blank_lines(code)
        number = shell.execution_count
        try:
            result = shell.run_cell(code, store_history=store, silent=silent)
        finally:
            _forget_old_inputs(shell)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise error.with_traceback(_from_code(error.__traceback__, filename, number))
        data, metadata = shell.displayhook.shown
        translated = result.info.transformed_cell or code
        if not code.endswith("\n"):
            translated = translated.removesuffix("\n")
        return ExecuteReply(number, code, translated, data, metadata)

    @property
    def number(self) -> int:
        """The number of the input that comes next."""
        number: int = self._shell.execution_count
        return number

    def forget(self) -> None:
        """Let go of the results of past inputs."""
        hook = self._shell.displayhook
        hook._ = hook.__ = hook.___ = ""
        hook.shown = ({}, {})
        self._shell.last_execution_result = None
        self._shell.history_manager.output_hist.clear()
        names = self._shell.user_ns_hidden
        for name in [n for n in names if RESULT.fullmatch(n)]:
            del names[name]


def _forget_old_inputs(shell: Any) -> None:
    """Forget what came of past inputs, and the text of all but the last ones.

    Those that are forgotten are "" in `In`, so that the others stay under their numbers. What came
    before an input that is forgotten already has been forgotten, too.
    """
    history = shell.history_manager
    for kept in (getattr(history, name, None) for name in ("outputs", "exceptions")):
        if kept:  # IPython 8 has none
            kept.clear()
    with history.db_input_cache_lock:
        history.db_input_cache.clear()  # there is no file to write it to
    for texts in (history.input_hist_parsed, history.input_hist_raw):
        index = len(texts) - KEPT - 1
        while index > 0 and texts[index]:
            texts[index] = ""
            index -= 1
    number = shell.execution_count - KEPT - 1
    while (name := f"_i{number}") in shell.user_ns_hidden:
        text = shell.user_ns_hidden.pop(name)
        if shell.user_ns.get(name) is text:  # else the user has set it
            del shell.user_ns[name]
        history.output_hist_reprs.pop(number, None)
        number -= 1


def _blank_lines(code: str) -> int:
    """How many blank lines the code begins with; IPython takes them away."""
    return code[: len(code) - len(code.lstrip())].count("\n")


def _print_page(
    shell: Any, data: Any, start: int = 0, screen_lines: int = 0, pager_cmd: str | None = None
) -> None:
    """What `?` shows."""
    text = data.get("text/plain", "") if isinstance(data, dict) else str(data)
    print(ESCAPES.sub("", text))


def shell_of(namespace: Namespace) -> Shell:
    """The shell of this namespace; made when it is first asked for."""
    if namespace.shell is None:
        namespace.making_shell = True
        try:
            namespace.shell = Shell(namespace)
        finally:
            namespace.making_shell = False
    shell: Shell = namespace.shell
    return shell


def _from_code(traceback: TracebackType | None, filename: str, number: int) -> TracebackType | None:
    """The part of a traceback that begins in the code itself; all of it when none does."""
    name = filename or f"<In [{number}]>"
    frame = traceback
    while frame is not None and frame.tb_frame.f_code.co_filename != name:
        frame = frame.tb_next
    return frame
