"""Maps: balanced, item by item or in chunks; direct, one chunk per engine; and lazy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

from ..frames import trims
from ..wire.chunks import MapChunk
from ..wire.dependent import Fit, dependent
from ..wire.reference import Reference
from .calls import ANYWHERE, FIRST_BATCH, name_of
from .divided import DividedResult
from .interrupted import Work
from .results import AsyncResult
from .scatter import bounds

if TYPE_CHECKING:
    from .balanced import LoadBalancedView
    from .direct import DirectView

PER_ENGINE = 16
"""Tasks per engine that a lazy map keeps under way."""


class MapOptions(NamedTuple):
    """How a map is cut into tasks, and how its values are given."""

    chunksize: int | None = None
    ordered: bool = True
    return_exceptions: bool = False

    def size(self) -> int:
        """Items in one task of a balanced map; ValueError unless it is a positive number."""
        size = 1 if self.chunksize is None else self.chunksize
        if not isinstance(size, SupportsIndex) or index(size) < 1:
            raise ValueError(f"chunksize is a number from 1 up, not {self.chunksize!r}")
        return index(size)


def balanced_map(
    view: LoadBalancedView, f: Callable[..., Any], sequences: Sequence[Any], options: MapOptions
) -> AsyncResult:
    """Map with tasks that any engine may run: chunks that they divide, or of a fixed size.

    What asks for more than to be run, or is to run where it can, is one task per item.
    """
    client, name, size = view.client, f"map({name_of(f)})", options.size()
    client.expect_engines()
    if options.chunksize is None and _divisible(view, f):
        slots = client.calls.items(f, _columns(sequences), name, view.wishes)
        return client.result(
            slots, kind=DividedResult, name=name, shape="map",
            ordered=options.ordered, return_exceptions=options.return_exceptions,
        )  # fmt: skip
    sizes: list[int] | None = None
    items: Iterable[tuple[Any, ...]] = _rows(sequences)
    if size > 1:
        f, sizes = MapChunk(f), []
        items = _chunks(items, size, sizes)
    slots = client.calls.each(f, zip(repeat(ANYWHERE), items), {}, name, view.wishes)
    return client.result(
        slots, name=name, shape="map", sizes=sizes,
        ordered=options.ordered, return_exceptions=options.return_exceptions,
    )  # fmt: skip


def _divisible(view: LoadBalancedView, f: Callable[..., Any]) -> bool:
    """Whether engines can divide the items among themselves."""
    wishes = view.wishes
    plain = wishes.terms is None and not wishes.recovery and not view.client.link.farms
    return plain and not isinstance(f, dependent | Fit)


def direct_map(
    view: DirectView, f: Callable[..., Any], sequences: Sequence[Any], options: MapOptions
) -> AsyncResult:
    """Map with one contiguous chunk of items for each engine of the view, in their order."""
    if options.chunksize is not None:
        raise ValueError(
            "a direct view gives each engine one chunk; chunksize is for a load-balanced view"
        )
    client, name = view.client, f"map({name_of(f)})"
    items = list(_rows(sequences))
    engines = view.places()[: len(items)]
    cuts = list(bounds(len(items), len(engines))) if engines else []
    placed = zip(engines, ((items[start:stop],) for start, stop in cuts), strict=True)
    slots = client.calls.each(MapChunk(f), placed, {}, name, view.wishes)
    return client.result(
        slots, name=name, shape="map", sizes=[stop - start for start, stop in cuts],
        ordered=options.ordered, return_exceptions=options.return_exceptions,
    )  # fmt: skip


def _rows(sequences: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The arguments of each call, until the shortest sequence ends."""
    return zip(*_columns(sequences), strict=False)


def _columns(sequences: Sequence[Any]) -> list[Iterable[Any]]:
    """One argument of all calls each; a Reference is in all."""
    if all(isinstance(sequence, Reference) for sequence in sequences):
        raise TypeError("map() needs a sequence beside its References to know how many items")
    return [repeat(s) if isinstance(s, Reference) else s for s in sequences]


def _chunks(
    items: Iterable[tuple[Any, ...]], size: int, sizes: list[int]
) -> Iterator[tuple[list[Any]]]:
    """Yield the arguments of a `MapChunk` for each `size` items; `sizes` gets their numbers."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        sizes.append(len(chunk))
        yield (chunk,)


@trims
class LazyMap:
    """An iterator over the values of a map whose input is read as it goes, without end if need be.

    At most `window` tasks are submitted and not yet given out. A failed item raises when its turn
    comes (or is given, with `return_exceptions`); iteration can go on after that. So it can when
    items could not be submitted: these are tried again. (A Ctrl-C in the moment in which some are
    sent has these run twice.)
    """

    def __init__(
        self,
        view: LoadBalancedView,
        f: Callable[..., Any],
        sequences: Sequence[Any],
        options: MapOptions,
        window: int,
    ) -> None:
        self._view, self._options, self._window = view, options, window
        self._name = f"map({name_of(f)})"
        self._f = f if options.size() == 1 else MapChunk(f)
        self._items: Iterator[tuple[Any, ...]] = _rows(sequences)
        self._parts: deque[AsyncResult] = deque()
        self._values: Iterator[Any] = iter(())  # of one part; raises what failed of it
        self._unsent: list[tuple[Any, ...]] = []  # what has been read, and could not be submitted
        self._submitted = 0  # items
        self._refill()

    def __iter__(self) -> LazyMap:
        return self

    def __next__(self) -> Any:
        while True:
            for value in self._values:
                return value
            self._refill()
            if not self._parts:
                raise StopIteration
            self._values = iter(self._next_part())

    def cancel(self) -> None:
        """Read no more input, and abort what has not started."""
        self._items, self._unsent = iter(()), []
        parts, self._parts = self._parts, deque()
        self._values = iter(())
        self._view.client.abort(list(parts))

    def _refill(self) -> None:
        room = self._window - len(self._parts)
        if self._parts and room < self._window // 4:  # a few at once cost less than one by one
            return
        size = self._options.size()
        while room > 0:
            tasks = min(room, FIRST_BATCH)  # which go together, or not at all
            # What is read stays here until it has gone, whatever is raised meanwhile.
            self._unsent.extend(islice(self._items, tasks * size - len(self._unsent)))
            if not self._unsent:
                return
            self._submit(size)
            room -= tasks

    def _submit(self, size: int) -> None:
        """Submit what has been read, `size` items in one task."""
        sizes: list[int] | None = None
        items: Iterable[tuple[Any, ...]] = self._unsent
        if size > 1:
            sizes = []
            items = _chunks(items, size, sizes)
        client, placed = self._view.client, zip(repeat(ANYWHERE), items)
        slots = client.calls.each(self._f, placed, {}, self._name, self._view.wishes)
        self._unsent = []
        for i, slot in enumerate(slots):
            part = AsyncResult(
                client, [slot], name=self._name, shape="map",
                return_exceptions=self._options.return_exceptions,
                sizes=None if sizes is None else [sizes[i]], first=self._submitted,
            )  # fmt: skip
            self._submitted += part.total
            self._parts.append(part)

    def _next_part(self) -> AsyncResult:
        """The part that is given out next, which is done: the first one, or the first to be it."""
        parts, link = self._parts, self._view.client.link

        def done() -> bool:
            return parts[0].ready() if self._options.ordered else any(p.ready() for p in parts)

        try:
            link.wait(done, None)
        except KeyboardInterrupt as error:
            link.presses.tell(error, self._work())
            raise
        if self._options.ordered:
            return parts.popleft()
        part = next(part for part in parts if part.ready())
        parts.remove(part)
        return part

    def _work(self) -> Work:
        farms = self._view.client.link.farms
        return Work(
            self._name,
            {part.msg_ids[0]: part.total for part in self._parts if not part.ready()},
            done=0, failed=0, total=None, unit="items",
            again="Go on: next(values)",
            stop="" if farms else "Stop it: values.cancel()",
        )  # fmt: skip


def window_size(max_outstanding: int | str, engines: int) -> int:
    """How many tasks a lazy map keeps under way: the number given, or for "auto" 16 an engine."""
    if max_outstanding == "auto":
        return PER_ENGINE * max(engines, 4)
    if not isinstance(max_outstanding, SupportsIndex) or index(max_outstanding) < 1:
        raise ValueError(
            f'max_outstanding is "auto" or a number from 1 up, not {max_outstanding!r}'
        )
    return index(max_outstanding)
