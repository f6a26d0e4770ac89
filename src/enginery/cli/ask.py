"""What one asks of a cluster: `enginery status`, `list`, `show`, `errors`, `logs` and so on.

Each makes an `Answer`, which is printed as text, as JSON or as ids.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..error import ConnectionFileError, EngineryError, NoControllerError, NotAllowedError
from . import completion, filters, output
from .call_progress import progress
from .clean import clean
from .cluster_status import status
from .command_line import (
    CALLS,
    ENGINES,
    FILTERS,
    LISTING,
    LISTS,
    LOGS,
    SELECTORS,
    SHELLS,
    SOME_SELECTORS,
    Command,
    Option,
    Options,
    limit,
    read,
)
from .engine_list import list_clusters, list_engines
from .entry import INTERRUPTED, OK, USAGE, UsageError, exit_code, say, usage_error
from .error_list import errors
from .known import Tasks
from .output import Answer
from .reach import CHANGE, LOOK, READ, Where, place, reached
from .stack_list import stacks
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
        return answer.code
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
    where = options.profile, options.profile_dir, options.cluster_id, options.timeout
    return Where(*where, options.ssh, options.sshkey)


def _words(options: Options) -> list[str]:
    """The selectors; "-" stands for those in the standard input."""
    words: list[str] = []
    for word in options.selectors:
        words += sys.stdin.read().split() if word == "-" else [word]
    if options.selectors and not words:
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
    words = _words(options)
    with reached(_where(options), READ, "show") as there:
        return show_tasks(Tasks(there), words)


def _explain(options: Options) -> Answer:
    words = _words(options)
    with reached(_where(options), LOOK, "explain") as there:
        return explain_tasks(Tasks(there), words)


def _errors(options: Options) -> Answer:
    words = _words(options)
    wanted = filters.Filter([], options.label, options.engine or [], options.function)
    with reached(_where(options), CHANGE, "errors") as there:
        return errors(Tasks(there), words, wanted, Show(options.limit))


def _stacks(options: Options) -> Answer:
    with reached(_where(options), CHANGE, "stacks") as there:
        return stacks(Tasks(there), _words(options), options.threads)


def _progress(options: Options) -> Answer:
    words = _words(options)
    with reached(_where(options), LOOK, "progress") as there:
        return progress(Tasks(there), words, options.output == "text")


def _logs(options: Options) -> Answer:
    from .log_lines import Question, logs

    if options.follow and options.output != "text":
        raise UsageError(f"--follow goes with text only, not with {options.output}")
    words = [options.selectors] if options.selectors else []
    question = Question(words, options.task, options.limit, options.follow)
    profile, cluster_id = place(_where(options))
    try:
        with reached(_where(options), READ, "logs") as there:
            return logs(profile, cluster_id, Tasks(there), question)
    except NoControllerError:
        if not any((profile.path / "log").glob("ipcontroller*.log")):
            raise
    return logs(profile, cluster_id, None, question)


def _doctor(options: Options) -> Answer:
    from .doctor import doctor

    profile, cluster_id = place(_where(options))
    try:
        with reached(_where(options), READ, "doctor") as there:
            return doctor(profile, cluster_id, there)
    except (NoControllerError, ConnectionFileError, NotAllowedError) as error:
        return doctor(profile, cluster_id, error)


def _clean(options: Options) -> Answer:
    from ..cluster.places import open_profile

    return clean(open_profile(options.profile or "default", options.profile_dir))


def _completion(options: Options) -> Answer:
    return completion.script(options.what)


def complete(words: Sequence[str], others: Sequence[str]) -> int:
    """Print what the last word of a command line may become; for the scripts of shells."""
    for candidate in completion.candidates(words, COMMANDS, others):
        print(candidate)
    return OK


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
        None,
        (),
        ("enginery status", "enginery status -o json --profile=gpu"),
    ),
    "list": Command(
        "list clusters, engines or tasks",
        _list,
        LISTS,
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
    "errors": Command(
        "what has failed, and how: the same failure is told once, with a traceback",
        _errors,
        SOME_SELECTORS,
        (*FILTERS, Option("--limit", "N", "read the newest N failed tasks (1000); 0: all", limit)),
        ("enginery errors", "enginery errors --label fit", "enginery errors 1-100 -o json"),
    ),
    "progress": Command(
        "wait until tasks have ended, with a bar; exit code 1 if one has failed",
        _progress,
        CALLS,
        (),
        ("enginery progress", "enginery progress fit && echo all went well"),
    ),
    "logs": Command(
        "what the controller and the engines have logged",
        _logs,
        LOGS,
        (
            Option("--task", "ID", "only lines about this task", default=""),
            Option("--limit", "N", "the last N lines (200); 0: all", limit),
            Option("-f --follow", "", "go on with what is added, until Ctrl-C"),
        ),
        ("enginery logs", "enginery logs 3", "enginery logs controller -f"),
    ),
    "stacks": Command(
        "what engines are doing now, line by line, also while they run a task",
        _stacks,
        ENGINES,
        (Option("--threads", "", "every thread, and the frames of enginery, too"),),
        ("enginery stacks", "enginery stacks 3"),
    ),
    "doctor": Command(
        "look for what commonly goes wrong: files, versions, clocks, limits",
        _doctor,
        None,
        (),
        ("enginery doctor", "enginery doctor --profile=gpu"),
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
    "clean": Command(
        "remove the files of clusters of this host that are gone",
        _clean,
        None,
        (),
        ("enginery clean", "enginery clean --profile=gpu"),
    ),
    "completion": Command(
        "a script that lets your shell complete commands, options, engine ids and labels",
        _completion,
        SHELLS,
        (),
        ('eval "$(enginery completion bash)"',),
    ),
}
