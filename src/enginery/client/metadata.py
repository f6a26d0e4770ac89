"""What is known of one task besides its value: when, where, how it ended, and what it printed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

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
    outcome = slot.outcome
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
        stdout=printed(slot, "stdout"),
        stderr=printed(slot, "stderr"),
        outputs=[],
    )


def printed(slot: Slot, stream: Literal["stdout", "stderr"]) -> str:
    """What the task has printed so far; of several attempts, what the last one did."""
    attempt = slot.outcome.attempt if slot.outcome else latest(slot)
    mine = [o for o in slot.outputs if o.attempt == attempt and o.stream == stream]
    return "".join(o.text for o in sorted(mine, key=lambda o: o.number))


def latest(slot: Slot) -> int:
    """The number of the last attempt that has printed something."""
    return max((output.attempt for output in slot.outputs), default=0)


def all_printed(slot: Slot) -> bool:
    """Whether the task has ended and all that it printed is here."""
    outcome = slot.outcome
    if outcome is None:
        return False
    return sum(o.attempt == outcome.attempt for o in slot.outputs) >= outcome.outputs


def moment(seconds: float) -> datetime | None:
    """A time since the epoch as a datetime; None for 0, which means not yet."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
