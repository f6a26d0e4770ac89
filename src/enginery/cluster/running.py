"""The clusters that run on this host: found by their connection files, described, attached to."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..client.connect import find as find_file
from ..core.messages import Query
from ..error import ClusterError, ConnectionFileError, EngineryError, NoControllerError
from ..net.keys import ConnectionFile
from ..net.profile import Profile, RunningCluster, is_running
from .cluster import Cluster
from .old_logs import remove_old_logs
from .places import check_cluster_id, controller_pid, without_controller

ASK = 2.0
"""Seconds a controller has to answer when clusters are listed."""


def running_cluster(profile: Profile, cluster_id: str) -> Cluster:
    """The cluster of this profile and id, which runs already.

    Raises NoControllerError when none is running, ClusterError when it is on another host.
    """
    file = find_file(None, profile, check_cluster_id(cluster_id)).file
    if file.host != socket.gethostname():
        raise ClusterError(f"that cluster's controller is on {file.host}: use this command there")
    if not is_running(file):
        pid = controller_pid(profile, cluster_id)  # of one that does not listen yet
        if not pid:
            raise NoControllerError(_gone(profile, file))
        file = replace(file, pid=pid)
    with contextlib.suppress(ClusterError):  # its controller was started by hand
        cluster = Cluster.from_file(profile_dir=profile.path, cluster_id=cluster_id)
        if cluster.running:
            return cluster
    return Cluster.from_connection(file, profile.path)


def _gone(profile: Profile, file: ConnectionFile) -> str:
    """What to say of a cluster that has left its connection file."""
    return (
        f"no cluster is running in profile {profile.name!r}: its controller, pid {file.pid}, "
        "is gone\n"
        "  Remove its files: ipcluster clean\n"
        "  Start one:        ipcluster start -n 4"
    )


def left_behind(profile: Profile, cluster_id: str) -> Cluster | None:
    """The cluster of which engines run on though its controller is gone, if there is one."""
    with contextlib.suppress(ClusterError):  # no cluster file: nothing is known of it
        cluster = Cluster.from_file(profile_dir=profile.path, cluster_id=cluster_id)
        return cluster if cluster.processes else None
    return None


def describe(cluster: RunningCluster) -> dict[str, Any]:
    """What `ipcluster list` tells of a cluster; `engines` is None when it does not answer."""
    engines: int | None = None
    with contextlib.suppress(EngineryError, OSError):  # said by the missing number
        engines = _count_engines(cluster)
    started = datetime.fromtimestamp(cluster.started, UTC)
    return {
        "profile": cluster.profile.name,
        "profile_dir": str(cluster.profile.path),
        "cluster_id": cluster.cluster_id,
        "engines": engines,
        "pid": cluster.pid,
        "started": started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "url": cluster.url,
    }


def _count_engines(cluster: RunningCluster) -> int:
    """How many engines are registered there."""
    from ..client.link import Link

    link = Link(cluster.profile.read_file("monitor", cluster.cluster_id), ASK)
    try:
        return len(link.ask(Query(0, "engines"), ASK))
    finally:
        link.close()


def _remove_work(profile: Profile, cluster_id: str) -> list[Path]:
    """Remove what another controller would have gone on with; which."""
    removed = []
    infix = f"-{cluster_id}" if cluster_id else ""
    keys = profile.security / f"ipcontroller{infix}-keys-until-stopped.json"
    if keys.exists():
        keys.unlink()
        removed.append(keys)
    journal = profile.path / "journal" / (cluster_id or "default")
    if journal.exists():
        shutil.rmtree(journal)
        removed.append(journal)
    return removed


@contextlib.contextmanager
def _without_controller(profile: Profile, cluster_id: str) -> Iterator[bool]:
    """Whether it has no controller, not even one that is just starting; and let none start."""
    left = left_behind(profile, cluster_id)
    if left is not None and left.running:  # it is to get the lock
        yield False
        return
    with without_controller(profile, cluster_id) as lock:
        yield lock is not None


def remove_stale(profile: Profile) -> list[Path]:
    """Remove the files of controllers of this host that are gone, journals and old logs; which.

    Files of other hosts, and those that were copied here under other names, stay.
    """
    removed = []
    for path in sorted(profile.security.glob("ipcontroller-*.json")):
        try:
            file = ConnectionFile.read(path, within=profile.path)
        except ConnectionFileError:  # kept keys, or broken: told to who tries to use it
            continue
        if path.name != file.name or file.host != socket.gethostname() or is_running(file):
            continue
        with _without_controller(profile, file.cluster_id) as gone:
            if gone:
                path.unlink(missing_ok=True)
                removed.append(path)
                if file.role == "client":
                    removed += _remove_work(profile, file.cluster_id)
    for path in sorted(profile.security.glob("cluster*.json")):
        with contextlib.suppress(ClusterError):  # not ours
            if not Cluster.from_file(path).processes:
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed + remove_old_logs(profile)
