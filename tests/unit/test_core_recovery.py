"""A controller that takes up a journal: what waits for whom, and what nobody wants any more."""

import pytest

from enginery.core import journal
from enginery.core import messages as m
from enginery.core.entries import Came, Complete
from enginery.core.events import Append, Received, Send, Tick

from .hand_controller import BLOB, FIT, Durable, runs, secret, task


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


def test_a_kill_amid_an_account_leaves_the_line_as_it_was(monkeypatch):
    monkeypatch.setattr(journal, "PART", 3)
    hand = Durable()
    hand.client("ann")
    ids = [f"ann-{n}" for n in range(12)]
    hand.submit("ann", *map(task, ids))
    turns = list(hand.turns)
    hand.core.journal.begin_anew()
    for _ in range(3):
        hand.wait(1)
    after = Durable([*turns, *hand.turns])
    waiting = sorted(after.core.work.tasks.values(), key=lambda record: record.order)
    assert [record.spec.id for record in waiting] == ids


def test_who_leaves_amid_an_account_is_not_there_afterwards(monkeypatch):
    monkeypatch.setattr(journal, "PART", 1)
    hand = Durable()
    hand.client("ann")
    hand.client("bob")
    turns = []

    def step(event):
        for effect in hand.core.handle(event, hand.now):
            if isinstance(effect, Append):
                turns.append(effect.turn)

    def written(kind):
        return any(isinstance(entry, kind) for turn in turns for entry in turn.entries)

    hand.core.journal.begin_anew()
    while not written(Came):
        step(Tick())
    step(Received("bob/tasks", "client", m.Goodbye("closed")))
    while not written(Complete):
        step(Tick())
    assert len(Durable(turns).core.sessions) == 1


def test_calls_are_counted_as_before():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", m.Task("ann-1", FIT, b"x" * 8, chunk=m.Chunk(0, 8, 1, tuple(range(1, 9)))))
    for seq in range(1, 9):
        [record] = hand.core.work.places[0].sent.values()
        result = m.Result(record.spec.id, 1, "ok", b"v", completed=40.0, items=record.items)
        hand.result("engine1", result, seq=seq)
    assert hand.core.work.history.ended == {"ok": 8}
    assert Durable(hand.turns).core.work.history.ended == {"ok": 8}


def test_the_number_of_a_task_is_not_given_again():
    hand = Durable()
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    assert hand.core.work.number(hand.core.work.tasks["ann-1"]) == 0
    hand.say("ann/control", m.Abort(["ann-1"], number=1))
    hand.wait(1)
    hand.say("ann/control", m.Purge(["ann-1"], number=2))
    after = Durable(Durable(hand.turns).turns)
    after.client("bob")
    after.submit("bob", task("bob-1"))
    assert after.core.work.number(after.core.work.tasks["bob-1"]) == 1


def test_what_a_client_may_lack_is_limited_until_it_says_so():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", *(task(f"ann-{n}") for n in range(8)))
    after = Durable(hand.turns)
    after.core.delivery.limit = 3 * 100_000 + 5000
    after.engine("engine1", seen=1)
    after.say_all("engine1/tasks", m.Holds(0, 0, 0, []), "engine")
    for seq in range(1, 9):
        [record] = after.core.work.places[0].sent.values()
        result = m.Result(record.spec.id, record.attempt, "ok", b"v" * 100_000, completed=40.0)
        after.result("engine1", result, seq=seq)
    kept = after.core.sessions[secret("ann")].unclaimed.values()
    statuses = [outcome.status for outcome in kept]
    assert statuses.count("ok") <= 3
    assert statuses == sorted(statuses)  # the oldest have expired
    assert len(statuses) == 8
    claim = m.Claim([f"ann-{n}" for n in range(8)], 1, 1)
    after.client("ann")
    said = after.say_all("ann/tasks", claim)
    told = [o.status for _, word in said if isinstance(word, m.Deliver) for o in word.outcomes]
    assert told == statuses


def test_an_engine_that_lacks_the_function_of_what_it_has_gets_it(left):
    hand = restored(left)
    hand.say_all("engine1/tasks", m.Holds(1, 0, 0, [(1, "ann-1", 1, "")]), "engine")
    assert hand.say("engine1/tasks", m.Need((FIT,))) == [m.Define(FIT, BLOB)]


def test_what_ends_in_the_turn_of_a_claim_is_told_once(left):
    hand = restored(left)
    hand.core.work.history.limit_records = 0  # it is forgotten at once
    hand.client("ann")
    effects = []
    abort = m.Abort(["ann-2"], running=True, number=1)
    claim = m.Claim(["ann-1", "ann-2"], 1, 1)
    hand.core.feed(Received("ann/control", "client", abort), hand.now, effects)
    hand.core.feed(Received("ann/tasks", "client", claim), hand.now, effects)
    hand.core.settle(hand.now, effects)
    said = [effect.message for effect in effects if isinstance(effect, Send)]
    holds = m.Holds(1, 0, 0, [(1, "ann-1", 1, "")])
    said += [word for _, word in hand.say_all("engine1/tasks", holds, "engine")]
    outcomes = [o for word in said if isinstance(word, m.Deliver) for o in word.outcomes]
    assert [(o.id, o.status) for o in outcomes] == [("ann-2", "aborted")]


def test_what_an_engine_had_done_is_not_run_again_though_it_is_forgotten():
    hand = Durable()
    hand.supervisor("engine1")
    hand.engine("engine1")
    hand.client("ann")
    after = Durable(hand.turns, complete=False)  # a submission is missing there
    after.supervisor("engine1")
    after.engine("engine1", seen=1)
    after.say_all("engine1/tasks", m.Holds(1, 0, 0, [(1, "ann-1", 1, "")]), "engine")
    after.core.work.history.limit_records = 0
    after.result("engine1", m.Result("ann-1", 1, "ok", b"v", completed=1.0), seq=1)
    after.client("ann")
    after.say_all("ann/tasks", m.Claim([], 0, 1))
    said = after.submit("ann", task("ann-1"))
    assert runs(said, "engine1/tasks") == []
    assert after.core.work.unfinished == 0


def test_a_direct_request_that_has_ended_is_known_after_any_number_of_restarts():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1", engine=0))
    hand.result("engine1", m.Result("ann-1", 1, "ok", b"v", completed=40.0), seq=1)
    for _ in range(3):
        after = Durable(hand.turns)
        assert after.core.work.history.ended == {"ok": 1}
        assert after.outcome("ann-1").value == b"v"
        hand = after
    hand.client("bob")
    hand.submit("bob", task("bob-1", terms=m.Terms(inputs=("ann-1",))))
    assert hand.state("bob-1") == "waiting"
