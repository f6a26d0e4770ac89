"""The subcommands of `ipcluster`."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from traitlets import Bool, CaselessStrEnum, Int, Unicode

from ..cluster.cluster import Cluster
from ..cluster.places import flags, needed_options
from ..cluster.process import wait_any
from ..cluster.running import describe, left_behind, remove_stale, running_cluster
from ..error import NoControllerError
from ..net.bell import heeded
from ..net.profile import clusters
from .app import LOG_OPTIONS, PROFILE_OPTIONS, App, Option, print_to_stderr
from .entry import FAILED, INTERRUPTED, OK
from .hwm import HWM, Hwm
from .tables import or_dash

START_OPTIONS = (
    Option("ip", "ip", "ADDRESS", "the controller listens here (127.0.0.1)"),
    Option("location", "location", "HOST", "the name or address others reach this host by"),
    Option("client-port", "client_port", "PORT", "port for clients (any free one)"),
    Option("engine-port", "engine_port", "PORT", "port for engines (any free one)"),
    Option(
        "scheme", "scheme", "NAME", "who gets the next task (leastload); your own: module:Class"
    ),
    Option("hwm", "hwm", "N", "tasks an engine may have at a time (auto); 0: any number"),
)
N = Option("n", "n", "N", "number of engines (one per CPU)")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DAEMONIZE = Option("daemonize", "daemonize", "", "return once it is up, and leave it running")


class IPCluster(App):
    """Base of the subcommands."""

    config_name = "ipcluster"

    def run(self) -> int:
        """Do it; the exit code."""
        raise NotImplementedError

    def running_cluster(self) -> Cluster:
        """The running cluster that the options name; NoControllerError when there is none."""
        return running_cluster(self.open_profile(), self.cluster_id)


class _Stopped(BaseException):
    """A signal has asked this process to end."""


@contextmanager
def _signals(handler: Any) -> Iterator[None]:
    """Handle what asks this process to end in another way for a while."""
    old = {signum: signal.signal(signum, handler) for signum in heeded(ENDING)}
    try:
        yield
    finally:
        for signum, before in old.items():
            signal.signal(signum, before)


def _stop(signum: int, frame: Any) -> None:
    raise _Stopped


class IPClusterStart(IPCluster):
    """`ipcluster start`."""

    description = "start a controller and engines on this host; Ctrl-C stops them"
    options = (N, DAEMONIZE, *PROFILE_OPTIONS, *START_OPTIONS, *LOG_OPTIONS[:2])
    examples = """
        ipcluster start -n 4
        ipcluster start -n 4 --daemonize     and later: ipcluster stop
    """

    n = Int(None, min=0, allow_none=True, help="Number of engines.").tag(config=True)
    daemonize = Bool(False, help="Return once the cluster is up.").tag(config=True)
    ip = Unicode(None, allow_none=True, help="Address to listen at.").tag(config=True)
    location = Unicode(None, allow_none=True, help="How others reach this host.").tag(config=True)
    client_port = Int(None, min=0, max=65535, allow_none=True, help="Port for clients.").tag(
        config=True
    )
    engine_port = Int(None, min=0, max=65535, allow_none=True, help="Port for engines.").tag(
        config=True
    )
    scheme = Unicode(
        None, allow_none=True, help="Load-balancing scheme: a name, or your own by module:Class."
    ).tag(config=True)
    hwm = Hwm(None, allow_none=True, help=HWM).tag(config=True)

    def run(self) -> int:
        """Start the cluster, and stay until it ends or is to be ended."""
        settings = self.settings()
        cluster = Cluster(
            self.n,
            profile=self.profile,
            profile_dir=self.profile_dir,
            cluster_id=self.cluster_id,
            hwm=self.hwm,
            scheme=self.scheme,
            ip=self.ip,
            location=self.location,
            client_port=self.client_port,
            engine_port=self.engine_port,
            log_level=settings["log_level"],
            log_format=settings["log_format"],
            shutdown_atexit=not self.daemonize,
        )
        started = time.monotonic()
        with _signals(_stop):
            try:
                cluster.start_cluster_sync()
            except _Stopped:
                return INTERRUPTED
            print(self.announcement(cluster, time.monotonic() - started), flush=True)
            return OK if self.daemonize else self.stay(cluster)

    def announcement(self, cluster: Cluster, seconds: float) -> str:
        """What the user reads once the cluster is up."""
        needed = needed_options(cluster.profile, cluster.cluster_id)
        options = ", ".join(f'{name}="{value}"' for name, value in needed.items())
        stop = f"ipcluster stop{flags(cluster.profile, cluster.cluster_id)}"
        engines = f"{cluster.n} engine{'s' * (cluster.n != 1)}"
        return "\n".join(
            [
                f"a controller (pid {cluster.controller_pid}) and {engines} are up"
                f" after {seconds:.1f} s; connect to them with",
                "",
                "    import enginery",
                f"    rc = enginery.Client({options})",
                "",
                f"log files:  {cluster.profile.log}",
                f"stop it:    {stop}" if self.daemonize else f"stop it:    Ctrl-C, or {stop}",
            ]
        )

    def stay(self, cluster: Cluster) -> int:
        """Wait until the controller ends for good, or this process is to; end what is left."""
        try:
            cluster.wait_for_end()
        except _Stopped:
            with _signals(signal.SIG_IGN):
                print_to_stderr("\nstopping the cluster")
                cluster.stop_cluster_sync()
            return OK
        controller = cluster.controller
        ended = controller.ended
        stopped = not os.path.exists(cluster.cluster_file)
        cluster.stop_cluster_sync()
        if stopped:
            print_to_stderr("the cluster has been stopped")
            return OK
        lines = "".join(f"\n  {line}" for line in controller.last_lines())
        print_to_stderr(f"{self.prog}: the controller has ended: {ended}{lines}")
        return FAILED


class IPClusterStop(IPCluster):
    """`ipcluster stop`."""

    description = "stop a cluster of this host, and wait until it is gone"

    def run(self) -> int:
        """Stop it."""
        left = left_behind(self.open_profile(), self.cluster_id)
        try:
            cluster = self.running_cluster()
        except NoControllerError:
            if left is None:
                raise
            cluster = left
        name = f"{cluster.profile.name} {cluster.cluster_id}".rstrip()
        cluster.stop_cluster_sync()
        if left is not None and left is not cluster:
            # Its engines may not have met a controller that was started by hand.
            left.stop_cluster_sync()
        print(f"cluster {name} has been stopped")
        return OK


class IPClusterEngines(IPCluster):
    """`ipcluster engines`."""

    description = "add engines of this host to a running cluster; Ctrl-C stops them"
    options = (N, DAEMONIZE, *PROFILE_OPTIONS)

    n = Int(None, min=1, allow_none=True, help="Number of engines.").tag(config=True)
    daemonize = Bool(False, help="Return once they are there.").tag(config=True)

    def run(self) -> int:
        """Add them, and stay as long as they do."""
        cluster = self.running_cluster()
        supervisor = cluster.add_engines(self.n, owned=not self.daemonize)
        with _signals(_stop):
            print(f"{len(cluster.engine_pids)} engines are there now", flush=True)
            if not self.daemonize:
                with suppress(_Stopped):
                    wait_any([supervisor])
                with _signals(signal.SIG_IGN):
                    supervisor.end()
        return OK


class IPClusterList(IPCluster):
    """`ipcluster list`."""

    description = "list the clusters that run, in all profiles"
    options = (Option("o output", "output", "FORMAT", "text (default) or json"),)

    output = CaselessStrEnum(("text", "json"), default_value="text", help="Format.").tag(
        config=True
    )

    def run(self) -> int:
        """Print them."""
        rows = [describe(cluster) for cluster in clusters()]
        if self.output == "json":
            print(json.dumps({"schema": 1, "clusters": rows}, indent=1))
        elif not rows:
            print("no cluster is running; start one: ipcluster start -n 4")
        else:
            print(_table(rows))
        return OK


class IPClusterClean(IPCluster):
    """`ipcluster clean`."""

    description = "remove the connection files and cluster files of clusters that are gone"
    options = PROFILE_OPTIONS[:2]

    def run(self) -> int:
        """Remove them, and say which."""
        removed = remove_stale(self.open_profile())
        for path in removed:
            print(f"removed {path}")
        if not removed:
            print("nothing to remove")
        return OK


def _table(rows: list[dict[str, Any]]) -> str:
    """A table for people; its first row names the columns."""
    columns = ("profile", "cluster_id", "engines", "pid", "started", "url")
    lines = [columns, *(tuple(or_dash(row[name]) for name in columns) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    text = ("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in text)
