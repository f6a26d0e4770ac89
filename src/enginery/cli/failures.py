"""What failed tasks say: read with a client's key, and unpickled here, as their user would."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..error import TimeoutError, UnknownTask

if TYPE_CHECKING:
    from ..client.failed import Failed
    from ..client.slots import Slot
    from .reach import Reached

BATCH = 200
"""Outcomes that are fetched at a time, so that they need not be held all at once."""


class Told(NamedTuple):
    """One failure: of which kind, in which words, and where the user's code was, if it was code."""

    msg_id: str
    engine_id: int
    type: str
    message: str
    frame: tuple[str, int, str, str] | None  # file, line, function, source
    traceback: str


def failures(there: Reached, ids: Sequence[str]) -> Iterable[Told]:
    """The failures of these tasks, which have failed; those of a chunk one by one."""
    from ..client.values import failures_of  # loads what opens payloads

    for i in range(0, len(ids), BATCH):
        slots = _fetch(there, ids[i : i + BATCH])

        def arrived(slots: list[Any] = slots) -> bool:
            return all(slot.outcome is not None for slot in slots)

        if not there.link.wait(arrived, there.timeout):
            raise TimeoutError(
                f"the failures have not come in {there.timeout:g} s; --timeout gives them longer"
            )
        for slot in slots:
            assert slot.outcome is not None
            for failed in failures_of(slot.outcome):
                yield _told(failed)


def _fetch(there: Reached, ids: Sequence[str]) -> list[Slot]:
    """Slots for the outcomes of these tasks; without those that were forgotten meanwhile."""
    try:
        return there.link.fetch(ids, there.timeout)
    except UnknownTask:
        if len(ids) == 1:
            return []
        return [slot for id in ids for slot in _fetch(there, [id])]


def _told(failed: Failed) -> Told:
    from ..client import fates

    outcome, why = failed.outcome, failed.why
    id, engine = outcome.id, outcome.engine
    if why is None:
        return Told(id, engine, fates.kind(outcome).__name__, fates.fate(outcome), None, "")
    if isinstance(why, Exception):
        text = f"it cannot be loaded here: {why}"
        return Told(id, engine, type(why).__name__, text, None, "")
    frame = None
    if why.frames:
        filename, line, function, source = why.frames[-1]
        frame = filename, line, function, source or linecache.getline(filename, line).strip()
    return Told(id, engine, why.ename, why.evalue, frame, why.traceback)


def as_json(told: Told) -> Mapping[str, Any]:
    """A failure as a part of the JSON."""
    return {"type": told.type, "message": told.message, "traceback": told.traceback or None}
