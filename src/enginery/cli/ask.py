"""`enginery list`, `show`, `explain`, `status`, `abort` and `resubmit`: what one asks of a cluster.

Each makes an `Answer`, which is printed as text, as JSON or as ids.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from ..error import EngineryError
from . import filters, output
from .cluster_status import status
from .command_line import LISTING, SELECTORS, WHAT, Command, Option, Options, read
from .engine_list import list_clusters, list_engines
from .entry import INTERRUPTED, OK, USAGE, UsageError, exit_code, say, usage_error
from .known import Tasks
from .output import Answer
from .reach import CHANGE, LOOK, Where, reached
from .task_changes import abort, resubmit
from .task_list import Show, list_tasks
from .task_story import explain_tasks, show_tasks

TASK_FILTERS = ("state", "label", "engine", "function")
ENGINE_FILTERS = ("state", "engine")
BUSY = ("busy", "idle")
"""States of engines."""


def main(name: str, argv: Sequence[str]) -> int:
    """Run one of COMMANDS with these arguments; the exit code."""
    form = output.wanted(argv)
    prog = f"enginery {name}"
    try:
        options = read(COMMANDS[name], prog, argv)
        answer = COMMANDS[name].run(options)
        output.show(answer, form, getattr(options, "wide", False))
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # who reads, as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (EngineryError, OSError) as error:
        return _failed(error, form, prog)


def _failed(error: Exception, form: str, prog: str) -> int:
    """Tell what went wrong, in the form of the answer; the exit code."""
    code = exit_code(error)
    if form == "json":
        hint = f"{prog} --help" if code == USAGE else ""
        print(output.as_json(output.failure(error, hint)), flush=True)
    elif code == USAGE:
        usage_error(prog, str(error))
    else:
        say(prog, error)
    return code


def _where(options: Options) -> Where:
    return Where(options.profile, options.profile_dir, options.cluster_id, options.timeout)


def _words(options: Options) -> list[str]:
    """The selectors; "-" stands for those in the standard input."""
    words: list[str] = []
    for word in options.selectors:
        words += sys.stdin.read().split() if word == "-" else [word]
    if not words:
        raise UsageError("nothing is selected: the standard input is empty")
    return words


# --- what they do ---------------------------------------------------------------------------------


def _list(options: Options) -> Answer:
    wanted = _filter(options)
    show = Show(options.limit, options.wide)
    if options.what == "clusters":
        return list_clusters(show)
    with reached(_where(options), LOOK, "list") as there:
        tasks = Tasks(there)
        if options.what == "engines":
            return list_engines(tasks, wanted, show)
        return list_tasks(tasks, wanted, show, options.output == "text")


def _filter(options: Options) -> filters.Filter:
    """The filters of a list; UsageError for one that it cannot have."""
    what = options.what
    allowed = {"tasks": TASK_FILTERS, "engines": ENGINE_FILTERS, "clusters": ()}[what]
    for name in TASK_FILTERS:
        if getattr(options, name) and name not in allowed:
            raise UsageError(f"--{name} does not go with {what}")
    known = BUSY if what == "engines" else filters.WORDS
    states = filters.states(options.state, known) if options.state else []
    return filters.Filter(states, options.label, options.engine or [], options.function)


def _show(options: Options) -> Answer:
    return _look(options, "show", show_tasks)


def _explain(options: Options) -> Answer:
    return _look(options, "explain", explain_tasks)


def _look(options: Options, what: str, tell: Callable[[Tasks, Sequence[str]], Answer]) -> Answer:
    """What there is to say of the selected tasks."""
    words = _words(options)
    with reached(_where(options), LOOK, what) as there:
        return tell(Tasks(there), words)


def _status(options: Options) -> Answer:
    with reached(_where(options), LOOK, "status") as there:
        return status(Tasks(there))


def _abort(options: Options) -> Answer:
    words = _words(options)
    with reached(_where(options), CHANGE, "abort") as there:
        return abort(Tasks(there), words, options.running)


def _resubmit(options: Options) -> Answer:
    words = _words(options)
    with reached(_where(options), CHANGE, "resubmit") as there:
        return resubmit(Tasks(there), words)


COMMANDS = {
    "status": Command(
        "what a cluster is doing: controller, engines, tasks",
        _status,
        "",
        (),
        ("enginery status", "enginery status -o json --profile=gpu"),
    ),
    "list": Command(
        "list clusters, engines or tasks",
        _list,
        "|".join(WHAT),
        LISTING,
        (
            "enginery list tasks --state failed --label fit",
            "enginery list tasks --engine 0-3 --limit 0 -o ids",
        ),
    ),
    "show": Command(
        "what is known of tasks, and their stories",
        _show,
        SELECTORS,
        (),
        ("enginery show last", "enginery show 17 4374c3-20"),
    ),
    "explain": Command(
        "why tasks do not run, or where they are",
        _explain,
        SELECTORS,
        (),
        ("enginery explain last", "enginery explain 4374c3-17"),
    ),
    "abort": Command(
        "keep tasks from starting; those that run go on, unless --running",
        _abort,
        SELECTORS,
        (Option("--running", "", "interrupt those that run, too"),),
        ("enginery abort 1-10 17", "enginery abort --running fit", "enginery abort all"),
    ),
    "resubmit": Command(
        "run finished tasks once more, as new tasks; all that are selected, or none",
        _resubmit,
        SELECTORS,
        (),
        (
            "enginery resubmit 17",
            "enginery resubmit $(enginery list tasks --state failed --label fit -o ids)",
        ),
    ),
}
