"""What has ended is let go, although something that stands before it waits for long."""

import gc
import weakref

import pytest

from enginery.core import messages as m
from enginery.core.graph import SPARE

from .hand_controller import Hand, task

MANY = 5 * SPARE


@pytest.fixture
def hand():
    """An engine that has something to do for long, and hardly any history."""
    hand = Hand(record_limit=10)
    hand.engine("engine a")
    hand.client("ann")
    hand.submit("ann", task("ann-busy"))
    return hand


def living(hand, ids):
    """After these tasks were aborted: how many of their records there still are."""
    records = [weakref.ref(hand.core.work.tasks[id]) for id in ids]
    hand.say("ann/control", m.Abort(ids, after=hand.seqs["ann"]))
    assert hand.core.work.history.ended["aborted"] == len(ids)
    gc.collect()
    return sum(record() is not None for record in records)


@pytest.mark.parametrize(
    "terms",
    [
        lambda i: None,
        lambda i: m.Terms(priority=-1.0),
        lambda i: m.Terms(priority=-float(i)),
    ],
    ids=["plain", "of one rank", "each of a rank of its own"],
)
def test_what_has_ended_is_let_go_though_one_before_it_waits(hand, terms):
    hand.submit("ann", task("ann-first"))
    ids = [f"ann-{i}" for i in range(MANY)]
    hand.submit("ann", *(task(id, terms=terms(i)) for i, id in enumerate(ids)))
    assert living(hand, ids) <= SPARE + 20


def test_what_may_go_to_few_engines_is_let_go_though_they_have_no_room(hand):
    ids = [f"ann-{i}" for i in range(MANY)]
    hand.submit("ann", task("ann-first"), *(task(id, targets=(0,)) for id in ids))
    assert living(hand, ids) <= SPARE + 20
    assert hand.state("ann-first") == "waiting"


def test_who_waits_keeps_its_turn_when_others_are_let_go(hand):
    ids = [f"ann-{i}" for i in range(MANY)]
    rest = ids[:: MANY // 4]
    hand.submit("ann", *(task(id, terms=m.Terms(priority=-float(id in rest))) for id in ids))
    living(hand, [id for id in ids if id not in rest])
    ran = []
    for seq in range(1, 6):
        [record] = hand.core.work.places[0].sent.values()
        ran.append(record.spec.id)
        hand.result("engine a", m.Result(record.spec.id, 1, "ok", b""), seq=seq)
    assert ran == ["ann-busy", *rest]


def test_what_has_ended_is_let_go_though_what_it_was_held_for_runs(hand):
    records = []
    after = m.Terms(after=m.Dependency(("ann-busy",)))
    for start in range(0, MANY, SPARE):
        ids = [f"ann-{i}" for i in range(start, start + SPARE)]
        hand.submit("ann", *(task(id, terms=after) for id in ids))
        records += [weakref.ref(hand.core.work.tasks[id]) for id in ids]
        hand.say("ann/control", m.Abort(ids, after=hand.seqs["ann"]))
    gc.collect()
    assert sum(record() is not None for record in records) <= 2 * SPARE + 20
    hand.submit("ann", task("ann-last", terms=after))
    hand.result("engine a", m.Result("ann-busy", 1, "ok", b""), seq=1)
    assert hand.state("ann-last") == "sent"


# --- timeouts -------------------------------------------------------------------------------------


def test_timeouts_of_what_has_ended_are_let_go_though_one_before_them_waits(hand):
    hand.submit("ann", task("ann-first", targets=(0,), terms=m.Terms(timeout=5)))
    ids = [f"ann-{i}" for i in range(MANY)]
    hand.submit("ann", *(task(id, terms=m.Terms(timeout=10)) for id in ids))
    assert living(hand, ids) <= SPARE + 20
    hand.wait(5.1)
    assert hand.outcome("ann-first").status == "timeout"


def test_what_comes_back_to_wait_again_and_again_has_few_timeouts(hand):
    hand.submit("ann", task("ann-first", targets=(0,), terms=m.Terms(timeout=5)))
    hand.engine("engine b")
    hand.submit("ann", task("ann-again", targets=(1,), terms=m.Terms(timeout=10)))
    for n in range(1, 3 * SPARE):
        result = m.Result("ann-again", n, "unfit", b"", reason="no", changes=n - 1)
        hand.result("engine b", result, seq=n)
        hand.say("engine b/tasks", m.Changed(n))
    assert hand.core.work.tasks["ann-again"].attempt == 3 * SPARE
    assert len(hand.core.work.conditions.timeouts) <= SPARE + 20
