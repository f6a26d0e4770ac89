"""Finished tasks that are packed: they take little room and come back as they were."""

import pytest

from enginery.core import alike, history
from enginery.core import messages as m
from enginery.core.ahead import AUTO
from enginery.core.archive import Archive
from enginery.core.bundles import Bundle
from enginery.core.events import Effect, Received, Send
from enginery.core.history import History
from enginery.core.table import Tasks
from enginery.core.tasks import Record

from .hand_controller import FIT, Hand, task


def done(id, *, number=0, finished=1.0, value=b"v", retried=False, **fields):
    """A task that has ended well."""
    record = Record(m.Task(id, b"f", b"args", name="fit", submitted=0.5, **fields), b"ann", number)
    moves = ["wait", "assign", "send", *(("retry", "assign", "send") if retried else ()), "end"]
    for i, move in enumerate(moves):
        record.move(move, float(i), engine=i % 2)
    record.attempt = 1 + retried
    record.n, record.finished = 7, finished
    record.outcome = m.Outcome(
        id, "ok", value, (), 1, "life", record.attempt, 0.5, 0.6, 0.7, 2, "fit"
    )
    return record


def told(record):
    """What is to be the same of a record that was packed."""
    names = (
        "spec",
        "owner",
        "number",
        "size",
        "state",
        "attempt",
        "n",
        "outcome",
        "finished",
        "story",
    )
    return {name: getattr(record, name) for name in names}


@pytest.mark.parametrize(
    "others", [[], [done("ann-12", retried=True)], [done("bob-11", label="x")]]
)
def test_what_was_packed_comes_back_as_it_was(others):
    archive = Archive()
    first = done("ann-11", targets=(1, 2), retries=3)
    for record in (first, *others):
        history.History(1, 1).add(record)  # which counts its size
    assert archive.pack([first, *others]) == []
    for record in (first, *others):
        assert record.spec.id in archive
        assert told(archive.get(record.spec.id)) == told(record)
    assert [told(record) for record in archive] == [told(record) for record in (first, *others)]


@pytest.mark.parametrize(
    "record",
    [
        done("ann-1"),
        done("ann-1x"),
        done("ann-1²"),
        done("ann-1٣"),
        done("1"),
        done("ann-12", value=bytes(5000)),
        done("ann-12", buffers=(m.Buffer(b"x"),)),
        done("ann-12", terms=m.Terms(priority=1.0)),
    ],
)
def test_what_is_large_or_unlike_others_is_left_as_it_is(record):
    archive = Archive()
    history.History(1, 1).add(record)  # which counts its size
    assert archive.pack([done("ann-11"), record]) == [record]
    assert record.spec.id not in archive
    assert archive.get(record.spec.id) is None
    assert archive.count == 1


@pytest.mark.parametrize(
    "id", ["ann-01", "ann-+1", "ann- 1", "ann-1 ", "ann-٣", "ann-1_0", "ann-0"]
)
def test_no_other_spelling_of_an_id_is_found(id):
    archive = Archive()
    archive.pack([done("ann-11"), done("ann-12")])
    assert id not in archive


def test_blocks_go_with_all_that_is_known_of_them():
    archive = Archive()
    archive.pack([done("ann-11"), done("bob-15")])
    archive.pack([done("ann-12")])
    archive.remove(done("ann-11"))
    assert "ann-11" not in archive
    assert [record.spec.id for record in archive] == ["bob-15", "ann-12"]
    for id in ("bob-15", "ann-12"):
        assert archive.ids_of_oldest() == [id]
        gone = archive.drop_oldest()
        assert (gone.count, gone.size) == (1, done(id).size)
        assert id not in archive
    assert archive.count == 0
    assert not any(vars(archive)[name] for name in ("_blocks", "_pages", "_unpacked"))


def test_a_history_packs_the_older_ones_and_forgets_the_oldest_first(monkeypatch):
    monkeypatch.setattr(history, "RECENT", 2)
    monkeypatch.setattr(history, "BLOCK", 2)
    kept = History(5, 1 << 20)
    tasks = Tasks(kept.archive)
    large = done("ann-12", finished=2.0, value=bytes(5000), number=2)
    for i in range(1, 7):
        record = large if i == 2 else done(f"ann-1{i}", finished=float(i), number=i)
        tasks.live[record.spec.id] = record
        assert kept.add(record) == (["ann-11"] if i == 6 else [])
        for packed in kept.pack():
            del tasks.live[packed.spec.id]
    assert list(tasks.live) == ["ann-12", "ann-15", "ann-16"]
    assert list(tasks) == ["ann-12", "ann-13", "ann-14", "ann-15", "ann-16"]
    assert [record.spec.id for record in kept] == list(tasks)
    assert kept.count == len(tasks) == 5
    assert kept.bytes == sum(record.size for record in tasks.values())
    assert kept.add(done("ann-17", finished=7.0)) == ["ann-12"]
    kept.remove(tasks["ann-13"])
    assert kept.count == 4


def test_how_many_have_run_on_each_engine_counts_packed_ones_that_are_kept(monkeypatch):
    monkeypatch.setattr(history, "RECENT", 0)
    monkeypatch.setattr(history, "BLOCK", 2)
    hand = Hand()
    hand.engine("a", conn="engine a")
    hand.engine("b", conn="engine b")
    hand.client("ann")
    for seq, number in enumerate((11, 12, 13, 14, 15), 1):
        id = f"ann-{number}"
        hand.submit("ann", task(id, targets=(number % 2,)))
        result = m.Result(id, 1, "ok", b"v", started=1.0)
        hand.result(f"engine {'ab'[number % 2]}", result, seq=1 + seq // 2 - (number % 2 == 0))
    hand.submit("ann", task("ann-16", targets=(0,)))
    assert hand.core.work.history.archive.count == 4
    hand.say("ann/control", m.Purge(["ann-13"], number=1))
    for verbose, told in (
        (False, {0: 2, 1: 2}),
        (True, {0: ["ann-12", "ann-14"], 1: ["ann-11", "ann-15"]}),
    ):
        [reply] = hand.say("ann/control", m.Query(2, "queues", verbose=verbose))
        assert {engine: reply.value[engine]["completed"] for engine in (0, 1)} == told
    assert reply.value[0]["tasks"] == ["ann-16"]


@pytest.fixture
def hand(monkeypatch):
    """A task is at an engine; what ends is packed at once."""
    monkeypatch.setattr(history, "RECENT", 0)
    monkeypatch.setattr(history, "BLOCK", 1)
    hand = Hand()
    hand.engine("a", conn="engine a")
    hand.client("ann")
    hand.submit("ann", task("ann-11"))
    return hand


def test_a_controller_answers_for_what_it_has_packed(hand):
    hand.result("engine a", m.Result("ann-11", 1, "ok", b"value"), seq=1)
    assert hand.core.work.tasks.live == {}
    hand.submit("ann", task("ann-11"))  # nothing new
    hand.client("bob")
    said = hand.say_all("bob/control", m.Query(1, "fetch", ["ann-11", "ann-12"]), "client")
    assert m.Reply(1, {"unknown": ["ann-12"]}) in [message for _, message in said]
    delivered = [message for _, message in said if isinstance(message, m.Deliver)]
    assert [outcome.value for each in delivered for outcome in each.outcomes] == [b"value"]
    assert len(hand.core.work.tasks["ann-11"].story) == 4
    hand.say("bob/control", m.Purge(every=True, number=2))
    assert len(hand.core.work.tasks) == hand.core.work.history.count == 0


def test_what_has_ended_is_packed_when_all_that_follows_is_said(hand):
    effects: list[Effect] = []
    result = Received("engine a/tasks", "engine", m.Results(1, [m.Result("ann-11", 1, "ok", b"v")]))
    hand.core.feed(result, hand.now, effects)
    hand.core.settle(hand.now, effects)
    assert any(isinstance(each, Send) and type(each.message) is m.Deliver for each in effects)
    assert hand.core.work.history.archive.count == 0
    hand.core.tidy()
    assert hand.core.work.history.archive.count == 1


def test_a_block_of_which_all_is_removed_goes():
    archive = Archive()
    archive.pack([done("ann-11"), done("ann-12")])
    archive.pack([done("ann-13")])
    assert archive.get("ann-11") is not None
    archive.remove(done("ann-11"))
    archive.remove(done("ann-12"))
    assert [record.spec.id for record in archive] == ["ann-13"]
    assert [len(vars(archive)[name]) for name in ("_blocks", "_unpacked")] == [1, 0]
    archive.remove(done("ann-13"))
    assert not any(vars(archive)[name] for name in ("_blocks", "_pages", "_unpacked"))
    assert archive.oldest is None


@pytest.mark.parametrize(
    "numbers",
    [
        list(range(95, 330)),
        list(range(20, 10, -1)),
        [11, 12, 99, 13, 14, 100, 101, 199, 198],
        [11, 12, 14, 15, 16, 111, 112, 11113],
    ],
)
def test_a_bundle_is_found_on_all_its_pages_until_its_block_goes(numbers):
    archive, ids = Archive(), [f"ann-{number}" for number in numbers]
    times = [1.0] * len(ids)
    bundle = Bundle(
        m.Alike(FIT, "f", "", 0, ids, [b""] * len(ids), times), b"ann", 1, Tasks(archive)
    )
    ran = m.Ran(ids, [id.encode() for id in ids], times, times, [0] * len(ids))
    bundle.done, bundle.steps = m.Done(0, "life", "f", times, ran), [1.0, "ok", 0]
    bundle.size += bundle.done.size()
    archive.pack([bundle])
    archive.pack([done("ann-10"), done("bob-11")])
    assert [archive.get(id).outcome.value for id in ids] == ran.values
    archive.remove(archive.get(ids[2]))
    assert [id in archive for id in ids[:4]] == [True, True, False, True]
    assert archive.ids_of_oldest() == [*ids[:2], *ids[3:]]
    assert archive.sound
    left = [archive.get(id).size for id in archive.ids_of_oldest()]
    gone = archive.drop_oldest()
    assert (gone.count, gone.size) == (len(left), sum(left))
    assert archive.sound
    assert not archive.has_any(ids)
    assert archive.has_any(["ann-11", "ann-10"])
    archive.pack([done(ids[0])])  # a task of this name has come again
    assert ids[0] in archive
    assert archive.count == 3
    archive.drop_oldest()
    archive.drop_oldest()
    assert not any(vars(archive)[name] for name in ("_blocks", "_pages", "_unpacked"))


@pytest.mark.parametrize("size", [0, 5000])
def test_bundles_are_packed_as_their_tasks_would_be_one_by_one(monkeypatch, size):
    monkeypatch.setattr(history, "RECENT", 4)
    monkeypatch.setattr(history, "BLOCK", 8)
    known = []
    for fewest in (1, 1 << 60):
        monkeypatch.setattr(alike, "FEWEST", fewest)
        hand = Hand(hwm=AUTO)
        hand.brief()
        ids = [f"ann-{i}" for i in range(10, 70)]
        hand.submit("ann", *map(task, ids))
        results = [m.Result(id, 1, "ok", id.encode(), started=1.0) for id in ids]
        results[30].value = bytes(size)  # which is packed with the others, if it is small
        for seq, at in enumerate(range(0, 60, 7), 1):
            hand.result("engine", *results[at : at + 7], seq=seq)
        assert hand.core.work.history.archive.count > 40
        tasks = [hand.core.work.tasks[id] for id in ids]
        known.append([told(record) for record in tasks])
        assert list(hand.core.work.history.ran()) == [0] * 60
    assert known[0] == known[1]
