"""What the kernel tells of the memory of a process: its limit, and whether it killed for it.

A process that has ended is in no group any more (version 1), so its group must be asked for while
it lives.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")

UNLIMITED = 1 << 60
"""Bytes; version 1 says "no limit" with a number beyond this."""


def memory_group(pid: int, proc: Path = Path("/proc")) -> Path | None:
    """The directory of the memory cgroup that `pid` is in; None where there is none."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    found = None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        path = path.removesuffix(" (deleted)").lstrip("/")
        if "memory" in controllers.split(","):
            return ROOT / "memory" / path
        if not controllers:
            found = ROOT / path
    return found


def tells(proc: Path = Path("/proc")) -> bool:
    """Whether this system says that it has killed for memory."""
    return "\noom_kill " in _read(proc / "vmstat")


def oom_kills(group: Path) -> int:
    """How often the kernel has killed a process of this group for memory; 0 where untold."""
    files = ("memory.events", "memory.oom_control")  # version 2, version 1
    return max(_count(_read(group / name)) for name in files)


def system_oom_kills(proc: Path = Path("/proc")) -> int:
    """How often the kernel has killed a process for memory, in any group; 0 where untold."""
    return _count(_read(proc / "vmstat"))


def memory_limit(group: Path) -> int | None:
    """How many bytes the processes of this group may use together; None: as many as there are."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        text = _read(group / name).strip()
        if text.isdigit():
            return int(text) if int(text) < UNLIMITED else None
    return None


def _count(text: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill":
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
