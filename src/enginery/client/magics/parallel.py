"""The magics of one suffix: `%px` and `%%px`, `%autopx`, `%pxresult`, `%result`, `%pxconfig`."""

from __future__ import annotations

import ast
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import TransformerManager

from ...colours import colourless
from ...error import EngineryError
from ..direct import DirectView
from ..display import prompts
from ..executed import ExecuteResult
from .autopx import AutoPx
from .follow import Following, engines
from .options import Defaults, Parser, config_parser, px_parser, result_parser, targets_of
from .show import grouped, values

PX = """Run code on the engines: the rest of the line, or with two % the lines below.

It waits for them unless the view says otherwise (--noblock, or view.block = False). What they
print is shown as it comes, each line after its engine, [3]; then the value of the last
expression of each. Ctrl-C interrupts them. Options in front of the code of a single line are
written in full: %px --targets 0 print(x)
"""

PXRESULT = """Show what the last %px gave, and wait for it if it is not done."""

RESULT = """Show what the last %px gave; of a MultiEngineClient, its get_result()."""

PXCONFIG = """Set what holds for the next %px, where its own options say nothing else.

Without options, tell what holds now.
"""

AUTOPX = """Run all input on the engines from now on, as if %%px stood before it; or no more.

Magics of enginery, exit and quit work here nevertheless.
"""

Magic = tuple[Callable[[str], Any], Callable[[str, str], Any] | None]

NOWHERE = "make a client first, rc = enginery.Client(), or activate a view, rc[:].activate()"


class ParallelMagics:
    """See the module's text; `functions` are the magics for lines and for cells, by name."""

    def __init__(
        self, shell: Any, auto: AutoPx, suffix: str, found: Callable[[], DirectView | None]
    ) -> None:
        self.suffix = suffix
        self.defaults = Defaults()
        self.last: ExecuteResult | None = None
        self._shell, self._auto = shell, auto
        self._told: Any = None
        self._found = found
        self.parsers = {
            "px": px_parser(f"%px{suffix}", PX),
            "%px": px_parser(f"%%px{suffix}", PX),
            "pxresult": result_parser(f"%pxresult{suffix}", PXRESULT),
            "result": result_parser(f"%result{suffix}", RESULT, numbered=True),
            "pxconfig": config_parser(f"%pxconfig{suffix}", PXCONFIG),
            "autopx": Parser(f"%autopx{suffix}", AUTOPX),
        }
        self.functions: dict[str, Magic] = {
            f"px{suffix}": (
                self._magic("px", self.px_line),
                self._magic("%px", self.px_cell),
            ),
            f"autopx{suffix}": (self._magic("autopx", self.autopx), None),
            f"pxresult{suffix}": (self._magic("pxresult", self.pxresult), None),
            f"result{suffix}": (self._magic("result", self.result), None),
            f"pxconfig{suffix}": (self._magic("pxconfig", self.pxconfig), None),
        }

    def _magic(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """What IPython calls; its text is what `%px?` shows, its errors show no frames."""

        def magic(*parts: str) -> Any:
            with _without_frames(self._shell):
                return method(*parts)

        magic.__name__ = magic.__qualname__ = f"{name}{self.suffix}"
        magic.__doc__ = self.parsers[name].format_help()
        return magic

    # --- the view -------------------------------------------------------------------------------

    def work_on(self, view: Any) -> None:
        """Work on this view, and keep it alive."""
        self._told = view

    def _view(self) -> Any:
        """What it was told to work on, else what is found; None when there is nothing."""
        told = self._told
        if told is None:
            return self._found()
        link = getattr(getattr(told, "client", None), "link", None)
        gone = link is not None and (link.closed or link.ended)
        return (self._found() or told) if gone else told

    @property
    def engines(self) -> list[int]:
        """The engines that could be targets now."""
        view = self._view()
        return view.client.ids if isinstance(view, DirectView) else []

    def view(self, magic: str) -> Any:
        """The view that the magics work on; UsageError when there is none."""
        view = self._view()
        if view is None:
            raise UsageError(f"{magic}: there are no engines to work on; {NOWHERE}")
        return view

    # --- the magics -----------------------------------------------------------------------------

    def px_line(self, line: str) -> Any:
        """`%px code`."""
        parser = self.parsers["px"]
        options, code = parser.split(line)
        if not code.strip():
            raise UsageError(f"{parser.magic}: there is no code to run; {parser.magic} 1 + 1")
        return self._px(parser.magic, parser.options(options), code)

    def px_cell(self, line: str, cell: str) -> Any:
        """`%%px`, with the code on the lines below."""
        parser = self.parsers["%px"]
        return self._px(parser.magic, parser.options(line), cell)

    def autopx(self, line: str) -> None:
        """`%autopx`."""
        self.parsers["autopx"].options(line)
        if self._auto.suffix != self.suffix:
            self.view(f"%autopx{self.suffix}")
        self._auto.toggle(self.suffix)

    def pxresult(self, line: str) -> None:
        """`%pxresult`."""
        parser = self.parsers["pxresult"]
        self._last(parser.magic, parser.options(line))

    def result(self, line: str) -> Any:
        """`%result`: as `%pxresult`; of the 2008 interface, its `get_result`."""
        parser = self.parsers["result"]
        options, view = parser.options(line), self.view(parser.magic)
        if not _is_old(view):
            if options.number is not None:
                raise UsageError(f"{parser.magic}: a number is for a MultiEngineClient only")
            return self._last(parser.magic, options)
        if options.group or options.out:
            raise UsageError(f"{parser.magic}: options are for views, and this is {view!r}")
        return view.get_result(*([] if options.number is None else [options.number]))

    def pxconfig(self, line: str) -> None:
        """`%pxconfig`: set what holds for the next `%px`, or tell it."""
        parser = self.parsers["pxconfig"]
        options, view = parser.options(line), self.view(parser.magic)
        if not line.strip():
            block = "--block" if view.block else "--noblock"
            print(f"{block} --targets {_written(view.targets)} {self.defaults}")
            return
        targets = self._targets(parser.magic, options)
        if targets is not None:
            with _usage(f"{parser.magic} --targets {options.targets}"):
                view.targets = targets
        if options.block is not None:
            view.block = options.block
        self.defaults = self.defaults.with_(options)

    # --- pieces ---------------------------------------------------------------------------------

    def _px(self, magic: str, options: Namespace, code: str) -> Any:
        if options.stream and options.group:
            raise UsageError(f"{magic}: grouped output is shown when all is done, without --stream")
        view, targets = self.view(magic), self._targets(magic, options)
        self._check(code)
        how = self.defaults.with_(options)
        if _is_old(view):
            return self._old_px(view, targets, options, how, code)
        with _usage(f"{magic} --targets {options.targets}"):
            view = view.variant(targets=targets, block=options.block)
        result: ExecuteResult = view.execute(code, block=False)
        self.last = result
        if options.out:
            self._shell.user_ns[options.out] = result
        if how.verbose:
            print(f"{magic}: running on {engines(slot.engine for slot in result._slots)}")
        following = self._following(result, magic, how)
        here = self._here(code, following) if options.local else True
        if not view.block:
            return result
        self._show(following, how.stream, options.group)
        if not here:
            raise UsageError(f"{magic} --local: the code failed here; see above")
        return None

    def _following(self, result: ExecuteResult, magic: str, how: Defaults) -> Following:
        return Following(result, magic, how, f"%pxresult{self.suffix}")

    def _show(self, following: Following, live: bool, group: str | None) -> None:
        """Wait for a result and show all of it; raises what failed."""
        live = live and group is None
        following.wait(live)
        if live:
            values(following.result)
        else:
            grouped(following.result, group or "type")
        following.result.get()

    def _old_px(self, view: Any, targets: Any, options: Namespace, how: Defaults, code: str) -> Any:
        """Run code by the method `px` of an object that is no view, and give what that gives."""
        if options.local or options.group or options.out or options.stream is not None:
            raise UsageError(f"only --targets, --block and --noblock can be given to {view!r}")
        if how.verbose is not False:
            print("Executing command on Controller")
        try:
            return view.px(code, targets=targets, block=options.block)
        except KeyboardInterrupt:
            running = getattr(getattr(view, "client", None), "last", None)
            if running is not None and not running.ready():
                Following(running, f"%px{self.suffix}", how, f"%result{self.suffix}").interrupt()
            raise

    def _check(self, code: str) -> None:
        """Raise the SyntaxError of this code here, with its line, instead of on each engine."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                python = TransformerManager().transform_cell(code)
                compile(python, "<%px>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError as error:
            line, *more = code.strip().splitlines()
            if more or self._shell.find_line_magic(line.split()[0]) is None:  # `cd x` is none
                raise NotPython(error) from None

    def _here(self, code: str, following: Following) -> bool:
        """Run code in this process, too; whether that went well."""
        with self._auto.off():
            outcome = self._shell.run_cell(code, store_history=False)
        if isinstance(outcome.error_in_exec, KeyboardInterrupt):
            following.interrupt()
        return bool(outcome.success)

    def _last(self, magic: str, options: Namespace) -> None:
        result = self.last
        if result is None:
            raise UsageError(f"{magic}: no %px{self.suffix} has run yet")
        if options.out:
            self._shell.user_ns[options.out] = result
        self._show(self._following(result, magic, Defaults(signal=0)), True, options.group)

    def _targets(self, magic: str, options: Namespace) -> Any:
        if options.targets is None:
            return None
        with _usage(f"{magic} --targets {options.targets}"):
            return targets_of(options.targets, self._shell.user_ns)


def _is_old(view: Any) -> bool:
    """Whether this is no view, but has its own way to run code."""
    return not isinstance(view, DirectView) and hasattr(view, "px")


def _written(targets: Any) -> str:
    """Targets as they can be given to `--targets`."""
    return str(targets).replace(" ", "")


class NotPython(Exception):
    """A SyntaxError of code for the engines; most are found before anything is sent.

    It is none itself: with those IPython shows its own frames, and ours.
    """

    def __init__(self, error: SyntaxError) -> None:
        super().__init__(str(error))
        self.error = error


NotPython.__name__ = NotPython.__qualname__ = "SyntaxError"  # as notebooks tell it


@contextmanager
def _usage(what: str) -> Iterator[None]:
    """What is wrong with an option is told as UsageError."""
    try:
        yield
    except (EngineryError, LookupError, TypeError, ValueError) as error:
        raise UsageError(f"{what}: {error}") from None


@contextmanager
def _without_frames(shell: Any) -> Iterator[None]:
    """IPython shows what is raised without frames: of a magic they are none of the user's."""
    try:
        yield
    except (EngineryError, KeyboardInterrupt, NotPython) as error:
        if isinstance(error, SyntaxError):  # which IPython shows in its own way
            error = NotPython(error)
        vars(error)["_render_traceback_"] = partial(_shown, error, shell)
        raise error from None


def _shown(error: BaseException, shell: Any) -> list[str]:
    """The lines of an error alone; its class without the module, and as IPython colours it."""
    told = error.error if isinstance(error, NotPython) else error
    lines = "".join(traceback.format_exception_only(told)).rstrip("\n").split("\n")
    kind = type(told).__qualname__
    written = f"{type(told).__module__}.{kind}".removeprefix("builtins.")
    shown = kind if colourless(shell) else f"{prompts.RED}{kind}{prompts.RESET}"
    return [
        shown + line.removeprefix(written) if line.startswith(written) else line for line in lines
    ]
