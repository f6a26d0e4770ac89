"""What became of a task through no fault of its code: its engine died, it was aborted, it expired.

The facts come with the outcome, as the controller and the supervisor of the engine saw them; what
is not known is not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.messages import Outcome
from ..error import (
    DependencyTimeout,
    EngineError,
    ImpossibleDependency,
    ResultExpired,
    TaskAborted,
    TaskError,
    TaskKillsEngines,
    TaskTimeLimit,
)
from . import text
from .failed import Call, Failed, message, note


def kind(outcome: Outcome) -> type[TaskError]:
    """The class of the exception for an outcome that is neither "ok" nor "error"."""
    match outcome.status:
        case "kills":
            return TaskKillsEngines
        case "aborted":
            return TaskAborted
        case "expired":
            return ResultExpired
        case "overtime":
            return TaskTimeLimit
        case "impossible":
            return ImpossibleDependency
        case "timeout":
            return DependencyTimeout
    return EngineError


def fate(outcome: Outcome) -> str:
    """What became of a task, without its name: equal fates read the same."""
    match outcome.status:
        case "kills":
            return f"was running when {len(outcome.facts.get('engines', ()))} engines died"
        case "aborted":
            return "was aborted while it ran" if outcome.started else "was aborted before it ran"
        case "expired":
            why = outcome.facts.get("reason")
            return "is done, but its result is not kept any more" + (f": {why}" if why else "")
        case "overtime":
            return "ran for longer than its time_limit, and was interrupted"
        case "impossible" | "timeout":
            return f"was not run: {outcome.facts.get('reason', 'no reason is known')}"
    if not outcome.facts.get("started", True):
        return f"did not start: {_end_of_engine(outcome)}"
    if outcome.engine < 0:
        return f"was lost: {_cause(outcome)}"
    return f"engine {outcome.engine} died: {_cause(outcome)}"


def system_error(failed: Failed, call: Call) -> TaskError:
    """The exception that tells of it."""
    outcome, what = failed.outcome, failed.what(call)
    told = f"{what} {fate(outcome)}"
    if outcome.status == "kills":
        told += "; it is not tried again"
    elif outcome.status == "lost" and outcome.engine >= 0 and outcome.facts.get("started", True):
        told = f"engine {outcome.engine} died while running {what}: {_cause(outcome)}"
    error = kind(outcome)(message(kind(outcome), told))
    vars(error).update(task=outcome.id, method=call.method, engine_id=outcome.engine)
    error.item = failed.number(call) if call.is_map else None
    if isinstance(error, EngineError):
        error.facts = dict(outcome.facts)
        _tell_death(error, failed, call)
    else:
        note(error, f"task {outcome.id}")
        note(error, call.kept)
    return error


def _tell_death(error: EngineError, failed: Failed, call: Call) -> None:
    outcome, facts = failed.outcome, failed.outcome.facts
    note(error, _who(outcome))
    if facts.get("oom"):
        note(error, "The kernel killed it for memory.")
    elif facts.get("oom") is False and str(facts.get("reason", "")).startswith("signal"):
        note(error, "No reason is known: not by enginery, not for memory.")
    if "engines" in facts and outcome.status == "lost":
        note(error, f"Registered were engines: {text.ranges(facts['engines']) or 'none'}.")
    note(error, _what_goes_on(outcome, call))
    if outcome.status == "lost":
        note(error, _run_again(outcome, call))


def _cause(outcome: Outcome) -> str:
    reason = str(outcome.facts.get("reason", ""))
    if reason.startswith("signal"):
        return f"killed by {reason}"
    if reason.startswith("exit code"):
        return f"it ended with {reason}"
    return {"stopped": "it was stopped", "": "no reason is known"}.get(reason, reason)


def _end_of_engine(outcome: Outcome) -> str:
    """The same as a sentence of its own, where the engine was not yet named."""
    reason, engine = str(outcome.facts.get("reason", "")), f"engine {outcome.engine}"
    if reason.startswith("signal"):
        return f"{engine} was killed by {reason}"
    if reason.startswith("exit code"):
        return f"{engine} ended with {reason}"
    if reason.startswith("its "):
        return f"{engine} is gone, {reason}"
    return {"stopped": f"{engine} was stopped", "": "no reason is known"}.get(reason, reason)


def _who(outcome: Outcome) -> str:
    """The task, its attempts, and the engine that died."""
    facts = outcome.facts
    line = f"task {outcome.id}"
    if outcome.status == "kills":
        engines = ", ".join(map(str, facts.get("engines", ())))
        line += f"; engines {engines} died; {_end_of_engine(outcome)}"
    elif facts.get("started", True):
        attempts = facts.get("attempts", outcome.attempt)
        line += f", attempt {attempts} of {facts.get('retries', 0) + 1}" if attempts else ""
    if "pid" in facts and "host" in facts:
        who = "it" if outcome.status == "kills" else f"engine {outcome.engine}"
        line += f"; {who} was pid {facts['pid']} on {facts['host']}"
        line += f", up {text.duration(facts['uptime'])}" if "uptime" in facts else ""
        line += f", memory {_memory(facts)}" if facts.get("memory") else ""
    return line


def _memory(facts: Mapping[str, Any]) -> str:
    limit = facts.get("memory_limit")
    return text.size(facts["memory"]) + (f" of {text.size(limit)}" if limit else "")


def _what_goes_on(outcome: Outcome, call: Call) -> str:
    parts = []
    here = call.engines.get(outcome.engine)
    if here is not None and here.incarnation != outcome.incarnation:
        parts.append(f"A new engine {outcome.engine} is up, without the variables of the old one.")
    elif outcome.facts.get("replaced"):
        parts.append(
            f"A new engine {outcome.engine} is starting, without the variables of the old one."
        )
    elif outcome.engine >= 0 and outcome.facts.get("started", True):
        parts.append(f"The variables of engine {outcome.engine} are gone with it.")
    if call.is_map and call.good:
        parts.append("Items not yet started went on;")
        parts.append(f"{text.of(call.good, call.total)} are done: ar.partial()")
    return " ".join(parts)


def _run_again(outcome: Outcome, call: Call) -> str:
    facts = outcome.facts
    if not facts.get("started", True):
        return "Nothing of it has run: sending it again is safe."
    if facts.get("retries", 0):
        return f"It is not run again: retries={facts['retries']} allows no more attempts."
    line = "It was not run again, since that might not be safe."
    if facts.get("direct"):
        return line
    return f"{line} If it is:  {'map(..., retries=2)' if call.is_map else 'lview.retries = 2'}"
