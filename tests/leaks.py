"""What a test run must not leave behind: processes, threads, open files, memory files, temp files.

`session_leak_check` compares what there is after the last test with what there was before the
first. Two things make it strict without knowing what the tests start: every process inherits a
mark in its environment, so it is found even when nobody is its parent any more; and the whole run
has a temporary directory of its own, which must be empty at the end.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from zmq.utils import garbage

PATIENCE = 10.0
"""Seconds that processes and threads have to end after the last test."""

MARK = "ENGINERY_TEST_RUN"


@dataclass(frozen=True)
class Snapshot:
    """What exists now; keys name a thing, values describe it for people."""

    processes: dict[int, str]
    threads: dict[int, str]
    files: dict[str, str]
    maps: frozenset[str]
    temporary: frozenset[str]

    @classmethod
    def take(cls, directory: Path, mark: str) -> Snapshot:
        """Of this process, its descendants, all processes with the mark, and the directory."""
        return cls(
            processes=processes(mark),
            threads=threads(),
            files=open_files(),
            maps=memory_files(),
            temporary=frozenset(os.listdir(directory)),
        )

    def leftovers(self, before: Snapshot) -> list[str]:
        """What is here and was not there before, one line each."""
        return [
            *(f"process {told}" for told in added(self.processes, before.processes)),
            *(f"thread {told}" for told in added(self.threads, before.threads)),
            *(f"open file {told}" for told in added(self.files, before.files)),
            *(f"mapping of {name}" for name in sorted(self.maps - before.maps)),
            *(f"temporary file {name}" for name in sorted(self.temporary - before.temporary)),
        ]


def added(now: Mapping[Any, str], before: Mapping[Any, str]) -> list[str]:
    """What `now` says of the keys that are not in `before`."""
    return [told for key, told in now.items() if key not in before]


def processes(mark: str) -> dict[int, str]:
    """Descendants of this process, and whatever has the mark in its environment."""
    found = set(psutil.Process().children(recursive=True))
    for process in psutil.process_iter():
        if process.pid != os.getpid() and mark in environment(process):
            found.add(process)
    return {process.pid: describe(process) for process in found if process.is_running()}


def environment(process: psutil.Process) -> str:
    """The value of the mark in a process, or nothing when it has none or may not be read."""
    try:
        return process.environ().get(MARK, "")
    except psutil.Error:
        return ""


def describe(process: psutil.Process) -> str:
    """Its state and its command line, as far as they can still be had."""
    try:
        return f"{process.pid}, {process.status()}: {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid}, gone meanwhile"


def threads() -> dict[int, str]:
    """Python's threads and ZeroMQ's; other libraries keep theirs for good, as they should."""
    found = {t.native_id: f"{t.name} ({t!r})" for t in threading.enumerate() if t.native_id}
    for task in Path("/proc/self/task").glob("*/comm"):
        try:
            name = task.read_text().strip()
        except OSError:  # it has just ended
            continue
        if name.startswith("ZMQ"):
            found.setdefault(int(task.parent.name), f"{name}: a ZeroMQ context was not closed")
    return found


def open_files() -> dict[str, str]:
    """Descriptors of this process, by what they are; those of the measuring tools do not count."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:  # the one that lists the directory
            continue
        if ".coverage" not in target:
            found[f"{entry} {target}"] = f"{entry}: {target}"
    return found


def memory_files() -> frozenset[str]:
    """Memory files that are mapped into this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return frozenset(line.split(maxsplit=5)[-1] for line in lines if "/memfd:" in line)


def wait_until_clean(look: Callable[[], list[str]], patience: float = PATIENCE) -> list[str]:
    """Look until nothing is left or patience is over; what was left then."""
    deadline = time.monotonic() + patience
    while (left := look()) and time.monotonic() < deadline:
        gc.collect()
        threading.Event().wait(0.05)  # there is no event for "everything has ended"
    return left


@pytest.fixture(scope="session", autouse=True)
def session_leak_check(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the run when it leaves anything behind."""
    tmp_path_factory.getbasetemp()  # pytest's own directories, which it keeps, stay where they are
    mark = uuid.uuid4().hex
    directory = Path(tempfile.mkdtemp(prefix="enginery-tests-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, mark)
        patch.setenv("TMPDIR", str(directory))
        patch.setattr(tempfile, "tempdir", None)
        before = Snapshot.take(directory, mark)
        yield
        garbage.gc.stop()  # pyzmq's thread for what is sent without a copy; it keeps it for good
        left = wait_until_clean(lambda: Snapshot.take(directory, mark).leftovers(before))
    shutil.rmtree(directory, ignore_errors=True)
    if left:
        for pid in processes(mark).keys() - before.processes.keys():
            with contextlib.suppress(psutil.Error):
                psutil.Process(pid).kill()
        pytest.fail("the tests left behind:\n  " + "\n  ".join(left), pytrace=False)
