"""Tasks whose arguments take the values of others, by hand: held, sent with them, impossible."""

import pytest

from enginery.core import messages as m
from enginery.core.client import Client
from enginery.core.events import Asked, Received, Send

from .hand_controller import Hand, runs, task


@pytest.fixture
def hand():
    """Two engines, "engine 0" and "engine 1", and ann with her function."""
    return made()


def made(**limits):
    """The same with limits."""
    hand = Hand(**limits)
    hand.engine("engine a")
    hand.engine("engine b")
    hand.client("ann")
    return hand


def takes(*ids, arguments=(), **fields):
    """The terms of a task."""
    return {"terms": m.Terms(inputs=ids, arguments=arguments, **fields)}


def ends(hand, id, status="ok", value=None, buffers=()):
    """The engine that has it tells how a task ended; gives what is said to anybody."""
    record = hand.core.work.tasks[id]
    engine = f"engine {'ab'[record.place]}"
    hand.numbers = getattr(hand, "numbers", {})
    seq = hand.numbers[engine] = hand.numbers.get(engine, 0) + 1
    value = f"{status} of {id}".encode() if value is None else value
    return hand.result(engine, m.Result(id, record.attempt, status, value, buffers), seq=seq)


def given(said, id):
    """The values that came with the attempt of a task."""
    for _, message in said:
        if isinstance(message, m.Run):
            for attempt in message.attempts:
                if attempt.id == id:
                    return [value.value for value in attempt.inputs]
    raise AssertionError(f"{id} was not sent")


# --- held, and sent ------------------------------------------------------------------------------


def test_a_task_is_held_until_what_it_takes_is_there_and_gets_it_in_order(hand):
    hand.submit("ann", task("ann-1"), task("ann-2"), task("ann-3", **takes("ann-2", "ann-1")))
    assert hand.state("ann-3") == "held"
    assert runs(ends(hand, "ann-1"), "engine a/tasks") == []
    said = ends(hand, "ann-2")
    assert given(said, "ann-3") == [b"ok of ann-2", b"ok of ann-1"]


def test_what_is_there_is_sent_at_once_with_its_buffers(hand):
    buffer = m.Buffer(b"x" * 100)
    hand.submit("ann", task("ann-1"))
    ends(hand, "ann-1", buffers=(buffer,))
    said = hand.submit("ann", task("ann-2", **takes("ann-1")))
    [attempt] = [a for _, run in said if isinstance(run, m.Run) for a in run.attempts]
    assert attempt.inputs[0].buffers[0] is buffer


def test_what_a_plain_task_is_sent_has_no_inputs(hand):
    said = hand.submit("ann", task("ann-1", terms=m.Terms(priority=2.0)), task("ann-2"))
    assert given(said, "ann-1") == given(said, "ann-2") == []


def test_a_dependency_of_the_user_and_what_is_taken_must_both_be_met(hand):
    after = m.Dependency(("ann-1",), failure=True)
    hand.submit("ann", task("ann-1"), task("ann-2"))
    hand.submit("ann", task("ann-3", **takes("ann-2", after=after)))
    ends(hand, "ann-2")
    assert hand.state("ann-3") == "held"
    ends(hand, "ann-1", "error")
    assert hand.state("ann-3") == "sent"


def test_it_explains_itself(hand):
    hand.submit("ann", task("ann-1"), task("ann-2", **takes("ann-1", arguments=("xs[3]",))))
    [reply] = hand.say("ann/control", m.Query(1, "explain", ["ann-2"]))
    assert reply.value == [
        "it waits for tasks that it depends on:",
        "values it takes: 1 of 1 have not ended (all count)",
        "  task ann-1 is sent, for its argument xs[3]",
    ]


def test_a_retry_and_a_recovery_and_an_engine_that_reconnects_get_them_too(hand):
    mend = task("")
    second = task("ann-2", retries=1, **takes("ann-1", recoveries=(mend,)))
    hand.submit("ann", task("ann-1"), second)
    ends(hand, "ann-1")
    said = ends(hand, "ann-2", "error")
    assert given(said, "ann-2") == [b"ok of ann-1"]
    said = ends(hand, "ann-2", "error")
    assert given(said, "ann-2") == [b"ok of ann-1"]
    hand.close("engine a/tasks")
    hand.close("engine b/tasks")
    again = [
        (name, message)
        for name in ("engine a", "engine b")
        for message in hand.engine(name, conn=f"{name}, again")
    ]
    assert given(again, "ann-2") == [b"ok of ann-1"]


# --- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"record_limit": 0}, {"record_bytes": 1}, {}])
def test_values_are_kept_for_who_takes_them_whatever_is_forgotten(limits):
    hand = made(**limits)
    last = task("ann-3", retries=1, **takes("ann-1", "ann-2"))
    hand.submit("ann", task("ann-1"), task("ann-2"), last)
    ends(hand, "ann-1")
    hand.say("ann/control", m.Purge(every=True, number=1))
    assert "ann-1" not in hand.core.work.tasks
    assert given(ends(hand, "ann-2"), "ann-3") == [b"ok of ann-1", b"ok of ann-2"]
    hand.say("ann/control", m.Purge(every=True, number=2))
    assert list(hand.core.work.tasks) == ["ann-3"]
    said = ends(hand, "ann-3", "error")
    assert given(said, "ann-3") == [b"ok of ann-1", b"ok of ann-2"]


def test_a_value_counts_once_and_until_the_last_that_takes_it_has_ended(hand):
    work = hand.core.work
    hand.submit("ann", task("ann-1"))
    ends(hand, "ann-1", value=b"x" * 5000)
    assert work.quota.bytes == 0
    hand.submit("ann", task("ann-2", **takes("ann-1")), task("ann-3", **takes("ann-1")))
    alone = sum(work.tasks[id].size for id in ("ann-2", "ann-3"))
    assert work.quota.bytes == alone + 5100
    ends(hand, "ann-2")
    assert work.quota.bytes == work.tasks["ann-3"].size + 5100
    ends(hand, "ann-3", "error")
    assert work.quota.bytes == 0
    assert (work.inputs.needed, work.inputs.values) == ({}, {})


def test_nothing_is_accepted_while_the_values_are_over_the_budget():
    hand = made(budget=4000)
    hand.submit("ann", task("ann-1"), task("ann-2", **takes("ann-1")))
    ends(hand, "ann-1", value=b"x" * 5000)
    session = hand.core.sessions[b"ann".ljust(16, b"-")]
    hand.submit("ann", task("ann-3"))
    assert (session.taken, session.accepted) == (2, 1)
    ends(hand, "ann-2")
    assert session.accepted == 2


def test_what_is_sent_ahead_is_bounded_with_what_it_takes(monkeypatch):
    monkeypatch.setattr("enginery.core.engines.AHEAD_BYTES", 5000)
    hand = made(hwm=10)
    hand.submit("ann", task("ann-1"))
    ends(hand, "ann-1", value=b"x" * 4000)
    tasks = [task(f"ann-{i}", targets=(0,), **takes("ann-1")) for i in (2, 3, 4)]
    assert runs(hand.submit("ann", *tasks), "engine a/tasks") == [("ann-2", 1)]
    assert runs(ends(hand, "ann-2"), "engine a/tasks") == [("ann-3", 1)]


# --- what fails ----------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [False, True])
def test_the_cause_is_the_first_failure_however_long_the_chain(hand, before):
    chain = [
        task(f"ann-{i}", name="f", **takes(f"ann-{i - 1}", arguments=("x",)))
        for i in range(2, 3000)
    ]
    hand.submit("ann", task("ann-1", name="bad"), *([] if before else chain))
    ends(hand, "ann-1", "error")
    hand.submit("ann", *(chain if before else []))
    outcomes = [hand.outcome(each.id) for each in chain]
    assert {outcome.status for outcome in outcomes} == {"impossible"}
    assert all(outcome.cause == hand.outcome("ann-1") for outcome in outcomes)
    reasons = [outcome.facts["reason"] for outcome in outcomes[:2]]
    assert reasons == [
        "its argument x is the value of task ann-1 (bad), which failed",
        "its argument x is the value of task ann-2 (f), which was not run because task ann-1 "
        "failed",
    ]
    assert hand.core.work.conditions.graph.edges == {}


def test_what_was_aborted_or_lost_is_a_cause_in_its_own_words(hand):
    hand.submit("ann", task("ann-1", engine=0), task("ann-2", **takes("ann-1")))
    hand.submit("ann", task("ann-3", **takes("ann-4")), task("ann-4", engine=1))
    assert "there is no task ann-4" in hand.outcome("ann-3").facts["reason"]
    assert "pass ar.get() instead of ar" in hand.outcome("ann-3").facts["reason"]
    assert hand.outcome("ann-3").cause is None
    hand.submit("ann", task("ann-5", **takes("ann-4")))
    hand.say("engine b/tasks", m.Goodbye("stopped"))
    assert hand.outcome("ann-5").cause.status == "lost"
    assert hand.outcome("ann-5").facts["reason"].endswith("which was lost")
    hand.submit("ann", task("ann-6", engine=0), task("ann-7", **takes("ann-6")))
    hand.say("ann/control", m.Abort(["ann-6"], after=4, number=9))
    said = hand.say_all("engine a/control", m.Dropped(["ann-6"], [2]), "engine")
    assert hand.outcome("ann-7").cause.id == "ann-6"
    assert hand.outcome("ann-7").facts["reason"].endswith("which was aborted")
    assert runs(said, "engine a/tasks") == []


def test_a_failure_that_is_forgotten_at_once_is_still_the_cause():
    hand = made(record_limit=0)
    hand.submit("ann", task("ann-1"), task("ann-2", **takes("ann-1")))
    said = ends(hand, "ann-1", "error")
    [deliver] = [message for _, message in said if isinstance(message, m.Deliver)]
    assert [outcome.id for outcome in deliver.outcomes] == ["ann-1", "ann-2"]
    assert deliver.outcomes[1].cause.value == b"error of ann-1"


def test_it_cannot_take_its_own_value(hand):
    hand.submit("ann", task("ann-1", **takes("ann-1")))
    assert hand.outcome("ann-1").status == "impossible"


def test_a_task_key_takes_only_the_values_of_its_own_tasks(hand):
    hand.client("bob", role="task")
    hand.submit("ann", task("ann-1"))
    hand.submit("bob", task("bob-1"), role="task")
    ends(hand, "ann-1")
    ends(hand, "bob-1")
    strange, own = task("bob-2", **takes("ann-1")), task("bob-3", **takes("bob-1"))
    said = hand.submit("bob", strange, own, role="task")
    assert "there is no task ann-1" in hand.outcome("bob-2").facts["reason"]
    assert given(said, "bob-3") == [b"ok of bob-1"]
    assert given(hand.submit("ann", task("ann-2", **takes("bob-1"))), "ann-2") == [b"ok of bob-1"]


# --- direct requests -----------------------------------------------------------------------------


def test_a_direct_request_joins_the_queue_when_it_has_all(hand):
    hand.submit(
        "ann",
        task("ann-1", engine=1),
        task("ann-2", engine=0, **takes("ann-1")),
        task("ann-3", engine=0),
    )
    assert (hand.state("ann-2"), hand.state("ann-3")) == ("held", "sent")
    assert given(ends(hand, "ann-1"), "ann-2") == [b"ok of ann-1"]
    assert list(hand.core.work.places[0].sent) == [1, 2]
    assert [step[1] for step in hand.core.work.tasks["ann-2"].story] == [
        "accepted",
        "dependencies met",
        "send",
    ]


def test_a_direct_request_for_an_engine_that_is_gone_when_it_has_all_is_lost(hand):
    hand.submit("ann", task("ann-1", engine=1), task("ann-2", engine=0, **takes("ann-1")))
    hand.say("engine a/tasks", m.Goodbye("stopped"))
    assert hand.state("ann-2") == "held"
    ends(hand, "ann-1")
    assert hand.outcome("ann-2").status == "lost"
    hand.submit("ann", task("ann-3", engine=1), task("ann-4", engine=7, **takes("ann-3")))
    assert hand.outcome("ann-4").facts["reason"] == "no engine 7 is registered"


def test_a_direct_request_has_no_other_terms_and_can_be_aborted(hand):
    odd = takes("ann-1", timeout=1.0, after=m.Dependency(("nobody-1",)))
    hand.submit("ann", task("ann-1", engine=1), task("ann-2", engine=0, **odd))
    hand.wait(5.0)
    assert hand.state("ann-2") == "held"
    hand.say("ann/control", m.Abort(["ann-2"], after=1, number=1))
    assert hand.outcome("ann-2").status == "aborted"
    assert runs(ends(hand, "ann-1"), "engine a/tasks") == []


# --- again ---------------------------------------------------------------------------------------


def test_run_again_it_takes_new_values_of_those_that_are_run_again_too(hand):
    hand.submit("ann", task("ann-1"), task("ann-2"), task("ann-3", **takes("ann-1", "ann-2")))
    for id in ("ann-1", "ann-2", "ann-3"):
        ends(hand, id)
    hand.say("ann/control", m.Resubmit(["ann-3", "ann-1"], ["ann-5", "ann-4"], 1))
    assert hand.state("ann-5") == "held"
    assert given(ends(hand, "ann-4"), "ann-5") == [b"ok of ann-4", b"ok of ann-2"]


def test_run_again_it_needs_what_it_takes(hand):
    hand.submit("ann", task("ann-1"), task("ann-2", **takes("ann-1")))
    ends(hand, "ann-1")
    ends(hand, "ann-2", "error")
    hand.say("ann/control", m.Purge(["ann-1"], number=1))
    [refused] = hand.say("ann/control", m.Resubmit(["ann-2"], ["ann-3"], 2))
    assert refused.reason == (
        "task ann-2 takes the value of task ann-1, which is not kept any more; submit it anew"
    )
    assert "ann-3" not in hand.core.work.tasks


# --- clients ask ---------------------------------------------------------------------------------


def test_what_is_kept_is_told_to_who_may_know(hand):
    hand.client("bob", role="task")
    hand.submit("ann", task("ann-1"))
    ids = ["ann-1", "ann-2"]
    assert [r.value for r in hand.say("ann/control", m.Query(1, "kept", ids))] == [["ann-1"]]
    assert [r.value for r in hand.say("bob/control", m.Query(1, "kept", ids), "task")] == [[]]


def test_a_client_does_not_wait_with_that_question():
    """What is asked about has ended: nothing that was submitted meanwhile matters."""
    client = Client(b"c" * 16, host="host", pid=1, version="0", python="3")
    client.joined = {"tasks", "control"}
    client.submitted = 1
    client.unaccepted.append((m.Submit(1, []), 0))
    assert client.handle(Asked(m.Query(1, "states", ["ann-1"])), 0.0) == []
    query = m.Query(2, "kept", ["ann-1"])
    assert client.handle(Asked(query), 0.0) == [Send("control", query)]
    answer = client.handle(Received("control", "controller", m.Reply(2, ["ann-1"])), 0.0)
    assert [effect.value for effect in answer] == [["ann-1"]]
