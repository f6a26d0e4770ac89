"""The view whose tasks go to whichever engine has time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar

from ..frames import trims
from .calls import ANYWHERE, Args, Kwargs, Wishes, name_of
from .decorators import bound_copy, local_function
from .map import LazyMap, MapOptions, balanced_map, window_size
from .results import AsyncResult
from .targets import some
from .views import View

if TYPE_CHECKING:
    from .client import Client


@trims
class LoadBalancedView(View):
    """Runs each task once, on any engine of the cluster or of `targets`.

    Flags besides those of `View`: `retries`, how often a task is tried again after it raised or
    its engine died (default 0: a function is started once at most).
    """

    __slots__ = ("_retries",)
    FLAGS: ClassVar[tuple[str, ...]] = ("block", "label", "progress", "retries", "targets")

    def __init__(self, client: Client, targets: list[int] | None = None) -> None:
        super().__init__(client, targets)
        self._retries = 0

    @property
    def retries(self) -> int:
        """How often a task may be tried again."""
        return self._retries

    @retries.setter
    def retries(self, value: int) -> None:
        if isinstance(value, bool) or (number := index(value)) < 0:
            raise ValueError(f"retries is a number from 0 up, not {value!r}")
        self._retries = number
        self._wishes = None

    @property
    def wishes(self) -> Wishes:
        """What this view asks for its tasks."""
        if self._wishes is None:
            self._wishes = Wishes(tuple(self._targets or ()), self._retries, self._label)
        return self._wishes

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

        At most `max_outstanding` tasks ("auto": 16 an engine) are under way or wait to be taken.
        """
        view = self.variant(**flags)
        f = bound_copy(f) if bound else local_function(f)
        options = MapOptions(chunksize, ordered, return_exceptions)
        return LazyMap(
            view, f, sequences, options, window_size(max_outstanding, len(view.places()))
        )

    def abort(self, jobs: Any = None, running: bool = False) -> None:
        """Abort jobs of this client; without any named, all balanced tasks that are not done."""
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
        engines = f"engines {self._targets}" if self._targets else f"all {len(self)} engines"
        scheme = client.link.welcome.scheme if client.link.welcome else "not connected"
        return f"<LoadBalancedView {engines}, {scheme}, retries={self._retries}>"

    def _resolved(self, targets: Any) -> list[int] | None:
        if targets is None or (isinstance(targets, str) and targets == "all"):
            return None
        return some(targets, self.client.ids)

    def _apply(
        self, f: Callable[..., Any], args: Args, kwargs: Kwargs, waiting: bool = False
    ) -> AsyncResult:
        client, name = self.client, f"apply({name_of(f)})"
        client.expect_engines()
        slots = client.calls.same(
            f, args, kwargs, name, engines=(ANYWHERE,), wishes=self.wishes, waiting=waiting
        )
        return client.result(slots, name=name, shape="single")

    def _map(
        self, f: Callable[..., Any], sequences: Sequence[Any], options: MapOptions
    ) -> AsyncResult:
        return balanced_map(self, f, sequences, options)
