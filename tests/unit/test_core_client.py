"""A client's machine: what it keeps, says again, and tells its user once."""

import pytest

from enginery.core import account
from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.client import GOT_LATER, ROUND, Client


@pytest.fixture
def client():
    made = Client(b"c" * 16, host="h", pid=1, version="0", python="3")
    for lane in ("tasks", "control"):
        made.handle(e.Opened(lane), 0.0)
        hear(made, welcome(), lane)
    return made


def welcome(accepted=0, controller="c", session=1, credit=10_000):
    return m.Welcome(controller, "c1", accepted, credit, session=session)


def hear(client, message, lane="tasks"):
    return client.handle(e.Received(lane, "controller", message), 0.0)


def submit(client, *ids, function=b"f", size=0):
    tasks = [m.Task(id, function, bytes(size)) for id in ids]
    return client.handle(e.Submitted(tasks, {function: b"blob"}), 0.0)


def said(effects, kind=m.Message):
    return [x.message for x in effects if isinstance(x, e.Send) and isinstance(x.message, kind)]


def told(effects):
    return [(o.id, o.status) for x in effects if isinstance(x, e.Delivered) for o in x.outcomes]


def deliver(client, seq, *ids):
    return hear(client, m.Deliver(seq, [m.Outcome(id, "ok") for id in ids]))


def reconnect(client, answer):
    client.handle(e.Closed("tasks"), 0.0)
    (hello,) = said(client.handle(e.Opened("tasks"), 0.0))
    return hello, hear(client, answer)


def test_a_function_goes_ahead_of_the_first_task_that_needs_it(client):
    kinds = [type(message) for message in said(submit(client, "t1", "t2"))]
    assert kinds == [m.Define, m.Submit]
    assert [type(message) for message in said(submit(client, "t3"))] == [m.Submit]


def test_what_is_not_accepted_is_said_again_on_a_new_connection(client):
    submit(client, "t1")
    submit(client, "t2")
    hear(client, m.Accepted(1))
    _, effects = reconnect(client, welcome(accepted=1))
    assert [type(message) for message in said(effects)] == [m.Define, m.Submit]
    assert [s.seq for s in said(effects, m.Submit)] == [2]


def test_a_submission_whose_tasks_have_ended_is_said_again_without_their_functions(client):
    submit(client, "t1")
    deliver(client, 1, "t1")  # before it was accepted: the controller is over its budget
    assert client.functions == {}
    _, effects = reconnect(client, welcome())
    assert [type(message) for message in said(effects)] == [m.Submit]


def test_beyond_its_credit_it_waits(client):
    assert len(said(submit(client, "t1", size=20_000), m.Submit)) == 1
    assert said(submit(client, "t2"), m.Submit) == []
    assert client.pending_bytes > 20_000
    assert [s.seq for s in said(hear(client, m.Accepted(1)), m.Submit)] == [2]


def test_a_large_call_goes_in_several_submissions(client):
    ids = [f"t{i}" for i in range(ROUND + 1)]
    hear(client, welcome(credit=1 << 40))
    assert [s.count for s in said(submit(client, *ids), m.Submit)] == [ROUND, 1]


def test_an_outcome_is_told_once_and_in_order(client):
    submit(client, "t1", "t2")
    assert told(deliver(client, 2, "t2")) == []
    assert told(deliver(client, 1, "t1")) == [("t1", "ok")]
    assert told(deliver(client, 1, "t1")) == []
    assert told(deliver(client, 2, "t2")) == [("t2", "ok")]


def test_deliveries_are_confirmed_together_and_at_once_when_they_come_again(client):
    confirmed = [said(deliver(client, seq), m.Got) for seq in range(1, GOT_LATER + 1)]
    assert confirmed == [[]] * (GOT_LATER - 1) + [[m.Got(GOT_LATER, "c/1")]]
    assert said(deliver(client, 1), m.Got) == [m.Got(GOT_LATER, "c/1")]


def test_what_was_said_in_an_earlier_session_and_is_read_late_counts_for_nothing(client):
    """As on the other lane, which was slow; here it would be waited for ever for another one."""
    client.handle(e.Closed("tasks"), 0.0)
    client.handle(e.Opened("tasks"), 0.0)
    hear(client, welcome(session=3))
    assert said(hear(client, welcome(session=2), "control"), m.Hello)
    hear(client, welcome(session=3), "control")
    submit(client, "t1")
    assert told(deliver(client, 1, "t1")) == [("t1", "ok")]


def test_a_large_result_is_confirmed_at_once(client):
    """Until then its engine keeps it, and all that came after it."""
    submit(client, "t1")
    outcome = m.Outcome("t1", "ok", bytes(account.LARGE + 1))
    assert said(hear(client, m.Deliver(1, [outcome])), m.Got) == [m.Got(1, "c/1")]


def test_large_output_is_confirmed_at_once(client):
    output = m.Output("t1", 1, 0, "stdout", "x" * (1 << 20))
    assert said(hear(client, m.Deliver(1, [], [output])), m.Got) == [m.Got(1, "c/1")]


def test_a_hello_says_how_far_deliveries_have_come(client):
    deliver(client, 1)
    deliver(client, 2)
    hello, _ = reconnect(client, welcome())
    assert hello.seen == 2


def test_functions_are_kept_as_long_as_a_task_may_need_them(client):
    submit(client, "t1", "t2")
    deliver(client, 1, "t1")
    assert said(hear(client, m.Need((b"f",)))) == [m.Define(b"f", b"blob")]
    deliver(client, 2, "t2")
    assert said(hear(client, m.Need((b"f",)))) == []
    assert client.needed == {}


def test_an_unanswered_request_is_asked_again(client):
    query = m.Query(7, "status")
    client.handle(e.Asked(query), 0.0)
    client.handle(e.Closed("control"), 0.0)
    client.handle(e.Opened("control"), 0.0)
    assert said(hear(client, welcome(), "control")) == [query]
    assert hear(client, m.Reply(7, {}), "control") == [e.Answered(7, {})]
    assert hear(client, m.Reply(7, {}), "control") == []


def test_a_question_follows_the_submissions_before_it(client):
    submit(client, "t1")
    assert said(client.handle(e.Asked(m.Query(1, "explain", ["t1"])), 0.0)) == []
    signal = m.Signal(2)
    assert said(client.handle(e.Asked(signal), 0.0)) == [signal]
    submit(client, "t2")
    assert [query.number for query in said(hear(client, m.Accepted(1)), m.Query)] == [1]
    assert said(hear(client, m.Accepted(2)), m.Query) == []


@pytest.mark.parametrize(
    ("answer", "asked"),
    [(welcome(accepted=1), [1]), (welcome(), []), (welcome(controller="new"), [])],
)
def test_a_held_question_outlives_the_connection(client, answer, asked):
    submit(client, "t1")
    client.handle(e.Asked(m.Query(1, "explain", ["t1"])), 0.0)
    client.handle(e.Closed("control"), 0.0)
    client.handle(e.Opened("control"), 0.0)
    assert said(hear(client, answer, "control"), m.Query) == []
    _, effects = reconnect(client, answer)
    assert [query.number for query in said(effects, m.Query)] == asked
    if not asked:
        [query] = said(hear(client, m.Accepted(1)), m.Query)
        assert query.number == 1


@pytest.mark.parametrize("what", ["status", "engines"])
def test_how_things_are_is_asked_at_once(client, what):
    submit(client, "t1")
    query = m.Query(1, what)
    assert said(client.handle(e.Asked(query), 0.0)) == [query]
    assert said(hear(client, m.Accepted(1)), m.Query) == []


@pytest.mark.parametrize("message", [m.Query(1, "explain", ["t1"]), m.Query(1, "status")])
def test_a_request_that_was_given_up_is_not_said_again(client, message):
    submit(client, "t1")
    client.handle(e.Asked(message), 0.0)
    assert client.handle(e.GivenUp(1), 0.0) == []
    assert (client.requests, client.held) == ({}, {})
    assert said(hear(client, m.Accepted(1)), m.Query) == []
    client.handle(e.Closed("control"), 0.0)
    client.handle(e.Opened("control"), 0.0)
    assert said(hear(client, welcome(accepted=1), "control")) == []
    assert hear(client, m.Reply(1, {}), "control") == []
    assert client.handle(e.GivenUp(1), 0.0) == []


def test_a_task_is_lost_even_if_the_request_for_it_was_given_up(client):
    client.handle(e.Asked(m.Query(1, "fetch", ["x1"])), 0.0)
    client.handle(e.GivenUp(1), 0.0)
    _, effects = reconnect(client, welcome(controller="another"))
    assert told(effects) == [("x1", "lost")]


def test_what_was_promised_comes_though_it_is_not_known_any_more(client):
    for number, unknown in ((1, []), (2, ["x1"])):
        client.handle(e.Asked(m.Query(number, "fetch", ["x1"])), 0.0)
        hear(client, m.Reply(number, {"unknown": unknown}), "control")
    assert told(hear(client, m.Deliver(1, [m.Outcome("x1", "ok")]))) == [("x1", "ok")]
    assert (client.watched, client.promised) == (set(), set())


def test_a_promise_ends_with_who_gave_it_though_it_is_asked_for_again(client):
    client.handle(e.Asked(m.Query(1, "fetch", ["x1"])), 0.0)
    hear(client, m.Reply(1, {"unknown": []}), "control")
    client.handle(e.Asked(m.Query(2, "fetch", ["x1"])), 0.0)
    _, effects = reconnect(client, welcome(controller="another"))
    assert told(effects) == [("x1", "lost")]
    hear(client, welcome(controller="another"), "control")
    hear(client, m.Reply(2, {"unknown": ["x1"]}), "control")
    assert (client.watched, client.promised) == (set(), set())


def test_an_abort_says_what_was_submitted_before_it(client):
    submit(client, "t1")
    (abort,) = said(client.handle(e.Asked(m.Abort(["t1"], number=1)), 0.0))
    assert abort.after == 1


def test_a_refusal_of_a_request_is_its_answer_and_of_the_connection_the_end(client):
    client.handle(e.Asked(m.Query(7, "nonsense")), 0.0)
    (answer,) = hear(client, m.Refused("no", "UnknownTask", 7), "control")
    assert answer == e.Answered(7, None, "UnknownTask", "no")
    (stop,) = hear(client, m.Refused("no", "NotAllowedError"))
    assert isinstance(stop, e.Stop)


# --- a controller that does not know us -----------------------------------------------------------


def test_a_restarted_controller_gets_what_was_not_accepted_numbered_anew(client):
    submit(client, "t1")
    submit(client, "t2", "t3")
    hear(client, m.Accepted(1))
    deliver(client, 1, "t3")
    _, effects = reconnect(client, welcome(controller="another"))
    assert told(effects) == [("t1", "lost")]
    (again,) = said(effects, m.Submit)
    assert (again.seq, [task.id for task in again.tasks]) == (1, ["t2"])
    assert told(deliver(client, 1, "t2")) == [("t2", "ok")]


def test_who_was_forgotten_gives_up_what_it_had_said_and_says_the_rest(client):
    submit(client, "t1", size=20_000)
    submit(client, "t2")  # beyond the credit: never said
    _, effects = reconnect(client, welcome(session=2))
    assert told(effects) == [("t1", "lost")]
    assert [[task.id for task in s.tasks] for s in said(effects, m.Submit)] == [["t2"]]
    assert client.submitted == 1


def test_what_is_read_late_of_a_former_session_is_not_taken_for_this_one(client):
    submit(client, "t1")
    deliver(client, 1, "t0")
    client.handle(e.Closed("control"), 0.0)
    (hello,) = said(client.handle(e.Opened("control"), 0.0))
    assert (hello.seen, hello.session) == (1, "c/1")
    hear(client, welcome(session=2), "control")
    assert told(deliver(client, 1, "t1")) == []  # the other lane still brings what was said before
    hear(client, welcome(session=2))
    submit(client, "t2")
    assert told(deliver(client, 1, "t2")) == [("t2", "ok")]


def restart(client, accepted=0):
    """The controller is started again; gives what is said on the lanes, tasks first."""
    again = m.Welcome("d", "c1", accepted, 10_000, session=1, asks=True, since=2.0)
    said_by_lane = {}
    for lane in ("tasks", "control"):
        client.handle(e.Closed(lane), 0.0)
    for lane in ("tasks", "control"):
        client.handle(e.Opened(lane), 0.0)
        said_by_lane[lane] = said(hear(client, again, lane))
    return said_by_lane["tasks"], said_by_lane["control"]


def test_what_was_promised_is_claimed_though_it_is_asked_for_again(client):
    client.handle(e.Asked(m.Query(1, "fetch", ["x1"])), 0.0)
    hear(client, m.Reply(1, {"unknown": []}), "control")
    client.handle(e.Asked(m.Query(2, "fetch", ["x1"])), 0.0)
    [claim] = [word for word in restart(client)[0] if isinstance(word, m.Claim)]
    assert claim.watches == ["x1"]


def test_what_a_controller_promised_that_is_gone_is_asked_for_again(client):
    client.handle(e.Asked(m.Query(1, "fetch", ["x1"])), 0.0)
    again = m.Welcome("d", "c1", 0, 10_000, session=1, asks=True, since=2.0)
    hear(client, again)
    assert hear(client, m.Reply(1, {"unknown": []}), "control") == []  # it is read late
    assert [word.ids for word in said(hear(client, again, "control"), m.Query)] == [["x1"]]


def test_what_has_run_again_is_not_asked_for_once_more(client):
    client.handle(e.Asked(m.Resubmit(["t1", "t2"], ["t3", "t4"], 1)), 0.0)
    deliver(client, 1, "t3")  # before the request was answered, which waits for the disk
    _, control = restart(client)
    assert [(word.ids, word.new) for word in control] == [(["t2"], ["t4"])]


def test_what_has_run_again_is_not_outstanding_when_it_is_asked_for(client):
    client.handle(e.Asked(m.Resubmit(["t1"], ["t2"], 1)), 0.0)
    deliver(client, 1, "t2")
    client.handle(e.Asked(m.Query(2, "fetch", ["t2"])), 0.0)
    hear(client, m.Reply(1), "control")
    assert client.outstanding == {}


def test_what_was_turned_away_and_has_ended_is_not_submitted_again(client):
    submit(client, "t1", "t2")
    hear(client, m.Room(0, "there is no room"))
    deliver(client, 1, "t1")  # it had been taken all the same
    tasks, _ = restart(client)
    assert [task.id for word in tasks if isinstance(word, m.Submit) for task in word.tasks] == [
        "t2"
    ]


def test_nor_when_there_is_room(client):
    submit(client, "t1", "t2")
    hear(client, m.Room(0, "there is no room"))
    deliver(client, 1, "t1")
    [again] = said(hear(client, m.Room(0)), m.Submit)
    assert ([task.id for task in again.tasks], client.pending_tasks) == (["t2"], 1)


def test_what_was_turned_away_may_have_been_taken_by_who_gave_the_client_up(client):
    submit(client, "t1")
    hear(client, m.Room(0, "there is no room"))
    submit(client, "t2")
    _, effects = reconnect(client, welcome(session=2))
    assert told(effects) == [("t1", "lost")]
    assert [task.id for word in said(effects, m.Submit) for task in word.tasks] == ["t2"]


def test_a_welcome_of_a_controller_that_is_no_more_is_not_heeded(client):
    submit(client, "t1")
    hear(client, m.Accepted(1))
    restart(client, accepted=1)
    client.handle(e.Closed("control"), 0.0)
    client.handle(e.Opened("control"), 0.0)
    [hello] = said(hear(client, welcome(accepted=1), "control"))
    assert (hello.lane, client.controller, list(client.outstanding)) == ("control", "d", ["t1"])
    hear(client, welcome(accepted=1), "control")  # it is there, and its clock was put back
    assert client.controller == "c"


@pytest.mark.parametrize("torn", [False, True])
def test_what_a_restarted_controller_may_have_run_is_submitted_again_only_if_it_cannot_know(torn):
    client = Client(b"c" * 16, host="h", pid=1, version="0", python="3")
    client.handle(e.Opened("tasks"), 0.0)
    hear(client, m.Welcome("c", "c1", 0, 10_000, session=1, journal="j"))
    submit(client, "t1")
    again = m.Welcome("d", "c1", 0, 10_000, session=2, journal="j", since=2.0, torn=torn)
    _, effects = reconnect(client, again)
    submitted = [task.id for word in said(effects, m.Submit) for task in word.tasks]
    assert (submitted, told(effects)) == ((["t1"], []) if torn else ([], [("t1", "lost")]))


def test_what_the_last_controller_had_said_and_is_read_late_counts_no_more(client):
    submit(client, "t1", "t2")
    hear(client, m.Accepted(1))
    client.handle(e.Closed("control"), 0.0)
    client.handle(e.Opened("control"), 0.0)
    hear(client, m.Welcome("d", "c1", 1, 10_000, session=1, asks=True, since=2.0), "control")
    assert told(deliver(client, 1, "t1")) == []  # its other connection has not ended yet
    client.handle(e.Closed("tasks"), 0.0)
    (hello,) = said(client.handle(e.Opened("tasks"), 0.0))
    assert hello.seen == 0
    hear(client, m.Welcome("d", "c1", 1, 10_000, session=1, asks=True, since=2.0))
    assert told(deliver(client, 1, "t1", "t2")) == [("t1", "ok"), ("t2", "ok")]


def test_one_that_lost_the_end_of_its_journal_is_told_what_was_sent_to_the_last_one(client):
    submit(client, "t1")
    _, effects = reconnect(client, m.Welcome("d", "c1", 0, 10_000, session=7, since=2.0, torn=True))
    kinds = [word for word in said(effects) if isinstance(word, (m.Claim, m.Submit))]
    assert [type(word) for word in kinds] == [m.Claim, m.Submit]
    assert (kinds[0].sent, kinds[1].seq) == (1, 1)


@pytest.mark.parametrize("torn", [1, 2])
def test_what_was_sent_long_ago_is_told_to_one_that_asks_though_others_came_between(client, torn):
    submit(client, "t1")
    for i in range(1, torn + 1):  # these hear of it, and of nothing else
        client.handle(e.Closed("control"), 0.0)
        client.handle(e.Opened("control"), 0.0)
        between = m.Welcome(f"d{i}", "c1", 0, 10_000, session=7, since=1.0 + i, torn=True)
        hear(client, between, "control")
    asking = m.Welcome("e", "c1", 0, 10_000, session=7, asks=True, since=9.0)
    _, effects = reconnect(client, asking)
    (claim,) = said(effects, m.Claim)
    assert (claim.ids, claim.sent) == ([], 1)


def test_one_that_knows_an_earlier_session_only_has_nothing_of_the_last_one(client):
    client.handle(e.Closed("tasks"), 0.0)
    client.handle(e.Opened("tasks"), 0.0)
    hear(client, m.Welcome("d", "c1", 0, 10_000, session=7, since=1.0, torn=True))
    submit(client, "t1")
    client.handle(e.Asked(m.Query(1, "fetch", ["x1"])), 0.0)
    asking = m.Welcome("e", "c1", 3, 10_000, session=1, asks=True, since=2.0)
    _, effects = reconnect(client, asking)
    (claim,) = said(effects, m.Claim)
    assert (claim.ids, claim.accepted, claim.sent) == ([], 3, 4)
    assert [(word.seq, word.tasks[0].id) for word in said(effects, m.Submit)] == [(4, "t1")]
    assert said(submit(client, "t2"), m.Submit)[0].seq == 5
    client.handle(e.Opened("control"), 0.0)
    assert said(hear(client, asking, "control")) == []
    assert said(hear(client, m.Accepted(3)), m.Query) == []
    assert [word.ids for word in said(hear(client, m.Accepted(4)), m.Query)] == [["x1"]]


def test_a_goodbye_ends_the_connection_on_which_it_came_and_nothing_is_said_there(client):
    stop, drop = hear(client, m.Goodbye("signalled"), "tasks")
    assert (stop.code, stop.why, drop.conn) == (0, "signalled", "tasks")
    assert said(submit(client, "t1")) == []
    assert told(deliver(client, 1)) == []
    stop, drop = hear(client, m.Goodbye("signalled"), "control")
    assert drop.conn == "control"
    assert client.joined == set()
