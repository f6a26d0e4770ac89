"""The client: the engines of a cluster, the views on them, and all that was asked for."""

from __future__ import annotations

import signal as signals
import weakref
from collections.abc import Iterator, Mapping
from operator import index
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, NoReturn, Self, SupportsIndex, TypeVar, cast

from ..core.messages import Clear, Query, Shutdown, Signal
from ..error import NoEnginesRegistered, NotSupportedError, TimeoutError, UnknownTask
from ..frames import inner, trims
from ..net.keys import ConnectionFile
from . import magics, text
from .admission import Admitting
from .balanced import LoadBalancedView
from .calls import Calls
from .classic import Classic
from .connect import connect
from .direct import DirectView
from .display import reprs
from .display.progress import Engines, follow
from .display.shown import Shown
from .display.working import Working
from .divided import form_of
from .failing import told_failed
from .link import Slot, rest, until
from .recorded import Recorded
from .records import Records
from .results import AsyncResult
from .targets import MORE_ENGINES, START_ENGINES, present, resolve, some
from .views import View

V = TypeVar("V", bound=View)

NO_PASSWORD = (
    "ssh is given no password here, where others could read it\n"
    "  Name a key: Client(sshserver=…, sshkey=…), or load one into an ssh-agent."
)

NEWS = 0.5
"""Seconds after which a client has been told of engines that somebody else has seen come."""

ANSWER = 0.5
"""Seconds that a wait has at least to hear of tasks that are not held here."""


@trims
class Client(Recorded, Classic):
    """A connection to a cluster.

    `Client()` finds the cluster of the default profile, `Client(profile=…)` that of another one,
    `Client("…/ipcontroller-client.json")` that of a connection file, `Client("tcp://host:port")`
    one whose key is in the profile. Waits at most `timeout` seconds for the controller's answer,
    and `wait` seconds (default: none) for one that is about to start; raises NoControllerError,
    which says what was looked for and what to do.

    With `sshserver="me@host"` it goes through the system's ssh, to a controller that listens where
    only that host can connect; `sshkey` is the path of a key, when ssh would not find it by itself.

    Indexing gives direct views: `rc[0]`, `rc[:]`, `rc[0, 2]`; `rc[None]` and
    `rc.load_balanced_view()` the balanced one. `block` is what views made later start with; `last`
    is the last result that was asked for.

    When there is no room for more tasks, since the controller's queue is full or `queue_limit` of
    this client have not ended, calls wait for it (`queue_timeout` seconds at most), or raise
    QueueFull: that is `when_full`, "wait" or "raise".
    """

    cluster: Any = None
    """The `Cluster` that this client keeps alive, if that made it."""
    magics_view: DirectView | None = None
    """The view that `%px` works on, when it found this client by itself."""

    def __init__(
        self,
        connection_info: str | Path | Mapping[str, Any] | ConnectionFile | None = None,
        *,
        profile: str | None = None,
        profile_dir: str | Path | None = None,
        cluster_id: str = "",
        timeout: float = 10.0,
        wait: float = 0.0,
        sshserver: str | None = None,
        sshkey: str | Path | None = None,
        password: str | None = None,
        queue_limit: int = 0,
        when_full: str = "wait",
        queue_timeout: float | None = None,
    ) -> None:
        if password is not None:
            raise NotSupportedError(NO_PASSWORD)
        self.link, self.name = connect(
            connection_info,
            profile=profile,
            profile_dir=profile_dir,
            cluster_id=cluster_id,
            timeout=timeout,
            wait=wait,
            sshserver=sshserver,
            sshkey=sshkey,
        )
        self.queue_limit, self.when_full = queue_limit, when_full
        self.queue_timeout = queue_timeout
        self.calls = Calls(self.link)
        self.working = Working(self.link)
        self.shown = Shown()
        self.last: AsyncResult | None = None
        self._views: dict[tuple[Any, ...], View] = {}
        self._seen_engines = False
        # closes the link when this client is forgotten, and when the interpreter exits
        self._close = weakref.finalize(self, self.link.close)
        magics.made(self)

    # --- room for tasks -------------------------------------------------------------------------

    queue_limit: Admitting[int] = Admitting()
    """Tasks of this client that have not ended, at most; 0: as many as the controller takes."""
    when_full: Admitting[str] = Admitting()
    """What a call does when there is no room for its tasks: "wait", or "raise" QueueFull."""
    queue_timeout: Admitting[float | None] = Admitting()
    """Seconds that such a wait may take before it raises QueueFull; None: any number."""

    # --- engines --------------------------------------------------------------------------------

    @property
    def ids(self) -> list[int]:
        """The ids of the engines that are registered now, in ascending order.

        >>> rc.ids
        [0, 1, 2, 3]
        """
        self.link.look()
        return sorted(self.link.engines)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[DirectView]:
        return (self.direct_view(id) for id in self.ids)

    def wait_for_engines(self, n: int = 1, timeout: float | None = None) -> None:
        """Wait until `n` engines are registered; TimeoutError after `timeout` seconds.

        At a prompt a bar is shown when that takes long.

        >>> rc.wait_for_engines(4, timeout=30)
        """
        if not follow(Engines(self.link, n), "auto", timeout=timeout):
            there = f"{len(self)} of {n} engines are registered after {timeout:g} s"
            raise TimeoutError(there + (told_failed(self.link) or MORE_ENGINES))

    @inner
    def expect_engines(self) -> None:
        """Raise NoEnginesRegistered where work would wait for an engine that nobody has seen yet.

        Once there has been one, work waits for the next: engines come and go.
        """
        link = self.link
        self._seen_engines = self._seen_engines or link.wait(lambda: bool(link.engines), NEWS)
        if not self._seen_engines:
            failed = told_failed(link)
            raise NoEnginesRegistered(f"no engine is registered yet; {START_ENGINES}{failed}")

    # --- views ----------------------------------------------------------------------------------

    def __getitem__(self, targets: Any) -> Any:
        return self.load_balanced_view() if targets is None else self.direct_view(targets)

    def direct_view(self, targets: Any = "all", **flags: Any) -> DirectView:
        """The view of these engines: an id, ids, a slice, or "all" there are at each call.

        The same targets give the same view, unless flags are given.

        >>> rc.direct_view([0, 2]).apply_sync(abs, -1)
        [1, 1]
        >>> rc.direct_view("all", block=True).apply(abs, -1)
        [1, 1, 1, 1]
        """
        view = DirectView(self, resolve(targets, self.ids))
        return view.set_flags(**flags) if flags else self._cached(view)

    def load_balanced_view(self, targets: Any = None, **flags: Any) -> LoadBalancedView:
        """The view that balances work over these engines, or over all.

        The same targets give the same view, unless flags are given.

        >>> rc.load_balanced_view(retries=2).map_sync(abs, [-1, -2])
        [1, 2]
        """
        if targets is None or (isinstance(targets, str) and targets == "all"):
            view = LoadBalancedView(self)
        else:
            view = LoadBalancedView(self, some(targets, self.ids))
        return view.set_flags(**flags) if flags else self._cached(view)

    def _cached(self, view: V) -> V:
        return cast(V, self._views.setdefault(view.key, view))

    def activate(self, targets: Any = "all", suffix: str = "") -> DirectView:
        """Make `%px<suffix>` and the other magics work on these engines, and wait for them.

        Gives their view. RuntimeError outside IPython.
        """
        view = self.direct_view(targets, block=True)
        view.activate(suffix)
        return view

    @inner
    def view_moved(self, view: View, old: tuple[Any, ...]) -> None:
        """A view has other targets now: who asks for the old ones shall not get it."""
        if self._views.get(old) is view:
            del self._views[old]
            self._views.setdefault(view.key, view)

    # --- results --------------------------------------------------------------------------------

    @inner
    def result(
        self, slots: list[Slot], kind: type[AsyncResult] = AsyncResult, **form: Any
    ) -> AsyncResult:
        """Make the result of tasks that were just submitted."""
        self.last = result = kind(self, slots, **form)
        return result

    @property
    def history(self) -> list[str]:
        """The ids of the last tasks of this client, oldest first.

        >>> ar = rc[0].apply_async(abs, -1)
        >>> rc.history[-1] == ar.msg_ids[0]
        True
        """
        return list(self.calls.history)

    @property
    def outstanding(self) -> set[str]:
        """The ids of the tasks of this client that are not done.

        >>> rc.wait(timeout=30), rc.outstanding
        (True, set())
        """
        return {slot.id for slot in self.calls.outstanding()}

    @property
    def results(self) -> Mapping[str, Any]:
        """The values of tasks that are done and whose results are still held here, by id.

        >>> ar = rc[0].apply_async(abs, -1)
        >>> ar.wait(30)
        True
        >>> rc.results[ar.msg_ids[0]]
        1
        """

        def value(slot: Slot) -> Any:
            kind, form = form_of([slot], True, "results")
            return kind(self, [slot], **form).get(0)

        return Records(self, value)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of tasks that are done and whose results are still held here, by id.

        >>> ar = rc[2].apply_async(abs, -1)
        >>> ar.wait(30)
        True
        >>> rc.metadata[ar.msg_ids[0]]["engine_id"]
        2
        """

        def metadata(slot: Slot) -> Any:
            return AsyncResult(self, [slot], name=slot.name, shape="single").metadata

        return Records(self, metadata)

    def get_result(self, ids: Any = None, block: bool | None = None) -> Any:
        """The result of tasks of this client or of another one, by id.

        `ids`: an id, a number of `history` (default -1, the last), an `AsyncResult`, or a list of
        those. Raises UnknownTask for an id that the controller does not know (any more).

        >>> ar = rc[:].apply_async(abs, -1)
        >>> rc.get_result(ar).get()
        [1, 1, 1, 1]
        """
        single = not isinstance(ids, (list, tuple, set, frozenset, AsyncResult))
        slots = self.slots_of(self._ids(-1 if ids is None else ids))
        kind, form = form_of(slots, single, "get_result")
        result = self.result(slots, kind, **form)
        return result.get() if (self.block if block is None else block) else result

    def wait(self, jobs: Any = None, timeout: float | None = None) -> bool:
        """Wait until jobs are done, at most `timeout` seconds; whether they are.

        `jobs`: ids, `AsyncResult`s, numbers of `history`, or lists of those; by default all that is
        outstanding.

        >>> ar = rc[:].apply_async(time.sleep, 0.1)
        >>> rc.wait(ar, timeout=30)
        True
        """
        end = until(timeout)
        if jobs is None:
            waiting = self.calls.outstanding()
        else:
            try:
                waiting = self.slots_of(self._ids(jobs), rest(end, ANSWER))
            except TimeoutError:
                return False

        def done() -> bool:
            while waiting and waiting[-1].outcome is not None:
                waiting.pop()
            return not waiting

        in_time: bool = self.link.wait(done, rest(end))
        return in_time

    @inner
    def slots_of(self, ids: list[str], timeout: float | None = 10.0) -> list[Slot]:
        """The slots of these tasks; what is not known here comes from the controller."""
        here = {id: slot for id in ids if (slot := self.calls.slots.get(id)) is not None}
        missing = [id for id in ids if id not in here]
        if missing:
            fetched = self.link.fetch(missing, timeout)
            self.calls.remember(fetched)
            here.update(zip(missing, fetched, strict=True))
        return [here[id] for id in ids]

    def spin(self) -> None:
        """Do nothing: news arrives by itself."""

    def abort(
        self,
        jobs: Any = None,
        targets: Any = None,
        running: bool = False,
        block: bool | None = None,
    ) -> None:
        """Keep jobs from running: those that have not started fail with TaskAborted.

        `jobs` as for `wait`; `targets`: only what is for these engines. What runs is left alone
        (and not tried again) unless `running`; what is done stays done. `block` as in `clear`.
        UnknownTask for an id that is none.

        >>> ars = [rc[0].apply_async(time.sleep, 0.2) for _ in range(3)]
        >>> rc.abort(ars[2])
        >>> type(ars[2].exception(timeout=30)).__name__
        'TaskAborted'
        """
        if jobs is None:
            slots = self.calls.outstanding()
        else:
            ids = self._ids(jobs)
            strange = [id for id in ids if id not in self.calls.slots]
            if strange:
                self.link.ask(Query(0, "tasks", strange))
            slots = [self.calls.slots.get(id) or Slot(id) for id in ids]
        if targets is not None:
            engines = set(some(targets, self.ids))
            slots = [slot for slot in slots if slot.engine in engines]
        self.calls.abort(slots, running)

    def _ids(self, jobs: Any) -> list[str]:
        """The task ids that jobs mean, in their order, each once."""
        if isinstance(jobs, str):
            return [jobs]
        if isinstance(jobs, AsyncResult):
            return list(jobs.msg_ids)
        if isinstance(jobs, SupportsIndex) and not hasattr(jobs, "__len__"):  # that is an array
            try:
                return [self.calls.history[index(jobs)]]
            except IndexError:
                raise UnknownTask(f"the history of this client has no task {jobs}") from None
        try:
            parts = list(jobs)
        except TypeError:
            raise TypeError(
                f"{jobs!r} is no task id, no AsyncResult, and no list of them"
            ) from None
        return list(dict.fromkeys(id for part in parts for id in self._ids(part)))

    # --- control: passes the queues -------------------------------------------------------------

    def queue_status(self, targets: Any = "all", verbose: bool = False) -> dict[Any, Any]:
        """How many tasks wait ("queue"), are sent ahead or run ("tasks"), or have run, for each
        engine; of the last ("completed"), those that the controller remembers.

        "unassigned" counts balanced tasks that have no engine yet. With `verbose`, ids instead of
        counts; for one engine, only what is of it.

        >>> rc.queue_status()["unassigned"]
        0
        """
        meant = resolve(targets, self.ids)
        query = Query(0, "queues", engines=present(meant, self.ids), verbose=verbose)
        queues: dict[Any, Any] = self.link.ask(query)
        return queues[meant] if isinstance(meant, int) else queues

    def clear(self, targets: Any = "all", block: bool | None = None) -> None:
        """Remove every name of the user from engines, before they start anything else.

        It waits until the controller has taken this, whatever `block` says.

        >>> rc[:]["a"] = 1
        >>> rc.clear()
        >>> rc[0].apply_sync(lambda: "a" in globals())
        False
        """
        self.link.ask(Clear(some(targets, self.ids)))

    def send_signal(
        self, signal: int | str, targets: Any = "all", block: bool | None = None
    ) -> None:
        """Send a signal, by number or by name, to engines; SIGINT interrupts what runs.

        `block` as in `clear`. ValueError for a signal that there is not.

        >>> ar = rc[0].apply_async(time.sleep, 60)
        >>> while not (ar.at_work or ar.ready()):  # until it runs
        ...     time.sleep(0.01)
        >>> rc.send_signal("SIGINT", 0)
        >>> ar.exception(timeout=30).ename
        'KeyboardInterrupt'
        """
        if isinstance(signal, str):
            name = signal.upper()
            number = getattr(signals, name if name.startswith("SIG") else f"SIG{name}", None)
            if number is None:
                raise ValueError(f"there is no signal {signal!r}")
            signal = int(number)
        self.link.ask(Signal(int(signals.Signals(signal)), some(targets, self.ids)))

    def shutdown(
        self,
        targets: Any = "all",
        restart: bool = False,
        hub: bool = False,
        block: bool = True,
        timeout: float = 30.0,
    ) -> None:
        """End engines, what they run included; with `restart`, others take their places.

        With `hub` the controller and all engines end, and this client is closed. Else waits until
        the engines have gone (or come back) unless `block` is False; TimeoutError after `timeout`
        seconds.

        >>> before = rc[0].apply_sync(os.getpid)
        >>> rc.shutdown(0, restart=True)
        >>> rc[0].apply_sync(os.getpid) == before
        False
        """
        if hub:
            self.link.ask_last(Shutdown([], restart, controller=True), timeout)
            self.close()
            return
        deadline = monotonic() + timeout
        lives = {id: self.link.engines[id].incarnation for id in some(targets, self.ids)}
        self.link.ask(Shutdown(list(lives), restart), timeout)

        def over() -> bool:
            now = self.link.engines
            there = [id for id in lives if id in now]
            renewed = all(now[id].incarnation != lives[id] for id in there)
            return renewed and (len(there) == len(lives) if restart else True)

        if block and not self.link.wait(over, max(0.0, deadline - monotonic())):
            what = "have not come back" if restart else "have not ended"
            raise TimeoutError(f"engines {list(lives)} {what} after {timeout:g} s")

    # --- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the cluster, which goes on; waits until all that was submitted is accepted.

        >>> with rc.cluster.connect_client_sync() as other:  # closes it at its end
        ...     other[0].apply_sync(abs, -1)
        1
        """
        self._close()
        self.shown.look()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client stays in its process; one on an engine: enginery.Client(file)")

    def __repr__(self) -> str:
        return self.shown_as()[0]

    def _repr_html_(self) -> str:
        return self.shown_as()[1]

    def _ipython_display_(self) -> None:
        """IPython asks: in a notebook it is kept up to date until it is closed."""
        self.shown.client(self)

    @inner
    def shown_as(self, rows: bool = False) -> tuple[str, str]:
        """Its repr, with a table of the engines if there shall be `rows`, and all that as HTML."""
        name, table = self.name, []
        seen = self.working.look(again=True) if self._close.alive else None
        address = self.link.file.url.partition("://")[2]
        if seen is not None:
            facts = f"{reprs.cluster_now(seen.status)}, controller {address}"
            table = reprs.rows(seen.engines)
        elif not self._close.alive:
            facts = "closed"
        else:
            silent = "has ended" if self.link.ended else "has not answered"
            facts = f"{text.count(len(self.link.engines), 'engine')}, controller {address} {silent}"
        line = f"<Client {name}: {facts}>"
        return reprs.with_rows(line, table) if rows else line, reprs.html(line, table=table)
