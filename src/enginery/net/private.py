"""Files and directories that only their owner may read."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from ..error import ConnectionFileError

LIMIT = 65536
"""Bytes of the largest file that is read here."""


def make_directory(path: Path) -> Path:
    """A directory with mode 0700, made or tightened; its parents get the usual mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        path.chmod(mode & 0o700)
    return path


def write(path: Path, content: bytes) -> None:
    """Write a file with mode 0600, as a whole or not at all; its directory is made with 0700.

    Nobody else can read it even for an instant, and a link that stands there is replaced, not
    followed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def read(path: Path, within: Path | None = None) -> bytes:
    """The content of a file that nobody else may read.

    With `within`, it must lie in that directory also after every link has been followed. Raises
    ConnectionFileError, which says what is wrong and what to do.
    """
    if within is not None:
        check_inside(path, within)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        what = error.strerror or str(error)
        raise ConnectionFileError(f"{path} cannot be read: {what}") from None
    try:
        _check_private(path, os.fstat(fd))  # of what was opened, whatever stands there by now
        content = os.read(fd, LIMIT + 1)  # a file gives all it has at once
    finally:
        os.close(fd)
    if len(content) > LIMIT:
        raise ConnectionFileError(f"{path} is not a key file: it is larger than {LIMIT} bytes")
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    """Raise ConnectionFileError unless this is a file that only its owner can open."""
    if not stat.S_ISREG(status.st_mode):
        raise ConnectionFileError(f"{path} is not a file\n  Name the file itself.")
    if status.st_mode & 0o077:
        raise ConnectionFileError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})\n"
            "  Who can read it can use the cluster as you, if it was not copied already.\n"
            f"  Close it:           chmod 600 {path}\n"
            "  If in doubt, remove it and its like on the controller's host, and start that again."
        )


def check_inside(path: Path, directory: Path) -> None:
    """Raise ConnectionFileError when links lead from this path out of the directory."""
    target = path.resolve()
    if not target.is_relative_to(directory.resolve()):
        raise ConnectionFileError(
            f"{path} leads out of its profile, to {target}\n"
            "  Whoever can change that file chooses your controller.\n"
            "  Put a copy in its place, or name the file itself: --file=PATH"
        )
