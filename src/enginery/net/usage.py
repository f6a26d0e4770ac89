"""What a process uses of its host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..core.inquiries import Usage
from . import cgroup


def usage() -> Usage:
    """The memory of this process, and what its group of processes may have, in bytes (0: any)."""
    group = cgroup.memory_group(os.getpid())
    limit = cgroup.memory_limit(group) if group is not None else None
    return {"memory": resident(), "memory_limit": limit or 0}


def resident(statm: Path = Path("/proc/self/statm")) -> int:
    """Bytes of memory that this process occupies now; at its highest, where that is not told."""
    try:
        return int(statm.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
