"""The end of a controller: whoever is there is told, and hangs up first."""

import pytest

from enginery.core import messages as m
from enginery.core.events import Closed, Received, Stop, Tick
from enginery.core.farewell import MOMENT

from .hand_controller import Hand, task

BYE = m.Goodbye("signalled")


@pytest.fixture
def ending():
    """A controller that has just said goodbye, and what it has said."""
    hand = Hand()
    hand.engine("engine")
    hand.client("ann")
    said = []
    hand.core.close("signalled", hand.now, said)
    return hand, {effect.conn: effect.message for effect in said}


def stops(hand, event=None):
    """Whether it stops, after this event."""
    return [effect.code for effect in hand.core.handle(event or Tick(), hand.now)
            if isinstance(effect, Stop)] == [0]  # fmt: skip


def test_all_are_told_and_it_stops_when_the_last_has_left(ending):
    hand, said = ending
    lanes = ["engine/tasks", "engine/control", "ann/tasks", "ann/control"]
    assert said == dict.fromkeys(lanes, BYE)
    assert [stops(hand, Closed(lane)) for lane in lanes] == [False, False, False, True]


def test_who_does_not_leave_is_waited_for_for_a_moment(ending):
    hand, _ = ending
    hand.now += MOMENT / 2
    assert not stops(hand)
    assert hand.core.deadline() == MOMENT
    hand.now = MOMENT
    assert stops(hand)


def test_who_is_asked_again_goes_on_with_that(ending):
    hand, _ = ending
    hand.now = MOMENT / 2
    again = []
    hand.core.close("its owner has ended", hand.now, again)
    assert again == []
    assert not stops(hand)
    hand.now = MOMENT
    assert stops(hand)


def test_a_new_life_at_a_place_that_is_not_given_up_yet_is_told_too():
    hand = Hand()
    hand.engine("engine")
    hand.engine("engine", life="2", conn="engine heir")
    said = []
    hand.core.close("signalled", hand.now, said)
    assert {effect.conn for effect in said} == {
        "engine/tasks", "engine/control", "engine heir/tasks", "engine heir/control",
    }  # fmt: skip


def test_who_comes_now_is_told_too_and_nothing_is_done_for_anybody(ending):
    hand, _ = ending
    submit = m.Submit(1, [task("ann-1")])
    assert hand.handle(Received("ann/tasks", "client", submit)) == []
    assert hand.engine("engine late", lanes=("control",)) == [BYE]
    assert "ann-1" not in hand.core.work.tasks
    for lane in ("engine/tasks", "engine/control", "ann/tasks", "ann/control"):
        hand.close(lane)
    assert stops(hand, Closed("engine late/control"))


def test_with_nobody_there_it_stops_at_once():
    hand = Hand()
    hand.core.close("signalled", hand.now, [])
    assert stops(hand)
