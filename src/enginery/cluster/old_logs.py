"""Log files that nobody will read any more: each `Cluster()` leaves some, since it has a new id."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

from ..net.profile import Profile, began_at

KEPT = 30 * 86400.0
"""Seconds for which a log file is kept after its last line."""

NAME = re.compile(r"ip(controller|engine)(?:-(?P<id>.+?))??(?:-[0-9a-f]{6}\.out|\.log)")
"""The id is that of a cluster, or the process id of a supervisor."""


def remove_old_logs(profile: Profile) -> list[Path]:
    """Remove the logs that are old, and whose cluster has no files or engine here; which."""
    before = time.time() - KEPT
    present = {
        path.name.removeprefix("ipcontroller").removesuffix("-client.json").removeprefix("-")
        for path in profile.security.glob("ipcontroller*-client.json")
    }
    removed = []
    for path in sorted(profile.log.iterdir()):
        with contextlib.suppress(FileNotFoundError):  # somebody else removes them, too
            name = NAME.fullmatch(path.name)
            if name is None or path.stat().st_mtime >= before:
                continue
            id = name["id"] or ""
            if id not in present and not (id.isdecimal() and began_at(int(id))):
                path.unlink()
                removed.append(path)
    return removed
