"""Where the kernel of an engine is found: its sockets and its connection file.

They lie in a directory that nobody else may enter, for as long as the engine lives. One that was
killed cannot remove its own; whoever makes the next does that. The lock on a directory tells: the
system takes it back from whoever ends, however that happens.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ...net import private

PREFIX = "enginery-console-"

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
"""The sockets of a kernel, in the order of their numbers, from 1."""

LONGEST = 100
"""Characters that the path of a socket may have, on any system."""


class Place:
    """A directory of one's own. Raises OSError when it cannot be made."""

    def __init__(self, name: str, key: str) -> None:
        parent = tempfile.gettempdir()
        if len(parent) > LONGEST - len(PREFIX) - 16:
            parent = "/tmp"
        _sweep(Path(parent))
        made = _made(parent)
        while made is None:  # each who sweeps does so once: this ends
            made = _made(parent)
        self.directory, lock = made
        self._locks = [lock]
        self.file = str(self.directory / f"{name}.json")
        self._key = key

    def path(self, channel: str) -> str:
        """Where the socket of a channel is bound."""
        return f"{self.directory}/s-{CHANNELS.index(channel) + 1}"

    def write(self) -> None:
        """Write the connection file; only its owner may read it."""
        told: dict[str, Any] = {
            f"{name}_port": number for number, name in enumerate(CHANNELS, start=1)
        }
        told |= {
            "transport": "ipc",
            "ip": f"{self.directory}/s",
            "key": self._key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": "",
        }
        private.write(Path(self.file), json.dumps(told, indent=2).encode())

    def remove(self) -> None:
        """Remove it with all that is in it, and then its lock; again, from any thread, is fine."""
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(IndexError):  # it was let go already
            os.close(self._locks.pop())


def _made(parent: str) -> tuple[Path, int] | None:
    """A new directory and its lock; None when it was swept away before it had the lock."""
    draft = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))  # for its user alone
    directory = draft.with_name(draft.name.removeprefix("."))
    lock = -1
    try:
        lock = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(draft, directory)  # only now, with its lock, it has its name
    except BaseException as error:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, FileNotFoundError):
            return None
        raise
    return directory, lock


def _sweep(parent: Path) -> None:
    """Remove what engines have left that were killed, also before it had its name."""
    for path in (*parent.glob(f"{PREFIX}*"), *parent.glob(f".{PREFIX}*")):
        with contextlib.suppress(OSError):  # it is somebody else's, in use, or just removed
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)
