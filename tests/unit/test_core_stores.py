"""What the controller keeps: functions as long as they are needed, finished tasks within limits."""

from collections import OrderedDict

import pytest

from enginery.core import messages as m
from enginery.core.functions import Functions
from enginery.core.history import History
from enginery.core.names import content_hash, public_name
from enginery.core.tasks import Record

BLOBS = [bytes([i]) * 10 for i in range(5)]
HASHES = [content_hash(blob) for blob in BLOBS]


def add(functions, *numbers):
    for i in numbers:
        functions.add(HASHES[i], BLOBS[i])


def kept(functions):
    return [i for i, hash in enumerate(HASHES) if hash in functions]


def test_a_function_is_known_by_its_content():
    with pytest.raises(ValueError, match="hash"):
        Functions(100).add(HASHES[0], BLOBS[1])


def test_the_oldest_functions_go_when_there_is_no_room():
    functions = Functions(30)
    add(functions, 0, 1, 2, 3)
    assert kept(functions) == [1, 2, 3]
    assert functions.bytes == 30


def test_a_function_that_comes_again_counts_once_and_is_young_again():
    functions = Functions(30)
    add(functions, 0, 1, 2, 0, 3)
    assert kept(functions) == [0, 2, 3]
    assert functions.bytes == 30


def test_what_a_task_needs_stays_until_the_last_such_task_has_ended():
    functions = Functions(10)
    for _ in range(2):
        functions.need(HASHES[0])
    add(functions, 0, 1)
    assert kept(functions) == [0]
    functions.release(HASHES[0])
    add(functions, 2)
    assert kept(functions) == [0]
    functions.need(HASHES[1])
    add(functions, 1)
    functions.release(HASHES[0])
    assert kept(functions) == [1]
    assert functions.needed == {HASHES[1]: 1}


def test_no_more_functions_are_looked_at_than_go():
    class Counting(OrderedDict):
        seen = 0

        def items(self):
            for each in super().items():
                self.seen += 1
                yield each

    functions = Functions(30)
    functions.blobs = Counting()
    add(functions, 0, 1, 2, 3)
    assert kept(functions) == [1, 2, 3]
    assert functions.blobs.seen == 2


def done(id, size=0):
    record = Record(m.Task(id, b"", b""), b"")
    record.outcome = m.Outcome(id, "ok", bytes(size))
    return record


def test_the_oldest_finished_tasks_are_forgotten_beyond_the_number():
    history = History(2, 1 << 20)
    assert history.add(done("a")) == []
    assert history.add(done("b")) == []
    assert history.add(done("c")) == ["a"]
    assert history.ended == {"ok": 3}


def test_beyond_the_bytes_too_but_the_latest_stays():
    history = History(100, 2400)
    history.add(done("a"))
    history.add(done("b"))
    assert history.add(done("c", 5000)) == ["a", "b"]
    assert history.bytes == sum(r.size for r in history)


def test_what_is_removed_takes_no_room_and_does_not_count():
    history, records = History(3, 1 << 20), [done(f"t{i}") for i in range(4)]
    for record in records[:3]:
        history.add(record)
    history.remove(records[0])
    assert list(history) == records[1:3]
    assert history.add(records[3]) == []
    assert (history.count, history.bytes) == (3, sum(r.size for r in records[1:]))
    for record in records[1:3]:
        history.remove(record)
    assert list(history) == [records[3]]
    assert len(history._recent) == 1


def test_with_no_limit_of_records_left_a_task_is_forgotten_at_once():
    assert History(0, 1000).add(done("a")) == ["a"]


def test_public_names_tell_secrets_apart_and_not_what_they_are():
    names = {public_name(bytes([i]) * 16) for i in range(100)}
    assert len(names) == 100
    assert all(len(name) == 6 for name in names)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 10_000},
        {"label": "x" * 10_000},
        {"id": "x" * 10_000},
        {"targets": tuple(range(1250))},
        {"chunk": m.Chunk(0, 1250, 1, tuple(range(1250)))},
        {"terms": m.Terms(after=m.Dependency(("x" * 10_000,)))},
        {"terms": m.Terms(inputs=("x" * 10_000,))},
        {"terms": m.Terms(recoveries=(m.Task("", b"f", b"", name="x" * 10_000),))},
    ],
)
def test_all_that_a_task_holds_counts(fields):
    assert m.Task(**{"id": "a-1", "function": b"f", "arguments": b"", **fields}).size() > 10_000
