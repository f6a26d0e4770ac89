"""`Cluster`: a controller and engines on this host, for as long as a program needs them.

The controller and the supervisor of the engines are started at the same time, and waited for on a
pipe and on the connection. They belong to the process that started them: when it ends, in whatever
way, they see that and end too, unless the cluster was made with `shutdown_atexit=False`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable
from functools import partial, wraps
from importlib import import_module
from operator import index
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsIndex, TypeVar

from ..core.ahead import meant
from ..error import ClusterError, ConnectionFileError, EngineryError, NoControllerError
from ..frames import trims
from ..net.keys import ConnectionFile
from . import record
from .local import LocalProcesses, failed
from .old_logs import remove_old_logs
from .places import check_cluster_id, cluster_file, open_profile, refuse_second
from .process import GRACE, Process, birth

if TYPE_CHECKING:
    from ..client.client import Client
    from ..client.link import Link

P = ParamSpec("P")
R = TypeVar("R")

LOOK = 0.25
"""Seconds between two looks at the processes while engines are waited for: one may have died."""

SOON = 1.0
"""Seconds that a repr waits for the controller, and clients to hear what the cluster has heard."""


def _awaited(blocking: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The form of a blocking method that is awaited: it runs in a thread."""

    @wraps(blocking)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio  # imported already by who awaits

        return await asyncio.to_thread(blocking, *args, **kwargs)

    awaited.__name__ = blocking.__name__.removesuffix("_sync")
    return awaited


@trims
class Cluster:
    """A controller and `n` engines (default: one per CPU) on this host.

    As a context manager it gives a client with all engines there::

        with Cluster(n=4) as rc:
            rc[:].apply_sync(os.getpid)

    `cluster_id` tells clusters of one profile apart (default: an id of its own; "" is where
    `Client()` looks). `hwm` (a number or "auto"), `scheme`, `ip`, `location`, `client_port`,
    `engine_port` and `log_level` are the options of `ipcontroller`; what is not given comes from
    the profile's configuration files. `scheme` is a name, or the import path of your own,
    "module:Class", which is found where this program finds modules. `timeout` (seconds) is for
    starting. With `shutdown_atexit=False` the cluster outlives the program.

    A controller that is killed is started again as long as this program runs (but for
    `restart_controller=False`) and goes on from its journal; with `journal="none"` there is none,
    and a cluster whose controller is killed has ended. `database` is where the history is kept:
    "sqlite" (in the profile, the default), "none", or a URL.

    Of methods whose names end in `_sync` there is a form without it: `start_cluster_sync()`
    blocks, `start_cluster()` is awaited. Raises ClusterError when a process does not start,
    ValueError for what cannot be.
    """

    def __init__(
        self,
        n: int | None = None,
        *,
        profile: str = "default",
        profile_dir: str | os.PathLike[str] = "",
        cluster_id: str | None = None,
        engines: str = "local",
        hwm: int | str | None = None,
        scheme: str | None = None,
        ip: str | None = None,
        location: str | None = None,
        client_port: int | None = None,
        engine_port: int | None = None,
        log_level: str | None = None,
        log_format: str | None = None,
        journal: str | None = None,
        database: str | None = None,
        shutdown_atexit: bool = True,
        restart_controller: bool = True,
        timeout: float = 60.0,
    ) -> None:
        if engines != "local":
            raise ValueError(
                f"engines={engines!r}: engines are started on this host ('local')\n"
                "  On others:  ipcontroller --ip=ADDRESS  here, and there  ipengine -n 8\n"
                "  (by ssh, mpiexec or a batch system; it needs the file ipcontroller-engine.json)"
            )
        self.n = _cpus() if n is None else _number(n)
        self.profile = open_profile(profile or "default", profile_dir)
        self.cluster_id = check_cluster_id(
            os.urandom(4).hex() if cluster_id is None else cluster_id
        )
        self.timeout = timeout
        self.shutdown_atexit = shutdown_atexit
        log = {"log_level": log_level, "log_format": log_format}
        if hwm is not None:
            meant(hwm)
        if journal not in {None, "file", "none"}:
            raise ValueError(f"journal is 'file' or 'none', not {journal!r}")
        self.restart_controller = restart_controller and journal != "none"
        own = {"hwm": hwm, "ip": ip, "location": location, "journal": journal, "database": database}
        ports = {"client_port": client_port, "engine_port": engine_port}
        self._controller_settings = _given(own | ports | log) | _scheme(scheme)
        self._engine_settings = _given(log)
        self._processes = LocalProcesses(self.profile, self.cluster_id, shutdown_atexit)
        self._link: Link | None = None
        self._clients: weakref.WeakSet[Client] = weakref.WeakSet()  # those made here
        self._attached = False

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        profile: str = "default",
        profile_dir: str | os.PathLike[str] = "",
        cluster_id: str = "",
    ) -> Cluster:
        """A cluster that runs already, by its cluster file or by its profile and cluster id.

        It does not end with this program. Raises ClusterError when there is no such file.
        """
        if path is not None:
            profile_dir = Path(path).absolute().parent.parent
        else:
            security = open_profile(profile, profile_dir).security
            path = cluster_file(security, check_cluster_id(cluster_id))
        found = record.read(Path(path))
        processes = [Process(**process) for process in found["processes"]]
        cluster = cls._attach(profile, profile_dir, found["cluster_id"], processes, found["n"])
        cluster._processes.file, cluster._processes.started = Path(path), found.get("started")
        return cluster

    @classmethod
    def from_connection(cls, file: ConnectionFile, profile_dir: str | os.PathLike[str]) -> Cluster:
        """The cluster of a controller of this host that was started by hand."""
        controller = Process("controller", file.pid, birth(file.pid))
        return cls._attach("default", profile_dir, file.cluster_id, [controller], 0)

    @classmethod
    def _attach(
        cls,
        profile: str,
        profile_dir: str | os.PathLike[str],
        cluster_id: str,
        processes: list[Process],
        n: int,
    ) -> Cluster:
        cluster = cls(
            n,
            profile=profile,
            profile_dir=profile_dir,
            cluster_id=cluster_id,
            shutdown_atexit=False,
        )
        cluster._attached = True
        cluster._processes.all = processes
        return cluster

    # --- what it is -----------------------------------------------------------------------------

    @property
    def client_connection_file(self) -> str:
        """Path of the file with which `Client` connects."""
        infix = f"-{self.cluster_id}" if self.cluster_id else ""
        return str(self.profile.security / f"ipcontroller{infix}-client.json")

    @property
    def cluster_file(self) -> str:
        """Path of the file for `Cluster.from_file`."""
        return str(cluster_file(self.profile.security, self.cluster_id))

    @property
    def controller(self) -> Process:
        """The controller's process, running or ended; ClusterError when there was none yet."""
        controller = self._processes.controller
        if controller is None:
            raise ClusterError("this cluster was not started yet: start_cluster_sync() starts it")
        return controller

    @property
    def controller_pid(self) -> int:
        """Process id of the controller; ClusterError when it is not running."""
        if not self.running:
            raise ClusterError("this cluster is not running: start_cluster_sync() starts it")
        return self.controller.pid

    @property
    def engine_pids(self) -> dict[int, int]:
        """Process ids of the engines that are registered now, by engine id."""
        return {engine["id"]: engine["pid"] for engine in self._engines()}

    @property
    def running(self) -> bool:
        """Whether its controller runs."""
        controller = self._processes.controller
        return controller is not None and controller.running

    def wait_for_end(self, timeout: float | None = None) -> bool:
        """Wait until its controller has ended for good; one that is started again goes on.

        Gives whether it has; False when `timeout` seconds are over first.
        """
        return self._processes.await_end(timeout)

    @property
    def processes(self) -> list[Process]:
        """Its controller and its supervisors of engines, those that run."""
        return [process for process in self._processes.all if process.running]

    def __repr__(self) -> str:
        name = f"{self.profile.name} {self.cluster_id}".rstrip()
        if not self.running:
            state = "has ended" if self._processes.all else "not running"
            return f"<Cluster {name}: {state}, local, {self.n} engines>"
        try:
            there = self._engines_soon()
            engines = f"{there} of {max(there, self.n)} engines"
        except (EngineryError, OSError):  # said in place of the count
            engines = "controller does not answer"
        return f"<Cluster {name}: running, local, {engines}, log {_short(self.profile.log)}>"

    def _repr_html_(self) -> str:
        from ..client.display import reprs

        return reprs.html(repr(self))

    def _engines_soon(self) -> int:
        """How many engines there are; of a controller that is slow, how many there were."""
        from ..core.messages import Query

        link = self._connected(SOON)
        try:
            return len(link.ask(Query(0, "engines"), timeout=SOON / 2))
        except EngineryError:
            if not link.engines:
                raise
            return len(link.engines)

    # --- starting -------------------------------------------------------------------------------

    def start_cluster_sync(self, n: int | None = None) -> None:
        """Start the controller and the engines; returns when all engines are there."""
        deadline = time.monotonic() + self.timeout
        with self._starting(n, deadline):
            self._await_engines(self._connected(), self.n, self._processes.all, deadline)

    def start_and_connect_sync(self, n: int | None = None, activate: bool = False) -> Client:
        """Start it; a client, with all engines there.

        `%px` works on them then if `activate` (RuntimeError outside IPython).

        >>> rc = en.Cluster(n=1).start_and_connect_sync()
        >>> rc[0].apply_sync(abs, -1)
        1
        >>> rc.cluster.stop_cluster_sync()
        """
        deadline = time.monotonic() + self.timeout
        with self._starting(n, deadline):
            client = self.connect_client_sync(timeout=max(1.0, deadline - time.monotonic()))
            try:
                self._await_engines(client.link, self.n, self._processes.all, deadline)
                if activate:
                    client.activate()
            except BaseException:
                client.close()
                raise
        return client

    def connect_client_sync(self, *, timeout: float = 10.0) -> Client:
        """A new client; it keeps this cluster alive.

        >>> with rc.cluster.connect_client_sync() as other:
        ...     len(other)
        4
        """
        from ..client.client import Client

        client = Client(self.client_connection_file, timeout=timeout)
        client.cluster = self
        self._clients.add(client)
        return client

    def start_engines_sync(self, n: int | None = None) -> None:
        """Start `n` more engines; returns when they are there.

        >>> with en.Cluster(n=1) as rc:
        ...     rc.cluster.start_engines_sync(2)
        ...     rc.ids
        [0, 1, 2]
        """
        self.add_engines(n, owned=self.shutdown_atexit)

    def add_engines(self, n: int | None = None, *, owned: bool) -> Process:
        """Start `n` more engines, which (`owned`) end with this process; their supervisor."""
        number = _cpus() if n is None else _number(n)
        link = self._connected()
        before = len(self._engines())
        owner = {"owner_pid": os.getpid() if owned else 0}
        supervisor = self._processes.start_engines(number, self._engine_settings | owner)
        record.add(Path(self.cluster_file), supervisor, number)
        self.n += number
        deadline = time.monotonic() + self.timeout
        self._await_engines(link, before + number, [self.controller, supervisor], deadline)
        self._heard(lambda link: len(link.engines) >= before + number)
        return supervisor

    @contextlib.contextmanager
    def _starting(self, n: int | None, deadline: float) -> Any:
        """Start the processes; whatever goes wrong until the end of the block, end them again."""
        if self._processes.all:
            if self.running:
                raise ClusterError(f"{self!r} is running already")
            self.stop_cluster_sync()
        self.n = self.n if n is None else _number(n)
        self._processes = LocalProcesses(self.profile, self.cluster_id, self.shutdown_atexit)
        if self.shutdown_atexit:
            weakref.finalize(self, self._processes.stop)
        try:
            self._start_processes(deadline)
            yield
        except BaseException:
            self.stop_cluster_sync()
            raise

    def _start_processes(self, deadline: float) -> None:
        """Start the controller and the supervisor side by side; wait until the one listens."""
        processes = self._processes
        refuse_second(self.profile, self.cluster_id)
        remove_old_logs(self.profile)  # before there may be new ones of the same names
        ready = processes.start_controller(self._controller_settings)
        try:
            if self.n:
                processes.start_engines(self.n, self._engine_settings)
            import_module("..client.client", __package__)  # slow, so while the processes start
        except BaseException:
            os.close(ready)
            raise
        processes.await_controller(ready, max(0.0, deadline - time.monotonic()))
        processes.record(Path(self.cluster_file), self._about())
        if self.restart_controller:
            processes.guard(self._controller_settings)

    def _about(self) -> dict[str, Any]:
        """What the cluster file tells beside the processes."""
        return {
            "cluster_id": self.cluster_id,
            "profile": self.profile.name,
            "n": self.n,
            "engines": "local",
            "started": time.time(),
        }

    def _await_engines(
        self, link: Link, number: int, needed: list[Process], deadline: float
    ) -> None:
        """Wait until so many engines are registered; ClusterError when a process ends first.

        At a prompt a bar is shown when that takes long.
        """
        from ..client.display.progress import AUTO_AFTER, Engines, Watcher

        engines = Engines(link, number)
        with Watcher(engines, "auto", after=AUTO_AFTER) as watcher:
            while not engines.wait(min(LOOK, max(0.0, deadline - time.monotonic()))):
                for process in needed:
                    if not process.running:
                        raise failed(process)
                self._check_failing(link, needed)
                if time.monotonic() >= deadline:
                    there = len(link.engines)
                    raise ClusterError(
                        f"{there} of {number} engines have registered in {self.timeout:g} s\n"
                        f"  their logs: {self.profile.log}"
                    )
                watcher.update()

    def _check_failing(self, link: Link, needed: list[Process]) -> None:
        """ClusterError when one of the engines that are waited for cannot start."""
        from ..client.failing import failing

        failed_ = failing(link, [process.pid for process in needed])
        if failed_:
            outputs = [p.output for p in needed if p.what == "engine" and p.output]
            lines = [f"  {line}" for p in needed if p.what == "engine" for line in p.last_lines()]
            told = [*failed_, *lines, *(f"  its output: {path}" for path in outputs)]
            raise ClusterError("\n".join(told))

    # --- engines ------------------------------------------------------------------------------

    def stop_engines_sync(self, engine_ids: Iterable[int] | None = None) -> None:
        """End engines (default: all) for good; returns when they are gone."""
        ids = self._ids(engine_ids)
        if ids:
            self._ask("Shutdown", engines=ids)
            self._await(lambda link: not set(ids) & set(link.engines), "stopped", ids)
            self.n -= len(ids)

    def stop_engine_sync(self, engine_id: int) -> None:
        """End one engine for good.

        >>> with en.Cluster(n=2) as rc:
        ...     rc.cluster.stop_engine_sync(0)
        ...     rc.ids
        [1]
        """
        self.stop_engines_sync([engine_id])

    def restart_engines_sync(self, engine_ids: Iterable[int] | None = None) -> None:
        """End engines (default: all) and start them anew, each with its id; what they ran is lost.

        Returns when the new ones are there.
        """
        ids = self._ids(engine_ids)
        old = {engine["id"]: engine["incarnation"] for engine in self._engines()}

        def anew(link: Link) -> bool:
            there = link.engines
            return all(id in there and there[id].incarnation != old.get(id) for id in ids)

        if ids:
            self._ask("Shutdown", engines=ids, restart=True)
            self._await(anew, "restarted", ids)

    def restart_engine_sync(self, engine_id: int) -> None:
        """End one engine and start it anew, with its id.

        >>> before = rc[0].apply_sync(os.getpid)
        >>> rc.cluster.restart_engine_sync(0)
        >>> rc[0].apply_sync(os.getpid) == before
        False
        """
        self.restart_engines_sync([engine_id])

    def signal_engines_sync(self, signum: int, engine_ids: Iterable[int] | None = None) -> None:
        """Send engines (default: all) a signal; SIGINT interrupts what they run now."""
        ids = self._ids(engine_ids)
        if ids:
            self._ask("Signal", signum=int(signum), engines=ids)

    def signal_engine_sync(self, engine_id: int, signum: int) -> None:
        """Send one engine a signal."""
        self.signal_engines_sync(signum, [engine_id])

    def _ids(self, engine_ids: Iterable[int] | None) -> list[int]:
        """The engines that are meant; the controller refuses those that are not there."""
        if engine_ids is None:
            return sorted(engine["id"] for engine in self._engines())
        return [int(id) for id in engine_ids]

    def _engines(self) -> list[dict[str, Any]]:
        """What the controller knows of its engines."""
        found: list[dict[str, Any]] = self._ask("Query", what="engines")
        return found

    def _ask(self, message: str, **fields: Any) -> Any:
        from ..core import messages

        return self._connected().ask(getattr(messages, message)(number=0, **fields))

    def _await(self, done: Callable[[Link], bool], what: str, ids: list[int]) -> None:
        link = self._connected()
        if not link.wait(lambda: done(link), self.timeout):
            raise ClusterError(f"engines {ids} have not {what} in {self.timeout:g} s")
        self._heard(done)

    def _heard(self, done: Callable[[Link], bool]) -> None:
        """Wait until the clients that were made here have heard it, too."""
        for client in list(self._clients):
            link = client.link
            if not (link.closed or link.ended):
                with contextlib.suppress(EngineryError):  # it has lost the controller
                    link.wait(partial(done, link), SOON)

    def _connected(self, timeout: float | None = None) -> Link:
        """The cluster's own connection to its controller; made within `timeout` seconds."""
        from ..client.link import Link

        link = self._link
        if link is None or link.closed or link.ended:
            try:
                file = ConnectionFile.read(self.client_connection_file)
            except ConnectionFileError as error:
                raise NoControllerError(f"{self.profile.name!r} has no cluster: {error}") from None
            link = self._link = Link(file, self.timeout if timeout is None else timeout)
            weakref.finalize(self, link.close)
        return link

    # --- stopping -------------------------------------------------------------------------------

    def stop_cluster_sync(self) -> None:
        """End the engines and the controller; returns when they are gone. May be called again.

        They are asked first, and killed after 5 s.
        """
        others = self._engines_started_elsewhere() if self._attached else []
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._processes.stop()
        for engine in others:
            engine.wait(5.0)
        for client in list(self._clients):
            client.link.end("its cluster was stopped")

    def _engines_started_elsewhere(self) -> list[Process]:
        """The engines on this host, of which no supervisor may be known here."""
        if not self.running:
            return []
        with contextlib.suppress(EngineryError, OSError):  # no answer: the supervisors are enough
            link = self._connected(GRACE)
            host = link.file.host
            here = [engine for engine in self._engines() if engine["host"] == host]
            return [Process("engine", e["pid"], birth(e["pid"])) for e in here]
        return []

    def __enter__(self) -> Client:
        self._client = self.start_and_connect_sync()
        return self._client

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._client.close()
        finally:
            del self._client.cluster  # else each of the two would keep the other
            self.stop_cluster_sync()

    # --- the same, awaited ------------------------------------------------------------------------

    start_cluster = _awaited(start_cluster_sync)
    start_and_connect = _awaited(start_and_connect_sync)
    connect_client = _awaited(connect_client_sync)
    start_engines = _awaited(start_engines_sync)
    stop_engines = _awaited(stop_engines_sync)
    stop_engine = _awaited(stop_engine_sync)
    restart_engines = _awaited(restart_engines_sync)
    restart_engine = _awaited(restart_engine_sync)
    signal_engines = _awaited(signal_engines_sync)
    signal_engine = _awaited(signal_engine_sync)
    stop_cluster = _awaited(stop_cluster_sync)
    __aenter__ = _awaited(__enter__)
    __aexit__ = _awaited(__exit__)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given."""
    return {name: value for name, value in settings.items() if value is not None}


def _cpus() -> int:
    """How many CPUs this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _number(n: Any) -> int:
    """A number of engines; ValueError when it cannot be one."""
    if isinstance(n, bool) or not isinstance(n, SupportsIndex):
        raise ValueError(f"n is a number of engines, not {n!r}")
    number = index(n)
    if number < 0:
        raise ValueError(f"n is a number of engines and cannot be {number}")
    return number


def _scheme(scheme: Any) -> dict[str, Any]:
    """The settings that name a scheme, and say where its module is; ValueError when it is none."""
    if scheme is None:
        return {}
    if not isinstance(scheme, str):
        named = isinstance(scheme, type)
        hint = f", here '{scheme.__module__}:{scheme.__name__}'" if named else ""
        raise ValueError(f"scheme is a name or an import path{hint}, not {scheme!r}")
    path = [str(entry) or os.getcwd() for entry in sys.path] if ":" in scheme else []
    return {"scheme": scheme, "sys_path": path}


def _short(path: Path) -> str:
    """A path, with the home directory as ~."""
    home = os.path.expanduser("~")
    text = str(path)
    return "~" + text[len(home) :] if text.startswith(home + os.sep) else text
