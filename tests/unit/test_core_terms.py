"""What tasks ask for beside being run, by hand: dependencies, refusals, recovery, history."""

import pytest

from enginery.core import messages as m
from enginery.core.events import Received
from enginery.core.names import content_hash

from .hand_controller import BLOB, FIT, Hand, runs, secret, task

MEND_BLOB = b"def mend(): ..."
MEND = content_hash(MEND_BLOB)


@pytest.fixture
def hand():
    """Two engines, "engine 0" and "engine 1", and ann with her function."""
    hand = Hand()
    hand.engine("engine a")
    hand.engine("engine b")
    hand.client("ann")
    return hand


def terms(**fields):
    """The terms of a task."""
    for name in ("after", "follow"):
        if isinstance(fields.get(name), (list, tuple)):
            fields[name] = m.Dependency(tuple(fields[name]))
    return {"terms": m.Terms(**fields)}


def ends(hand, engine, id, status="ok", attempt=1, **fields):
    """An engine tells how an attempt ended; gives what is said to anybody."""
    hand.numbers = getattr(hand, "numbers", {})
    seq = hand.numbers[engine] = hand.numbers.get(engine, 0) + 1
    return hand.result(engine, m.Result(id, attempt, status, b"", **fields), seq=seq)


def ask(hand, what, *ids, **fields):
    """A query of ann's, and its answer."""
    hand.asked = getattr(hand, "asked", 0) + 1
    query = m.Query(hand.asked, what, list(ids), **fields)
    [reply] = hand.say("ann/control", query)
    return reply.value if isinstance(reply, m.Reply) else reply


def request(hand, message, conn="ann/control"):
    """A request, and its answer."""
    return hand.say(conn, message)


# --- dependencies --------------------------------------------------------------------------------


def test_a_task_is_held_until_what_it_waits_for_has_ended(hand):
    hand.submit("ann", task("ann-1"), task("ann-2", **terms(after=["ann-1"])))
    assert hand.state("ann-2") == "held"
    assert ask(hand, "explain", "ann-2")[:2] == [
        "it waits for tasks that it depends on:",
        "after: 1 of 1 have not ended (all count)",
    ]
    said = ends(hand, "engine a", "ann-1")
    assert runs(said, "engine a/tasks") + runs(said, "engine b/tasks") == [("ann-2", 1)]


def test_a_task_that_follows_waits_for_its_engine(hand):
    hand.submit("ann", task("ann-1"), task("ann-2"))
    ends(hand, "engine b", "ann-2")
    hand.submit("ann", task("ann-3", engine=1), task("ann-4", **terms(follow=["ann-2"])))
    assert hand.state("ann-4") == "waiting"
    assert "it may run on engines 1 only" in ask(hand, "explain", "ann-4")
    assert runs(ends(hand, "engine a", "ann-1"), "engine a/tasks") == []
    assert runs(ends(hand, "engine b", "ann-3"), "engine b/tasks") == [("ann-4", 1)]


def test_an_engine_is_gone_only_if_nothing_in_that_turn_says_that_another_life_comes(hand):
    hand.submit("ann", task("ann-1", targets=(0,)))
    ends(hand, "engine a", "ann-1")
    for lane in ("tasks", "control"):
        hand.close(f"engine a/{lane}")
    hand.wait(60)  # it is given up
    hand.supervisor("engine a")
    submit = m.Submit(2, [task("ann-2", **terms(follow=["ann-1"]))])
    died = m.Exited(secret("engine a"), secret("engine a1"), 1, 1, "signal 9 (SIGKILL)", True)
    effects = []
    hand.core.feed(Received("ann/tasks", "client", submit), hand.now, effects)
    hand.core.feed(Received("supervisor/control", "engine", died), hand.now, effects)
    hand.core.settle(hand.now, effects)
    assert hand.state("ann-2") == "waiting"


def test_targets_and_what_is_followed_must_agree(hand):
    hand.submit("ann", task("ann-1", targets=(0,)))
    ends(hand, "engine a", "ann-1")
    hand.submit("ann", task("ann-2", targets=(1,), **terms(follow=["ann-1"])))
    assert hand.outcome("ann-2").status == "impossible"
    assert "did not run on its targets" in hand.outcome("ann-2").facts["reason"]


def test_ids_may_be_named_twice(hand):
    hand.submit("ann", task("ann-1"), task("ann-2", **terms(after=["ann-1", "ann-1"])))
    ends(hand, "engine a", "ann-1")
    assert hand.state("ann-2") == "sent"


def test_a_task_cannot_wait_for_itself(hand):
    hand.submit("ann", task("ann-1", **terms(after=["ann-1"])))
    assert hand.outcome("ann-1").status == "impossible"


def test_a_long_chain_of_the_impossible_ends_at_once(hand):
    chain = [task(f"ann-{i}", **terms(after=[f"ann-{i - 1}"])) for i in range(2, 3000)]
    hand.submit("ann", task("ann-1"), *chain)
    ends(hand, "engine a", "ann-1", "error")
    assert {hand.outcome(each.id).status for each in chain} == {"impossible"}
    assert hand.core.work.conditions.graph.edges == {}


# --- times ---------------------------------------------------------------------------------------


def test_what_waits_for_too_long_times_out(hand):
    hand.submit("ann", task("ann-1", engine=0), task("ann-2", **terms(after=["ann-1"], timeout=5)))
    assert hand.core.deadline() == 5 or hand.core.deadline() < 5
    hand.wait(4.9)
    assert hand.state("ann-2") == "held"
    hand.wait(0.2)
    assert hand.outcome("ann-2").status == "timeout"
    assert "were not met in 5 s" in hand.outcome("ann-2").facts["reason"]


def test_a_timeout_ends_no_task_that_runs_or_has_run(hand):
    hand.submit("ann", task("ann-1", retries=1, **terms(timeout=5)))
    hand.wait(6)
    assert hand.state("ann-1") == "sent"
    ends(hand, "engine a", "ann-1", "error")
    hand.wait(6)
    assert hand.state("ann-1") == "sent"


def test_refused_by_all_a_task_waits_for_its_timeout(hand):
    hand.submit("ann", task("ann-1", **terms(timeout=5)))
    ends(hand, "engine a", "ann-1", "refused", reason="no GPU")
    ends(hand, "engine b", "ann-1", "refused", attempt=2, reason="no GPU")
    assert hand.state("ann-1") == "waiting"
    assert ask(hand, "explain", "ann-1")[1:3] == [
        "engine 0: refused by no GPU",
        "engine 1: refused by no GPU",
    ]
    hand.wait(5.1)
    assert "no engine took it in 5 s" in hand.outcome("ann-1").facts["reason"]


# --- refusals ------------------------------------------------------------------------------------


def test_refused_by_all_a_task_is_impossible(hand):
    hand.submit("ann", task("ann-1"))
    said = ends(hand, "engine a", "ann-1", "refused", reason="no GPU")
    assert runs(said, "engine b/tasks") == [("ann-1", 2)]
    ends(hand, "engine b", "ann-1", "refused", attempt=2, reason="no GPU")
    assert hand.outcome("ann-1").facts["reason"] == "every engine has refused it: no GPU"


def test_the_last_engine_that_might_have_run_it_leaves(hand):
    hand.submit("ann", task("ann-1"), task("ann-2", engine=1))
    ends(hand, "engine a", "ann-1", "refused", reason="no GPU")
    assert hand.state("ann-1") == "waiting"
    hand.say("engine b/tasks", m.Goodbye("stopped"))
    assert hand.outcome("ann-1").status == "impossible"


def test_unfit_holds_until_the_properties_change(hand):
    hand.submit("ann", task("ann-1"))
    ends(hand, "engine a", "ann-1", "unfit", reason="depend(big)")
    ends(hand, "engine b", "ann-1", "unfit", attempt=2, reason="depend(big)")
    assert hand.state("ann-1") == "waiting"
    assert "(until its properties change)" in ask(hand, "explain", "ann-1")[1]
    said = hand.say_all("engine b/control", m.Changed(1), "engine")
    assert runs(said, "engine b/tasks") == [("ann-1", 3)]


def test_a_refusal_that_is_older_than_a_change_does_not_count(hand):
    """The change came on the other lane, and so before the refusal."""
    hand.submit("ann", task("ann-1", targets=(0,)))
    hand.say_all("engine a/control", m.Changed(1), "engine")
    said = ends(hand, "engine a", "ann-1", "unfit", reason="depend(big)", changes=0)
    assert runs(said, "engine a/tasks") == [("ann-1", 2)]


def test_a_direct_request_cannot_be_refused(hand):
    hand.submit("ann", task("ann-1", engine=0))
    ends(hand, "engine a", "ann-1", "refused", reason="no GPU")
    assert hand.outcome("ann-1").status == "error"


def test_a_refusal_costs_no_retry(hand):
    hand.submit("ann", task("ann-1", retries=1))
    ends(hand, "engine a", "ann-1", "refused", reason="no")
    ends(hand, "engine b", "ann-1", "error", attempt=2)
    assert runs(ends(hand, "engine b", "x"), "engine b/tasks") == []
    assert hand.state("ann-1") == "sent"  # on b again: a will not, and one retry is left
    ends(hand, "engine b", "ann-1", attempt=3)
    assert hand.outcome("ann-1").status == "ok"


# --- recovery ------------------------------------------------------------------------------------


def test_a_recovery_needs_its_function_from_the_start(hand):
    recovery = m.Task("", MEND, b"")
    assert (
        "ann/tasks", m.Need((MEND,))
    ) in hand.submit("ann", task("ann-1", **terms(recoveries=(recovery,))))  # fmt: skip
    said = hand.say_all("ann/tasks", m.Define(MEND, MEND_BLOB))
    assert runs(said, "engine a/tasks") == [("ann-1", 1)]
    said = ends(hand, "engine a", "ann-1", "error")
    assert runs(said, "engine a/tasks") + runs(said, "engine b/tasks") == [("ann-1", 2)]
    assert hand.core.work.functions.needed == {MEND: 1}
    ran = next(p for p in hand.core.work.places.values() if p.sent)
    ends(hand, "engine a" if ran.id == 0 else "engine b", "ann-1", attempt=2)
    assert hand.outcome("ann-1").status == "ok"
    assert hand.core.work.functions.needed == {}


def test_an_aborted_task_has_no_recovery(hand):
    hand.submit("ann", task("ann-1", **terms(recoveries=(m.Task("", FIT, b""),))))
    request(hand, m.Abort(["ann-1"], True, 1, 5))
    ends(hand, "engine a", "ann-1", "error")
    assert hand.state("ann-1") == "done"


# --- once more, and the history ------------------------------------------------------------------


def test_a_request_to_run_again_is_carried_out_once(hand):
    hand.submit("ann", task("ann-1"))
    ends(hand, "engine a", "ann-1")
    again = m.Resubmit(["ann-1"], ["ann-2"], 9)
    assert request(hand, again) == request(hand, again) == [m.Reply(9)]
    assert hand.state("ann-2") == "sent"
    assert hand.core.work.unfinished == 1


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (m.Resubmit(["ann-1"], ["ann-2"], 9), "TaskNotDone"),
        (m.Resubmit(["bob-7"], ["ann-2"], 9), "UnknownTask"),
        (m.Resubmit(["ann-1"], [], 9), "ProtocolError"),
        (m.Purge(["ann-1"], number=9), "TaskNotDone"),
        (m.Purge(["bob-7"], number=9), "UnknownTask"),
        (m.Choose("nosuch", 9), "ClusterError"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_happens(hand, message, error):
    hand.submit("ann", task("ann-1"))
    before = hand.core.work.unfinished
    [refused] = request(hand, message)
    assert (refused.error, refused.number) == (error, 9)
    assert hand.core.work.unfinished == before


def test_a_function_that_is_not_kept_any_more_cannot_run_again():
    hand = Hand(function_bytes=1)
    hand.engine("engine a")
    hand.client("ann", define=False)
    hand.submit("ann", task("ann-1"))
    hand.say_all("ann/tasks", m.Define(FIT, BLOB))
    ends(hand, "engine a", "ann-1")
    [refused] = request(hand, m.Resubmit(["ann-1"], ["ann-2"], 9))
    assert "function of task ann-1 is not kept any more" in refused.reason


def test_a_task_only_client_runs_only_its_own_again(hand):
    hand.submit("ann", task("ann-1"))
    ends(hand, "engine a", "ann-1")
    hand.client("tom", role="task", define=False)
    [refused] = hand.say("tom/control", m.Resubmit(["ann-1"], ["tom-1"], 1), "task")
    assert refused.error == "UnknownTask"


def test_purging_forgets_what_is_done_and_nothing_else(hand):
    hand.submit("ann", *(task(f"ann-{i}") for i in range(1, 5)))
    ends(hand, "engine a", "ann-1")
    ends(hand, "engine b", "ann-2")
    assert request(hand, m.Purge(engines=[1], number=8)) == [m.Reply(8)]
    assert ask(hand, "history") == ["ann-1", "ann-3", "ann-4"]
    assert request(hand, m.Purge(every=True, number=9)) == [m.Reply(9)]
    assert ask(hand, "history") == ["ann-3", "ann-4"]


def test_numbers_are_counted_once_and_forgotten_with_their_tasks(hand):
    hand.submit("ann", task("ann-1"), task("ann-2"), task("ann-3"))
    assert ask(hand, "number", "ann-2", "ann-1") == [0, 1]
    assert ask(hand, "number", "ann-1", "ann-3") == [1, 2]
    ends(hand, "engine b", "ann-2")
    assert ask(hand, "numbered")[0] == [0, "ann-2", "done", "ok"]
    request(hand, m.Purge(every=True, number=99))
    assert [number for number, *_ in ask(hand, "numbered")] == [1, 2]


def test_a_monitor_numbers_nothing(hand):
    hand.submit("ann", task("ann-1"))
    hand.client("eve", role="monitor", define=False)
    [refused] = hand.say("eve/control", m.Query(1, "number", ["ann-1"]), "monitor")
    assert isinstance(refused, m.Refused)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("waiting", "it waits for an engine; 0 other tasks wait, too"),
        ("sent", "it runs on engine 0"),
        ("done", "it has ended: ok"),
    ],
)
def test_a_task_tells_where_it_is(hand, state, told):
    if state == "waiting":
        hand.submit("ann", task("ann-8"), task("ann-9"))
    hand.submit("ann", task("ann-1"))
    if state == "done":
        ends(hand, "engine a", "ann-1")
    assert hand.state("ann-1") == state
    assert ask(hand, "explain", "ann-1")[0].startswith(told)
