"""The rules of dependencies, as simply as they can be said: everything anew from what has ended.

The simulator's ledger and the property test of the graph compare the controller with these. Nothing
here is taken from the controller.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from enginery.core import messages as m

Verdict = Literal["open", "met", "impossible"]


class End(NamedTuple):
    """How a task ended, and on which engine; -1: on none."""

    status: str
    engine: int


Ends = Mapping[str, End]
"""The tasks that have ended."""


def counting(dependency: m.Dependency, ends: Ends) -> list[End]:
    """Of the tasks that a dependency names, those that have ended as it asks for."""
    ended = [ends[id] for id in set(dependency.ids) if id in ends]
    return [e for e in ended if (dependency.success if e.status == "ok" else dependency.failure)]


def engines_of(dependency: m.Dependency, ends: Ends) -> set[int]:
    """Where those ran that count."""
    return {end.engine for end in counting(dependency, ends) if end.engine >= 0}


def verdict_of(dependency: m.Dependency | None, ends: Ends) -> Verdict:
    """Whether one dependency is met, or cannot be any more."""
    if dependency is None or not dependency.ids:
        return "met"
    ids = set(dependency.ids)
    ended = [id for id in ids if id in ends]
    good = counting(dependency, ends)
    if dependency.all:
        if len(good) < len(ended):
            return "impossible"
        return "met" if len(good) == len(ids) else "open"
    if good:
        return "met"
    return "impossible" if len(ended) == len(ids) else "open"


def scattered(terms: m.Terms, ends: Ends) -> bool:
    """Whether a task is to follow all of several tasks that ran on different engines."""
    follow = terms.follow
    return follow is not None and follow.all and len(engines_of(follow, ends)) > 1


def taken(terms: m.Terms) -> m.Dependency:
    """That the tasks whose values one takes have succeeded."""
    return m.Dependency(terms.inputs)


def verdict(terms: m.Terms, ends: Ends, direct: bool = False) -> Verdict:
    """Of all that a task waits for; a direct request does for what it takes only."""
    inputs = verdict_of(taken(terms), ends)
    if direct:
        return inputs
    verdicts = {inputs, verdict_of(terms.after, ends), verdict_of(terms.follow, ends)}
    if "impossible" in verdicts or scattered(terms, ends):
        return "impossible"
    return "open" if "open" in verdicts else "met"


def permitted(terms: m.Terms, targets: Collection[int], ends: Ends) -> set[int] | None:
    """The engines that a task may go to when it is released; None: all of them."""
    if terms.follow is None or not terms.follow.ids:
        return set(targets) or None
    engines = engines_of(terms.follow, ends)
    return engines & set(targets) if targets else engines


def named(terms: m.Terms, direct: bool = False) -> list[str]:
    """Every task that is named by these; of those of a direct request, that counts."""
    others = () if direct else (terms.after, terms.follow)
    named = [id for each in others if each is not None for id in each.ids]
    return [*terms.inputs, *named]
