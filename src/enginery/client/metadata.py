"""What is known of one task besides its value: when, where, how it ended, and what it printed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .link import Slot

KEYS = (
    "msg_id",
    "name",
    "label",
    "submitted",
    "started",
    "completed",
    "received",
    "engine_id",
    "engine_uuid",
    "attempt",
    "status",
    "error",
    "stdout",
    "stderr",
    "outputs",
)
"""The keys of every `Metadata`."""

PRINTED = frozenset({"stdout", "stderr", "outputs"})
"""Those of what came from user code while it ran."""

OUTPUT_TIME = 5.0
"""Seconds that are waited for that, at most, when the task has ended."""


class Metadata(dict[str, Any]):
    """A dictionary with the keys of `KEYS`, also readable as attributes.

    Times are datetimes in UTC: `submitted` and `received` by this machine's clock, `started` and
    `completed` by the engine's. What is not known yet is None.
    """

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"metadata has no {key!r}, only {', '.join(self)}") from None


def metadata(slot: Slot, error: Exception | None) -> Metadata:
    """What is known of this task now; `error` is what its value would raise."""
    outcome, outputs = slot.outcome, slot.last_outputs
    engine = outcome.engine if outcome else slot.engine
    return Metadata(
        msg_id=slot.id,
        name=slot.name or (outcome.name if outcome else ""),
        label=slot.label,
        submitted=moment(slot.submitted or (outcome.submitted if outcome else 0.0)),
        started=moment(outcome.started) if outcome else None,
        completed=moment(outcome.completed) if outcome else None,
        received=moment(slot.received),
        engine_id=engine if engine >= 0 else None,
        engine_uuid=outcome.incarnation or None if outcome else None,
        attempt=outcome.attempt if outcome else None,
        status=outcome.status if outcome else None,
        error=error,
        stdout=outputs.text("stdout") if outputs else "",
        stderr=outputs.text("stderr") if outputs else "",
        outputs=outputs.displays() if outputs else [],
    )


def moment(seconds: float) -> datetime | None:
    """A time since the epoch as a datetime; None for 0, which means not yet."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
