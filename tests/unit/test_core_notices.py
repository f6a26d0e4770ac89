"""The warnings that the controller remembers, its speed, and the counts of its tasks."""

from enginery.core import messages as m
from enginery.core.notices import KEPT, SPAN, Notices, Rate

from .hand_controller import Hand, task


def test_the_latest_warnings_come_first_and_nothing_less_is_kept():
    notices = Notices()
    notices.add("info", "engine.joined", {"engine": 1}, 1.0)
    notices.add("warning", "engine.lost", {"engine": 1}, 2.0)
    notices.add("error", "engine.cannot_start", {"engine": 2}, 3.0)
    told = [(each.time, each.event) for each in notices.latest()]
    assert told == [(3.0, "engine.cannot_start"), (2.0, "engine.lost")]


def test_repeats_are_counted():
    notices = Notices()
    for now in (1.0, 2.0, 3.0):
        notices.add("warning", "peer.refused", {"role": "task"}, now)
    [told] = notices.latest()
    assert (told.time, told.times) == (3.0, 3)


def test_one_kind_does_not_push_out_another():
    notices = Notices()
    notices.add("warning", "engine.lost", {"engine": 1}, 0.0)
    for i in range(10 * KEPT):
        notices.add("warning", "peer.rejected", {"address": str(i)}, 1.0 + i)
    assert len(notices.latest()) == KEPT + 1
    assert notices.latest()[-1].event == "engine.lost"


def test_the_rate_is_that_of_the_last_seconds():
    rate = Rate()
    assert rate.per_second(5.0) == 0.0
    rate.add(30, 5.2)
    rate.add(20, 5.9)
    assert rate.per_second(6.0) == 50 / SPAN
    assert rate.per_second(5.0 + SPAN) == 50 / SPAN
    assert rate.per_second(6.0 + SPAN) == 0.0


def ask(hand, what, role="client", **query):
    [reply] = hand.say("ann/control", m.Query(9, what, **query), role)
    return reply.value


def test_counts_are_of_the_tasks_that_a_query_finds():
    hand = Hand(hwm=1)
    hand.engine("engine")
    hand.client("ann")
    fit = [task(f"ann-{i}", label="fit", submitted=10.0 + i) for i in range(3)]
    hand.submit("ann", *fit, task("ann-9"))
    hand.result("engine", m.Result("ann-0", 1, "error", b"", completed=20.0), seq=1)
    hand.now = 30.0
    told = ask(hand, "counts", where={"label": "fit"})
    assert told["states"] == {"error": 1, "sent": 1, "waiting": 1}
    assert (told["running"], told["retried"], told["submitted"]) == (1, 0, 10.0)
    assert ask(hand, "counts")["states"] == {"error": 1, "sent": 1, "waiting": 2}
    assert ask(hand, "status")["open"] == {"held": 0, "waiting": 2, "queued": 0, "sent": 1}


def test_an_engine_that_dies_as_it_begins_is_told_of():
    hand = Hand()
    hand.client("ann")
    hand.supervisor("engine")
    exited = m.Exited(b"engine".ljust(16, b"-"), b"x" * 16, 0, 0, "exit code 1", False)
    exited.facts = {"short_lives": 5}
    hand.say("supervisor/control", exited)
    [place] = ask(hand, "places")
    assert place["failed"] == "it ended 5 times in a row as it began: exit code 1"
    hand.engine("engine")
    assert [p["failed"] for p in ask(hand, "places")] == [""]
