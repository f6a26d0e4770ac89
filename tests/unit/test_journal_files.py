"""The journal's files: what was written is read again, or it is said where it was damaged."""

from __future__ import annotations

import os
import random
import re
import resource
import select
import time
from pathlib import Path
from weakref import ref

import pytest

from enginery.controller.beside import LEAST, Where, stored
from enginery.controller.journal import Journal
from enginery.core import messages as m
from enginery.core.entries import Ended, Function, Taken, Turn
from enginery.core.events import Append, JournalFailed, Synced, Trim
from enginery.error import ClusterError, JournalError, MemoryUnavailable

OWNER = b"o" * 16
RECORDS = 30


def turn(number: int) -> Turn:
    """What stands in a record, told apart by its number."""
    task = m.Task(f"c-{number}", b"h" * 16, b"a" * number)
    return Turn(float(number), [Taken(OWNER, number, [task]), Function(b"h" * 16, b"blob")])


def large(number: int, size: int) -> Turn:
    """One with a buffer that has a file of its own."""
    outcome = m.Outcome(f"c-{number}", "ok", b"v", (m.Buffer(b"x" * size),))
    return Turn(float(number), [Ended(OWNER, outcome)])


def append(journal: Journal, *turns: Turn, first: int = 1, anew: bool = True) -> int:
    """Write these as records, and wait until they are on disk; the bytes that there are then."""
    for number, each in enumerate(turns, first):
        journal.append(Append(number, each, anew and number == first, urgent=True))
    journal.wake()
    return wait_for(journal, first + len(turns) - 1)


def wait_for(journal: Journal, number: int) -> int:
    """Wait until a record is on disk; the bytes that the journal then has."""
    while True:
        assert select.select([journal.fileno()], [], [], 30)[0], "it is never on disk"
        for event in journal.events():
            assert isinstance(event, Synced)
            if event.turn >= number:
                return event.size


def reopened(directory: Path) -> tuple[list[Turn], bool]:
    """What a next controller finds, and whether it may trust the end."""
    journal = Journal(directory)
    try:
        found = journal.find()
        if found is None:
            return [], True
        turns = list(found.turns)
        return turns, found.complete
    finally:
        journal.close(remove=False)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A segment of some records."""
    journal = Journal(tmp_path / "journal")
    journal.start("name", (1, 2))
    append(journal, *map(turn, range(1, RECORDS + 1)))
    journal.trim(Trim(1, whole=True))
    journal.close(remove=False)
    return next((tmp_path / "journal").glob("*.log"))


def test_what_was_written_is_read_again(written: Path) -> None:
    turns, complete = reopened(written.parent)
    assert turns == [turn(number) for number in range(1, RECORDS + 1)]
    assert complete


def test_a_journal_belongs_to_one_controller(written: Path) -> None:
    journal = Journal(written.parent)
    with pytest.raises(ClusterError, match="another controller writes the journal"):
        Journal(written.parent)
    journal.close(remove=False)
    Journal(written.parent).close(remove=True)
    assert not written.parent.exists()


def cut_anywhere(written: Path, times: int, seed: int) -> set[int]:
    """Cut the segment at random; how many records are known then, which are all before the cut."""
    content, chance, counts = written.read_bytes(), random.Random(seed), set()
    for _ in range(times):
        written.write_bytes(content[: chance.randrange(1, len(content))])
        turns, _ = reopened(written.parent)
        assert turns == [turn(number) for number in range(1, len(turns) + 1)]
        counts.add(len(turns))
    return counts


def change_any_bit(written: Path, times: int, seed: int) -> list[str]:
    """Change a bit of the segment, which must be found; the refusals that say so.

    Only the last record may be missing instead: it might not have been written to its end.
    """
    content, chance = written.read_bytes(), random.Random(seed)
    refusals = []
    for _ in range(times):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        written.write_bytes(damaged)
        try:
            turns, complete = reopened(written.parent)
        except JournalError as error:
            refusals.append(str(error))
        else:
            assert turns == [turn(number) for number in range(1, RECORDS)]
            assert not complete
    assert all(re.match(r"record \d+ of the journal is damaged, at byte", r) for r in refusals)
    assert all(str(written) in refusal for refusal in refusals)
    return refusals


def test_of_one_that_was_cut_all_before_the_cut_is_known(written: Path) -> None:
    assert len(cut_anywhere(written, 100, seed=1)) > RECORDS / 2


def test_bits_that_have_changed_are_found(written: Path) -> None:
    assert len(change_any_bit(written, 100, seed=2)) > 80


def test_a_record_that_is_missing_is_noticed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.start("name", (1, 2))
    append(journal, turn(1), turn(2))
    journal.trim(Trim(1, whole=True))
    append(journal, turn(4), first=4, anew=False)
    journal.close(remove=False)
    turns, complete = reopened(tmp_path / "journal")
    assert turns == [turn(1), turn(2), turn(4)]
    assert not complete


def test_large_buffers_stand_beside_it_once_and_go_with_what_names_them(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal = Journal(directory)
    journal.start("name", (1, 2))
    first = large(1, 2 * LEAST)
    append(journal, first, first, large(3, 10))
    assert len(list(directory.glob("*.buffer"))) == 1
    append(journal, turn(4), first=4)
    journal.trim(Trim(4, whole=True))
    assert list(directory.glob("*.buffer")) == []
    assert len(list(directory.glob("*.log"))) == 1
    append(journal, first, first=5, anew=False)  # its file was removed: it is written again
    journal.close(remove=False)
    turns, _ = reopened(directory)
    assert turns == [turn(4), first]


def test_what_is_on_disk_does_not_stay_in_memory(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.start("name", (1, 2))
    written = large(1, LEAST)
    [ended] = written.entries
    assert isinstance(ended, Ended)
    buffer = ref(ended.outcome.buffers[0])
    append(journal, written)
    del written, ended
    deadline = time.monotonic() + 10
    while buffer() is not None:
        assert time.monotonic() < deadline, "it is kept until something else is written"
        time.sleep(0.01)  # no event tells
    journal.close(remove=True)


def test_large_buffers_count_for_the_size_of_each_segment_that_names_them(tmp_path: Path) -> None:
    size = 2 * LEAST
    journal = Journal(tmp_path / "journal")
    journal.start("name", (1, 2))
    first, second = large(1, size), large(2, size)
    assert size < append(journal, first, first) < 1.5 * size
    assert 2 * size < append(journal, second, first=3, anew=False) < 2.5 * size
    assert size < append(journal, second, first=4) < 1.5 * size  # it is there, and still needed
    journal.close(remove=True)


@pytest.mark.parametrize("left", [None, 0, 100])
def test_the_journal_ends_before_a_large_buffer_that_was_not_written(
    tmp_path: Path, left: int | None
) -> None:
    """Neither was anything after it ever on disk."""
    directory = tmp_path / "journal"
    journal = Journal(directory)
    journal.start("name", (1, 2))
    append(journal, turn(1), large(2, 2 * LEAST), turn(3))
    journal.trim(Trim(1, whole=True))
    append(journal, turn(4), first=4)
    journal.close(remove=False)
    file = next(directory.glob("*.buffer"))
    if left is None:
        file.unlink()
    else:
        os.truncate(file, left)
    for _ in range(2):  # also the second time, when nothing shows any more that there was more
        assert reopened(directory) == ([turn(1)], False)
    journal = Journal(directory)
    found = journal.find()
    assert found is not None
    assert (list(found.turns), found.last) == ([turn(1)], 1)
    journal.start("name", (1, 2))
    append(journal, large(2, 2 * LEAST), first=2)
    journal.close(remove=False)
    assert reopened(directory)[0] == [turn(1), large(2, 2 * LEAST)]


def test_a_large_buffer_that_was_changed_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal = Journal(directory)
    journal.start("name", (1, 2))
    append(journal, turn(1), large(2, 2 * LEAST))
    journal.close(remove=False)
    file = next(directory.glob("*.buffer"))
    file.write_bytes(b"?" + file.read_bytes()[1:])
    with pytest.raises(JournalError, match=f"{file.name} is damaged: its checksum is wrong"):
        reopened(directory)


def test_what_is_written_in_doubt_stays_in_doubt(written: Path) -> None:
    directory = written.parent
    assert reopened(directory)[1]
    journal = Journal(directory)
    found = journal.find()
    assert found is not None
    list(found.turns)
    journal.start("name", (1, 2))
    append(journal, turn(RECORDS + 1), first=RECORDS + 1)
    journal.trim(Trim(RECORDS + 1, whole=False))
    journal.close(remove=False)
    assert reopened(directory) == ([turn(RECORDS + 1)], False)


def test_no_descriptor_stays_open_for_a_buffer_that_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.start("name", (1, 2))
    append(journal, *(large(number, 2 * LEAST) for number in range(1, 6)))
    journal.close(remove=False)
    before = os.listdir("/proc/self/fd")
    turns, _ = reopened(tmp_path / "journal")
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert turns == [large(number, 2 * LEAST) for number in range(1, 6)]


def test_a_buffer_that_cannot_be_read_is_not_taken_for_one_that_is_missing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.start("name", (1, 2))
    append(journal, large(1, 2 * LEAST))
    journal.close(remove=False)
    file = next((tmp_path / "journal").glob("*.buffer"))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            stored(file.parent, Where("1-0", file.name, 0, 2 * LEAST))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)


class Gone:
    """A part of shared memory that cannot be had any more."""

    nbytes = 2 * LEAST
    reference = None

    def view(self) -> memoryview:
        raise MemoryUnavailable("it is gone")


def test_whatever_cannot_be_stored_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.start("name", (1, 2))
    buffer = m.Buffer(None, Gone())
    outcome = m.Outcome("c-1", "ok", b"v", (buffer,))
    journal.append(Append(1, Turn(1.0, [Ended(OWNER, outcome)]), True, urgent=True))
    journal.wake()
    assert select.select([journal.fileno()], [], [], 30)[0]
    assert [type(event) for event in journal.events()] == [JournalFailed]
    append(journal, turn(2), first=2)
    journal.close(remove=True)


def test_beginnings_that_failed_leave_nothing_behind(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal = Journal(directory)
    journal.start("name", (1, 2))

    def fail(number: int) -> None:
        (directory / f"{number:012}.log").mkdir()
        journal.append(Append(number, turn(number), True, urgent=True))
        assert [type(event) for event in journal.events()] == [JournalFailed]
        (directory / f"{number:012}.log").rmdir()

    def segments() -> list[int]:
        return sorted(int(path.stem) for path in directory.glob("*.log"))

    append(journal, large(1, 2 * LEAST))
    journal.trim(Trim(1, whole=True))
    fail(2)
    append(journal, large(3, 2 * LEAST), first=3)
    assert segments() == [1, 3]
    fail(4)
    append(journal, large(5, 2 * LEAST), first=5)
    assert segments() == [1, 5]
    assert len(list(directory.glob("*.buffer"))) == 2
    (directory / "9-9.buffer").touch()  # left by a controller that was killed
    journal.trim(Trim(5, whole=True))
    assert segments() == [5]
    assert len(list(directory.glob("*.buffer"))) == 1
    journal.close(remove=True)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal = Journal(directory)
    journal.start("name", (1, 2))
    append(journal, turn(1))
    journal.trim(Trim(1, whole=True))
    (directory / "000000000002.log").mkdir()  # where the next segment is to be
    journal.append(Append(2, turn(2), True, urgent=True))
    assert select.select([journal.fileno()], [], [], 30)[0]
    assert [type(event) for event in journal.events()] == [JournalFailed]
    (directory / "000000000002.log").rmdir()
    journal.close(remove=False)
    turns, complete = reopened(directory)
    assert turns == [turn(1)]
    assert not complete
