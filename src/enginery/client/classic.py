"""The calls of 2010, on the client itself: which engines are meant is a keyword of each call.

`targets=None` leaves the choice to the scheduler, anything else names engines; `balanced=True`
with targets gives the work to one of them. Each call is that of a view, which starts with the
client's `block` and with no other flag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..frames import trims
from .decorators import ParallelFunction
from .flags import Checked, truth

if TYPE_CHECKING:
    from .balanced import LoadBalancedView
    from .direct import DirectView
    from .views import View

SCHEDULED = ("after", "follow", "timeout")
"""What only the scheduler can see to."""


@trims
class Classic:
    """Base of `Client`: `view`, `apply`, `map`, `parallel` and `get_results`.

    What they have in common: `targets` (None: any engine; an id; ids; "all" there are at the call),
    `balanced` (with targets: one of these), `block` (by default the client's), `track`; and, only
    for what is balanced, `after`, `follow` and `timeout` (seconds), as in `LoadBalancedView`.
    """

    _block = False
    block = Checked(truth, "Whether calls on the client wait, and what views made later start with")

    if TYPE_CHECKING:  # what `Client` has

        def direct_view(self, targets: Any = "all", **flags: Any) -> DirectView: ...

        def load_balanced_view(self, targets: Any = None, **flags: Any) -> LoadBalancedView: ...

        def get_result(self, ids: Any = None, block: bool | None = None) -> Any: ...

    def view(self, targets: Any = None, balanced: bool | None = None) -> View:
        """The view of these engines, the same one each time: direct, or balanced over them.

        `balanced` is by default whether there are no targets. TypeError for `balanced=False`
        without any.

        >>> rc.view([0, 1]).apply_sync(abs, -1)
        [1, 1]
        >>> rc.view() is lview
        True
        """
        if _balances(targets, balanced):
            return self.load_balanced_view(targets)
        return self.direct_view(targets)

    def apply(
        self,
        f: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        targets: Any = None,
        balanced: bool | None = None,
        block: bool | None = None,
        track: bool | None = None,
        after: Any = None,
        follow: Any = None,
        timeout: float | None = None,
    ) -> Any:
        """Call `f(*args, **kwargs)`; its value with `block`, an `AsyncResult` without.

        Of several engines, the list of their values in the order of `targets`. TypeError when
        `args` is no tuple or list.

        >>> rc.apply(pow, (2, 5), targets=[0, 1], block=True)
        [32, 32]
        >>> rc.apply(pow, (2, 5), block=True)  # on whichever engine has time
        32
        """
        if not isinstance(args, tuple | list):
            raise TypeError(f"args is the tuple or list of all arguments, as in (x,); not {args!r}")
        if not (kwargs is None or isinstance(kwargs, Mapping)):
            raise TypeError(f"kwargs is a dictionary of keyword arguments, not {kwargs!r}")
        view = self._fresh(
            targets, balanced, block=block, track=track, after=after, follow=follow, timeout=timeout
        )
        return view.apply(f, *args, **kwargs or {})

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        targets: Any = None,
        balanced: bool | None = None,
        block: bool | None = None,
        track: bool | None = None,
        after: Any = None,
        follow: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Call `f` on each item, or on each tuple of items of several sequences.

        With `block` a list of values, else an `AsyncResult`. Other options are those of `View.map`.

        >>> rc.map(abs, [-1, -2, -3], block=True)
        [1, 2, 3]
        """
        view = self._fresh(
            targets, balanced, block=block, track=track, after=after, follow=follow, timeout=timeout
        )
        return view.map(f, *sequences, **options)

    def parallel(
        self,
        targets: Any = None,
        *,
        balanced: bool | None = None,
        block: bool | None = None,
        track: bool | None = None,
        after: Any = None,
        follow: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Callable[[Callable[..., Any]], ParallelFunction]:
        """Make a decorator: the function then gets sequences in parts; see `ParallelFunction`.

        Other options are those of `View.map`, for its `map`.

        >>> @rc.parallel("all", block=True)
        ... def squares(xs):
        ...     return [x * x for x in xs]
        >>> squares(range(6))
        [0, 1, 4, 9, 16, 25]
        """
        view = self._fresh(
            targets, balanced, block=block, track=track, after=after, follow=follow, timeout=timeout
        )
        return view.parallel(**options)

    def get_results(self, ids: Any = None, block: bool | None = None) -> Any:
        """As `get_result`."""
        return self.get_result(ids, block)

    def _fresh(self, targets: Any, balanced: bool | None, **flags: Any) -> View:
        """A view of its own for one call, so that what the user has set on others stays theirs."""
        given = {name: value for name, value in flags.items() if value is not None}
        given.setdefault("block", self.block)
        if _balances(targets, balanced):
            return self.load_balanced_view(targets, **given)
        scheduled = [name for name in SCHEDULED if name in given]
        if scheduled:
            raise TypeError(
                f"{', '.join(scheduled)}: only for load-balanced execution; leave targets away, "
                "or add balanced=True to use one of them"
            )
        return self.direct_view(targets, **given)


def _balances(targets: Any, balanced: bool | None) -> bool:
    """Whether the scheduler is to choose an engine."""
    if balanced is None:
        return targets is None
    try:
        balanced = truth(balanced)
    except TypeError as error:
        raise TypeError(f"balanced: {error}") from None
    if targets is None and not balanced:
        raise TypeError("balanced=False needs targets: an engine id, a list of ids, or 'all'")
    return balanced
