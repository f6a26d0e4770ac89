"""How much memory this process has resident, and when to look."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Scale:
    """Weighs this process; `due` is when to do it next, by whatever clock."""

    def __init__(self) -> None:
        self.due = 0.0
        self._statm = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform == "linux" else -1

    def resident(self) -> int:
        """Bytes of memory that this process has resident."""
        if self._statm < 0:
            import psutil

            return int(psutil.Process().memory_info().rss)
        return int(os.pread(self._statm, 100, 0).split()[1]) * _PAGE

    def trim(self) -> None:
        """Give back to the system what is free here: glibc keeps it, and it counts as ours."""
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)

    def close(self) -> None:
        """Close the file."""
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1
