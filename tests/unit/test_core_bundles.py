"""Calls that are alike are one thing in the controller, until somebody looks at one of them."""

import pytest

from enginery.core import messages as m
from enginery.core.ahead import AUTO
from enginery.core.alike import FEWEST
from enginery.core.bundles import LARGEST

from .hand_controller import Hand, task


@pytest.fixture
def hand():
    """An engine that knows how brief the function is, and a client."""
    hand = Hand(hwm=AUTO)
    hand.brief()
    return hand


def sizes(hand):
    """How many tasks are in each bundle."""
    return [len(bundle) for bundle in hand.core.work.tasks.bundles()]


def no_engine(*tasks):
    """What bundles there are where no engine takes these."""
    hand = Hand()
    hand.client("ann")
    hand.submit("ann", *tasks)
    return sizes(hand)


@pytest.mark.parametrize(
    ("tasks", "bundles"),
    [
        ([task(f"ann-{i}") for i in range(FEWEST - 1)], []),
        ([task(f"ann-{i}") for i in range(FEWEST)], [FEWEST]),
        ([task(f"ann-{i}") for i in range(LARGEST + 7)], [LARGEST, 7]),
        ([task(f"ann-{i}", name="f" if i < 9 else "g") for i in range(20)], [9, 11]),
        ([task(f"ann-{i}", retries=i // 10) for i in range(20)], [10, 10]),
        ([task(f"ann-{i}", label="x" * (i // 10)) for i in range(20)], [10, 10]),
        ([task(f"ann-{i}", targets=(0,) * (i == 9)) for i in range(20)], [9, 10]),
        ([task(f"ann-{i}", terms=m.Terms() if i == 9 else None) for i in range(20)], [9, 10]),
        ([task(f"ann-{i % 10}") for i in range(20)], []),  # for some are the same
    ],
)
def test_what_is_alike_and_asks_for_nothing_is_together(tasks, bundles):
    assert no_engine(*tasks) == bundles


def test_who_counts_what_there_is_unties_nothing(hand):
    hand.submit("ann", *[task(f"ann-{i}") for i in range(100)])
    before = sizes(hand)
    assert sum(before) > 50
    for what in ("status", "queues", "engines"):
        hand.say("ann/control", m.Query(1, what))
    assert hand.core.work.tasks.different("name") == {""}
    assert len(hand.core.work.tasks) == len(list(hand.core.work.tasks)) == 100
    assert sizes(hand) == before


def test_who_asks_for_one_finds_it_as_it_is_and_the_others_stay_as_they_are(hand):
    hand.submit("ann", *[task(f"ann-{i}") for i in range(100)])
    [first, *others] = hand.core.work.tasks.bundles()
    record = hand.core.work.tasks[first.ids[1]]
    assert (record.state, record.n, record.attempt, record.place) == ("sent", 2, 1, 0)
    assert list(hand.core.work.tasks.bundles()) == others
    hand.result("engine", m.Result("ann-0", 1, "ok", b"v"), seq=1)
    assert hand.outcome("ann-0").value == b"v"


def test_the_rest_of_a_bundle_goes_on_when_one_of_it_has_failed(hand):
    hand.submit("ann", *[task(f"ann-{i}", retries=1) for i in range(100)])
    results = [m.Result(f"ann-{i}", 1, "error" if i == 3 else "ok", b"v") for i in range(8)]
    hand.result("engine", *results, seq=1)
    assert [hand.state(f"ann-{i}") for i in range(8)] == ["done"] * 3 + ["sent"] + ["done"] * 4
    assert hand.core.work.tasks["ann-3"].attempt == 2


def test_few_results_leave_the_rest_of_a_bundle_together(hand):
    hand.submit("ann", *[task(f"ann-{i}") for i in range(100)])
    [first, *others] = sizes(hand)
    few = [m.Result(f"ann-{i}", 1, "ok", b"v") for i in range(FEWEST - 1)]
    hand.result("engine", *few, seq=1)
    assert sorted(sizes(hand)) == sorted([1] * len(few) + [first - len(few), *others])
    assert [hand.state(f"ann-{i}") for i in range(FEWEST)] == ["done"] * len(few) + ["sent"]


def test_results_in_another_order_are_those_of_their_own_tasks(hand):
    hand.submit("ann", *[task(f"ann-{i}") for i in range(100)])
    ids = ["ann-1", "ann-0", "ann-2", "ann-3"]
    hand.result("engine", *[m.Result(id, 1, "ok", id.encode()) for id in ids], seq=1)
    assert [hand.outcome(id).value for id in ids] == [id.encode() for id in ids]


def test_untied_tasks_stand_in_the_order_in_which_they_were_submitted(hand):
    hand.submit("ann", *[task(f"ann-{i}") for i in range(100)])
    hand.submit("ann", *[task(f"ann-{i}") for i in range(100, 200)])
    orders = [hand.core.work.tasks[f"ann-{i}"].order for i in range(200)]
    assert orders == sorted(set(orders))
