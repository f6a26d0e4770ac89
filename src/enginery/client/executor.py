"""A view as an executor of `concurrent.futures`, for libraries that take one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for_futures
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..error import ControllerLost, EngineryError
from ..wire.taking import Takeable
from .results import CANCEL_TIME, AsyncResult

if TYPE_CHECKING:
    from .views import View

LOOK = 1.0
"""Seconds after which it is looked whether there still is a controller."""


class TaskFuture(Takeable, Future[Any]):
    """The future of one task; `async_result` has its metadata and output.

    As an argument of another call it arrives as its value, as an `AsyncResult` does.
    """

    def __init__(self, async_result: AsyncResult) -> None:
        super().__init__()
        self.async_result = async_result

    @property
    def as_argument(self) -> AsyncResult:
        """What its value is taken from where it is an argument."""
        return self.async_result

    def cancel(self) -> bool:
        """Keep the task from running; True when it has not run and never will.

        Waits about a second at most to be told. A task that runs is left alone.
        """
        if not self.done() and self.async_result.cancel():
            super().cancel()
        return self.cancelled() or (self.done() and self.async_result.cancelled())


class ViewExecutor(Executor):
    """Runs calls by `view.apply_async`; made by `View.executor`.

    Values are unpickled, and callbacks called, in one thread of its own, which is there as long as
    something is under way. Its end is neither that of the view nor that of the client.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self._ended: queue.SimpleQueue[TaskFuture] = queue.SimpleQueue()
        self._pending: set[TaskFuture] = set()
        self._lock = threading.Lock()
        self._open = True
        self._served = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Call `fn(*args, **kwargs)` on an engine; UnsendableError names what cannot be sent."""
        if not self._open:
            raise RuntimeError("this executor was shut down; take another one: view.executor")
        future = TaskFuture(self.view.apply_async(fn, *args, **kwargs))
        with self._lock:
            self._pending.add(future)
            begin, self._served = not self._served, True
        if begin:
            threading.Thread(target=self._serve, name="enginery-futures", daemon=True).start()
        future.async_result.when_done(lambda: self._ended.put(future))
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """As the built-in `map`, in parallel: the values in order, TimeoutError after `timeout`."""
        options = {} if chunksize == 1 else {"chunksize": chunksize}
        result = self.view.map_async(fn, *iterables, **options)
        deadline = None if timeout is None else monotonic() + timeout

        def values() -> Iterator[Any]:
            try:
                for i in range(len(result)):
                    left = None if deadline is None else max(0.0, deadline - monotonic())
                    if not result.wait_for_item(i, left):
                        raise TimeoutError(
                            f"item {i} of {result.name} has not ended in {timeout:g} s"
                        )
                    yield result[i]
            finally:
                if not result.ready():
                    with suppress(EngineryError):  # which would stand before what has ended it
                        result._abort(timeout=CANCEL_TIME)

        return values()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; wait for those under way, unless `wait` is False."""
        self._open = False
        with self._lock:
            pending = list(self._pending)
        if cancel_futures and pending:
            self.view.client.abort([future.async_result for future in pending])
        if wait:
            wait_for_futures(pending)

    def _serve(self) -> None:
        while True:
            try:
                self._settle(self._ended.get(timeout=LOOK))
            except queue.Empty:
                self._look()
            with self._lock:
                if not self._pending:
                    self._served = False
                    return

    def _look(self) -> None:
        """Should the controller be gone for good, say so to everyone who waits."""
        with self._lock:
            pending = list(self._pending)
        try:
            pending[0].async_result.wait(0)
        except ControllerLost:
            for future in pending:
                self._settle(future)

    def _settle(self, future: TaskFuture) -> None:
        """This task has ended: tell who waits, once."""
        with self._lock:
            if future not in self._pending:
                return
            self._pending.remove(future)
        result = future.async_result
        if result.ready() and result.cancelled():
            Future.cancel(future)
        if not future.set_running_or_notify_cancel():
            return
        try:
            value = result.get(0)
        except BaseException as error:  # the user's, or the controller is gone: told to who waits
            future.set_exception(error)
        else:
            future.set_result(value)

    def __repr__(self) -> str:
        return f"<ViewExecutor on {self.view!r}>"
