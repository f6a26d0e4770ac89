"""The leak check finds a lost process, thread, open file, memory file and temporary file."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from tests.leaks import MARK, Snapshot, wait_until_clean

TOKEN = "a mark of this test's own"
ORPHAN = """
import subprocess
child = subprocess.Popen(["cat"], stdin=0, stdout=subprocess.DEVNULL, start_new_session=True)
print(child.pid, flush=True)
"""


def left(directory: Path, before: Snapshot) -> list[str]:
    """What is there now and was not before."""
    return Snapshot.take(directory, TOKEN).leftovers(before)


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Snapshot]:
    """The state before the test, to which it has to return."""
    snapshot = Snapshot.take(tmp_path, TOKEN)
    yield snapshot
    assert wait_until_clean(lambda: left(tmp_path, snapshot)) == []


def test_a_child_is_found(tmp_path: Path, before: Snapshot) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        found = [line for line in left(tmp_path, before) if line.startswith("process")]
        assert len(found) == 1
        assert f"process {child.pid}, " in found[0]
        assert found[0].endswith(": cat")


def test_an_orphan_is_found_by_its_mark(tmp_path: Path, before: Snapshot) -> None:
    reading, writing = os.pipe()
    environment = {**os.environ, MARK: TOKEN}
    parent = subprocess.run(
        [sys.executable, "-c", ORPHAN],
        stdin=reading,
        stdout=subprocess.PIPE,
        env=environment,
        check=True,
    )
    os.close(reading)
    orphan = int(parent.stdout)
    try:
        assert any(f"process {orphan}, " in line for line in left(tmp_path, before))
    finally:
        os.close(writing)  # the end of its input ends it


def test_a_thread_is_found(tmp_path: Path, before: Snapshot) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    try:
        assert [line.split(" (")[0] for line in left(tmp_path, before)] == ["thread forgotten"]
    finally:
        end.set()
        thread.join()


def test_a_zmq_context_is_found(tmp_path: Path, before: Snapshot) -> None:
    context = zmq.Context()
    context.socket(zmq.PAIR).close()
    try:
        assert any("a ZeroMQ context was not closed" in line for line in left(tmp_path, before))
    finally:
        context.term()


def test_a_memory_file_is_found(tmp_path: Path, before: Snapshot) -> None:
    fd = os.memfd_create("forgotten")
    os.truncate(fd, mmap.PAGESIZE)
    with mmap.mmap(fd, mmap.PAGESIZE):
        os.close(fd)
        found = left(tmp_path, before)
    assert [line.split(" /memfd:")[0].rstrip(" :0123456789") for line in found] == [
        "open file",  # a mapping keeps a descriptor of its own
        "mapping of",
    ]


def test_an_open_file_and_a_temporary_file_are_found(tmp_path: Path, before: Snapshot) -> None:
    path = tmp_path / "forgotten"
    with path.open("w"):
        found = left(tmp_path, before)
    path.unlink()
    assert len(found) == 2
    assert found[0].startswith("open file")
    assert found[0].endswith(str(path))
    assert found[1] == "temporary file forgotten"
