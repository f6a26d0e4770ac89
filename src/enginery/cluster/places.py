"""Where a cluster lives: its profile, its id, and the lock for its only controller."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..error import ClusterError
from ..net.profile import Profile


def open_profile(name: str = "default", directory: str | os.PathLike[str] = "") -> Profile:
    """The profile of this name, or in this directory.

    The default profile, and one named by its directory, are made when they are not there; any
    other must exist, so that a name misspelt is told and not made. Raises ClusterError.
    """
    profile = Profile(Path(directory).expanduser().absolute() if directory else name)
    if not directory and name != "default" and not profile.path.is_dir():
        raise ClusterError(
            f"there is no profile {name!r}: no directory {profile.path}\n"
            f"  Make it: ipython profile create {name}"
        )
    return profile


def needed_options(profile: Profile, cluster_id: str) -> dict[str, str]:
    """What a client or a command must be told to find a cluster here; nothing for the default."""
    found = {}
    if profile.path != Profile(profile.name).path:
        found["profile_dir"] = str(profile.path)
    elif profile.name != "default":
        found["profile"] = profile.name
    return found | ({"cluster_id": cluster_id} if cluster_id else {})


def flags(profile: Profile, cluster_id: str) -> str:
    """The same as options of a command line, each with a blank before it."""
    options = needed_options(profile, cluster_id).items()
    return "".join(f" --{name.replace('_', '-')}={value}" for name, value in options)


def check_cluster_id(cluster_id: str) -> str:
    """The id, if it can be part of a file name; ClusterError otherwise."""
    if cluster_id and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", cluster_id):
        raise ClusterError(
            f"{cluster_id!r} cannot be a cluster id: use letters, digits, '_', '.' and '-'"
        )
    return cluster_id


def cluster_file(security: Path, cluster_id: str) -> Path:
    """Where the cluster file of this cluster is, or would be."""
    return security / (f"cluster-{cluster_id}.json" if cluster_id else "cluster.json")


@contextlib.contextmanager
def only_controller(profile_dir: str | os.PathLike[str], cluster_id: str) -> Iterator[None]:
    """Be the one controller of this profile and cluster id; ClusterError when there is one.

    The system drops the lock with the process that holds it, however that ends.
    """
    profile = open_profile(directory=profile_dir)
    with without_controller(profile, cluster_id) as lock:
        if lock is None:
            raise ClusterError(_taken(profile, cluster_id))
        os.ftruncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        yield


@contextlib.contextmanager
def without_controller(profile: Profile, cluster_id: str) -> Iterator[int | None]:
    """Keep controllers of this profile and cluster id out; the lock, None when there is one."""
    path = _lock_file(profile, cluster_id)
    fd = _lock(path)
    try:
        yield fd
    finally:
        if fd is not None:
            path.unlink(missing_ok=True)
            os.close(fd)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock on this file; None when another process holds it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        os.close(fd)  # its last holder has removed it meanwhile


def refuse_second(profile: Profile, cluster_id: str) -> None:
    """ClusterError when this profile and cluster id have a controller already."""
    if controller_pid(profile, cluster_id) is not None:
        raise ClusterError(_taken(profile, cluster_id))


def controller_pid(profile: Profile, cluster_id: str) -> int | None:
    """The process id of the controller that there is, also of one that does not listen yet.

    0 when it has not said it yet, None when there is no controller.
    """
    path = _lock_file(profile, cluster_id)
    if not path.exists():
        return None
    fd = _lock(path)
    if fd is not None:
        os.close(fd)
        return None
    with contextlib.suppress(FileNotFoundError, ValueError):  # it has just ended, or just begun
        return int(path.read_text())
    return 0


def _lock_file(profile: Profile, cluster_id: str) -> Path:
    """The file that a controller keeps locked; it holds its process id."""
    return profile.pid / (f"ipcontroller-{cluster_id}.pid" if cluster_id else "ipcontroller.pid")


def _taken(profile: Profile, cluster_id: str) -> str:
    """What to say when there is a controller already."""
    try:
        pid = _lock_file(profile, cluster_id).read_text().strip()
    except FileNotFoundError:  # it has just ended
        pid = "unknown"
    which = f"cluster {cluster_id!r} of " if cluster_id else ""
    return (
        f"a controller of {which}profile {profile.name!r} is running already (pid {pid})\n"
        f"  Stop it:              ipcluster stop{flags(profile, cluster_id)}\n"
        f"  Or run one beside it: give this one a --cluster-id of its own"
    )
