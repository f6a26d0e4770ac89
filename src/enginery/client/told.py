"""What is known of the tasks of one call besides their values: times, places, what they printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from time import time
from typing import TYPE_CHECKING, Any, Literal

from ..error import TimeoutError
from ..frames import trimmed
from .metadata import KEYS, Metadata, all_printed, metadata

if TYPE_CHECKING:
    from ..core.messages import Output
    from .link import Link, Slot

GroupBy = Literal["type", "engine", "order"]

ORDERS: dict[str, Callable[[tuple[int, Output]], Any]] = {
    "type": lambda each: (each[1].stream == "stderr", each[0], each[1].number),
    "engine": lambda each: (each[1].engine, each[0], each[1].number),
    "order": lambda each: (each[0], each[1].number),
}


class Told:
    """Base of `AsyncResult`; every key of the metadata is an attribute, too.

    `scalar` says whether there is one task only, of which things are told as single values.
    """

    def __init__(self, link: Link, slots: Sequence[Slot], scalar: bool) -> None:
        self._link = link
        self._slots = list(slots)
        self._scalar = scalar
        self._metadata: list[Metadata] | None = None

    @property
    def msg_ids(self) -> list[str]:
        """The ids of its tasks."""
        return [slot.id for slot in self._slots]

    @property
    def metadata(self) -> Any:
        """What is known of its task (a dict, see `Metadata`), or a list of that for several."""
        every = self._all_metadata()
        return every[0] if self._scalar else every

    def __getattr__(self, key: str) -> Any:
        if key not in KEYS:
            raise AttributeError(f"{type(self).__name__} has no {key!r}")
        return self._told(key)

    def _told(self, key: str) -> Any:
        values = [data[key] for data in self._all_metadata()]
        return values[0] if self._scalar else values

    def _all_metadata(self) -> list[Metadata]:
        if self._metadata is not None:
            return self._metadata
        final = all(all_printed(slot) for slot in self._slots)
        every = [metadata(slot, self._slot_error(i)) for i, slot in enumerate(self._slots)]
        if final:
            self._metadata = every
        return every

    def _slot_error(self, i: int) -> Exception | None:
        raise NotImplementedError

    # --- times ----------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds from submission until the last result came, or until now."""
        begin = min((slot.submitted for slot in self._slots), default=0.0)
        end = max((slot.received or time() for slot in self._slots), default=0.0)
        return max(end - begin, 0.0)

    @property
    @trimmed
    def wall_time(self) -> float:
        """Seconds from submission until the last result came; TimeoutError before that."""
        self._must_be_done()
        return self.elapsed

    @property
    @trimmed
    def serial_time(self) -> float:
        """Seconds that engines spent on it, added up; TimeoutError before it is done."""
        self._must_be_done()
        outcomes = [slot.outcome for slot in self._slots]
        return sum(o.completed - o.started for o in outcomes if o is not None and o.started)

    def timedelta(
        self, start: datetime | Iterable[datetime], end: datetime | Iterable[datetime]
    ) -> float:
        """Seconds from the first of some times to the last of others, as in the metadata."""
        first = start if isinstance(start, datetime) else min(start)
        last = end if isinstance(end, datetime) else max(end)
        return (last - first).total_seconds()

    def _must_be_done(self) -> None:
        if any(slot.outcome is None for slot in self._slots):
            raise TimeoutError(f"{self!r} is not done, so its time is not known; wait() for it")

    # --- what was printed -----------------------------------------------------------------------

    @trimmed
    def wait_for_output(self, timeout: float | None = None) -> bool:
        """Wait until it is done and all that it printed has come; gives whether it has."""
        rest = iter(self._slots)
        current = next(rest, None)

        def complete() -> bool:
            nonlocal current
            while current is not None and all_printed(current):
                current = next(rest, None)
            return current is None

        return self._wait(complete, timeout)

    @trimmed
    def display_outputs(self, groupby: GroupBy = "type") -> None:
        """Wait until it is done, and print what its tasks printed, each line after its engine.

        "type": all of stdout, then all of stderr; "engine": engine by engine; "order": task by
        task. ENGINERY_PREFIX=0 in the environment leaves the engine out.
        """
        if groupby not in ORDERS:
            raise ValueError(f"groupby is one of {', '.join(ORDERS)}, not {groupby!r}")
        self.wait_for_output()
        plain = os.environ.get("ENGINERY_PREFIX") == "0"
        for engine, stream, text in self._texts(groupby):
            prefix = "" if plain else f"[{engine}] "
            for line in text.splitlines():
                print(f"{prefix}{line}", file=sys.stderr if stream == "stderr" else sys.stdout)

    def _texts(self, order: str) -> Iterable[tuple[int, str, str]]:
        """(engine, stream, text) of what the last attempt of each task printed."""
        outputs = [
            (i, output)
            for i, slot in enumerate(self._slots)
            for output in slot.outputs
            if slot.outcome is not None and output.attempt == slot.outcome.attempt
        ]
        outputs.sort(key=ORDERS[order])
        for (_, stream, engine), run in groupby(
            outputs, key=lambda each: (each[0], each[1].stream, each[1].engine)
        ):
            yield engine, stream, "".join(output.text for _, output in run)

    def _wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        return done() or self._link.wait(done, timeout)
