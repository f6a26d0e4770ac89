"""What to say when no controller was reached: what was looked for, what is wrong, what to do."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from ..net.profile import Profile, clusters
from .text import COLUMNS

if TYPE_CHECKING:
    from ..error import NoControllerError
    from ..net.tunnels import Tunnel
    from .connect import Origin

PROBE_TIME = 1.0
"""Seconds to see whether a port is open."""

SHOWN = 3
"""Running clusters that are named."""


def none_running(profile: Profile, cluster_id: str) -> str:
    """There is no connection file in the profile."""
    options, given, which = "", "", "no cluster"
    if profile.path != Profile(profile.name).path:
        options, given = f" --profile-dir={profile.path}", f', profile_dir="{profile.path}"'
    elif profile.name != "default":
        options, given = f" --profile={profile.name}", f', profile="{profile.name}"'
    if cluster_id:
        options += f" --cluster-id={cluster_id}"
        given += f', cluster_id="{cluster_id}"'
        which = f"no cluster {cluster_id!r}"
    return (
        f"{which} is running in profile {profile.name!r}\n"
        f"  looked for {short(profile.file_path('client', cluster_id))}: no such file\n"
        f"  Start one:    ipcluster start -n 4{options}\n"
        f"  or here:      {_start_here(given)}"
        f"{_running_now()}"
    )


def _start_here(given: str) -> str:
    """The code that starts a cluster, in one line or, where that is too long, in two."""
    code = f"rc = enginery.Cluster(n=4{given}).start_and_connect_sync()"
    if len(code) + 16 <= COLUMNS:
        return code
    second = " " * 16 + "rc = cluster.start_and_connect_sync()"
    return f"cluster = enginery.Cluster(n=4{given})\n{second}"


def no_such_file(path: Path) -> str:
    """The connection file that was named is not there."""
    hint = _running_now() or (
        "\n  It is made when a controller starts:  ipcluster start -n 4"
        "\n  From another host:  copy it, and let nobody else read it"
    )
    return f"there is no connection file {short(path)}{hint}"


def no_key(url: str, profile: Profile) -> str:
    """No file in the profile is of a controller at this address."""
    files = short(profile.path / "security" / "ipcontroller-*.json")
    return (
        f"no key for {url} in profile {profile.name!r}\n"
        f"  looked through {files}\n"
        "  Copy the controller's ipcontroller-client.json there, or give its path:  "
        'Client("PATH")'
    )


def through(tunnel: Tunnel, origin: Origin, error: NoControllerError, timeout: float) -> str:
    """A controller was not reached through a tunnel, or the tunnel not made."""
    kind = getattr(error, "kind", "absent")
    if kind == "absent":
        return f"no ssh tunnel: {error}"
    if kind in ("wrong-server", "silent", "unreachable") and tunnel.await_trouble():
        what = f"\n  It is named by {short(origin.path)}" if origin.path else ""
        return f"no controller there: {tunnel.in_words()}{what}"
    return f"{text(origin, error, timeout)}\n  It was tried through ssh to {tunnel.server.name}"


def text(origin: Origin, error: NoControllerError, timeout: float) -> str:
    """There is a connection file; `error` is what the link says."""
    what = short(origin.path) if origin.path else "this connection"
    address = origin.file.url.partition("://")[2]
    match getattr(error, "kind", "silent"):
        case "unreachable":
            return _gone(origin, what, address)
        case "wrong-server":
            return (
                f"another controller listens at {address} now\n"
                f"  That of {what} is gone:\n"
                "  it was restarted with new keys, or is just stopping. Copy the file again."
            )
        case "no-curve":
            return (
                f"what listens at {address} is no controller of enginery\n  It is named by {what}"
            )
        case "refused" if "did not answer" in str(error):
            return (
                f"the controller at {address} answered, but refused this key\n"
                f"  The key is that in {what}\n"
                "  New keys were made there since: copy the file again."
            )
        case "refused":
            return f"the controller at {address} refused this client: {error}"
    return _silent(what, origin.file.url, timeout)


def _gone(origin: Origin, what: str, address: str) -> str:
    file = origin.file
    started = time.strftime("%a %H:%M", time.localtime(file.started))
    who = f"\n  It was pid {file.pid} on {file.host}, started {started}." if file.pid else ""
    remove = f"\n  Remove its file:  rm {what}" if origin.path else ""
    return (
        f"the controller at {address} is gone: nothing listens there{who}{remove}\n"
        f"  Start one:        ipcluster start -n 4{_running_now()}"
    )


def _silent(what: str, url: str, timeout: float) -> str:
    parts = urlsplit(url)
    found = probe(url)
    reachable = "no" if found == "unreachable" else "yes"
    port = "yes" if found == "open" else "no"
    hint = (
        "\n  Controller on another machine? It listens on loopback only, unless started with "
        "--ip=ADDRESS"
    )
    return (
        f"the controller at {parts.netloc} did not answer in {timeout:g} s\n"
        f"  It is named by {what}\n"
        f"  host reachable: {reachable}; port open: {port}{hint if port == 'no' else ''}"
    )


def probe(url: str) -> Literal["open", "closed", "unreachable"]:
    """Whether something listens at this address, and if not, whether there is a host."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), PROBE_TIME).close()
    except ConnectionRefusedError:
        return "closed"
    except OSError:
        return "unreachable"
    return "open"


def _running_now() -> str:
    """The clusters that could have been meant, one line each."""
    lines = ""
    for cluster in clusters()[:SHOWN]:
        name = cluster.profile.name
        given = [f'profile="{name}"'] if name != "default" else []
        given += [f'cluster_id="{cluster.cluster_id}"'] if cluster.cluster_id else []
        engines = f" ({cluster.n} engine{'s' * (cluster.n != 1)})" if cluster.n >= 0 else ""
        lines += f"\n  Running now:  profile {name!r}{engines}:  Client({', '.join(given)})"
    return lines


def short(path: Path) -> str:
    """A path as people write it."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # not below the home directory, or there is none
        return str(path)
