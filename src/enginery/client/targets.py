"""Which engines are meant: from what people write as targets to engine ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, Literal

from ..error import NoEnginesRegistered

Targets = int | list[int] | Literal["all"]
"""Targets of a view: one engine (bare values), several (lists), or all there are at each call."""

START_ENGINES = "start some: ipcluster engines -n 4; or wait for them: rc.wait_for_engines(4)"
MORE_ENGINES = "\n  Why they do not come:  enginery status    Start more:  ipcluster engines -n 4"


def resolve(targets: Any, ids: Sequence[int]) -> Targets:
    """Turn an engine id, a slice, an iterable of ids or "all" into the targets of a view.

    Negative numbers and slices count in `ids`, the engines there are now. Raises
    NoEnginesRegistered when there is none or none is named, IndexError for an engine that is not
    there, TypeError for what cannot name an engine.
    """
    if isinstance(targets, str):
        if targets != "all":
            raise TypeError(f"targets={targets!r} names no engines; the only name is 'all'")
        return "all"
    if not ids:
        raise NoEnginesRegistered(f"no engine is registered; {START_ENGINES}")
    if isinstance(targets, slice):
        chosen = list(ids[targets])
    elif isinstance(targets, Iterable):
        chosen = [_one(target, ids) for target in targets]
    else:
        return _one(targets, ids)
    if not chosen:
        raise NoEnginesRegistered(f"{_written(targets)} names no engine; {_there_are(ids)}")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"{_written(targets)} names an engine twice")
    return chosen


def some(targets: Any, ids: Sequence[int]) -> list[int]:
    """As `resolve`, always as a list."""
    return present(resolve(targets, ids), ids)


def present(targets: Targets, ids: Sequence[int]) -> list[int]:
    """The engines that targets mean now; NoEnginesRegistered when there are none for "all"."""
    if isinstance(targets, int):
        return [targets]
    if targets != "all":
        return list(targets)
    if not ids:
        raise NoEnginesRegistered(f"no engine is registered; {START_ENGINES}")
    return list(ids)


def _one(target: Any, ids: Sequence[int]) -> int:
    if isinstance(target, bool):
        raise TypeError(f"{target} is not an engine id")
    try:
        number = index(target)
    except TypeError:
        kind = type(target).__name__
        raise TypeError(
            f"{target!r} ({kind}) is not an engine id, a list of ids, a slice or 'all'"
        ) from None
    if number < 0 and -len(ids) <= number:
        return ids[number]
    if number not in ids:
        raise IndexError(f"there is no engine {number}; {_there_are(ids)}")
    return number


def _written(targets: Any) -> str:
    if not isinstance(targets, slice):
        return f"targets {targets!r}"
    parts = (targets.start, targets.stop, targets.step)
    shown = ["" if part is None else str(part) for part in parts]
    return f"targets [{':'.join(shown if targets.step is not None else shown[:2])}]"


def _there_are(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:20])) + (f" and {len(ids) - 20} more" if len(ids) > 20 else "")
    return f"there {'is engine' if len(ids) == 1 else 'are engines'} {shown}"
