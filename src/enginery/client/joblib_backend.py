"""Engines for libraries that compute by joblib, such as scikit-learn: a backend of it on a view."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from joblib import register_parallel_backend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase

from .executor import TaskFuture, ViewExecutor

if TYPE_CHECKING:
    from .balanced import LoadBalancedView


def register_joblib_backend(
    name: str = "enginery", make_default: bool = False, view: LoadBalancedView | None = None
) -> None:
    """Let `joblib.parallel_config(name)` compute on the engines of a view.

    Without a `view`, on all engines of the cluster of the default profile: it is looked for when
    the backend is first used, and NoControllerError says so if none runs. With `make_default`,
    whoever uses joblib in this process does, unless another backend is asked for.

    >>> from enginery import register_joblib_backend
    >>> from joblib import Parallel, delayed, parallel_config
    >>> register_joblib_backend("engines", view=lview)
    >>> with parallel_config("engines"):
    ...     Parallel()(delayed(pow)(i, 2) for i in range(5))
    [0, 1, 4, 9, 16]
    """
    find = _default_view if view is None else lambda: view
    register_parallel_backend(name, partial(ViewBackend, find), make_default=make_default)


def _default_view() -> LoadBalancedView:
    from .client import Client

    return Client().load_balanced_view()


class ViewBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What joblib asks of a backend, done by the executor of a view; `find` gives the view.

    Its batches are tasks of the view, with its flags. When one of them fails the rest is aborted,
    what runs too, as with joblib's own processes. What uses joblib within a task runs one after
    the other.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, find: Callable[[], LoadBalancedView], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._find = find
        self._executor: ViewExecutor | None = None
        self._pending: set[TaskFuture] = set()

    @cached_property
    def view(self) -> LoadBalancedView:
        """Where all of it runs."""
        return self._find()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """As many as `n_jobs` says, but not more than there are engines; -1: all of these."""
        if n_jobs == 0:
            raise ValueError("n_jobs=0 has no meaning; -1 stands for all engines")
        engines = max(1, len(self.view))
        if n_jobs is None:
            return 1
        return min(n_jobs, engines) if n_jobs > 0 else max(1, engines + 1 + n_jobs)

    def configure(
        self, n_jobs: int = -1, parallel: Any = None, prefer: Any = None, require: Any = None,
        **options: Any,
    ) -> int:  # fmt: skip
        """A call of `Parallel` begins: with few jobs it gets as many engines, the first ones."""
        self.parallel = parallel
        view, jobs = self.view, self.effective_n_jobs(n_jobs)
        if jobs < len(view):
            view = view.variant(targets=(view.targets or view.client.ids)[:jobs])
        self._executor = view.executor
        return jobs

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], Any] | None = None
    ) -> TaskFuture:
        """Run a batch."""
        assert self._executor is not None
        # As an argument: each batch is another one, and functions are remembered.
        future = self._executor.submit(joblib_batch, func)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # as joblib before 1.5 calls it

    def retrieve_result_callback(self, out: TaskFuture) -> Any:
        """The values of a batch that has ended; raises what it raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """One has failed, or somebody waits no more: the others are not wanted."""
        if self._pending:
            results = [future.async_result for future in tuple(self._pending)]
            self.view.client.abort(results, running=True)


def joblib_batch(batch: Callable[[], Any]) -> Any:
    return batch()
