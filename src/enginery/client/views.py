"""What direct and balanced views have in common: flags, calls, maps and decorators.

A view says where work goes and how its results are waited for. Its flags are attributes; given as
a keyword argument a flag holds for that call only, and wins.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from ..frames import trims
from .calls import Args, Kwargs, Wishes, name_of
from .decorators import ParallelFunction, RemoteFunction, bound_copy, local_function
from .display.progress import follow
from .flags import Flag, progress_shown, text, truth
from .joined import JoinedResult
from .map import MapOptions
from .results import AsyncResult

if TYPE_CHECKING:
    from .client import Client
    from .executor import ViewExecutor


@trims
class View(ABC):
    """Base of `DirectView` and `LoadBalancedView`; made by a `Client`.

    Flags: `block` (wait for results instead of giving an `AsyncResult`), `label` (kept with the
    tasks), `progress` (a bar while a blocking map is waited for: True, False, "auto" or a
    callable), `targets`, `track` (changes nothing: `AsyncResult.sent` can always be asked).
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_label",
        "_progress",
        "_targets",
        "_track",
        "_wishes",
        "client",
    )
    FLAGS: ClassVar[tuple[str, ...]] = ("block", "label", "progress", "targets", "track")

    def __init__(self, client: Client, targets: Any) -> None:
        self.client = client
        self._targets = targets
        self._block = client.block
        self._label = ""
        self._wishes: Wishes | None = None  # made anew when a flag changes
        self._progress: Any = "auto"
        self._track = False

    # --- flags ----------------------------------------------------------------------------------

    block = Flag(truth, "Whether calls wait for their results.")
    label = Flag(text, "A text that is kept with the tasks of this view.")
    progress = Flag(progress_shown, "What shows the progress of a blocking map.")
    track = Flag(truth, "Nothing: `AsyncResult.sent` can always be asked.")

    @property
    def targets(self) -> Any:
        """The engines that this view's work goes to."""
        return self._targets

    @targets.setter
    def targets(self, value: Any) -> None:
        old = self.key
        self._targets = self._resolved(value)
        self._wishes = None
        self.client.view_moved(self, old)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells this view from the others of its client: its kind and its targets."""
        targets = self._targets
        return (type(self), tuple(targets) if isinstance(targets, list) else targets)

    def set_flags(self, **flags: Any) -> Self:
        """Set flags by name; TypeError when there is no flag of that name.

        >>> lview.set_flags(retries=2).retries
        2
        """
        for name in flags:
            if name not in self.FLAGS:
                known = ", ".join(self.FLAGS)
                raise TypeError(f"a {type(self).__name__} has no flag {name!r}, only {known}")
        for name, value in flags.items():
            setattr(self, name, value)
        return self

    @contextmanager
    def temp_flags(self, **flags: Any) -> Iterator[Self]:
        """Set flags for the time of a `with` block.

        >>> with dview.temp_flags(block=True):
        ...     dview.apply(abs, -1)
        [1, 1, 1, 1]
        """
        before = {f"_{name}": getattr(self, f"_{name}") for name in self.FLAGS}
        try:
            yield self.set_flags(**flags)
        finally:  # not checked again: engines may have gone meanwhile
            moved_from = self.key
            for kept, value in before.items():
                setattr(self, kept, value)
            self._wishes = None
            self.client.view_moved(self, moved_from)

    def variant(self, **flags: Any) -> Self:
        """This view with other flags, for one call; None leaves a flag as it is."""
        given = {name: value for name, value in flags.items() if value is not None}
        if not given:
            return self
        other = type(self)(self.client, self._targets)
        own = {name: getattr(self, name) for name in self.FLAGS if name != "targets"}
        return other.set_flags(**own | given)

    @property
    def executor(self) -> ViewExecutor:
        """This view as a `concurrent.futures.Executor`.

        >>> with lview.executor as executor:
        ...     list(executor.map(abs, [-1, -2]))
        [1, 2]
        """
        from .executor import ViewExecutor

        return ViewExecutor(self)

    # --- calls ----------------------------------------------------------------------------------

    def apply(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `f(*args, **kwargs)`; its value with `block`, an `AsyncResult` without.

        UnsendableError names what cannot be sent; nothing is submitted then.

        >>> dview.apply(pow, 2, 5).get()
        [32, 32, 32, 32]
        """
        return self.finish(self._apply(local_function(f), args, kwargs, waiting=self._block))

    def apply_async(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:
        """Call `f(*args, **kwargs)` and do not wait.

        >>> ar = lview.apply_async(pow, 2, 10)
        >>> ar.get(timeout=30)
        1024
        """
        return self._apply(local_function(f), args, kwargs)

    def apply_sync(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `f(*args, **kwargs)` and wait for its value; raises what it raised.

        >>> lview.apply_sync(pow, 2, 10)
        1024
        """
        return self._apply(local_function(f), args, kwargs, waiting=True).get()

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        chunksize: int | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
        bound: bool = False,
        **flags: Any,
    ) -> Any:
        """Call `f` on each item, or on each tuple of items of several sequences.

        With `block` a list of values, else an `AsyncResult` that gives them as they arrive. The
        shortest sequence ends the map. `ordered=False` gives values in the order they arrive,
        `return_exceptions=True` gives failures as values, `bound=True` runs `f` with the names of
        the engine (as `@interactive`). Other keyword arguments are flags.

        >>> lview.map(pow, range(4), [2] * 4, block=True)
        [0, 1, 4, 9]
        >>> for value in lview.map(abs, [-1, -2]):  # as they arrive
        ...     print(value)
        1
        2
        >>> lview.map(float, ["1", "x"], return_exceptions=True, block=True)
        [1.0, RemoteError[ValueError]("could not convert string to float: 'x'")]
        """
        if not sequences:
            raise TypeError("map() needs a sequence to take items from")
        f = bound_copy(f) if bound else local_function(f)
        view = self.variant(**flags)
        result = view._map(f, sequences, MapOptions(chunksize, ordered, return_exceptions))
        if view.block:
            follow(result, view.progress)
        return view.finish(result)

    def map_async(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> AsyncResult:
        """As `map`, and do not wait.

        >>> ar = lview.map_async(abs, range(-1000, 0))
        >>> sum(ar)
        500500
        """
        result: AsyncResult = self.map(f, *sequences, **options | {"block": False})
        return result

    def map_sync(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> list[Any]:
        """As `map`, and wait for the list of values.

        >>> lview.map_sync(len, ["a", "bc"])
        [1, 2]
        """
        values: list[Any] = self.map(f, *sequences, **options | {"block": True})
        return values

    def reduce(self, f: Callable[[Any, Any], Any], sequence: Any, *initial: Any) -> Any:
        """Combine all items to one value by the associative `f`, in order, as a balanced tree.

        Always waits. TypeError when there is nothing to combine and no initial value.

        >>> from operator import add
        >>> lview.reduce(add, range(101))
        5050
        """
        values = [*initial, *sequence]
        if not values:
            raise TypeError("reduce() of nothing, and no initial value")
        combine = functools.partial(functools.reduce, local_function(f))
        while len(values) > 1:
            size = max(2, -(-len(values) // (2 * len(self.places()))))
            chunks = [values[i : i + size] for i in range(0, len(values), size)]
            values = self.map_sync(combine, chunks)
        return values[0]

    def remote(self, block: bool | None = None) -> Callable[[Callable[..., Any]], RemoteFunction]:
        """Make a decorator: the function then runs on this view's engines when it is called.

        >>> @dview.remote(block=True)
        ... def twice(x):
        ...     return 2 * x
        >>> twice(21)
        [42, 42, 42, 42]
        """
        return lambda f: RemoteFunction(self, f, block)

    def parallel(
        self, block: bool | None = None, **options: Any
    ) -> Callable[[Callable[..., Any]], ParallelFunction]:
        """Make a decorator: the function then gets sequences in parts; see `ParallelFunction`.

        >>> @dview.parallel(block=True)
        ... def squares(xs):
        ...     return [x * x for x in xs]
        >>> squares(range(6))
        [0, 1, 4, 9, 16, 25]
        """
        return lambda f: ParallelFunction(self, f, block, options)

    # --- what has been asked for ----------------------------------------------------------------

    def get_result(self, ids: Any = None, block: bool | None = None) -> Any:
        """The result of earlier tasks; see `Client.get_result`.

        >>> ar = lview.apply_async(abs, -5)
        >>> lview.get_result(ar.msg_ids[0]).get()
        5
        """
        return self.client.get_result(ids, self.block if block is None else block)

    def wait(self, jobs: Any = None, timeout: float | None = None) -> bool:
        """Wait for jobs, at most `timeout` seconds; see `Client.wait`.

        >>> ars = [lview.apply_async(abs, n) for n in range(10)]
        >>> lview.wait(ars, timeout=30)
        True
        """
        return self.client.wait(jobs, timeout)

    def finish(self, result: AsyncResult) -> Any:
        """Wait for a result when this view blocks."""
        return result.get() if self._block else result

    def join(
        self,
        f: Callable[..., Any],
        placed: Iterable[tuple[int, Args]],
        kwargs: Kwargs,
        name: str = "",
    ) -> AsyncResult:
        """Call `f` at these places, each with its arguments, and join what they give."""
        name = name or f"apply({name_of(f)})"
        slots = self.client.calls.each(f, placed, kwargs, name, self.wishes)
        result = self.client.result(slots, JoinedResult, name=name, shape="list")
        assert isinstance(result, JoinedResult)
        result.of_one = isinstance(self._targets, int)
        return result

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} stays with its client and cannot be sent")

    # --- what each kind of view does in its own way ---------------------------------------------

    @property
    def wishes(self) -> Wishes:
        """What this view asks for its tasks."""
        return Wishes(label=self._label)

    @abstractmethod
    def places(self) -> Sequence[int]:
        """Where the parts of one call can go now: engine ids, or -1 for any engine."""

    @abstractmethod
    def _resolved(self, targets: Any) -> Any:
        """Check targets that were assigned; they must be of this view's kind."""

    @abstractmethod
    def _apply(
        self, f: Callable[..., Any], args: Args, kwargs: Kwargs, waiting: bool = False
    ) -> AsyncResult: ...

    @abstractmethod
    def _map(
        self, f: Callable[..., Any], sequences: Sequence[Any], options: MapOptions
    ) -> AsyncResult: ...
