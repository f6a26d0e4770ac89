"""How engines divide a map among themselves, and that nobody notices but by the clock."""

from __future__ import annotations

import os
import signal
import time

import numpy
import pytest

from enginery import Client, CompositeError, EngineError, TaskAborted
from enginery.client.parts import Parts


@pytest.fixture
def lview(rc):
    return rc.load_balanced_view()


def test_a_value_is_what_it_was_when_it_was_returned(lview):
    def growing(x, seen=[]):  # noqa: B006  # that is what is meant
        seen.append(x)
        return seen

    values = lview.map_sync(growing, range(500))
    assert [value[-1] for value in values] == list(range(500))


def test_no_call_sees_what_another_does_to_its_argument(lview):
    def take(items):
        items.append(0)
        return len(items)

    shared = [1, 2]
    assert lview.map_sync(take, [shared] * 300) == [3] * 300


def test_arguments_of_every_kind(lview):
    class Own:
        def __init__(self, number):
            self.number = number

    items = [1, "two", (3,), [4], {"five": 5}, None, numpy.arange(6), Own(7), b"8" * 40_000]
    kinds = lview.map_sync(lambda item: type(item).__name__, items * 20)
    assert kinds == [type(item).__name__ for item in items] * 20


def test_large_and_small_values_together(lview):
    values = lview.map_sync(lambda n: numpy.full(n, n) if n % 7 == 0 else n, range(0, 9000, 3))
    for n, value in zip(range(0, 9000, 3), values, strict=True):
        assert (value == n).all() if n % 7 == 0 else value == n


def test_brief_items_go_together_and_each_is_told_of_once(lview):
    result = lview.map_async(lambda x: x + 1, range(20_000))
    assert result.get(30) == list(range(1, 20_001))
    assert result.progress == result.total == 20_000
    assert len(result.msg_ids) < 5_000
    assert sorted(result.partial()) == list(range(20_000))
    unordered = lview.map_async(lambda x: x + 1, range(20_000), ordered=False)
    assert sorted(unordered) == list(range(1, 20_001))


def test_to_go_through_the_items_does_not_look_at_all_parts_each_time(lview, monkeypatch):
    def slow(x):
        time.sleep(0.003)  # so that items go one by one
        return x

    looks, slots = [], Parts.slots.fget
    monkeypatch.setattr(Parts, "slots", property(lambda self: looks.append(1) or slots(self)))
    assert sorted(lview.map_async(slow, range(40), ordered=False)) == list(range(40))
    assert len(looks) <= 1


def test_what_an_item_prints_is_its_own(lview):
    lview.map_sync(abs, range(2000))

    def speak(x):
        if x % 100 == 7:
            print(f"item {x}")
        return x

    result = lview.map_async(speak, range(1000))
    assert result.wait(30)
    assert result.wait_for_output(30)
    printed = dict(zip(result.msg_ids, result.stdout, strict=True))
    assert sorted(int(text.split()[1]) for text in printed.values() if text) == [
        x for x in range(1000) if x % 100 == 7
    ]
    assert {id.rpartition(".")[2] for id, text in printed.items() if text} >= {"7", "107"}


def test_values_before_a_long_item_come_and_others_do_what_is_behind_it(lview, tmp_path):
    def item(x, path):
        while x == 300 and not os.path.exists(path):
            time.sleep(0.001)
        return x

    path = str(tmp_path / "go")
    lview.map_sync(item, range(300), [path] * 300)  # brief, as far as is known
    result = lview.map_async(item, range(2000), [path] * 2000)
    others = [x for x in range(2000) if x != 300]
    assert lview.client.link.wait(lambda: result.progress == len(others), 30)
    assert sorted(result.partial()) == others
    assert not result.ready()
    (tmp_path / "go").touch()
    assert result.get(30) == list(range(2000))


@pytest.mark.parametrize("retries", [0, 1])
def test_of_an_engine_that_is_killed_only_what_had_begun_pays(own_cluster, tmp_path, retries):
    def item(x, directory):
        with open(f"{directory}/{os.getpid()}", "a") as file:
            file.write(f"{x} ")
        if x == 1500 and not os.path.exists(f"{directory}/killed"):
            open(f"{directory}/killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with own_cluster.connect_client_sync() as rc:
        lview = rc.load_balanced_view(retries=retries)
        result = lview.map_async(item, range(3000), [str(tmp_path)] * 3000)
        assert result.wait(60)
        values = result.get(return_exceptions=True)
    (tmp_path / "killed").unlink()
    starts = [int(x) for file in tmp_path.glob("[0-9]*") for x in file.read_text().split()]
    failed = [error.item for error in values if isinstance(error, EngineError)]
    assert [v for v in values if isinstance(v, int)] == [x for x in range(3000) if x not in failed]
    assert set(starts) == set(range(3000))
    if retries:
        assert failed == []
        assert max(map(starts.count, starts)) == 2
    else:
        assert 1500 in failed
        assert max(failed) == 1500  # what stood behind it had not begun
        assert len(starts) == 3000


def test_failed_items_are_run_again_and_the_others_kept(lview, tmp_path):
    lview.map_sync(abs, range(1000))

    def bad(x, path):
        if x in {3, 77} and not os.path.exists(path):
            raise ValueError(x)
        return x

    path = str(tmp_path / "good")
    result = lview.map_async(bad, range(200), [path] * 200)
    with pytest.raises(CompositeError, match="2 of 200 items"):
        result.get(30)
    (tmp_path / "good").touch()
    again = result.resubmit()
    assert again.get(30) == list(range(200))


def test_what_has_not_begun_is_aborted_and_can_be_run_again(lview):
    def item(x):
        time.sleep(0.05)
        return x

    result = lview.map_async(item, range(500))
    assert lview.client.link.wait(lambda: result.progress >= 2, 30)
    result.abort()
    assert result.wait(30)
    done = result.partial()
    assert 2 <= len(done) < 100
    failed = result.get(return_exceptions=True)
    assert sum(isinstance(value, TaskAborted) for value in failed) == 500 - len(done)
    assert not result.successful()


def test_another_client_gets_the_whole(cluster, rc, lview):
    result = lview.map_async(lambda x: x * 2, range(100))
    ids = result.msg_ids
    with Client(cluster.client_connection_file) as other:
        assert other.get_result(ids).get(30) == [x * 2 for x in range(100)]
    assert result.wait(30)
    share = result.slots[-1]
    value = rc.get_result(share.id).get(30)
    assert value == (
        [x * 2 for x in range(100)][-1]
        if share.stop - share.start == 1
        else [x * 2 for x in range(share.start, share.stop)]
    )


def test_a_map_gets_what_somebody_asked_for_while_it_ran(rc, gate):
    held = gate.held

    def item(x):
        held()
        print("item", x)
        return x

    result = rc.load_balanced_view(0).map_async(item, range(3))
    while not (running := rc.queue_status(0, verbose=True)["tasks"]):
        pass
    alone = rc.get_result(running[0])
    gate.open()
    assert result.get(30) == [0, 1, 2]
    assert alone.wait(30)
    assert result.wait_for_output(30)
    assert "".join(result.stdout) == "item 0\nitem 1\nitem 2\n"


def test_all_of_it_or_some_of_its_shares_can_be_run_again(rc, lview):
    expected = [x * 2 for x in range(100)]
    result = lview.map_async(lambda x: x * 2, range(100))
    assert result.get(30) == expected
    again = rc.resubmit(result)
    assert again.get(30) == expected
    assert again.name == result.name
    first, *_, last = result.slots
    some = rc.resubmit([last.id, first.id])
    assert some.get(30) == expected[last.start :] + expected[: first.stop]


def test_its_chunks_can_be_asked_for_by_their_ids(rc, lview):
    expected = [x * 2 for x in range(100)]
    before = len(rc.history)
    result = lview.map_async(lambda x: x * 2, range(100))
    assert result.get(30) == expected
    chunks = rc.history[before:]
    status = rc.result_status(chunks, status_only=False)
    assert [value for id in chunks for value in status[id].get(30)] == expected
    assert [value for id in chunks for value in rc.results[id]] == expected
    assert [rc.metadata[id]["status"] for id in chunks] == ["ok"] * len(chunks)
