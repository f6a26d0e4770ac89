"""The view whose tasks go to whichever engine has time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import intern
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.messages import Terms
from ..error import NotSupportedError
from ..frames import trims
from ..wire.dependent import Fit
from .calls import ANYWHERE, Args, Kwargs, Wishes, name_of
from .decorators import bound_copy, local_function
from .dependency import Dependency, dependency
from .display import reprs
from .flags import Flag, function_or_none, functions, number, seconds, truth, whole
from .map import LazyMap, MapOptions, balanced_map, window_size
from .results import AsyncResult
from .targets import some
from .views import View

if TYPE_CHECKING:
    from .client import Client

PLAIN_FLAGS = ("block", "label", "progress", "track")
"""Flags that ask nothing of the scheme."""


@trims
class LoadBalancedView(View):
    """Runs each task once, on any engine of the cluster or of `targets`.

    Flags besides those of `View`; times are in seconds, 0 or None: no limit:

    * `retries`: how often a task is tried again after it raised or its engine died (default 0: a
      function is started once at most); `recovery`: a function, or several, that gets the same
      arguments when that has not helped, and gives the result in its stead;
    * `after`, `follow`: task ids, results, lists of them, or a `Dependency`: tasks that must have
      ended before, and where those ran; `timeout`: how long a task may wait until an engine has
      it, `DependencyTimeout` then;
    * `fits`: a function of the engine's properties (a dictionary) that says whether a task may run
      there; `priority`: larger goes first (default 0);
    * `time_limit`: how long a task may run (a chunk of a map is one task); it is interrupted then,
      and its engine replaced if that does not help; `TaskTimeLimit`;
    * `clear_before`, `clear_after`: empty the engine's namespace before each run, and after it.
    """

    __slots__ = (
        "_after",
        "_clear_after",
        "_clear_before",
        "_fits",
        "_follow",
        "_priority",
        "_recovery",
        "_retries",
        "_time_limit",
        "_timeout",
    )
    FLAGS: ClassVar[tuple[str, ...]] = (
        "after", "block", "clear_after", "clear_before", "fits", "follow", "label", "priority",
        "progress", "recovery", "retries", "targets", "time_limit", "timeout", "track",
    )  # fmt: skip

    def __init__(self, client: Client, targets: list[int] | None = None) -> None:
        super().__init__(client, targets)
        self._retries = 0
        self._after: Dependency | None = None
        self._follow: Dependency | None = None
        self._fits: Callable[[Any], Any] | None = None
        self._recovery: tuple[Callable[..., Any], ...] = ()
        self._timeout = self._time_limit = self._priority = 0.0
        self._clear_before = self._clear_after = False

    retries = Flag(whole, "How often a task may be tried again.")
    after = Flag(dependency, "Tasks that must have ended before.")
    follow = Flag(dependency, "Tasks that must have ended before, and where they ran.")
    timeout = Flag(seconds, "Seconds that a task may wait; 0: any number.")
    time_limit = Flag(seconds, "Seconds that a task may run; 0: any number.")
    priority = Flag(number, "Larger goes first.")
    fits = Flag(function_or_none, "Whether the properties of an engine suit.")
    recovery = Flag(functions, "What gets the arguments of a task that has failed.")
    clear_before = Flag(truth, "Whether tasks start in an empty namespace.")
    clear_after = Flag(truth, "Whether tasks leave an empty namespace.")

    @property
    def wishes(self) -> Wishes:
        """What this view asks for its tasks."""
        wishes = self._wishes
        if wishes is None:
            if self.client.link.farms:
                self._check_pure()
            wishes = Wishes(
                tuple(self._targets or ()),
                self._retries,
                self._label,
                self._terms(),
                self._recovery,
            )
            if self._after is None and self._follow is None:  # else these can get more ids
                self._wishes = wishes
        return wishes

    def _check_pure(self) -> None:
        """NotSupportedError for what the pure scheme cannot do."""
        plain = type(self)(self.client)
        asked = [
            name
            for name in self.FLAGS
            if name not in PLAIN_FLAGS and getattr(self, name) != getattr(plain, name)
        ]
        if asked:
            raise NotSupportedError(
                f"{', '.join(asked)}: the scheme 'pure' cannot do that: no Python sees its tasks\n"
                "  A controller with another scheme can: ipcontroller --scheme=leastload"
            )

    def _terms(self) -> Terms | None:
        """What is not asked for by most views, if anything is."""
        terms = Terms(
            after=None if self._after is None else self._after.message(),
            follow=None if self._follow is None else self._follow.message(),
            timeout=self._timeout,
            priority=self._priority,
            time_limit=self._time_limit,
            clear_before=self._clear_before,
            clear_after=self._clear_after,
        )
        return None if terms == Terms() else terms

    def _fitting(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """The function, on engines whose properties suit."""
        return f if self._fits is None else Fit(f, self._fits)

    def imap(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        max_outstanding: int | str = "auto",
        chunksize: int | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
        bound: bool = False,
        **flags: Any,
    ) -> LazyMap:
        """Map lazily: read the input as results are taken; endless input is fine.

        At most `max_outstanding` tasks ("auto": 16 an engine, at least 64) are under way or wait to
        be taken.

        >>> from itertools import count, islice
        >>> squares = lview.imap(lambda n: n * n, count())
        >>> list(islice(squares, 5))
        [0, 1, 4, 9, 16]
        """
        view = self.variant(**flags)
        f = bound_copy(f) if bound else local_function(f)
        options = MapOptions(chunksize, ordered, return_exceptions)
        return LazyMap(
            view,
            view._fitting(f),
            sequences,
            options,
            window_size(max_outstanding, len(view.places())),
        )

    def register_joblib_backend(self, name: str = "enginery", make_default: bool = False) -> None:
        """Let libraries that use joblib compute on this view, with its flags.

        See `enginery.register_joblib_backend`. ImportError without joblib.

        >>> from joblib import Parallel, delayed, parallel_config
        >>> lview.register_joblib_backend()
        >>> with parallel_config("enginery"):
        ...     Parallel()(delayed(abs)(-i) for i in range(3))
        [0, 1, 2]
        """
        from .joblib_backend import register_joblib_backend

        register_joblib_backend(name, make_default, self)

    def abort(self, jobs: Any = None, running: bool = False) -> None:
        """Abort jobs of this client; without any named, all balanced tasks that are not done.

        >>> ars = [lview.apply_async(time.sleep, 60) for _ in range(9)]
        >>> lview.abort(running=True)
        >>> {type(ar.exception(timeout=30)).__name__ for ar in ars}
        {'TaskAborted'}
        """
        if jobs is None:
            jobs = [slot.id for slot in self.client.calls.outstanding() if slot.engine < 0]
        self.client.abort(jobs, running=running)

    def places(self) -> Sequence[int]:
        """As many times "any engine" as there are engines for this view."""
        self.client.expect_engines()
        return [ANYWHERE] * max(1, len(self._targets or self.client.link.engines))

    def __len__(self) -> int:
        return len(self._targets or self.client.link.engines)

    def __repr__(self) -> str:
        client = self.client
        targets = self._targets
        engines = f"engines {reprs.listed(targets)}" if targets else f"all {len(self)} engines"
        scheme = client.link.welcome.scheme if client.link.welcome else "not connected"
        return f"<LoadBalancedView {engines}, {scheme}, retries={self._retries}>"

    def _repr_html_(self) -> str:
        return reprs.html(repr(self))

    def _resolved(self, targets: Any) -> list[int] | None:
        if targets is None or (isinstance(targets, str) and targets == "all"):
            return None
        return some(targets, self.client.ids)

    def _apply(
        self, f: Callable[..., Any], args: Args, kwargs: Kwargs, waiting: bool = False
    ) -> AsyncResult:
        client, name = self.client, intern(f"apply({name_of(f)})")
        client.expect_engines()
        if self._fits is not None:
            f = self._fitting(f)
        wishes = self.wishes
        slot = client.calls.anywhere(f, args, kwargs, name, wishes=wishes, waiting=waiting)
        client.last = result = AsyncResult(client, (slot,), name=name, shape="single")
        return result

    def _map(
        self, f: Callable[..., Any], sequences: Sequence[Any], options: MapOptions
    ) -> AsyncResult:
        return balanced_map(self, self._fitting(f), sequences, options)
