"""The controller is too large: who is cut off, when nothing more is taken, and when it is again."""

import pytest

from enginery.core import messages as m
from enginery.core.events import Drop, Log, Measured
from enginery.core.quota import Quota
from enginery.core.watchdog import CUTS, FLOOR, GRACE, PATIENCE, PAUSE, Watchdog

from .hand_controller import Hand, task

LIMIT = 1000 << 20
MEGABYTE = 1 << 20


@pytest.fixture
def hand():
    return Hand(memory=LIMIT)


def weigh(hand, resident, **held):
    """The process is weighed; the connections that are cut, and what is logged."""
    effects = hand.core.handle(Measured(resident, held), hand.now)
    return [e.conn for e in effects if isinstance(e, Drop)], [
        e.event for e in effects if isinstance(e, Log)
    ]


def test_the_less_room_there_is_the_sooner_it_is_weighed_again():
    watchdog = Watchdog(LIMIT, Quota(1 << 30))
    assert watchdog.pause(0) > watchdog.pause(LIMIT // 2) > watchdog.pause(LIMIT - MEGABYTE)
    assert watchdog.pause(2 * LIMIT) == PAUSE[0]
    assert Watchdog(1 << 50, Quota(1)).pause(0) == PAUSE[1]


def test_those_are_cut_that_most_is_held_for_and_no_more_than_it_takes(hand):
    held = {"a": 60 * MEGABYTE, "b": 50 * MEGABYTE, "c": 40 * MEGABYTE, "d": 1}
    assert weigh(hand, LIMIT, **held) == ([], [])
    assert weigh(hand, LIMIT + 70 * MEGABYTE, **held)[0] == ["a", "b"]


def test_what_was_cut_gets_time_to_come_free(hand):
    held = {"a": 60 * MEGABYTE, "b": 50 * MEGABYTE}
    assert weigh(hand, LIMIT + 1, **held)[0] == ["a"]
    assert weigh(hand, LIMIT + 1, **held)[0] == []
    hand.now += GRACE
    assert weigh(hand, LIMIT + 1, b=50 * MEGABYTE)[0] == ["b"]


def test_where_nobody_is_to_blame_nothing_more_is_taken_until_there_is_room(hand):
    hand.client("ann")
    assert weigh(hand, LIMIT + 1, a=FLOOR - 1) == ([], [])
    hand.now += PATIENCE
    assert weigh(hand, LIMIT + 1, a=FLOOR - 1) == ([], ["controller.memory"])
    submit = m.Submit(1, [task("ann-1")])
    [room] = [x for x in hand.say("ann/tasks", submit) if isinstance(x, m.Room)]
    assert (room.seq, room.lacking) == (
        0, "it needs 1,048.6 MB of memory, and may have 1,048.6 MB"
    )  # fmt: skip
    assert weigh(hand, LIMIT - 1) == ([], [])
    assert hand.core.work.quota.strained
    effects = hand.core.handle(Measured(LIMIT // 2), hand.now)
    assert [e.message for e in effects] == [m.Room(0)]
    said = hand.say("ann/tasks", submit)
    assert not any(isinstance(x, m.Room) for x in said)


@pytest.mark.parametrize("kind", ["client", "engine"])
def test_who_only_ever_fills_the_memory_is_not_let_in_any_more(hand, kind):
    conn = "ann/tasks" if kind == "client" else "engine/tasks"

    def come():
        return hand.client("ann") if kind == "client" else hand.engine("engine")

    for _ in range(CUTS):
        come()
        hand.now += GRACE
        assert weigh(hand, LIMIT + 1, **{conn: 50 * MEGABYTE})[0] == [conn]
        hand.close(conn)
    [*_, refused] = [x for x in come() if isinstance(x, m.Refused)]
    assert refused.error == "QueueFull"
    assert "c.IPController.memory_limit" in refused.reason


def test_who_gets_a_message_through_begins_anew(hand):
    hand.engine("engine")
    hand.client("ann")
    for seq in range(1, 2 * CUTS):
        hand.now += GRACE
        weigh(hand, LIMIT + 1, **{"ann/tasks": 50 * MEGABYTE})
        hand.close("ann/tasks")
        assert isinstance(hand.client("ann")[0], m.Welcome)
        hand.say("ann/tasks", m.Submit(seq, [task(f"ann-{seq}")]))
