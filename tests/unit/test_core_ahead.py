"""`hwm=AUTO`: brief tasks are sent ahead, and called back when they wait in vain."""

import math

import pytest

from enginery.core import messages as m
from enginery.core.ahead import (
    AUTO,
    FUNCTIONS,
    LEAST,
    MOST,
    PARTS,
    PATIENCE,
    ROW,
    SPREAD,
    WORTH,
    Durations,
    meant,
    written,
)
from enginery.core.names import content_hash
from enginery.core.paces import Paces

from .hand_controller import FIT, Hand, runs, task
from .test_core_chunks import chunk

BRIEF = 100e-6
A_WHILE = 0.02


@pytest.fixture
def hand():
    """Two engines with a supervisor, and a client whose function is known to be brief."""
    hand = Hand(hwm=AUTO)
    hand.supervisor("a", "b")
    hand.client("ann")
    hand.engine("a", conn="engine a")
    hand.submit("ann", task("known"))
    finish(hand, "a", "known", seq=1)
    hand.engine("b", conn="engine b")
    hand.submit("ann", task("known too"))
    finish(hand, "b", "known too", seq=1)
    hand.wait(1.0)
    return hand


def finish(hand, engine, id, *, seq, seconds=BRIEF):
    """An engine tells that it has run a task."""
    result = m.Result(id, 1, "ok", b"", started=hand.now, completed=hand.now + seconds)
    return hand.result(f"engine {engine}", result, seq=seq)


def tasks(start, stop, **fields):
    return [task(f"ann-{i}", **fields) for i in range(start, stop)]


def aborts(said, conn):
    """The attempts that this engine is not to start, by number."""
    return [
        n
        for to, message in said
        if to == conn and isinstance(message, m.Abort)
        for n in message.numbers
    ]


def at(hand, engine):
    """What an engine has."""
    return [record.spec.id for record in hand.core.work.places[engine].sent.values()]


# --- durations ------------------------------------------------------------------------------------


def test_nothing_is_known_to_be_brief_at_first():
    assert Durations().expected(b"f") == MOST


def test_a_longer_one_counts_at_once_and_shorter_ones_little_by_little():
    durations = Durations()
    durations.heard(b"f", 50e-6)
    assert durations.expected(b"f") == 50
    durations.heard(b"f", 1.0)
    assert durations.expected(b"f") == MOST
    seen = []
    for _ in range(100):
        durations.heard(b"f", 0.0)
        seen.append(durations.expected(b"f"))
    assert seen == sorted(seen, reverse=True)
    assert MOST * 0.8 < seen[0] < MOST
    assert sum(took >= WORTH for took in seen) == 34
    assert seen[-1] == LEAST


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_what_is_no_time_is_none_that_anything_takes(seconds):
    durations, paces = Durations(), Paces()
    durations.heard(b"f", seconds)
    durations.heard_all(b"f", [seconds, 1e-6])
    paces.heard(b"f", seconds, 3)
    for expected in (durations.expected(b"f"), paces.expected(b"f", 10)):
        assert LEAST <= expected <= MOST
    assert paces.share(b"f", 100, 2, True) >= 1


def test_as_many_functions_are_remembered_as_are_allowed():
    durations = Durations()
    for i in range(FUNCTIONS + 5):
        durations.heard(b"%d" % i, 1e-6)
    assert durations.expected(b"4") == MOST
    assert durations.expected(b"5") == LEAST


@pytest.mark.parametrize(("hwm", "number"), [("auto", AUTO), (0, 0), (3, 3)])
def test_how_people_write_it(hwm, number):
    assert meant(hwm) == number
    assert written(number) == hwm


@pytest.mark.parametrize("hwm", [-1, "3", 1.5, True, None])
def test_what_is_no_hwm(hwm):
    with pytest.raises(ValueError, match="a number from 0 up, not"):
        meant(hwm)


# --- sent ahead -----------------------------------------------------------------------------------


def test_what_nothing_is_known_of_goes_one_at_a_time():
    hand = Hand(hwm=AUTO)
    hand.supervisor("a")
    hand.engine("a", conn="engine a")
    hand.client("ann")
    assert runs(hand.submit("ann", *tasks(0, 5)), "engine a/tasks") == [("ann-0", 1)]


def test_brief_ones_are_sent_ahead_as_far_as_they_are_done_in_no_time(hand):
    hand.submit("ann", *tasks(0, 100))
    assert len(at(hand, 0)) == len(at(hand, 1)) == WORTH / 100


def test_every_engine_has_one_before_any_has_two(hand):
    hand.submit("ann", *tasks(0, 2))
    assert len(at(hand, 0)) == len(at(hand, 1)) == 1


def in_rows(engines, waiting):
    """How many no-ops engines are sent in each row, where so many come together."""
    hand, names = Hand(hwm=AUTO), [f"engine {i}" for i in range(engines)]
    hand.supervisor(*names)
    for name in names:
        hand.engine(name)
    hand.client("ann")
    hand.core.work.placement.durations.heard(FIT, LEAST / 1e6)
    give, rows = hand.core.work.dispatch._give, []
    hand.core.work.dispatch._give = lambda units, place, now: (
        rows.append(sum(unit.items for unit in units)),
        give(units, place, now),
    )
    hand.submit("ann", *tasks(0, waiting))
    assert sum(rows) == waiting
    return rows


def test_a_few_brief_ones_are_spread_one_by_one_and_many_go_in_rows():
    assert in_rows(2, 8) == [1] * 8
    assert in_rows(2, 40)[:3] == [ROW // LEAST, 40 - 2 * ROW // LEAST - ROW // LEAST, 1]


def test_however_many_engines_there_are():
    assert in_rows(32, SPREAD) == [1] * SPREAD
    assert in_rows(32, SPREAD + 30)[:2] == [ROW // LEAST] * 2


def test_of_very_many_engines_get_larger_rows_and_the_last_ones_small_ones():
    rows = in_rows(2, 400)
    assert rows[0] == 400 // (2 * PARTS) > ROW // LEAST
    assert rows == sorted(rows, reverse=True)
    assert rows[-2 * ROW // LEAST :] == [1] * (2 * ROW // LEAST)


def test_long_ones_go_only_where_there_is_nothing_else(hand):
    hand.submit("ann", *tasks(0, 4))
    finish(hand, "a", "ann-0", seq=2, seconds=1.0)
    hand.submit("ann", *tasks(4, 6))
    assert (at(hand, 0), at(hand, 1)) == (["ann-2"], ["ann-1", "ann-3"])
    finish(hand, "b", "ann-1", seq=2, seconds=1.0)
    assert hand.state("ann-4") == "waiting"
    finish(hand, "b", "ann-3", seq=3)
    assert at(hand, 1) == ["ann-4"]


def test_without_a_supervisor_nothing_is_sent_ahead():
    hand = Hand(hwm=AUTO)
    hand.engine("a", conn="engine a")
    hand.client("ann")
    hand.submit("ann", task("known"))
    finish(hand, "a", "known", seq=1)
    assert runs(hand.submit("ann", *tasks(0, 3)), "engine a/tasks") == [("ann-0", 1)]


def test_nor_after_the_supervisor_has_gone(hand):
    hand.say("supervisor/control", m.Goodbye())
    hand.submit("ann", *tasks(0, 5))
    assert (at(hand, 0), at(hand, 1)) == (["ann-0"], ["ann-1"])


# --- short ones -----------------------------------------------------------------------------------


@pytest.fixture
def short(hand):
    """The same, but the function takes a little longer; nothing is under way."""
    hand.submit("ann", *tasks(100, 102))
    finish(hand, "a", "ann-100", seq=2, seconds=A_WHILE)
    finish(hand, "b", "ann-101", seq=2, seconds=A_WHILE)
    return hand


def test_of_short_ones_one_waits_at_each_engine_while_more_wait_than_there_are(short):
    short.submit("ann", *tasks(0, 7))
    assert (at(short, 0), at(short, 1)) == (["ann-0", "ann-2"], ["ann-1", "ann-3"])
    finish(short, "a", "ann-0", seq=3, seconds=A_WHILE)
    assert at(short, 0) == ["ann-2", "ann-4"]
    finish(short, "b", "ann-1", seq=3, seconds=A_WHILE)
    assert at(short, 1) == ["ann-3"]  # two are left for two engines


def test_engines_that_have_left_are_not_counted(short):
    for n in range(5):
        short.engine("gone", life=str(n), conn="engine gone")
        short.engine(f"past {n}", conn="engine past")
        short.say("engine past/tasks", m.Goodbye("stopped"))
        short.say("engine gone/tasks", m.Goodbye("stopped"))
    short.submit("ann", *tasks(0, 6))
    assert (at(short, 0), at(short, 1)) == (["ann-0", "ann-2"], ["ann-1", "ann-3"])
    assert len(short.core.work.placement.places) == 2
    short.engine("gone", life="5", conn="engine gone")
    assert len(short.core.work.placement.places) == 3


def test_none_waits_while_an_engine_has_nothing(short):
    short.submit("ann", *tasks(0, 9, targets=(0,)))
    assert (at(short, 0), at(short, 1)) == (["ann-0"], [])


def test_none_waits_behind_a_long_one_nor_at_an_engine_on_which_it_has_failed(short):
    other = content_hash(b"another")
    short.say("ann/tasks", m.Define(other, b"another"))
    short.submit("ann", m.Task("unknown", other, b""), *tasks(0, 8))
    assert (at(short, 0), at(short, 1)) == (["unknown"], ["ann-0", "ann-1"])


def test_short_items_of_a_map_wait_as_tasks_do(short):
    short.core.work.placement.paces.heard(FIT, A_WHILE, 1)
    short.submit("ann", chunk("map", items=6))
    assert (at(short, 0), at(short, 1)) == (["map.0", "map.2"], ["map.1", "map.3"])
    result = m.Result("map.0", 1, "ok", b"", started=0.0, completed=A_WHILE, items=1)
    short.result("engine a", result, seq=3)
    assert at(short, 0) == ["map.2"]  # two are left for two engines


def test_short_ones_are_called_back_at_once_when_an_engine_has_nothing(short):
    short.submit("ann", *tasks(0, 6))
    finish(short, "b", "ann-1", seq=3, seconds=A_WHILE)
    said = finish(short, "b", "ann-3", seq=4, seconds=A_WHILE)
    assert runs(said, "engine b/tasks") == [("ann-4", 1)]
    assert at(short, 0) == ["ann-0", "ann-2"]
    short.say("ann/control", m.Abort(["ann-5"], number=1))
    said = finish(short, "b", "ann-4", seq=5, seconds=A_WHILE)
    assert aborts(said, "engine a/control") == [4]


def test_and_when_something_more_urgent_comes(short):
    short.submit("ann", *tasks(0, 8))
    said = short.submit("ann", task("urgent", terms=m.Terms(priority=1)))
    assert aborts(said, "engine a/control") == aborts(said, "engine b/control") == [4]
    short.say("engine a/control", m.Dropped(["ann-2"], [4]))
    finish(short, "a", "ann-0", seq=3, seconds=A_WHILE)
    assert at(short, 0)[0] == "urgent"


def test_but_not_for_what_is_as_urgent(short):
    short.submit("ann", *tasks(0, 8, terms=m.Terms(priority=1)))
    said = short.submit("ann", task("other", terms=m.Terms(priority=1)), task("lazy"))
    assert aborts(said, "engine a/control") == []


# --- called back ----------------------------------------------------------------------------------


def test_what_waits_in_vain_is_called_back_and_runs_elsewhere(hand):
    hand.submit("ann", *tasks(0, 6))
    for seq, id in enumerate(("ann-1", "ann-3", "ann-5"), 2):
        finish(hand, "b", id, seq=seq)
    assert at(hand, 0) == ["ann-0", "ann-2", "ann-4"]
    assert hand.core.work.deadline() == pytest.approx(hand.now + PATIENCE)
    said = hand.wait(PATIENCE)
    assert aborts(said, "engine a/control") == [3, 4]
    assert hand.core.work.deadline() is None
    hand.say("engine a/control", m.Dropped(["ann-2", "ann-4"], [3, 4]))
    assert (at(hand, 0), at(hand, 1)) == (["ann-0"], ["ann-2", "ann-4"])
    assert hand.core.work.tasks["ann-2"].attempt == 1
    assert [cause for _, cause, _ in hand.core.work.tasks["ann-2"].story][-3:] == [
        "called back", "assign", "send",
    ]  # fmt: skip


def test_it_comes_back_in_its_order_and_before_others(hand):
    hand.submit("ann", *tasks(0, 6))
    for seq, id in enumerate(("ann-1", "ann-3", "ann-5"), 2):
        finish(hand, "b", id, seq=seq)
    hand.wait(PATIENCE)
    hand.submit("ann", task("long", engine=1), *tasks(6, 8))
    said = hand.say_all("engine a/control", m.Dropped(["ann-2", "ann-4"], [3, 4]), "engine")
    assert runs(said, "engine b/tasks") == [("ann-2", 1), ("ann-4", 1)]


def test_while_all_are_busy_nothing_is_called_back(hand):
    hand.submit("ann", *tasks(0, 6))
    assert hand.core.work.deadline() is None
    assert aborts(hand.wait(1.0), "engine a/control") == []


def test_what_had_started_meanwhile_ends_where_it_is(hand):
    hand.submit("ann", *tasks(0, 4))
    finish(hand, "b", "ann-1", seq=2)
    finish(hand, "b", "ann-3", seq=3)
    assert aborts(hand.wait(PATIENCE), "engine a/control") == [3]
    finish(hand, "a", "ann-0", seq=2)
    finish(hand, "a", "ann-2", seq=3)
    assert hand.outcome("ann-2").status == "ok"
    hand.say("engine a/control", m.Dropped(["ann-2"], [3]))
    assert hand.outcome("ann-2").attempt == 1


def test_nothing_more_is_sent_behind_what_takes_long_after_all(hand):
    hand.submit("ann", *tasks(0, 4))
    finish(hand, "b", "ann-1", seq=2)
    finish(hand, "b", "ann-3", seq=3)
    hand.wait(PATIENCE)
    hand.say("engine a/control", m.Dropped(["ann-2"], [3]))
    hand.submit("ann", *tasks(4, 60))
    assert at(hand, 0) == ["ann-0"]


def test_what_was_called_back_and_then_aborted_does_not_run(hand):
    hand.submit("ann", *tasks(0, 4))
    finish(hand, "b", "ann-1", seq=2)
    finish(hand, "b", "ann-3", seq=3)
    hand.wait(PATIENCE)
    hand.say("ann/control", m.Abort(["ann-2"], number=1))
    hand.say("engine a/control", m.Dropped(["ann-2"], [3]))
    assert hand.outcome("ann-2").status == "aborted"


def test_an_engine_that_reconnects_is_told_again_what_was_called_back(hand):
    hand.submit("ann", *tasks(0, 4))
    finish(hand, "b", "ann-1", seq=2)
    finish(hand, "b", "ann-3", seq=3)
    hand.wait(PATIENCE)
    hand.close("engine a/control")
    said = hand.engine("a", conn="engine a", seen=3, lanes=("control",))
    assert [message.numbers for message in said if isinstance(message, m.Abort)] == [[3]]


def die_before_it_comes_back(hand):
    """An engine dies that runs one task, before it has given back another one."""
    hand.submit("ann", *tasks(0, 4))
    finish(hand, "b", "ann-1", seq=2)
    finish(hand, "b", "ann-3", seq=3)
    hand.wait(PATIENCE)
    hand.close("engine a/tasks")
    hand.exited("a", started=2, finished=1)


def test_what_was_called_back_from_an_engine_that_dies_costs_no_retry(hand):
    die_before_it_comes_back(hand)
    assert hand.outcome("ann-0").status == "lost"
    assert at(hand, 1) == ["ann-2"]
    assert hand.core.work.tasks["ann-2"].spent == 0


def test_nor_is_it_unwanted_where_it_runs_then_also_in_doubt(hand):
    hand.core.work.doubtful = {}  # as after a power cut, where attempts that never ran do not count
    die_before_it_comes_back(hand)
    assert at(hand, 1) == ["ann-2"]
    hand.close("engine b/control")
    said = hand.engine("b", conn="engine b", seen=9, lanes=("control",))
    assert [message for message in said if isinstance(message, m.Abort)] == []


def test_direct_requests_stay_where_they_are(hand):
    hand.submit("ann", task("ann-0", engine=0), task("ann-1", engine=0))
    assert aborts(hand.wait(PATIENCE), "engine a/control") == []
    assert at(hand, 0) == ["ann-0", "ann-1"]
    assert hand.core.work.deadline() is None


def test_what_waits_for_one_engine_is_sent_ahead_when_it_turns_out_to_be_brief_on_another(hand):
    other = content_hash(b"another")
    hand.say("ann/tasks", m.Define(other, b"another"))
    hand.submit("ann", task("brief", targets=(1,)), m.Task("here", other, b"", targets=(0,)))
    hand.submit("ann", m.Task("ahead", other, b"", targets=(1,)))
    assert (at(hand, 1), hand.state("ahead")) == (["brief"], "waiting")
    finish(hand, "a", "here", seq=2)
    assert at(hand, 1) == ["brief", "ahead"]
