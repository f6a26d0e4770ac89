"""The cluster file: which processes a cluster on this host has, for those who come later.

`ipcluster stop`, `Cluster.from_file` and whoever adds engines find the processes by it. Who stops
the cluster removes it first: without it a controller that is killed is not started again. It holds
no secret, yet it is private like all that stands beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..error import ClusterError
from .process import Process


def read(path: Path) -> dict[str, Any]:
    """What a cluster file says; ClusterError when it is missing or broken."""
    try:
        found = json.loads(path.read_text())
        for process in found["processes"]:
            Process(**process)
    except FileNotFoundError:
        raise ClusterError(
            f"there is no cluster file {path}; running clusters: ipcluster list"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{path} is not a cluster file: {error}\n  Remove it if the cluster is gone."
        ) from None
    if not isinstance(found.get("cluster_id"), str) or not isinstance(found.get("n"), int):
        raise ClusterError(f"{path} is not a cluster file: cluster_id or n is missing")
    return dict(found)


def write(path: Path, record: dict[str, Any], processes: list[Process]) -> None:
    """Write a cluster file, at once or not at all."""
    content = record | {"processes": [process.to_json() for process in processes]}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(draft, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        json.dump(content, file, indent=1)
    os.replace(draft, path)


def add(path: Path, process: Process, n: int) -> None:
    """Add a supervisor of `n` more engines to a cluster file, whoever else may be writing it."""
    with _locked(path.parent), contextlib.suppress(ClusterError):  # gone: the cluster has ended
        record = read(path)
        record["n"] += n
        write(path, record, [*(Process(**p) for p in record["processes"]), process])


@contextlib.contextmanager
def held(path: Path, started: float | None) -> Iterator[dict[str, Any] | None]:
    """What the file of the cluster that was started then says, while nobody else may change it.

    None when there is no such file any more: that cluster has ended, or is to end.
    """
    with contextlib.ExitStack() as stack:
        found: dict[str, Any] = {}
        with contextlib.suppress(ClusterError, FileNotFoundError):
            stack.enter_context(_locked(path.parent))
            found = read(path)
        yield found if found and found.get("started") == started else None


def take(path: Path, started: float | None) -> list[Process]:
    """Remove a cluster file, so that its controller is not started again; the processes in it."""
    with held(path, started) as found:
        if found is None:
            return []
        path.unlink(missing_ok=True)
        return [Process(**process) for process in found["processes"]]


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other writers of files in this directory out for a moment."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # a fork may have the descriptor, too
        os.close(fd)
