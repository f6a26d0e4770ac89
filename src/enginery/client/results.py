"""AsyncResult: what a call will give, may have given already, and what is known of it meanwhile.

It owns the slots of its tasks, and nothing else does: drop it and the values are gone. A value is
unpickled when somebody first asks for it, and kept. An exception is made anew each time it is
raised or given, with the result as its attribute `ar`, so that after a blocking call too
`e.ar.partial()` has what is good.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from ..core.messages import Abort
from ..frames import throw, trimmed
from ..wire.inputs import joined
from ..wire.taking import Takeable
from . import text
from .arrivals import Arrival, Arrivals
from .display import reprs
from .display.progress import follow, left, snapshot
from .errors import combine, exception, not_done
from .failed import Call, Failed
from .interrupted import Work
from .link import rest, until
from .metadata import KEYS
from .parts import Parts
from .told import Told
from .values import Value, Values, unpack

if TYPE_CHECKING:
    from .display.shown import Shown
    from .display.working import Seen, Working
    from .link import Link, Slot

Shape = Literal["single", "list", "map"]

CANCEL_TIME = 1.0
"""Seconds that `cancel` waits to hear whether the tasks were still to be stopped."""

LOOK = 1.0
"""Seconds after which an `await` looks whether there still is a controller."""


class Owner(Protocol):
    """What a result needs of its client."""

    working: Working
    """What the engines are at."""

    shown: Shown
    """What is shown of it in a notebook."""

    @property
    def link(self) -> Link:
        """The connection that the tasks were sent over."""

    def run_again(self, ids: Sequence[str]) -> list[Slot]:
        """Resubmit finished tasks."""

    def result(self, slots: list[Slot], kind: type[AsyncResult], **form: Any) -> AsyncResult:
        """Make the result of tasks."""


class AsyncResult(Told, Takeable):
    """The result of a call that may still be running; made by views.

    As an argument of another call, at any depth of lists and dictionaries, it arrives as its value;
    that call waits for it meanwhile (`ImpossibleDependency` if it fails).

    `shape` "single" gives the bare value; "list" one value per engine, in target order; "map" one
    list of all items. It can be waited for, iterated (values as they arrive), indexed, awaited.

    Attributes: `name` (as in messages), `msg_ids` (its tasks), and every key of the metadata, as
    in `ar.engine_id` or `ar["stdout"]`: one value of a single result, else a list.

    Its repr says `<AsyncResult: fit:ok>` of one task, and how far it is of several:
    `<AsyncResult map(fit): 8,771 of 10,000 done, 7 running, 3 failed, 2 min 3 s left>`. In a
    notebook that is kept up to date where it is shown.
    """

    _sizes: Sequence[int] | None = None  # how many items each slot stands for; None: one each
    _total = 1
    _values: Value | Values | Parts
    _arrivals: Arrival | Arrivals | Parts
    _part: Sequence[Any] | None = None  # the value of a single task, once somebody has asked
    ordered = True
    return_exceptions = False
    _first: int | None = None  # of a part of a longer map: with which item it begins

    def __init__(
        self,
        client: Owner,
        slots: Sequence[Slot],
        *,
        name: str,
        shape: Shape,
        sizes: Sequence[int] | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
        total: int | None = None,
        first: int | None = None,
    ) -> None:
        super().__init__(client.link, slots, shape == "single")
        self.name = name
        self._client = client  # which must not be closed as long as somebody may wait
        self._shape = shape
        if not ordered:
            self.ordered = False
        if return_exceptions:
            self.return_exceptions = True
        if sizes is not None:
            self._sizes = sizes
        if self._only is None:  # else they are made when somebody asks: that may be never
            self._follow_tasks()
            self._total = len(self._values)
        if total is not None:
            self._total = total
        if first is not None:
            self._first = first

    def __getattr__(self, key: str) -> Any:
        if key == "_values":
            value = self._values = Value(self._all_values)
            return value
        if key == "_arrivals":
            arrival = self._arrivals = Arrival(self._slots[0], self._link.changed)
            return arrival
        return super().__getattr__(key)

    @property
    def _chunks(self) -> bool:
        return self._sizes is not None

    def _follow_tasks(self) -> None:
        """Hear from now on what has ended."""
        self._values = Values(self._slots, self._sizes)
        self._arrivals = Arrivals(self._slots, self._sizes, self._link.changed)

    # --- is it done -----------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether every task of it has ended.

        >>> ar = rc[0].apply_async(time.sleep, 0.5)
        >>> ar.ready()
        False
        """
        only = self._only
        return self._arrivals.done if only is None else only.outcome is not None

    done = ready

    @trimmed
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all has ended, at most `timeout` seconds (None or negative: for ever).

        Gives whether it has; raises only `ControllerLost`.

        >>> rc[0].apply_async(abs, -1).wait(timeout=30)
        True
        """
        return self._wait(self.ready, timeout)

    def wait_for_item(self, item: int, timeout: float | None = None) -> bool:
        """Wait until this item has ended, at most `timeout` seconds; gives whether it has.

        >>> rc[:].map_async(abs, range(8)).wait_for_item(0, timeout=30)
        True
        """
        return self._wait(self._here(item), timeout)

    def successful(self) -> bool:
        """Whether nothing of it failed; ValueError when it is not done.

        >>> ar = rc[0].apply_async(float, "x")
        >>> ar.wait(30), ar.successful()
        (True, False)
        """
        if not self.ready():
            raise ValueError(f"{self!r} is not done")
        return not self._arrivals.bad

    @property
    def progress(self) -> int:
        """How many items have ended, well or not."""
        return self._arrivals.items

    @property
    def failed(self) -> int:
        """How many items have failed so far."""
        bad = self._arrivals.bad
        if not self._chunks:
            return len(bad)
        return sum(isinstance(v, Failed) for i in bad.copy() for v in self._values.part(i))

    @property
    def retried(self) -> int:
        """How many of the items that have ended took more than one attempt."""
        return self._arrivals.retried

    @property
    def at_work(self) -> int | None:
        """How many items engines are at now; None when the controller does not answer soon.

        None also by the scheme "pure", where nobody knows.
        """
        return None if self.ready() else self._among(self._client.working.look())

    @property
    def last_at_work(self) -> int | None:
        """As `at_work`, by what was heard last."""
        return None if self.ready() else self._among(self._client.working.last())

    @property
    def part(self) -> float:
        """How much of the items that run is done, in items, as far as they say it themselves.

        See `enginery.progress`.
        """
        telling = self._link.telling.copy()
        mine = self._arrivals.those(telling) if telling else ()
        return sum(outputs.part for id in mine if (outputs := telling[id].outputs) is not None)

    def _among(self, seen: Seen | None) -> int | None:
        if seen is None or seen.running is None:
            return None
        return len(self._arrivals.those(seen.running))

    @property
    def eta(self) -> float | None:
        """Seconds until it is done, if it goes on as until now; None when that is not known."""
        return left(self.progress + self.part, self.total, self.elapsed)

    @property
    def ran_on(self) -> set[int]:
        """The engines that have run what has ended of it."""
        outcomes = (slot.outcome for slot in self._slots)
        return {o.engine for o in outcomes if o is not None and o.engine >= 0}

    @property
    def total(self) -> int:
        """How many items there are, or will be."""
        return self._total

    @property
    def sent(self) -> bool:
        """Whether arrays and other buffers among the arguments may be changed now.

        At once where they were put into shared memory, else when the controller has them.
        """
        return self.ready() or all(slot.sent for slot in self._slots)

    def wait_for_send(self, timeout: float | None = None) -> bool:
        """Wait until `sent`, at most `timeout` seconds; gives whether it is.

        >>> data = np.zeros(1_000_000)
        >>> ar = rc[0].apply_async(np.sum, data)
        >>> ar.wait_for_send(timeout=30)
        True
        """
        return self._wait(lambda: self.sent, timeout)

    wait_on_send = wait_for_send

    # --- what it gives --------------------------------------------------------------------------

    @trimmed
    def get(self, timeout: float | None = None, return_exceptions: bool | None = None) -> Any:
        """Wait at most `timeout` seconds, and give the value or the list of values.

        Raises what failed: a single result its own error, a map with one failed item that item's
        error, anything else `CompositeError`. With `return_exceptions` failures are given as
        values. TimeoutError when it is not done in time; call it again then.

        >>> rc[:].apply_async(abs, -1).get(timeout=30)
        [1, 1, 1, 1]
        >>> rc[0].apply_async(float, "x").get()
        Traceback (most recent call last):
        ValueError: could not convert string to float: 'x'
          apply(float), on engine 0 (pid ...) after ... ms; task ...
        """
        if not self.ready():
            self._wait_or_raise(timeout)
        return self._assemble(self._checked(self._all_values(), return_exceptions))

    @trimmed
    def result(self, timeout: float | None = None) -> Any:
        """As `get`."""
        return self.get(timeout)

    @property
    @trimmed
    def r(self) -> Any:
        """As `get()`."""
        return self.get()

    @trimmed
    def exception(self, timeout: float | None = None) -> Exception | None:
        """The error that `get` raises, or None; TimeoutError when it is not done in time.

        >>> rc[0].apply_async(float, "x").exception(timeout=30).ename
        'ValueError'
        """
        self._wait_or_raise(timeout)
        failures = [value for value in self._all_values() if isinstance(value, Failed)]
        return self._error(failures) if failures else None

    def partial(self) -> dict[int, Any]:
        """The good values that are here now, by the index of their item; never waits or raises.

        >>> ar = lview.map_async(float, ["1", "x", "3"], chunksize=1)
        >>> ar.wait(30), ar.partial()
        (True, {0: 1.0, 2: 3.0})
        """
        good: dict[int, Any] = {}
        for i in self._arrivals.order.copy():
            for item, value in enumerate(self._values.part(i), self._values.first(i)):
                if not isinstance(value, Failed):
                    good[item] = value
        return dict(sorted(good.items()))  # parts may arrive in any order

    @trimmed
    def get_dict(self, timeout: float | None = None) -> dict[int, Any]:
        """As `get`, by engine id; of a map, the list of what each engine did.

        >>> rc[1, 3].apply_async(abs, -1).get_dict(timeout=30)
        {1: 1, 3: 1}
        """
        self.get(timeout)
        values: dict[int, Any] = {}
        for i, slot in self._numbered():
            part = [self._give(value, True) for value in self._values.part(i)]
            if self._shape == "map":
                values.setdefault(slot.engine, []).extend(part)
            else:
                values[slot.engine] = part[0]
        return values

    def _numbered(self) -> Iterable[tuple[int, Slot]]:
        """The tasks, which have ended, in the order of their items, with their numbers."""
        return enumerate(self._slots)

    def __len__(self) -> int:
        return len(self._values)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        """Values as they arrive: in order, or whichever comes first when not `ordered`.

        A failed item raises its error in its turn; the iterator then goes on with the next.
        """
        return Items(self, self._arrivals, self._values)

    @overload
    def __getitem__(self, index: int | str) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    @trimmed
    def __getitem__(self, index: int | slice | str) -> Any:
        """Wait for an item, or for a slice of them; a string gives that key of the metadata."""
        if isinstance(index, str):
            if index not in KEYS:
                raise KeyError(f"no key {index!r}; there are {', '.join(KEYS)}")
            return self._told(index)
        if isinstance(index, slice):
            return self._checked([self._value(i) for i in range(*index.indices(len(self)))])
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {text.count(len(self), 'item')}, no number {index}")
        return self._give(self._value(index % len(self)))

    # --- telling when it is done ----------------------------------------------------------------

    def add_done_callback(self, callback: Callable[[AsyncResult], Any]) -> None:
        """Call `callback(ar)` when it is done, in a thread of its own, so that it may wait too.

        >>> from queue import Queue
        >>> done = Queue()
        >>> rc[0].apply_async(abs, -1).add_done_callback(lambda ar: done.put(ar.get()))
        >>> done.get(timeout=30)
        1
        """

        def call() -> None:
            try:
                callback(self)
            except Exception:  # there is no caller: the log is told
                logging.getLogger(__name__).exception("a done callback of %r raised", self)

        def begin() -> None:
            try:
                threading.Thread(target=call, name="enginery-callback", daemon=True).start()
            except RuntimeError:  # there are as many threads as there may be
                self._link.call(call)

        self._arrivals.on_done(begin)

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call this once all has ended, maybe now, in the thread that reads the news.

        It must neither wait nor raise; `add_done_callback` may.
        """
        self._arrivals.on_done(callback)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        import asyncio

        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody awaits
                loop.call_soon_threadsafe(done.set)

        forget = self._arrivals.on_done(tell)
        try:
            while not self.ready():
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(done.wait(), LOOK)
                self._wait(self.ready, 0)  # raises when the controller is gone
        finally:
            forget()
        return self.get()

    @trimmed
    def wait_interactive(self, interval: float = 0.1, timeout: float | None = None) -> bool:
        """As `wait`, showing how far it is, renewed each `interval` seconds."""
        return follow(self, True, interval=interval, timeout=timeout)

    # --- once more --------------------------------------------------------------------------------

    @trimmed
    def resubmit(self) -> AsyncResult:
        """Run again what has failed of it: a result of the same shape, with the good parts kept.

        When nothing of it failed it is this result itself. ValueError while it is not done.

        >>> ar = lview.apply_async(time.time)
        >>> ar.wait(30), ar.resubmit() is ar  # nothing of it has failed
        (True, True)
        """
        if not self.ready():
            raise ValueError(f"{self!r} is not done; wait for it, or abort it first")
        bad = [i for i, slot in enumerate(self._slots) if _failed(slot)]
        if not bad:
            return self
        again = self._client.run_again([self._slots[i].id for i in bad])
        slots = list(self._slots)
        for i, slot in zip(bad, again, strict=True):
            slots[i] = slot
        return self._client.result(
            slots, kind=type(self), name=self.name, shape=self._shape, sizes=self._sizes,
            ordered=self.ordered, return_exceptions=self.return_exceptions, total=self._total,
        )  # fmt: skip

    # --- stopping it ----------------------------------------------------------------------------

    @trimmed
    def abort(self, running: bool = False) -> None:
        """Stop what has not started, and with `running` interrupt what runs; does not wait.

        What was stopped raises `TaskAborted`. When all has ended nothing happens.

        >>> ar = lview.apply_async(time.sleep, 60)
        >>> ar.abort(running=True)
        >>> type(ar.exception(timeout=30)).__name__
        'TaskAborted'
        """
        self._abort(running)

    @trimmed
    def interrupt(self) -> None:
        """Stop what has not started, and raise KeyboardInterrupt in what runs; does not wait.

        As Ctrl-C at a prompt: code that catches it goes on, and no engine is given up for that.

        >>> ar = rc[0].apply_async(time.sleep, 60)
        >>> while not (ar.at_work or ar.ready()):  # until it runs
        ...     time.sleep(0.01)
        >>> ar.interrupt()
        >>> type(ar.exception(timeout=30)).__name__
        'TaskAborted'
        """
        self._abort(running=True, gently=True)

    @trimmed
    def cancel(self) -> bool:
        """Abort it; True when no task of it ran or will run, and that is certain.

        Waits about a second at most to be told. False also when part of it had started or ended.

        >>> ars = [rc[0].apply_async(time.sleep, 0.2) for _ in range(3)]
        >>> ars[2].cancel(), ars[2].cancelled()
        (True, True)
        """
        end = until(CANCEL_TIME)
        with suppress(TimeoutError):  # then nothing is certain
            self._abort(timeout=CANCEL_TIME)
            self.wait(rest(end))
        return self.cancelled()

    def _abort(self, running: bool = False, gently: bool = False, timeout: float = 10.0) -> None:
        ids = [slot.id for slot in self._slots if slot.outcome is None]
        if ids:
            self._link.ask(Abort(ids, running, gently=gently), timeout)

    def cancelled(self) -> bool:
        """Whether it is done, and because every task of it was aborted before it ran.

        >>> ar = rc[0].apply_async(abs, -1)
        >>> ar.wait(30), ar.cancelled()
        (True, False)
        """
        outcomes = [slot.outcome for slot in self._slots]
        return bool(outcomes) and all(
            o is not None and o.status == "aborted" and not o.started for o in outcomes
        )

    # --- how it is shown --------------------------------------------------------------------------

    def __repr__(self) -> str:
        return self.shown_as()[0]

    def _repr_html_(self) -> str:
        return self.shown_as()[1]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython asks; in a list it is told in short."""
        printer.text(self._short() if len(printer.stack) > 1 else repr(self))

    def _ipython_display_(self) -> None:
        """IPython asks: in a notebook it is kept up to date until it is done."""
        self._client.shown.result(self)

    def shown_as(self, *, ask: bool = True) -> tuple[str, str]:
        """Its repr and the same as HTML; unless it may `ask` the controller, as far as is known."""
        if self._scalar:
            line = self._short()
            return line, reprs.html(line)
        so_far = snapshot(self, ask=ask)
        line = f"<AsyncResult {self.name}: {so_far.told()}>"
        bar = "" if self.ready() else reprs.progress_bar(so_far.advanced, so_far.total)
        return line, reprs.html(line, bar)

    def _short(self) -> str:
        statuses = {slot.outcome.status if slot.outcome else "" for slot in self._slots} - {"ok"}
        status = "error" if len(statuses) > 1 else "".join(statuses) or "ok"
        return f"<AsyncResult: {self.name}:{status if self.ready() else 'pending'}>"

    # --- as an argument ---------------------------------------------------------------------------

    def taken(self) -> tuple[Sequence[Slot], Callable[[list[Any]], Any] | None]:
        """The tasks whose values are taken, and what makes its value of theirs on an engine."""
        return self._slots, self.assembly

    @property
    def as_argument(self) -> AsyncResult:
        """What its value is taken from where it is an argument: itself."""
        return self

    @property
    def assembly(self) -> Callable[[list[Any]], Any] | None:
        """What makes its value from those of its tasks on an engine; None: it has one only."""
        if self._scalar:
            return None
        return joined if self._chunks else list

    # --- pieces ---------------------------------------------------------------------------------

    def _assemble(self, values: Sequence[Any]) -> Any:
        """The value of the whole call from the values of its items."""
        return values[0] if self._scalar else values

    def _call(self) -> Call:
        good = self.progress - self.failed
        is_map = self._shape == "map"
        return Call(self.name, self.total, good, is_map, self._link.engines, self._first)

    def _pending(self) -> dict[str, int]:
        """The tasks that have not ended, and how many items each has that have not."""
        sizes = self._sizes
        return {
            slot.id: 1 if sizes is None else sizes[i]
            for i, slot in enumerate(self._slots)
            if slot.outcome is None
        }

    def _work(self) -> Work:
        farms = self._link.farms
        ar = "rc.last" if getattr(self._client, "last", None) is self else "ar"
        return Work(
            self.name,
            self._pending(),
            done=self.progress - self.failed,
            failed=self.failed,
            total=self.total,
            unit="" if self._scalar else self._call().unit,
            again=f"Wait again: {ar}.get()",
            stop="" if farms else f"Stop it: {ar}.abort(running=True)",
            rest=f"What is done: {ar}.partial()    Run the others again: {ar}.resubmit()",
        )

    def _wait_or_raise(self, timeout: float | None) -> None:
        if not self.wait(timeout):
            raise not_done(self._call(), self.failed, timeout or 0.0)

    def _all_values(self) -> Sequence[Any]:
        if self._scalar:
            part = self._part
            if part is None:
                part = self._part = self._unpacked()
            return part
        return [value for i in range(len(self._slots)) for value in self._values.part(i)]

    def _unpacked(self) -> Sequence[Any]:
        """The value of a single task, which has ended."""
        assert self._only is not None
        assert self._only.outcome is not None
        return unpack(self._only.outcome, 0, None)

    def _value(self, item: int) -> Any:
        """The value of an item, or its `Failed`; waits for it."""
        self._wait(self._here(item), None)
        i = self._values.slot(item)
        return self._values.part(i)[item - self._values.first(i)]

    def _here(self, item: int) -> Callable[[], bool]:
        """Tells whether this item has ended."""
        slot = self._slots[self._values.slot(item)]
        return lambda: slot.outcome is not None

    def _give(self, value: Any, return_exceptions: bool | None = None) -> Any:
        """The value; of a `Failed`, its error, raised or given."""
        if not isinstance(value, Failed):
            return value
        error = exception(value, self._call())
        vars(error)["ar"] = self
        if self.return_exceptions if return_exceptions is None else return_exceptions:
            return error
        throw(error)

    def _checked(
        self, values: Sequence[Any], return_exceptions: bool | None = None
    ) -> Sequence[Any]:
        """Values for the user; what failed among them is raised, or put in its place."""
        if self._scalar and not isinstance(values[0], Failed):
            return values
        failures = self._failures(values)
        if not failures:
            return values
        if self.return_exceptions if return_exceptions is None else return_exceptions:
            return [self._give(value, True) for value in values]
        throw(self._error(failures))

    def _failures(self, values: Sequence[Any]) -> list[Failed]:
        return [value for value in values if isinstance(value, Failed)]

    @property
    def _raised_alone(self) -> bool:
        """Whether a failure that is the only one is raised as itself."""
        return self._shape != "list"

    def _error(self, failures: list[Failed]) -> Exception:
        error = combine(failures, self._call(), alone=self._raised_alone)
        vars(error)["ar"] = self
        return error

    def _slot_error(self, i: int) -> Exception | None:
        outcome = self._slots[i].outcome
        if outcome is None or outcome.status == "ok":
            return None
        failures = [value for value in self._values.part(i) if isinstance(value, Failed)]
        return combine(failures, self._call(), alone=True)


def _failed(slot: Slot) -> bool:
    return slot.outcome is not None and slot.outcome.status != "ok"


class Items(Iterator[Any]):
    """Goes through the items of a result as they arrive; see `AsyncResult.__iter__`."""

    def __init__(
        self,
        result: AsyncResult,
        arrivals: Arrivals | Arrival | Parts,
        values: Value | Values | Parts,
    ) -> None:
        self._result, self._arrivals, self._values = result, arrivals, values
        self._next = 0  # the next item when ordered, else how many slots were taken
        self._taken: list[Any] = []  # of the last slot, backwards

    @trimmed
    def __next__(self) -> Any:
        result = self._result
        if result.ordered:
            if self._next >= len(result):
                raise StopIteration
            value = result._value(self._next)
            self._next += 1  # only now: an interrupted wait for it can be repeated
            return result._give(value)
        while not self._taken:
            if len(self._arrivals.order) <= self._next:
                result._wait(lambda: len(self._arrivals.order) > self._next or result.ready(), None)
            if len(self._arrivals.order) <= self._next:
                raise StopIteration
            self._taken = list(self._values.part(self._arrivals.order[self._next]))[::-1]
            self._next += 1
        return result._give(self._taken.pop())


AsyncHubResult = AsyncResult
"""The name for results of tasks that were submitted by others; these are as any."""
