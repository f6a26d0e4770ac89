"""The controller's machine: each rule of who is told what, by hand."""

import pytest

from enginery.core import laws
from enginery.core import messages as m
from enginery.core.controller import FEW, FORGET_CLIENT
from enginery.core.engines import AWAY, EARLY, LONG_AWAY
from enginery.core.events import Received
from enginery.core.intake import TELL_ACCEPTED
from enginery.core.names import content_hash, session_name
from enginery.error import MemoryUnavailable
from enginery.version import PROTOCOL

from .hand_controller import BLOB, FIT, Hand, kinds, runs, secret, task


class Gone:
    """Memory that cannot be opened any more."""

    nbytes, reference = len(BLOB), None

    def view(self):
        raise MemoryUnavailable("it is gone")


@pytest.fixture
def hand():
    return Hand()


def delivered(said, conn):
    """The ids of tasks whose outcome is told, with their states."""
    return [
        (outcome.id, outcome.status)
        for to, message in said
        if to == conn and isinstance(message, m.Deliver)
        for outcome in message.outcomes
    ]


def printed(said):
    """The texts that are shown to anybody."""
    deliveries = [message for _, message in said if isinstance(message, m.Deliver)]
    return [output.text for deliver in deliveries for output in deliver.outputs]


# --- who is there ---------------------------------------------------------------------------------


def test_a_connection_that_has_not_said_hello_is_asked_for_it(hand):
    assert hand.say("engine/tasks", m.Results(1, [])) == [m.Again()]


def test_places_are_numbered_in_the_order_of_their_supervisor(hand):
    hand.supervisor("a", "b")
    assert [w.id for w in hand.engine("b", conn="engine b")] == [1, 1]
    assert [w.id for w in hand.engine("a", conn="engine a")] == [0, 0]


def test_a_life_that_was_given_up_is_told_by_its_name(hand):
    hand.engine("engine")
    hand.close("engine/tasks")
    hand.wait(AWAY)
    assert hand.engine("engine") == [m.Again(secret("engine1"))] * 2
    assert kinds(hand.engine("engine", life="2")) == [m.Welcome, m.Welcome]


def test_an_engine_of_which_only_the_control_lane_came_is_given_up_when_that_ends(hand):
    hand.engine("engine", lanes=["control"])
    hand.client("ann")
    hand.submit("ann", task("ann-1", engine=0))
    hand.close("engine/control")
    hand.wait(AWAY)
    assert hand.outcome("ann-1").status == "lost"


def test_a_connection_cannot_become_somebody_else(hand):
    hand.engine("engine")
    hello = m.Hello(PROTOCOL, "0", "engine", "tasks", secret("other"), secret("other1"))
    assert hand.say("engine/tasks", hello) == []
    assert hand.drops == ["engine/tasks"]
    assert len(hand.core.work.places) == 1


def test_a_newer_connection_replaces_the_older_one(hand):
    hand.engine("engine")
    hand.engine("engine", conn="engine again")
    assert hand.drops == ["engine/tasks", "engine/control"]
    assert hand.close("engine/tasks") == []
    assert hand.core.work.places[0].open


def test_a_short_absence_of_an_engine_costs_nothing(hand):
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.close("engine/tasks")
    hand.wait(AWAY / 2)
    (again,) = [r for r in hand.engine("engine", conn="engine again") if isinstance(r, m.Run)]
    assert [a.attempt for a in again.attempts] == [1]
    assert hand.state("ann-1") == "sent"


@pytest.mark.parametrize(("asked", "had"), [(0.1, AWAY), (5.0, 5.0), (1e9, LONG_AWAY)])
def test_an_engine_has_the_time_to_come_back_that_it_asks_for(hand, asked, had):
    hello = m.Hello(
        PROTOCOL, "0", "engine", "tasks", secret("engine"), secret("engine1"), patience=asked
    )
    hand.say("engine/tasks", hello)
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.close("engine/tasks")
    hand.wait(0.99 * had)
    assert hand.state("ann-1") == "sent"
    hand.wait(0.02 * had)
    assert hand.outcome("ann-1").status == "lost"


def test_clients_are_told_of_engines_together_and_not_too_often(hand):
    hand.client("ann")
    for name in "abc":
        hand.engine(name, conn=f"engine {name}")
    told = [x for x in hand.wait(1.0) if isinstance(x[1], m.Engines)]
    assert [[e.id for e in message.engines] for _, message in told] == [[0, 1, 2]]


@pytest.mark.parametrize("role", ["engine", "monitor"])
def test_a_role_that_may_not_submit_is_refused(hand, role):
    (answer,) = hand.say("x/tasks", m.Submit(1, []), role)
    assert isinstance(answer, m.Refused)
    assert hand.core.work.tasks == {}


def test_a_task_key_may_not_address_an_engine(hand):
    hand.engine("engine")
    hand.client("ann", role="task")
    said = hand.submit("ann", task("ann-1", engine=0), role="task")
    assert kinds(message for _, message in said if _ == "ann/tasks") == [m.Refused]


# --- the life of a task ---------------------------------------------------------------------------


def test_a_task_goes_to_an_engine_and_its_outcome_to_its_client(hand):
    hand.engine("engine")
    hand.client("ann")
    said = hand.submit("ann", task("ann-1"))
    assert kinds(message for _, message in said) == [m.Define, m.Run]
    said = hand.result("engine", m.Result("ann-1", 1, "ok", b"42"), seq=1)
    assert delivered(said, "ann/tasks") == [("ann-1", "ok")]
    assert hand.outcome("ann-1").value == b"42"


@pytest.mark.parametrize(
    "result",
    [
        m.Result("ann-1", 0, "ok", b""),
        m.Result("ann-1", 2, "ok", b""),
        m.Result("ann-2", 1, "ok", b""),
    ],
    ids=["past attempt", "future attempt", "unknown task"],
)
def test_a_result_of_anything_but_the_current_attempt_is_late(hand, result):
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.result("engine", result, seq=1)
    assert hand.state("ann-1") == "sent"
    assert hand.core.work.late == 1


def test_the_result_of_another_engine_does_not_count(hand):
    hand.engine("a", conn="engine a")
    hand.engine("b", conn="engine b")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.result("engine b", m.Result("ann-1", 1, "ok", b""), seq=1)
    assert hand.state("ann-1") == "sent"


def test_the_output_of_another_engine_is_not_shown(hand):
    hand.engine("a", conn="engine a")
    hand.engine("b", conn="engine b")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    output = m.Output("ann-1", 1, 0, "stdout", "hello")
    assert printed(hand.say_all("engine b/control", output, "engine")) == []
    assert printed(hand.say_all("engine a/control", output, "engine")) == ["hello"]


def test_a_failure_is_tried_again_elsewhere_and_the_last_one_is_told(hand):
    hand.engine("a", conn="engine a")
    hand.engine("b", conn="engine b")
    hand.client("ann")
    hand.submit("ann", task("ann-1", retries=1))
    said = hand.result("engine a", m.Result("ann-1", 1, "error", b""), seq=1)
    assert runs(said, "engine b/tasks") == [("ann-1", 2)]
    said = hand.result("engine b", m.Result("ann-1", 2, "error", b""), seq=1)
    assert delivered(said, "ann/tasks") == [("ann-1", "error")]


def test_results_with_a_gap_wait_for_what_was_lost(hand):
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.result("engine", m.Result("ann-1", 1, "ok", b""), seq=2)
    assert hand.state("ann-1") == "sent"
    assert hand.core.work.places[0].results == 0


# --- engines die ----------------------------------------------------------------------------------


def supervised(hwm=2):
    hand = Hand(hwm=hwm)
    hand.supervisor("a", "b")
    hand.engine("a", conn="engine a")
    hand.client("ann")
    return hand


def test_what_had_not_started_costs_nothing():
    hand = supervised()
    hand.submit("ann", task("ann-1", retries=1), task("ann-2"))
    hand.close("engine a/tasks")
    hand.exited("a", started=1)
    assert [hand.state(id) for id in ("ann-1", "ann-2")] == ["waiting", "waiting"]
    assert hand.core.work.tasks["ann-1"].spent == 1
    assert hand.core.work.tasks["ann-2"].spent == 0


def test_what_had_started_without_a_retry_is_lost_with_the_facts():
    hand = supervised()
    hand.submit("ann", task("ann-1"), task("ann-2"))
    hand.close("engine a/tasks")
    hand.exited("a", started=1)
    outcome = hand.outcome("ann-1")
    assert (outcome.status, outcome.engine) == ("lost", 0)
    assert outcome.facts["reason"] == "signal 9 (SIGKILL)"
    assert outcome.facts["started"] is True
    assert hand.state("ann-2") == "waiting"


def test_without_a_supervisor_everything_counts_as_started():
    hand = Hand(hwm=2)
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1"), task("ann-2"))
    hand.close("engine/tasks")
    hand.close("engine/control")
    hand.wait(AWAY)
    assert [hand.outcome(id).status for id in ("ann-1", "ann-2")] == ["lost", "lost"]


def detached():
    """An engine is at work, and its connection for tasks has broken."""
    hand = Hand(hwm=1)
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.close("engine/tasks")
    return hand


def test_an_engine_at_work_may_take_its_time_to_connect_for_tasks_again():
    """The thread that does so runs user code; the other one shows that it lives."""
    hand = detached()
    hand.wait(100 * AWAY)
    assert hand.state("ann-1") == "sent"
    hand.close("engine/control")
    hand.engine("engine", lanes=("control",), conn="engine again")
    hand.wait(100 * AWAY)
    assert hand.state("ann-1") == "sent"
    hand.engine("engine", seen=1, lanes=("tasks",), conn="engine again")
    hand.say_all("engine again/tasks", m.Results(1, [m.Result("ann-1", 1, "ok", b"v")]), "engine")
    assert hand.outcome("ann-1").status == "ok"


def test_an_engine_at_work_that_is_cut_off_has_no_more_time_than_others():
    """Its connections do not break in the same moment, where it is silence that tells."""
    hand = detached()
    hand.wait(0.4 * AWAY)
    hand.close("engine/control")
    hand.wait(0.5 * AWAY)
    assert hand.core.work.places[0].here
    hand.wait(0.1 * AWAY)
    assert not hand.core.work.places[0].here


def test_an_engine_that_has_nothing_to_do_must_connect_for_tasks_soon():
    hand = detached()
    hand.wait(100 * AWAY)
    result = m.Results(1, [m.Result("ann-1", 1, "ok", b"v")])
    hand.say_all("engine/control", result, "engine")
    assert hand.core.work.places[0].here
    hand.wait(AWAY)
    assert not hand.core.work.places[0].here


def test_who_wanted_the_place_of_an_engine_at_work_and_left_takes_nothing_from_it():
    hand = detached()
    hand.engine("engine", life="2", conn="another")
    hand.close("another/tasks")
    hand.close("another/control")
    hand.wait(100 * AWAY)
    assert hand.state("ann-1") == "sent"


def test_results_that_come_before_earlier_ones_count_in_their_order():
    hand = Hand(hwm=3)
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1"), task("ann-2"), task("ann-3"))
    ok = [m.Result(f"ann-{i}", 1, "ok", b"") for i in (1, 2, 3)]
    assert delivered(hand.result("engine", ok[2], seq=3), "ann/tasks") == []
    late = hand.say_all("engine/control", m.Results(2, [ok[1]]), "engine")
    assert delivered(late, "ann/tasks") == []
    said = hand.result("engine", ok[0], seq=1)
    assert delivered(said, "ann/tasks") == [("ann-1", "ok"), ("ann-2", "ok"), ("ann-3", "ok")]
    assert hand.core.work.late == 0
    assert not hand.core.work.places[0].early


def test_an_engine_that_leaves_something_out_for_too_long_has_to_say_all_again():
    hand = Hand()
    hand.engine("engine")
    for seq in range(2, 3 + EARLY):
        hand.result("engine", m.Result("ann-1", 1, "ok", b""), seq=seq)
    assert hand.drops == ["engine/tasks"]
    assert not hand.core.work.places[0].early


def test_what_a_dead_engine_still_says_is_heard_first():
    hand = supervised(hwm=1)
    hand.submit("ann", task("ann-1"))
    hand.exited("a", started=1, finished=1)
    said = hand.result("engine a", m.Result("ann-1", 1, "ok", b""), seq=1)
    assert delivered(said, "ann/tasks") == [("ann-1", "ok")]
    hand.close("engine a/tasks")
    assert not hand.core.work.places[0].here


def test_what_a_client_has_seen_in_a_former_session_confirms_nothing():
    hand = Hand()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.result("engine1", m.Result("ann-1", 1, "ok", b""), seq=1)
    hello = m.Hello(
        PROTOCOL, "0", "client", "tasks", secret("ann"), seen=1, session=session_name("c", 0)
    )
    said = hand.say_all("ann again/tasks", hello)
    assert [word.seq for _, word in said if isinstance(word, m.Deliver)] == [1]
    session = hand.core.sessions[secret("ann")]
    hand.say("ann again/tasks", m.Got(1, session_name("c", 0)), "client")
    assert len(session.under_way) == 1
    hand.say("ann again/tasks", m.Got(1, session_name(hand.core.name, session.number)), "client")
    assert not session.under_way


def test_a_direct_request_waits_for_the_promised_life():
    hand = supervised()
    hand.close("engine a/tasks")
    hand.exited("a", replaced=True)
    hand.submit("ann", task("ann-1", engine=0))
    assert hand.state("ann-1") == "queued"
    hand.engine("a", life="2", conn="engine a2")
    assert hand.state("ann-1") == "sent"


def test_a_direct_request_does_not_wait_for_a_life_that_will_not_come():
    hand = supervised()
    hand.close("engine a/tasks")
    hand.exited("a", life="1", replaced=True)
    hand.submit("ann", task("ann-1", engine=0))
    hand.exited("a", life="2", replaced=False)
    assert hand.outcome("ann-1").status == "lost"


def test_the_last_word_about_a_place_counts_even_before_its_connection_has_ended():
    hand = supervised()
    hand.exited("a", life="1", replaced=True)
    hand.exited("a", life="2", replaced=False)
    hand.close("engine a/tasks")
    hand.submit("ann", task("ann-1", engine=0))
    assert hand.outcome("ann-1").status == "lost"


def test_what_is_told_twice_about_a_former_life_does_not_hurt_the_next():
    hand = supervised()
    hand.close("engine a/tasks")
    hand.exited("a", life="1", replaced=True)
    hand.engine("a", life="2", conn="engine a2")
    hand.exited("a", life="1", replaced=True)
    assert hand.core.work.places[0].open


def test_a_hello_that_was_overtaken_by_the_news_of_its_end_is_not_heard():
    hand = Hand()
    hand.supervisor("a")
    hand.exited("a", life="1")
    assert kinds(hand.engine("a", life="1", conn="engine a")) == [m.Again, m.Again]


def test_a_task_that_kills_engines_stops_after_three():
    hand = Hand(hwm=1)
    hand.supervisor("a")
    hand.client("ann")
    hand.submit("ann", task("ann-1", retries=99))
    for life in "123":
        assert hand.state("ann-1") == "waiting"
        hand.engine("a", life=life, conn=f"engine {life}")
        hand.close(f"engine {life}/tasks")
        hand.exited("a", life=life, started=int(life), replaced=True)
    outcome = hand.outcome("ann-1")
    assert (outcome.status, outcome.facts["engines"]) == ("kills", [0, 0, 0])


def test_tasks_of_a_lost_engine_go_first_and_in_their_order():
    hand = supervised(hwm=3)
    hand.submit("ann", *[task(f"ann-{i}", retries=1) for i in range(1, 6)])
    hand.close("engine a/tasks")
    hand.exited("a", started=1)
    said = hand.engine("b", conn="engine b")
    (run,) = [message for message in said if isinstance(message, m.Run)]
    assert [a.id for a in run.attempts] == ["ann-1", "ann-2", "ann-3"]


# --- clients --------------------------------------------------------------------------------------


def test_a_submission_is_taken_once(hand):
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.say("ann/tasks", m.Submit(1, [task("ann-1")]))
    assert hand.core.work.unfinished == 1


def test_a_submission_with_a_gap_waits_for_what_was_lost(hand):
    hand.client("ann")
    hand.say("ann/tasks", m.Submit(2, [task("ann-2")]))
    assert hand.core.work.tasks == {}


def test_what_is_accepted_is_told_a_little_later(hand):
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    assert ("ann/tasks", m.Accepted(1)) in hand.wait(TELL_ACCEPTED)


def test_a_submission_whose_function_is_lacking_waits_and_so_do_the_later_ones(hand):
    hand.engine("engine")
    hand.client("ann", define=False)
    other = content_hash(b"other")
    hand.say("ann/tasks", m.Define(other, b"other"))
    first, second = task("ann-1", engine=0), m.Task("ann-2", other, b"", engine=0)
    assert ("ann/tasks", m.Need((FIT,))) in hand.submit("ann", first)
    assert hand.submit("ann", second) == []
    said = hand.say_all("ann/tasks", m.Define(FIT, BLOB))
    assert runs(said, "engine/tasks") == [("ann-1", 1), ("ann-2", 1)]


def test_a_lacking_function_is_asked_for_again_on_a_new_connection(hand):
    hand.client("ann", define=False)
    hand.submit("ann", task("ann-1"))
    assert m.Need((FIT,)) in hand.client("ann", define=False)


def test_who_leaves_takes_along_what_was_waiting_for_a_function(hand):
    hand.client("ann", define=False)
    hand.submit("ann", task("ann-1"))
    hand.say("ann/tasks", m.Goodbye("closed"))
    assert hand.core.work.functions.needed == {}
    assert hand.core.intake.lacking == {}


def test_over_the_budget_nothing_is_accepted_until_something_has_ended():
    hand = Hand(budget=800)
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1"), task("ann-2"))
    hand.submit("ann", task("ann-3"))
    session = hand.core.sessions[secret("ann")]
    assert session.accepted == 1
    for seq in (1, 2):
        hand.result("engine", m.Result(f"ann-{seq}", 1, "ok", b""), seq=seq)
    assert session.accepted == 2


def test_what_was_withheld_is_accepted_when_its_client_comes_back():
    hand = Hand(budget=800)
    hand.client("ann")
    hand.submit("ann", task("ann-1"), task("ann-2"))
    hand.submit("ann", task("ann-3"))
    hand.close("ann/tasks")
    for id in ("ann-1", "ann-2", "ann-3"):
        hand.say("ann/control", m.Abort([id], number=1))
    assert hand.client("ann")[0].accepted == 2


def test_an_abort_waits_for_the_submission_it_is_about(hand):
    hand.client("ann")
    said = hand.say("ann/control", m.Abort(["ann-1"], after=1, number=7))
    assert said == [m.Reply(7)]  # it will not start, come when it may
    hand.submit("ann", task("ann-1"))
    assert hand.outcome("ann-1").status == "aborted"


@pytest.mark.parametrize("running", [False, True])
def test_an_abort_is_repeated_to_an_engine_that_reconnects(hand, running):
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.close("engine/control")
    hand.say("ann/control", m.Abort(["ann-1"], running=running, number=1))
    (abort,) = [x for x in hand.engine("engine", lanes=["control"]) if isinstance(x, m.Abort)]
    assert (abort.ids, abort.numbers, abort.running) == (["ann-1"], [1], running)


def test_a_result_can_be_fetched_by_another_client_once_per_request(hand):
    hand.engine("engine")
    hand.client("ann")
    hand.client("bob")
    hand.submit("ann", task("ann-1"))
    for number in (1, 1, 2):
        hand.say("bob/control", m.Query(number, "fetch", ["ann-1", "ann-2"]))
    said = hand.result("engine", m.Result("ann-1", 1, "ok", b""), seq=1)
    assert delivered(said, "bob/tasks") == [("ann-1", "ok")]
    assert hand.core.delivery.watchers == {}
    assert hand.core.sessions[secret("bob")].fetching == set()


def test_who_leaves_is_not_waited_for(hand):
    hand.client("ann")
    hand.client("bob")
    hand.submit("ann", task("ann-1"))
    hand.say("bob/control", m.Query(1, "fetch", ["ann-1"]))
    hand.say("bob/tasks", m.Goodbye("closed"))
    assert hand.core.delivery.watchers == {}


def test_a_command_that_comes_again_is_carried_out_once(hand):
    hand.engine("engine")
    hand.client("ann")
    signal = m.Signal(2, [0], number=5)
    assert [to for to, _ in hand.say_all("ann/control", signal)] == [
        "engine/control",
        "ann/control",
    ]
    assert [to for to, _ in hand.say_all("ann/control", signal)] == ["ann/control"]


def test_a_client_that_stays_away_is_forgotten_and_the_timer_rests(hand):
    hand.client("ann")
    hand.close("ann/tasks")
    hand.close("ann/control")
    assert hand.core.deadline() == FORGET_CLIENT
    hand.wait(FORGET_CLIENT)
    assert hand.core.sessions == {}
    assert hand.core.deadline() is None


def test_a_client_that_was_forgotten_gets_another_session(hand):
    before = hand.client("ann")[0].session
    hand.close("ann/tasks")
    hand.close("ann/control")
    hand.wait(FORGET_CLIENT)
    assert hand.client("ann")[0].session != before


def test_a_flood_is_cut_and_nothing_of_it_is_taken():
    hand = Hand(budget=700, credit=200)
    hand.client("ann")
    session = hand.core.sessions[secret("ann")]
    hand.submit("ann", task("ann-1"))  # the budget was kept until here
    hand.submit("ann", task("ann-2"))
    assert hand.drops == []
    hand.submit("ann", task("ann-3"))
    assert hand.drops == ["ann/tasks"]
    assert (session.accepted, session.submitted) == (1, 2)


def test_a_function_that_is_not_what_it_says_cuts_its_sender(hand):
    hand.client("ann", define=False)
    hand.say("ann/tasks", m.Define(FIT, b"something else"))
    assert hand.drops == ["ann/tasks"]
    assert FIT not in hand.core.work.functions


def test_a_large_function_is_passed_on_as_it_came(hand):
    large = m.Buffer((b"large", memoryview(b"data")))
    hand.engine("engine")
    hand.client("ann", define=False)
    hand.say("ann/tasks", m.Define(FIT, BLOB, (large,)))
    said = hand.submit("ann", task("ann-1"))
    (told,) = [x for to, x in said if to == "engine/tasks" and isinstance(x, m.Define)]
    assert (told.hash, told.blob) == (FIT, BLOB)
    assert told.buffers[0] is large
    assert hand.core.work.functions.bytes == len(BLOB) + 9


def test_a_function_whose_data_cannot_be_had_cuts_its_sender(hand):
    hand.client("ann", define=False)
    hand.say("ann/tasks", m.Define(FIT, BLOB, (m.Buffer(None, Gone()),)))
    assert hand.drops == ["ann/tasks"]
    assert FIT not in hand.core.work.functions


def test_a_life_that_is_replaced_by_a_hello_that_was_late_is_told_and_comes_back(hand):
    """A dead engine's hello may come after its successor's, and nobody tells of its end."""
    hand.supervisor("a")
    hand.engine("a", life="2", conn="engine 2")
    hello = m.Hello(PROTOCOL, "0", "engine", "tasks", secret("a"), secret("a1"))
    assert hand.say_all("engine 1/tasks", hello, "engine") == []
    said = hand.wait(AWAY)
    again = m.Again(secret("a2"))
    assert [(to, x) for to, x in said if x == again] == [
        ("engine 2/tasks", again),
        ("engine 2/control", again),
    ]
    hand.engine("a", life="3", conn="engine 2")  # as the process of life 2 calls itself now
    hand.exited("a", life="1")
    assert hand.core.work.places[0].open


@pytest.mark.parametrize("end", ["exited", "closed"])
def test_a_dead_life_whose_hello_was_late_takes_nobodys_place(hand, end):
    hand.supervisor("a")
    hand.engine("a", life="2", conn="engine 2")
    hello = m.Hello(PROTOCOL, "0", "engine", "tasks", secret("a"), secret("a1"))
    hand.say("engine 1/tasks", hello, "engine")
    assert hand.core.deadline() is not None
    if end == "exited":
        hand.exited("a", life="1")
    else:
        hand.close("engine 1/tasks")
    hand.wait(10 * AWAY)
    place = hand.core.work.places[0]
    assert place.open
    assert place.incarnation == secret("a2")
    assert hand.core.heirs == {}


def test_a_new_life_waits_for_word_of_the_end_of_the_last_one():
    """Else nobody knows what that one had started, and tasks end that never began."""
    hand = Hand(hwm=3)
    hand.supervisor("a")
    hand.engine("a", conn="engine 1")
    hand.client("ann")
    said = hand.submit("ann", *(task(f"ann-{i}") for i in range(3)))
    assert [id for id, _ in runs(said, "engine 1/tasks")] == ["ann-0", "ann-1", "ann-2"]
    assert hand.engine("a", life="2", conn="engine 2") == []
    hand.result("engine 1", m.Result("ann-0", 1, "ok", b""), seq=1)  # it had still been read
    said = hand.exited("a", started=2, finished=1, replaced=True)
    said += hand.close("engine 1/tasks")
    assert [hand.state(f"ann-{i}") for i in range(3)] == ["done", "done", "sent"]
    assert [hand.outcome(f"ann-{i}").status for i in range(2)] == ["ok", "lost"]
    assert hand.outcome("ann-1").facts["reason"] == "signal 9 (SIGKILL)"
    assert runs(said, "engine 2/tasks") == [("ann-2", 2)]


def test_who_waits_for_a_place_cannot_become_somebody_else(hand):
    hand.engine("a", conn="engine 1")
    hand.engine("a", life="2", conn="engine 2", lanes=("control",))
    hello = m.Hello(PROTOCOL, "0", "engine", "control", secret("b"), secret("b1"))
    hand.say("engine 2/control", hello, "engine")
    assert hand.drops == ["engine 2/control"]


def test_a_hello_on_the_control_lane_does_not_accept_what_only_the_other_one_tells():
    hand = Hand(budget=800)
    hand.client("ann")
    hand.submit("ann", task("ann-1"), task("ann-2"))
    hand.submit("ann", task("ann-3"))
    session = hand.core.sessions[secret("ann")]
    hello = m.Hello(PROTOCOL, "0", "client", "control", secret("ann"))
    for id in ("ann-1", "ann-2", "ann-3"):
        hand.say("ann/control", m.Abort([id], number=1))
    hand.say("ann again/control", hello)
    told = hand.wait(TELL_ACCEPTED)
    assert session.accepted == 2
    assert session.told == 2 or ("ann/tasks", m.Accepted(2)) in told


def test_what_is_due_to_who_leaves_in_the_same_turn_is_due_no_more(hand):
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.result("engine1", m.Result("ann-1", 1, "ok", b"v" * 1000), seq=1)
    hand.client("bob")
    effects = []
    fetch = m.Query(1, "fetch", ["ann-1"])
    hand.core.feed(Received("bob/control", "client", fetch), hand.now, effects)
    hand.core.feed(Received("bob/tasks", "client", m.Goodbye("closed")), hand.now, effects)
    hand.core.settle(hand.now, effects)
    laws.check(hand.core)
    assert hand.core.delivery.due_bytes == sum(s.due_bytes for s in hand.core.sessions.values())


def test_names_of_clients_are_longer_when_there_were_many(hand):
    for n in range(FEW + 1):
        hand.client(f"client{n}", define=False)
        hand.say(f"client{n}/tasks", m.Goodbye("closed"))
    said = hand.client("ann", define=False)
    last = hand.core.sessions[secret("ann")]
    assert len(last.id) == 12
    assert [word.id for word in said if isinstance(word, m.Welcome)] == [last.id, last.id]


def test_the_next_life_of_an_engine_is_given_other_numbers(hand):
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"), task("ann-2"))
    place = hand.core.work.places[0]
    last = place.n
    hand.close("engine1/tasks")
    hand.close("engine1/control")
    hand.wait(AWAY + 1)
    said = hand.engine("engine1", life="2", seen=1)
    hand.submit("ann", task("ann-3"))
    assert min(place.sent) > last > 0
    assert [word.after for word in said if isinstance(word, m.Welcome)] == [last, last]
