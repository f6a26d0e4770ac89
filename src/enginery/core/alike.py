"""Calls that are alike, in columns: what is the same in all of them stands once.

Most of ten thousand calls of one function differ in their arguments alone, and end well. Where
several of these stand one behind the other, messages and the journal hold them as columns
(`messages.Alike`): it takes a fraction of the time to make, to write and to read a list of numbers
of what it takes for as many objects. What is said is the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import messages as m

FEWEST = 4
"""Tasks that are worth columns."""


def submissions(tasks: list[m.Task]) -> Iterator[m.Submit]:
    """What to submit, without numbers, for all these to come in their order.

    In a submission columns come behind tasks, so what comes behind columns goes into the next one.
    """
    submit, start = m.Submit(0, [], []), 0
    while start < len(tasks):
        stop = _alike_until(tasks, start)
        if stop - start >= FEWEST:
            submit.alike.append(_columns(tasks[start:stop]))
        else:
            stop = max(stop, start + 1)
            if submit.alike:
                yield submit
                submit = m.Submit(0, [], [])
            submit.tasks += tasks[start:stop]
        start = stop
    yield submit


def _alike_until(tasks: list[m.Task], start: int) -> int:
    """The position of the first task that is not like the one at the start."""
    first = tasks[start]
    function, name, label, retries = first.function, first.name, first.label, first.retries
    if len(name) + len(label) > m.LONGEST:
        return start
    for at in range(start, len(tasks)):
        task = tasks[at]
        if task.terms is not None or task.engine >= 0 or task.buffers or task.targets:
            return at
        if task.chunk is not None or task.function != function or task.name != name:
            return at
        if task.label != label or task.retries != retries:
            return at
    return len(tasks)


def _columns(tasks: list[m.Task]) -> m.Alike:
    first = tasks[0]
    return m.Alike(
        first.function, first.name, first.label, first.retries,
        [task.id for task in tasks],
        [task.arguments for task in tasks],
        [task.submitted for task in tasks],
    )  # fmt: skip


def in_columns(results: m.Results) -> m.Results:
    """The same results, in columns if all of them are of first attempts that have ended well."""
    if len(results.results) < FEWEST:
        return results
    ran = ran_well(results.results)
    return results if ran is None else m.Results(results.seq, [], ran)


def ran_well(each: list[m.Result]) -> m.Ran | None:
    """The columns of these, if all of them are of first attempts that have ended well."""
    for r in each:
        if r.status != "ok" or r.attempt != 1 or r.buffers or r.items or r.running:
            return None
        if r.stage or r.changes or r.reason:
            return None
    return m.Ran(
        [r.id for r in each],
        [r.value for r in each],
        [r.started for r in each],
        [r.completed for r in each],
        [r.outputs for r in each],
    )
