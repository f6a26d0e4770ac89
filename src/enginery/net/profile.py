"""Profiles: the directories in which a user's clusters keep keys, logs and process ids.

They are IPython's (`~/.ipython/profile_NAME`), found here without importing it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.messages import Role
from ..error import ConnectionFileError
from . import private
from .keys import ConnectionFile, file_name

CLOCK_ERROR = 2.0
"""Seconds by which two ways to tell when a process began may differ."""


def ipython_dir() -> Path:
    """Where the profiles are: $IPYTHONDIR, or ~/.ipython."""
    return Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser().absolute()


class Profile:
    """A profile, by its name or by its directory (a Path, or a text with a slash in it).

    The directories `security`, `log` and `pid` are made, for this user only, when asked for.
    """

    def __init__(self, where: str | Path = "default") -> None:
        if isinstance(where, Path) or os.sep in where:
            self.path = Path(where).expanduser().absolute()
        else:
            self.path = ipython_dir() / f"profile_{where}"

    def __repr__(self) -> str:
        return f"<Profile {self.name}: {self.path}>"

    @property
    def name(self) -> str:
        """What its user calls it."""
        return self.path.name.removeprefix("profile_")

    @property
    def security(self) -> Path:
        """The directory of key files."""
        return private.make_directory(self.path / "security")

    @property
    def log(self) -> Path:
        """The directory of log files."""
        return private.make_directory(self.path / "log")

    @property
    def pid(self) -> Path:
        """The directory of process ids."""
        return private.make_directory(self.path / "pid")

    def file_path(self, role: Role, cluster_id: str = "") -> Path:
        """Where the key file of a role is, or would be."""
        return self.path / "security" / file_name(role, cluster_id)

    def find_file(self, role: Role, cluster_id: str = "") -> Path | None:
        """The key file of a role, if there is one."""
        path = self.file_path(role, cluster_id)
        return path if os.path.lexists(path) else None

    def read_file(self, role: Role, cluster_id: str = "") -> ConnectionFile:
        """What the key file of a role says.

        Raises ConnectionFileError when it is missing, broken, open to others, or a link that leads
        out of this profile.
        """
        return ConnectionFile.read(self.file_path(role, cluster_id), within=self.path)


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A cluster whose controller lives on this host; `n` engines were asked for, -1: unknown."""

    profile: Profile
    cluster_id: str
    pid: int
    started: float
    url: str
    n: int = -1


def clusters() -> list[RunningCluster]:
    """The clusters of this user that run on this host, in all profiles, the oldest first."""
    return sorted(_running(), key=lambda cluster: cluster.started)


def _running() -> Iterator[RunningCluster]:
    for path in ipython_dir().glob("profile_*/security/ipcontroller-*client.json"):
        profile = Profile(path.parent.parent)
        try:
            file = ConnectionFile.read(path, within=profile.path)
        except ConnectionFileError:
            continue  # it is told to who tries to use it
        if path.name == file.name and is_running(file):
            n = _engines(path.parent, file.cluster_id)
            yield RunningCluster(profile, file.cluster_id, file.pid, file.started, file.url, n)


def is_running(file: ConnectionFile) -> bool:
    """Whether the controller of this file is a process of this host, and still the same one."""
    if file.host != socket.gethostname():
        return False
    began = began_at(file.pid)
    return began is not None and began <= file.started + CLOCK_ERROR


def began_at(pid: int) -> float | None:
    """When a process began, in epoch seconds; None when there is none, or it has ended."""
    import psutil  # slow to import, and most who import this file do not come here

    try:
        process = psutil.Process(pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return None if ended else float(process.create_time())
    except (psutil.Error, ValueError):
        return None


def _engines(security: Path, cluster_id: str) -> int:
    """How many engines the cluster file says there are; -1 when there is no such file."""
    name = f"cluster-{cluster_id}.json" if cluster_id else "cluster.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads((security / name).read_text())["n"])
    return -1
