"""From what came back for a task to the exception its user reads.

Every message has the same form: what happened to which item, then the facts as notes, then what
can be done about it. A fault that hit many items is told once, with a count.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Sequence

from .. import colours
from ..core.messages import Outcome
from ..error import CompositeError, RemoteError, TimeoutError
from ..wire.failure import Failure, Frame
from . import fates, text
from .failed import Call, Failed, message, note
from .missing import missing, module_missing, remedies
from .original import by_name, copied, restore
from .values import failure_of

FRAMES = 3
"""Frames of user code shown in a message; `error.traceback` has them all."""

LINES = 8
"""Failures that one message lists; of a direct call, equal ones are folded only beyond that."""

FRAME = re.compile(r'( *)File "(.+)", line (\d+)(, in .*)')
"""The line of a traceback that names a frame."""

LEAST = 30
"""Columns that a remote message has at least in a list of failures."""


def exception(failed: Failed, call: Call) -> Exception:
    """The exception of one item, made anew each time: raising one twice would mix tracebacks."""
    if failed.why is None:
        error = fates.system_error(failed, call)
        if failed.outcome.cause is not None:
            error.__cause__ = _cause(failed.outcome.cause, call)
        return error
    if isinstance(failed.why, Exception):
        return _unreadable(failed.why, failed, call)
    return _remote_error(failed.why, failed, call)


def combine(failures: Sequence[Failed], call: Call, *, alone: bool) -> Exception:
    """The exception of a call, some of whose items failed.

    A module that engines lack is one error, whatever number of items it hit. With `alone`, a
    single failure is raised as itself; all else is a CompositeError.
    """
    modules = {missing(failed) for failed in failures}
    if len(modules) == 1 and (module := modules.pop()):
        return module_missing(module, failures, call)
    if alone and len(failures) == 1:
        return exception(failures[0], call)
    elist: list[BaseException] = [exception(f, call._replace(good=0)) for f in failures]
    if call.is_map:
        error = CompositeError("\n".join(_lines_by_kind(failures, call)), elist)
        for line in _common_notes(failures):
            note(error, line)
        for line in remedies([failed.remote() for failed in failures]):
            note(error, line)
        note(error, call.kept)
        note(error, "e.raise_exception(i) raises one of them, e.print_tracebacks() shows all")
    else:
        error = CompositeError("\n".join(_lines_by_engine(failures, call)), elist)
        for line in _common_notes(failures):
            note(error, line)
        if wrong := _wrong_code(elist):
            for line in wrong:
                error.add_note(f"    {line}")
        elif shown := _first_frames(failures):
            for line in shown:
                error.add_note(f"  {line}")
            note(error, "e.print_tracebacks() shows all")
    error.method = call.method
    return error


def not_done(call: Call, failed: int, seconds: float) -> TimeoutError:
    """The error of a wait that took longer than its timeout."""
    told = f"{call.name} is not done after {text.duration(seconds)}"
    if call.total > 1:
        told += f": {text.of(call.good, call.total)} {call.unit} done"
        told += f", {failed:,} failed" if failed else ""
    return TimeoutError(message(TimeoutError, f"{told}; the work goes on, wait again with get()"))


# --- one failure ------------------------------------------------------------------------------


def _remote_error(failure: Failure, failed: Failed, call: Call) -> RemoteError:
    original = failure.exception_here()
    error = by_name(failure.ename, failure.evalue) if original is None else restore(original)
    if error is None:
        error = RemoteError(f"{failure.ename}: {failure.evalue}".removesuffix(": "))
        error.__cause__ = original
    error.ename, error.evalue = failure.ename, failure.evalue
    error.traceback = _with_lines(failure.traceback)
    error.engine_id, error.method = failed.outcome.engine, call.method
    error.task, error.item = failed.outcome.id, failed.number(call) if call.is_map else None
    vars(error)["__notes__"] = list(failure.notes)
    note(error, f"{failed.what(call)}, {_where(failed.outcome, call)}")
    for line in _frames(failure.frames):
        error.add_note(f"  {line}")
    for how, ename, evalue, frames in failure.earlier:
        note(error, text.brief(f"{how} {ename}: {evalue}".removesuffix(": "), text.COLUMNS - 2))
        for line in _frames(frames):
            error.add_note(f"  {line}")
    for line in remedies([failure]):
        note(error, line)
    note(error, call.kept)
    return error


def _cause(outcome: Outcome, call: Call) -> Exception:
    """What the task would have raised whose failure made this one impossible."""
    other = Call(outcome.name or f"task {outcome.id}", 1, 0, False, call.engines)
    return exception(failure_of(outcome), other)


def _where(outcome: Outcome, call: Call) -> str:
    """On engine 1 (pid 4711, n1) after 0.2 s; task 7f3a2c-12."""
    place = f"on engine {outcome.engine}"
    here = call.engines.get(outcome.engine)
    if here is not None and here.incarnation == outcome.incarnation:
        place += f" (pid {here.pid}, {here.host})"
    if outcome.started:
        place += f" after {text.duration(outcome.completed - outcome.started)}"
    again = f", attempt {outcome.attempt}" if outcome.attempt > 1 else ""
    return f"{place}; task {outcome.id}{again}"


def _frames(frames: Sequence[Frame]) -> list[str]:
    """The frames of user code, each with its line; of many, the first and the last ones."""
    frames = list(frames)
    left_out = max(0, len(frames) - FRAMES)
    del frames[1 : 1 + left_out]
    lines: list[str] = []
    for i, (filename, lineno, function, line) in enumerate(frames):
        if i == 1 and left_out:
            lines.append(f"  … {text.count(left_out, 'frame')} more: print(e.traceback)")
        lines.append(f'  File "{colours.cell(filename)}", line {lineno}, in {function}')
        source = (line or linecache.getline(filename, lineno)).strip()
        if source:
            lines.append(f"    {text.brief(source, text.COLUMNS - 6)}")
    return lines


def _common_notes(failures: Sequence[Failed]) -> list[str]:
    """What was noted of each of these alike, such as why a name is not known there."""
    notes = {tuple(remote.notes) if (remote := failed.remote()) else () for failed in failures}
    return list(notes.pop()) if len(notes) == 1 else []


def _first_frames(failures: Sequence[Failed]) -> list[str]:
    """Where the first of several failures of user code was raised."""
    for failed in failures:
        remote = failed.remote()
        if remote is not None and remote.frames:
            return [f"on engine {failed.outcome.engine}:", *_frames(remote.frames)]
    return []


def _with_lines(traceback: str) -> str:
    """A remote traceback with the source lines that only this process knows: those of its cells."""
    lines: list[str] = []
    told = traceback.split("\n")
    for line, below in zip(told, [*told[1:], ""], strict=True):
        frame = FRAME.fullmatch(line)
        if frame is None:
            lines.append(line)
            continue
        indent, filename, lineno, rest = frame.groups()
        lines.append(f'{indent}File "{colours.cell(filename)}", line {lineno}{rest}')
        if not below.startswith(f"{indent}  "):
            source = linecache.getline(filename, int(lineno)).strip()
            lines += [f"{indent}  {source}"] * bool(source)
    return "\n".join(lines)


def _wrong_code(errors: Sequence[BaseException]) -> list[str]:
    """The line that none of the engines understood, and a mark below it; else nothing."""
    wrong = [(e.text, e.offset) for e in errors if isinstance(e, SyntaxError)]
    if len(wrong) < len(errors) or len(set(wrong)) != 1:
        return []
    source, offset = wrong[0]
    if not source or not offset:
        return []
    line = source.rstrip("\n")
    cut = len(line) - len(line.lstrip())
    return [line.lstrip(), " " * (offset - 1 - cut) + "^"]


def _unreadable(why: Exception, failed: Failed, call: Call) -> Exception:
    """The value has come, and loading it here raised `why`."""
    why = copied(why).with_traceback(None)
    vars(why)["__notes__"] = []
    note(why, f"{failed.what(call)} is done, but what it gave cannot be loaded here;")
    note(why, f"it ran {_where(failed.outcome, call)}")
    return why


# --- many failures in one message -------------------------------------------------------------


def _head(failed: Failed) -> tuple[str, str]:
    """The kind of a failure and its message."""
    if failed.why is None:
        return fates.kind(failed.outcome).__name__, fates.fate(failed.outcome)
    if isinstance(failed.why, Exception):
        return type(failed.why).__name__, str(failed.why)
    return failed.why.ename, failed.why.evalue


def _groups(failures: Sequence[Failed], keys: Sequence[object]) -> list[list[Failed]]:
    groups: dict[object, list[Failed]] = {}
    for failed, key in zip(failures, keys, strict=True):
        groups.setdefault(key, []).append(failed)
    return list(groups.values())


def _lines_by_engine(failures: Sequence[Failed], call: Call) -> list[str]:
    """One line per engine; beyond eight engines, one per message."""
    fold = len(failures) > LINES
    groups = _groups(failures, [_head(f) if fold else i for i, f in enumerate(failures)])
    lines = [f"one or more exceptions from call to method: {call.method}"]
    for group in groups[:LINES]:
        ename, evalue = _head(group[0])
        engines = text.ranges(failed.outcome.engine for failed in group)
        times = f"   ×{len(group):,}" if len(group) > 1 else ""
        lines.append(_line(f"[{engines}:{call.method}]: ", f"{ename}: {evalue}", times))
    return lines + _left_out(groups)


def _lines_by_kind(failures: Sequence[Failed], call: Call) -> list[str]:
    """One line per kind of failure: the same exception from the same line of code."""
    groups = _groups(failures, [_origin(failed) for failed in failures])
    lines = [f"{text.of(len(failures), call.total)} items of {call.name} failed"]
    for group in groups[:LINES]:
        ename, evalue = _head(group[0])
        engine = group[0].outcome.engine
        who = f"{engine}:{call.method}" if engine >= 0 else call.method
        items = f"item{'s' * (len(group) > 1)} {text.some([failed.item for failed in group])}"
        lines.append(_line(f"  [{who}] ", f"{ename}: {evalue}", f"   ×{len(group):,} ({items})"))
    return lines + _left_out(groups)


def _line(head: str, told: str, tail: str) -> str:
    """One line with as much of what was told as has room."""
    room = text.COLUMNS - len(head) - len(tail)
    return head + text.brief(told, max(room, LEAST)) + tail


def _origin(failed: Failed) -> tuple[object, ...]:
    remote = failed.remote()
    if remote is None or not remote.frames:
        return _head(failed)
    return remote.ename, *remote.frames[-1][:2]


def _left_out(groups: Sequence[object]) -> list[str]:
    more = len(groups) - LINES
    return [f"  … and {more:,} more {'kind' if more == 1 else 'kinds'}: e.elist"] * (more > 0)
