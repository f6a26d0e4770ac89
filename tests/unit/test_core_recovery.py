"""A controller that takes up a journal: what waits for whom, and what nobody wants any more."""

import pytest

from enginery.core import messages as m

from .hand_controller import Durable, runs, task


@pytest.fixture
def left():
    """What a controller has left: a task that runs on an engine, and one that waits."""
    hand = Durable()
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"), task("ann-2"))
    assert [hand.state(id) for id in ("ann-1", "ann-2")] == ["sent", "waiting"]
    return hand.turns


def restored(turns, complete=True):
    """The next controller, whose supervisor is there and whose first engine says nothing yet."""
    hand = Durable(turns, complete)
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1", seen=1)
    return hand


def test_in_doubt_nothing_starts_before_all_have_said_what_they_have(left):
    hand = restored(left, complete=False)
    said = hand.engine("engine2")
    assert hand.state("ann-2") == "waiting", said
    said = hand.say_all("engine1/tasks", m.Holds(1, 0, 0, [(1, "ann-1", 1, "")]), "engine")
    assert runs(said, "engine2/tasks") == [("ann-2", 1)]


def test_without_doubt_what_waits_starts_at_once(left):
    hand = restored(left)
    hand.engine("engine2")
    assert hand.state("ann-2") == "sent"


def test_what_an_engine_has_and_nobody_wants_is_to_end(left):
    hand = restored(left)
    has = [(1, "ann-1", 1, ""), (2, "ann-9", 1, "")]
    said = hand.say_all("engine1/tasks", m.Holds(1, 0, 0, has), "engine")
    aborts = [word for to, word in said if to == "engine1/control" and isinstance(word, m.Abort)]
    assert [(abort.ids, abort.numbers) for abort in aborts] == [(["ann-9"], [2])]
