"""Large buffers beside the journal: several in a file, which goes with the last that is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginery.controller import beside
from enginery.controller.beside import HEAD, LEAST, Beside
from enginery.controller.journal import Journal
from enginery.core import messages as m
from enginery.core.entries import Ended, Turn
from enginery.core.events import Trim

from .test_journal_files import OWNER, append, large, reopened, turn

ROOM = 3 * LEAST
"""Of a pack in these tests: two of the least buffers."""


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "PACK", ROOM)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path / "journal")
    one.start("name", (1, 2))
    yield one
    if one._thread.is_alive():  # else the test has closed it
        one.close(remove=True)


def packs(journal: Journal) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in journal.directory.glob("*.buffer"))


def several(number: int, *buffers: m.Buffer) -> Turn:
    """A record that names these."""
    return Turn(float(number), [Ended(OWNER, m.Outcome(f"c-{number}", "ok", b"", buffers))])


def buffer(seed: int) -> m.Buffer:
    return m.Buffer(bytes([seed]) * LEAST)


def test_many_share_a_file_that_the_disk_is_waited_for_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(journal, turn(1))
    waits: list[int] = []
    wait = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (waits.append(fd), wait(fd))[1])
    append(journal, several(2, *map(buffer, range(50))), first=2, anew=False)
    assert packs(journal) == ["2-0"]
    assert len(waits) == 2  # the pack, and the record
    journal.close(remove=False)
    turns, _ = reopened(journal.directory)
    assert turns == [turn(1), several(2, *map(buffer, range(50)))]


@pytest.mark.usefixtures("small_packs")
def test_a_pack_is_filled_and_then_there_is_another(journal: Journal) -> None:
    append(journal, *(large(number, LEAST) for number in range(1, 6)), large(6, 2 * ROOM))
    assert packs(journal) == ["1-0", "3-0", "5-0", "6-0"]
    append(journal, large(7, LEAST), first=7, anew=False)
    assert packs(journal)[-1] == "7-0"


@pytest.mark.usefixtures("small_packs")
def test_a_pack_goes_with_the_last_that_is_named_in_it(journal: Journal) -> None:
    first, second = large(1, LEAST), large(2, LEAST)
    append(journal, first, second, large(3, LEAST))
    append(journal, second, first=4)
    journal.trim(Trim(4, whole=True))
    assert packs(journal) == ["1-0"]
    append(journal, large(5, LEAST), first=5)
    journal.trim(Trim(5, whole=True))
    assert packs(journal) == ["5-0"]


def test_what_is_left_of_a_pack_that_is_mostly_empty_is_written_anew(journal: Journal) -> None:
    kept, others = buffer(0), [buffer(seed) for seed in range(1, 8)]
    append(journal, several(1, *others[:4], kept, *others[4:]))
    beside_it = m.Buffer(b"x" * (beside.PACK - LEAST))  # which does not fit into that pack
    append(journal, several(2, kept, beside_it), first=2)
    journal.trim(Trim(2, whole=True))
    assert packs(journal) == ["1-0", "2-0"]
    append(journal, several(3, kept), first=3)
    journal.trim(Trim(3, whole=True))
    assert packs(journal) == ["3-0"]
    journal.close(remove=False)
    assert reopened(journal.directory)[0] == [several(3, kept)]


def test_one_that_was_not_written_before_others_is_missing(journal: Journal) -> None:
    """As after a loss of power, where the file system had written those behind it."""
    append(journal, turn(1), large(2, LEAST), large(3, LEAST), large(4, LEAST))
    journal.close(remove=False)
    (pack,) = journal.directory.glob("*.buffer")
    with pack.open("r+b") as file:
        file.seek(HEAD.size + LEAST)
        file.write(bytes(HEAD.size + LEAST))
    assert reopened(journal.directory) == ([turn(1), large(2, LEAST)], False)


def test_a_file_of_what_never_counted_is_not_taken_for_another(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power is lost twice: after a buffer was written, and before the one of that name was."""
    append(journal, turn(1))
    before = Beside(journal.directory)
    before.begin(2)
    lost = m.Buffer(b"y" * LEAST)
    before.store([(before.place(lost, "2-0")[0], lost)])
    monkeypatch.setattr(Beside, "store", lambda self, buffers: None)
    append(journal, large(2, LEAST), first=2, anew=False)
    journal.close(remove=False)
    assert reopened(journal.directory) == ([turn(1)], False)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.integers(0, 9), max_size=4)),
        st.tuples(st.just("anew"), st.lists(st.integers(0, 9), max_size=4)),
        st.tuples(st.just("begin again"), st.just([])),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(deadline=None, max_examples=30)
def test_whatever_happens_all_that_is_named_is_there(
    steps: list[tuple[str, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("steps") / "journal"
    size, beside.PACK = beside.PACK, ROOM
    one = Journal(directory)
    one.start("name", (1, 2))
    buffers = [buffer(seed) for seed in range(10)]
    number, written = 1, [turn(1)]
    append(one, turn(1))
    try:
        for step, named in steps:
            number += 1
            if step == "begin again":
                one.close(remove=False)
                one = Journal(directory)
                found = one.find()
                assert found is not None
                assert list(found.turns) == written
                one.start("name", (1, 2))
                written.append(turn(number))
                append(one, turn(number), first=number, anew=True)
                written = [turn(number)]
                one.trim(Trim(number, whole=True))
                buffers = [buffer(seed) for seed in range(10)]
                continue
            each = several(number, *(buffers[i] for i in named))
            append(one, each, first=number, anew=step == "anew")
            written = [each] if step == "anew" else [*written, each]
            if step == "anew":
                one.trim(Trim(number, whole=True))
    finally:
        one.close(remove=False)
        beside.PACK = size
    assert reopened(directory)[0] == written
    live = {i for turn in written for entry in turn.entries for i in contents(entry)}
    on_disk = sum(path.stat().st_size for path in directory.glob("*.buffer"))
    assert on_disk <= beside.SPARSE * len(live) * ROOM + ROOM


def contents(entry: object) -> list[bytes]:
    """The buffers of an entry, told apart by what they hold."""
    if not isinstance(entry, Ended):
        return []
    return [bytes(each)[:1] for each in entry.outcome.buffers]
