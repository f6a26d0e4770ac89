"""From what a user says of a cluster to a link to its controller.

A connection file says where a controller listens, and holds the key to it. When no controller is
reached, the error says what was looked for, what is wrong with it, and what to do (`unreached`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..core.messages import Role
from ..error import ConnectionFileError, NoControllerError
from ..net.keys import ConnectionFile
from ..net.profile import Profile
from . import unreached
from .link import Link

ROLES: tuple[Role, ...] = ("client", "task", "monitor")
"""Roles of connection files that a client can use, the one that may do most first."""

AGAIN = 0.1
"""Seconds between two looks for a controller that is about to start."""


class Origin(NamedTuple):
    """A connection file, what people call its cluster, and where the file is, if it is one."""

    file: ConnectionFile
    name: str
    path: Path | None = None


def connect(
    info: Any = None,
    *,
    profile: str | None = None,
    profile_dir: str | Path | None = None,
    cluster_id: str = "",
    timeout: float = 10.0,
    wait: float = 0.0,
    sshserver: str | None = None,
    sshkey: str | Path | None = None,
) -> tuple[Link, str]:
    """Connect to a controller, through ssh if `sshserver` is given.

    One that is not there yet may come within `wait` seconds. Gives the link and what to call the
    cluster. Raises NoControllerError, or ConnectionFileError when a file cannot be used.
    """
    profile_at = Profile(Path(profile_dir) if profile_dir is not None else profile or "default")
    end = time.monotonic() + wait
    while True:
        try:
            origin = find(info, profile_at, cluster_id)
            if sshserver:
                return _through(sshserver, str(sshkey or ""), origin, timeout), origin.name
            return _direct(origin, timeout), origin.name
        except NoControllerError:
            if time.monotonic() >= end:
                raise
            time.sleep(AGAIN)


def _direct(origin: Origin, timeout: float) -> Link:
    """A link without a tunnel."""
    try:
        return Link(origin.file, timeout)
    except NoControllerError as error:
        raise NoControllerError(unreached.text(origin, error, timeout)) from None


def _through(server: str, key: str, origin: Origin, timeout: float) -> Link:
    """A link through a tunnel, which ends with it."""
    from ..net.tunnels import Server, Tunnel  # for those who want one

    end = time.monotonic() + timeout
    tunnel = Tunnel(origin.file, Server(server, key))
    try:
        tunnel.await_open(timeout)
        return Link(tunnel.file, max(1.0, end - time.monotonic()), tunnel)
    except NoControllerError as error:
        text = unreached.through(tunnel, origin, error, timeout)
        tunnel.close()
        raise NoControllerError(text) from None
    except BaseException:
        tunnel.close()
        raise


def find(info: Any, profile: Profile, cluster_id: str) -> Origin:
    """Find the connection file that is meant."""
    if isinstance(info, ConnectionFile):
        return Origin(info, info.cluster_id or info.url)
    if isinstance(info, Mapping):
        file = _from_mapping(info)
        return Origin(file, file.cluster_id or file.url)
    if isinstance(info, str) and info.startswith("tcp://"):
        return _by_address(info, profile)
    if info is not None and not isinstance(info, str | Path):
        raise TypeError(f"{info!r} is no path, no 'tcp://host:port', no dict of a connection file")
    if info is not None:
        path = Path(info).expanduser().absolute()
        if not path.exists():
            raise NoControllerError(unreached.no_such_file(path))
        return _read(path)
    for role in ROLES:
        if profile.find_file(role, cluster_id) is not None:
            file = profile.read_file(role, cluster_id)
            name = f"{profile.name} {cluster_id}".rstrip()
            return Origin(file, name, profile.file_path(role, cluster_id))
    raise NoControllerError(unreached.none_running(profile, cluster_id))


def _read(path: Path) -> Origin:
    file = ConnectionFile.read(path)
    if file.role not in ROLES:
        raise ConnectionFileError(
            f"{unreached.short(path)} is for {file.role}s\n"
            "  A client needs one like ipcontroller-client.json, which is made beside it."
        )
    profile = path.parent.parent.name if path.parent.name == "security" else ""
    name = f"{profile.removeprefix('profile_')} {file.cluster_id}".strip()
    return Origin(file, name or path.name, path)


def _from_mapping(info: Mapping[str, Any]) -> ConnectionFile:
    known = {field.name for field in fields(ConnectionFile)}
    unknown = sorted(set(info) - known)
    if unknown:
        raise ConnectionFileError(f"a connection file has no {unknown[0]!r}, only {sorted(known)}")
    try:
        return ConnectionFile(**info)
    except (TypeError, ValueError) as error:
        raise ConnectionFileError(f"this is no connection file: {error}") from None


def _by_address(url: str, profile: Profile) -> Origin:
    """The file in a profile whose controller is at this address: there is the key."""
    wanted = urlsplit(url)
    found: list[Origin] = []
    for path in sorted(profile.security.glob("ipcontroller-*.json")):
        try:
            origin = _read(path)
        except ConnectionFileError:  # of another role, or not to be used: not what is looked for
            continue
        there = urlsplit(origin.file.url)
        if there.port == wanted.port and wanted.hostname in {there.hostname, origin.file.location}:
            found.append(origin)
    if not found:
        raise NoControllerError(unreached.no_key(url, profile))
    best = min(found, key=lambda origin: ROLES.index(origin.file.role))
    return best._replace(file=replace(best.file, url=url))
