"""Looking for the controller: the connection file, until it is there, and when it changes; and the
tunnel through ssh that leads there, where one is wanted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..error import ConnectionFileError, NoControllerError
from ..net.keys import ConnectionFile
from .config import EngineConfig

if TYPE_CHECKING:
    from ..net.tunnels import Tunnel

INTERVAL = 0.02
"""Seconds between two looks: a controller that starts together with us is soon found."""

SOON = 3.0
"""Seconds within which a controller that is there answers."""

COPYING = 1.0
"""Seconds that a broken file has to become whole: somebody may be copying it here."""


class Search:
    """Where the controller is said to be. Times are those of one steady clock, in seconds."""

    def __init__(self, config: EngineConfig, now: float) -> None:
        infix = f"-{config.cluster_id}" if config.cluster_id else ""
        named = config.profile_dir / "security" / f"ipcontroller{infix}-engine.json"
        self.path: Path = config.file or named
        self.timeout, self.patience = config.timeout, config.patience
        self.sshserver, self.sshkey = config.sshserver, config.sshkey
        self.found: ConnectionFile | None = None
        self.tunnel: Tunnel | None = None
        self.failed = ""  # why the last attempt to connect has failed, where that is known
        self.joined_once = False
        self.alone_since: float | None = now  # since then there is no controller
        self.told = False  # that we wait
        self._stamp: tuple[int, int, int] | None = None
        self._broken_since: float | None = None

    def look(self, now: float) -> ConnectionFile | None:
        """The file, when it is there for the first time or names another controller than before;
        what it says leads through the tunnel, if there is to be one.

        Raises ConnectionFileError when it cannot be used.
        """
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return None
        try:
            file = ConnectionFile.read(self.path)
        except ConnectionFileError:
            self._broken_since = self._broken_since or now
            if now - self._broken_since < COPYING:
                return None
            raise
        self._stamp, self._broken_since = stamp, None
        known, self.found = self.found, file
        return None if known is not None and same(known, file) else self._way(file)

    def _way(self, file: ConnectionFile) -> ConnectionFile:
        if not self.sshserver:
            return file
        from ..net.tunnels import Server, Tunnel  # for those who want one

        self.close()
        self.tunnel = Tunnel(file, Server(self.sshserver, self.sshkey))
        return self.tunnel.file

    @property
    def way(self) -> ConnectionFile | None:
        """The last file that was found, through the tunnel if there is one."""
        return self.tunnel.file if self.tunnel is not None else self.found

    def close(self) -> None:
        """End the tunnel, if there is one."""
        if self.tunnel is not None:
            self.tunnel.close()
            self.tunnel = None

    def joined(self, yes: bool, now: float) -> None:
        """Tell whether there is a controller that knows us."""
        if yes:
            self.joined_once, self.alone_since, self.told = True, None, False
        elif self.alone_since is None:
            self.alone_since = now

    @property
    def interval(self) -> float | None:
        """Seconds until the next look; None while there is a controller."""
        return None if self.alone_since is None else INTERVAL

    def check(self, now: float) -> None:
        """Raise NoControllerError when the time to wait is over; say once that we wait."""
        if self.alone_since is None:
            return
        if self.tunnel is not None and self.tunnel.hopeless:
            raise NoControllerError(f"no ssh tunnel: {self.tunnel.in_words()}")
        waited = now - self.alone_since
        limit = self.patience if self.joined_once else self.timeout
        if waited >= limit:
            raise NoControllerError(self.in_words(limit))
        if not self.told and (self.found is None or waited >= SOON):
            self.told = True
            what = f"looked for {self.path}" if self.found is None else self.in_words()
            print(f"ipengine: waiting for a controller: {what}", file=sys.stderr, flush=True)

    def in_words(self, waited: float | None = None) -> str:
        """What is missing, and where it was looked for."""
        since = f" within {waited:g} s" if waited is not None else ""
        if self.found is None:
            return (
                f"no controller{since}: looked for {self.path}\n"
                f"  Start one: ipcontroller, or ipcluster start for both\n"
                f"  On another host: copy its ipcontroller-engine.json here, or name it with --file"
            )
        known = f"{self.failed}." if self.failed else ""
        if self.tunnel is not None and (trouble := self.tunnel.in_words()):
            known = trouble
        return (
            f"no answer{since} from the controller at {self.found.url} that {self.path} names\n"
            f"  It was started on {self.found.host} as process {self.found.pid} and may be gone."
            + (f"\n  What is known: {known}" if known else "")
        )


def same(a: ConnectionFile, b: ConnectionFile) -> bool:
    """Whether two files lead to the same controller with the same key."""
    return (a.url, a.server_key, a.public_key) == (b.url, b.server_key, b.public_key)
