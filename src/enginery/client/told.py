"""What is known of the tasks of one call besides their values: times, places, what they printed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from time import time
from typing import TYPE_CHECKING, Any, Literal

from ..error import EngineryError, TimeoutError
from ..frames import trimmed
from .display.live import ORDERS, LiveOutput, Screen, in_order
from .metadata import KEYS, OUTPUT_TIME, PRINTED, Metadata, metadata

if TYPE_CHECKING:
    from .interrupted import Work
    from .link import Link, Slot

GroupBy = Literal["type", "engine", "order"]

LOOK = 0.2
"""Seconds after which it is looked again whether output is to be shown."""


class Told:
    """Base of `AsyncResult`; every key of the metadata is an attribute, too.

    `scalar` says whether there is one task only, of which things are told as single values.
    """

    _only: Slot | None = None  # without a tuple, at which the garbage collector would look
    _several: tuple[Slot, ...] = ()
    _metadata: list[Metadata] | None = None
    _begin = 0.0  # when the first of its tasks was submitted

    def __init__(self, link: Link, slots: Sequence[Slot], scalar: bool) -> None:
        self._link = link
        if scalar:
            self._only = slots[0]
        else:
            self._several = tuple(slots)

    @property
    def _scalar(self) -> bool:
        return self._only is not None

    @property
    def _tasks(self) -> tuple[Slot, ...]:
        """Those that were asked for."""
        return self._several if self._only is None else (self._only,)

    @property
    def _slots(self) -> Sequence[Slot]:
        return self._tasks

    @property
    def msg_ids(self) -> list[str]:
        """The ids of its tasks."""
        return [slot.id for slot in self._slots]

    @property
    def link(self) -> Link:
        """The connection that its tasks were sent over."""
        return self._link

    @property
    def slots(self) -> Sequence[Slot]:
        """Its tasks, as their client knows them."""
        return self._slots

    @property
    def metadata(self) -> Any:
        """What is known of its task (a dict, see `Metadata`), or a list of that for several."""
        self._await_output()
        every = self._all_metadata()
        return every[0] if self._scalar else every

    def __getattr__(self, key: str) -> Any:
        if key not in KEYS:
            raise AttributeError(f"{type(self).__name__} has no {key!r}")
        return self._told(key)

    def _told(self, key: str) -> Any:
        if key in PRINTED:
            self._await_output()
        values = [data[key] for data in self._all_metadata()]
        return values[0] if self._scalar else values

    def _await_output(self) -> None:
        """Let what tasks that have ended have printed arrive: it comes after their results."""
        coming = [s for s in self._slots if s.outcome is not None and not s.all_put_out]
        if coming:
            with suppress(EngineryError):
                self._link.wait(_all_put_out(coming), OUTPUT_TIME)

    def _all_metadata(self) -> list[Metadata]:
        if self._metadata is not None:
            return self._metadata
        final = all(slot.all_put_out for slot in self._slots)
        every = [metadata(slot, self._slot_error(i)) for i, slot in enumerate(self._slots)]
        if final:
            self._metadata = every
        return every

    def _slot_error(self, i: int) -> Exception | None:
        raise NotImplementedError

    def _work(self) -> Work:
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether every task of it has ended."""
        raise NotImplementedError

    # --- times ----------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds from submission until the last result came, or until now; 0 when not known."""
        begin = self._begin or self._first_submitted()
        end = max((slot.received or time() for slot in self._slots), default=0.0)
        return max(end - begin, 0.0) if begin else 0.0

    def _first_submitted(self) -> float:
        """When the first task was submitted; 0 of another client's before one has ended."""
        times = [s.submitted or (s.outcome.submitted if s.outcome else 0.0) for s in self._slots]
        first = min(filter(None, times), default=0.0)
        if all(times):  # then it stays so
            self._begin = first
        return first

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
        """Seconds from the first of some times to the last of others, as in the metadata.

        >>> ar = rc[0].apply_async(time.sleep, 0.2)
        >>> ar.wait(30), ar.timedelta(ar.started, ar.completed) >= 0.2
        (True, True)
        """
        first = start if isinstance(start, datetime) else min(start)
        last = end if isinstance(end, datetime) else max(end)
        return (last - first).total_seconds()

    def _must_be_done(self) -> None:
        if any(slot.outcome is None for slot in self._slots):
            raise TimeoutError(f"{self!r} is not done, so its time is not known; wait() for it")

    # --- what was printed -----------------------------------------------------------------------

    @trimmed
    def wait_for_output(self, timeout: float | None = None) -> bool:
        """Wait until it is done and all that it printed has come; gives whether it has.

        Without a timeout too it gives up when it is done and nothing more comes for some seconds:
        what was under way when an engine was killed is lost.

        >>> ar = rc[0].execute("print('here')")
        >>> ar.wait_for_output(timeout=30), ar.stdout
        (True, 'here\\n')
        """
        complete = self._complete()
        if timeout is not None and timeout >= 0:
            return self._wait(complete, timeout)
        self._wait(self.ready, None)
        came = self._came()
        while not self._wait(complete, OUTPUT_TIME):
            before, came = came, self._came()
            if came == before:
                return False
        return True

    @trimmed
    def display_outputs(self, groupby: GroupBy = "type") -> None:
        """Wait as `wait_for_output`, and show what its tasks put out, each line after its engine.

        "type": all of stdout, then all of stderr, then what was displayed; "engine": engine by
        engine; "order": task by task. ENGINERY_PREFIX=0 in the environment leaves the engine out.

        >>> ar = rc[:].execute("print(6 * 7)")
        >>> ar.display_outputs()
        [0] 42
        [1] 42
        [2] 42
        [3] 42
        """
        if groupby not in ORDERS:
            raise ValueError(f"groupby is one of {', '.join(ORDERS)}, not {groupby!r}")
        self.wait_for_output()
        with closing(Screen()) as screen:
            last = None
            for i, engine, piece in in_order(self._slots, groupby):
                if last not in {None, (i, piece.stream)}:
                    screen.flush()
                last = i, piece.stream
                screen.show(engine, piece)

    def _complete(self) -> Callable[[], bool]:
        """What tells whether it is done and all that it printed has come."""
        return _all_put_out(self._slots)

    def _came(self) -> int:
        """How many outputs have come."""
        return sum(slot.outputs.ended for slot in self._slots if slot.outputs is not None)

    @contextmanager
    def stream_output(self) -> Iterator[LiveOutput]:
        """While the `with` block runs, show what its tasks put out as it comes.

        with ar.stream_output():
            ar.get()
        """
        live = LiveOutput(self._speakers)
        over = threading.Event()

        def follow() -> None:
            with suppress(EngineryError):  # whoever waits for the result is told
                while not (over.is_set() or live.complete):
                    self._wait(lambda: over.is_set() or live.complete or live.news, LOOK)
                    live.update()

        thread = threading.Thread(target=follow, name="enginery-output", daemon=True)
        thread.start()
        try:
            yield live
        finally:
            over.set()
            thread.join()
            live.close()

    def _speakers(self) -> Sequence[Slot]:
        """The tasks that may have put something out."""
        return self._slots

    def _wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        try:
            return done() or self._link.wait(done, timeout)
        except KeyboardInterrupt as error:
            self._link.presses.tell(error, self._work())
            raise


def _all_put_out(slots: Iterable[Slot]) -> Callable[[], bool]:
    """What tells whether these tasks have ended and their output is here; none is asked again."""
    rest = iter(slots)
    current = next(rest, None)

    def complete() -> bool:
        nonlocal current
        while current is not None and current.all_put_out:
            current = next(rest, None)
        return current is None

    return complete
