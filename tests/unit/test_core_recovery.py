"""A controller that takes up a journal: what waits for whom, and what nobody wants any more."""

import pytest
from msgspec.structs import replace

from enginery.core import account, engines, journal
from enginery.core import messages as m
from enginery.core.controller import FORGET_CLIENT, Controller, Limits
from enginery.core.engines import AWAY
from enginery.core.entries import Came, Complete, Divided, Kept, Life, Over, State, Turn
from enginery.core.events import Append, JournalFailed, Received, Send, Synced, Tick
from enginery.core.recovery import NO_FUNCTION, RESTARTED, RETURN
from enginery.core.replay import Replay
from enginery.core.work import HAD, IN_DOUBT
from enginery.schemes import LeastLoad
from enginery.version import PROTOCOL

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
    said = hand.say_all("engine1/tasks", m.Holds(1, 0, 0, [(1, "ann-1", 1, "", 0)]), "engine")
    assert runs(said, "engine2/tasks") == [("ann-2", 1)]


def test_without_doubt_what_waits_starts_at_once(left):
    hand = restored(left)
    hand.engine("engine2")
    assert hand.state("ann-2") == "sent"


def test_what_an_engine_has_and_nobody_wants_is_to_end(left):
    hand = restored(left)
    has = [(1, "ann-1", 1, "", 0), (2, "ann-9", 1, "", 0)]
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


def test_what_is_forgotten_amid_an_account_is_not_missed_by_who_waits_for_it(monkeypatch):
    hand = Durable()
    hand.engine("engine")
    hand.client("ann")
    for seq, id in enumerate(("ann-0", "ann-1"), 1):
        hand.submit("ann", task(id))
        hand.result("engine", m.Result(id, 1, "ok", b"v"), seq=seq)
    hand.submit("ann", task("ann-2"))
    monkeypatch.setattr(journal, "PART", 1)
    turns = []

    def step(event):
        for effect in hand.core.handle(event, hand.now):
            if isinstance(effect, Append):
                turns.append(effect.turn)

    hand.core.journal.begin_anew()
    while not any(isinstance(entry, State) for turn in turns for entry in turn.entries):
        step(Tick())  # up to the first task
    waits = task("ann-3", terms=m.Terms(after=m.Dependency(("ann-1", "ann-2"))))
    effects = []
    hand.core.feed(Received("ann/tasks", "client", m.Submit(4, [waits])), hand.now, effects)
    hand.core.feed(Received("ann/control", "client", m.Purge(["ann-1"])), hand.now, effects)
    step(Tick())
    assert hand.state("ann-3") == "held"
    while hand.core.journal.accounting:
        step(Tick())
    assert Durable(turns).state("ann-3") == "held"


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


def test_a_life_that_was_given_up_is_not_let_in_after_a_restart():
    hand = Durable()
    hand.engine("engine")
    hand.close("engine/tasks")
    hand.wait(AWAY)
    for _ in range(2):
        hand = Durable(hand.turns)
        assert hand.engine("engine") == [m.Again(secret("engine1"))] * 2


def test_to_tell_of_lives_that_are_over_looks_at_no_others():
    compared = 0

    class Incarnation(bytes):
        def __hash__(self):
            nonlocal compared
            compared += 1
            return super().__hash__()

    lives = [
        Life(n, b"%016d" % n, Incarnation(b"%012d" % n + b"life"), "", 0, "", 0.0, False)
        for n in range(100)
    ]
    over = [Over(life.incarnation[: 16 if life.id % 2 else 12]) for life in lives[10:]]
    replay = Replay()
    replay.follow([Turn(0.0, [*lives, *over])])
    assert [life.over for life in replay.lives.values()] == [False] * 10 + [True] * 90
    assert compared < 10 * len(lives)


def test_a_life_that_is_over_says_nothing_of_the_next_one_at_its_place():
    replay = Replay()
    first, second = (Life(0, b"p" * 16, life * 16, "", 0, "", 0.0, False) for life in (b"1", b"2"))
    replay.follow([Turn(0.0, [first, second, Over(b"1" * 16)])])
    assert not replay.lives[0].over
    replay.follow([Turn(0.0, [Over(b"2" * 12)])])
    assert replay.lives[0].over


def test_what_was_sent_to_a_life_that_is_over_is_in_doubt_where_its_end_was_not_written():
    hand = Durable()
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1", retries=1), task("ann-2"))
    before = len(hand.turns)
    hand.close("engine/tasks")
    hand.close("engine/control")
    hand.wait(AWAY)
    turns = hand.turns[:before]
    for turn in hand.turns[before:]:
        turns.append(replace(turn, entries=[e for e in turn.entries if isinstance(e, Over)]))
    after = Durable(turns, complete=False)
    assert (after.state("ann-1"), after.core.work.tasks["ann-1"].spent) == ("waiting", 1)
    assert after.outcome("ann-2").facts["reason"] == IN_DOUBT


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
    kept = list(after.core.sessions[secret("ann")].may_lack())
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
    hand.say_all("engine1/tasks", m.Holds(1, 0, 0, [(1, "ann-1", 1, "", 0)]), "engine")
    assert hand.say("engine1/tasks", m.Need((FIT,))) == [m.Define(FIT, BLOB)]


def test_a_task_that_is_told_of_again_counts_once_for_who_waited_for_it():
    hand = Durable()
    hand.supervisor("engine1")
    hand.engine("engine1")
    hand.client("ann")
    failed = m.Terms(after=m.Dependency(("ann-1", "ann-2"), all=False, success=False, failure=True))
    hand.submit("ann", task("ann-1"), task("ann-2"), task("ann-3", terms=failed))
    hand.result("engine1", m.Result("ann-1", 1, "ok", b""), seq=1)
    hand.say("ann/tasks", m.Got(1))
    hand.say("ann/control", m.Purge(["ann-1"], number=1))
    hand.core.journal.begin_anew()
    hand.wait(1)
    after = Durable(hand.turns, complete=False)  # the engine has not been told that this one knew
    after.supervisor("engine1")
    after.engine("engine1", seen=1)
    has = m.Holds(2, 0, 0, [(0, "ann-1", 1, "", 0), (2, "ann-2", 1, "", 0)])
    after.say_all("engine1/tasks", has, "engine")
    assert {after.state("ann-1"), after.state("ann-3")} == {"sent", "held"}
    last = Durable(after.turns)
    last.supervisor("engine1")
    last.engine("engine1", seen=2)
    last.say_all("engine1/tasks", has, "engine")
    last.result("engine1", m.Result("ann-1", 1, "ok", b""), seq=1)
    assert last.state("ann-3") == "held"
    last.result("engine1", m.Result("ann-2", 1, "error", b""), seq=2)
    assert last.state("ann-3") in {"waiting", "sent"}


def test_a_large_function_outlives_the_controller():
    hand = Durable()
    hand.client("ann", define=False)
    large = m.Define(FIT, BLOB, (m.Buffer(b"large data"),))
    hand.say("ann/tasks", large)
    hand.submit("ann", task("ann-1"))
    after = Durable(hand.turns)
    said = [message for _, message in after.handle(Tick())]
    for lane in ("tasks", "control"):
        hello = m.Hello(PROTOCOL, "0", "engine", lane, secret("a"), secret("a1"))
        said += [message for _, message in after.say_all(f"a/{lane}", hello, "engine")]
    assert [x for x in said if isinstance(x, m.Define)] == [large]


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
    holds = m.Holds(1, 0, 0, [(1, "ann-1", 1, "", 0)])
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
    after.say_all("engine1/tasks", m.Holds(1, 0, 0, [(1, "ann-1", 1, "", 0)]), "engine")
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


def test_a_direct_request_keeps_its_label_and_when_it_was_submitted():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1", engine=0, label="fit", submitted=30.0))
    for _ in range(2):
        hand = Durable(hand.turns)
    hand.engine("engine1", seen=1)
    has(hand, "engine1", (1, "ann-1", 1))
    hand.result("engine1", ok("ann-1"), seq=1)
    assert hand.outcome("ann-1").submitted == 30.0
    assert hand.core.work.tasks["ann-1"].spec.label == "fit"


def has(hand, name, *attempts, seen=1, items=()):
    """An engine says what it has: (n, id, attempt), n=0 what has ended; gives what is said.

    A fourth number is the recovery that it is of.
    """
    each = [(*attempt, 0)[:4] for attempt in attempts]
    told = [(n, id, attempt, "", stage) for n, id, attempt, stage in each]
    holds = m.Holds(seen, 0, 0, told, list(items))
    return hand.say_all(f"{name}/tasks", holds, "engine")


def doubtful(*engines, clients=("ann",)):
    """A controller that knows of these engines, and that a client was there, and of no task."""
    hand = Durable()
    hand.supervisor(*engines)
    for name in engines:
        hand.engine(name)
    for name in clients:
        hand.client(name)
    hand = Durable(hand.turns, complete=False)
    for name in engines:
        hand.engine(name, seen=1)
    return hand


def mine(hand, number=1):
    """The id of a task of the client."""
    return f"{hand.core.sessions[secret('ann')].id}-{number}"


def told(said):
    """Outcomes that a client is told: (id, status)."""
    return [(o.id, o.status) for _, w in said if isinstance(w, m.Deliver) for o in w.outcomes]


def claims(hand, *ids, accepted=0, sent=0):
    """The client is back and says what it lacks; gives what is said."""
    hand.client("ann")
    return hand.say_all("ann/tasks", m.Claim(list(ids), accepted, sent))


def ok(id, attempt=1):
    return m.Result(id, attempt, "ok", b"v", completed=40.0)


def done():
    """A controller with one task of a client, which has ended."""
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.result("engine1", ok("ann-1"), seq=1)
    return hand


@pytest.fixture
def told_of():
    """A controller that power was cut from, after an engine had told of a task nobody else knew."""
    hand = doubtful("engine1")
    has(hand, "engine1", (1, "ann-1", 1))
    assert hand.state("ann-1") == "sent"
    hand.wait(1)
    after = Durable(hand.turns, complete=False)
    after.supervisor("engine1")
    after.engine("engine1", seen=1)
    return after


def test_what_only_an_engine_had_told_of_and_has_no_more_may_have_run_there(told_of):
    has(told_of, "engine1")
    outcome = told_of.outcome("ann-1")
    assert (outcome.status, outcome.facts["reason"]) == ("lost", HAD)


def test_what_only_an_engine_had_told_of_that_is_gone_is_lost_for_that(told_of):
    told_of.close("engine1/tasks")
    told_of.close("engine1/control")
    told_of.wait(RETURN + AWAY)
    outcome = told_of.outcome("ann-1")
    assert (outcome.status, outcome.facts["started"]) == ("lost", True)


def test_what_its_client_has_claimed_is_no_more_what_only_an_engine_had_told_of(told_of):
    claims(told_of, "ann-1")
    has(told_of, "engine1", (1, "ann-1", 1))
    told_of.wait(1)
    after = Durable(told_of.turns, complete=False)
    after.supervisor("engine1")
    after.engine("engine1", seen=1)
    has(after, "engine1")
    assert after.outcome("ann-1").facts["reason"] == RESTARTED


@pytest.mark.parametrize("said", ["refused", "unfit"])
def test_what_only_an_engine_has_told_of_and_will_not_run_comes_as_if_for_the_first_time(
    told_of, said
):
    has(told_of, "engine1", (1, "ann-1", 1))
    told_of.result("engine1", m.Result("ann-1", 1, said, b""), seq=1)
    assert "ann-1" not in told_of.core.work.tasks
    claims(told_of, sent=1)
    told_of.submit("ann", task("ann-1"))
    assert told_of.state("ann-1") == "sent"


def test_unless_that_was_not_the_first_of_it(told_of):
    has(told_of, "engine1", (1, "ann-1", 2))
    told_of.result("engine1", m.Result("ann-1", 2, "refused", b""), seq=1)
    outcome = told_of.outcome("ann-1")
    assert (outcome.status, outcome.facts["reason"]) == ("lost", HAD)


def test_who_only_watches_does_not_become_its_owner():
    hand = doubtful("engine1", clients=("ann", "bob"))
    id = mine(hand)
    has(hand, "engine1", (1, id, 1))
    hand.client("bob")
    hand.say_all("bob/tasks", m.Claim([], 0, 0, [id]))
    hand.wait(1)
    after = Durable(hand.turns)
    after.supervisor("engine1")
    after.engine("engine1", seen=1)
    has(after, "engine1", (1, id, 1))
    claims(after, id, accepted=1, sent=1)
    said = after.result("engine1", ok(id), seq=1)
    assert [to for to, word in said if isinstance(word, m.Deliver)] == ["ann/tasks"]


def test_which_recovery_of_it_an_engine_has_is_known_over_restarts(told_of):
    has(told_of, "engine1", (1, "ann-1", 2, 1))
    claims(told_of, sent=1)
    recovery = m.Terms(recoveries=(task("", retries=5),))
    told_of.submit("ann", task("ann-1", retries=3, terms=recovery))
    assert told_of.core.work.tasks["ann-1"].spec.retries == 5


def test_what_only_an_engine_has_told_of_is_aborted_when_that_knows_of_it(told_of):
    claims(told_of)
    told_of.say("ann/control", m.Abort(["ann-1"], number=1))
    assert told_of.state("ann-1") == "queued"
    said = has(told_of, "engine1", (1, "ann-1", 1))
    assert [w.ids for _, w in said if isinstance(w, m.Abort)] == [["ann-1"]]


def test_what_was_aborted_and_no_engine_has_is_aborted(told_of):
    claims(told_of)
    told_of.say("ann/control", m.Abort(["ann-1"], number=1))
    has(told_of, "engine1")
    assert told_of.outcome("ann-1").status == "aborted"


def test_what_was_aborted_and_whose_engine_has_gone_is_aborted(told_of):
    claims(told_of)
    told_of.say("ann/control", m.Abort(["ann-1"], number=1))
    told_of.close("engine1/tasks")
    told_of.close("engine1/control")
    told_of.wait(RETURN + AWAY)
    assert told_of.outcome("ann-1").status == "aborted"


@pytest.mark.parametrize("there", [True, False])
def test_that_a_direct_request_was_aborted_is_known_over_restarts(there):
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1", engine=0))
    if not there:  # or its engine comes back later than the abort
        hand = Durable(hand.turns)
        claims(hand, "ann-1", accepted=1, sent=1)
    abort = m.Abort(["ann-1"], running=True, number=1)
    assert hand.say("ann/control", abort) == [m.Reply(1)]
    after = Durable(hand.turns)
    after.engine("engine1", seen=1, lanes=("control", "tasks"))
    said = has(after, "engine1", (1, "ann-1", 1))
    aborts = [word for _, word in said if isinstance(word, m.Abort)]
    assert [(abort.ids, abort.running) for abort in aborts] == [(["ann-1"], True)]


def test_an_engine_that_comes_back_is_told_once_what_it_is_to_interrupt():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.say("ann/control", m.Abort(["ann-1"], running=True, number=1))
    after = Durable(hand.turns)
    said = after.engine("engine1", seen=1, lanes=("control", "tasks"))
    said += [word for _, word in has(after, "engine1", (1, "ann-1", 1))]
    assert [word.ids for word in said if isinstance(word, m.Abort)] == [["ann-1"]]


def test_what_had_ended_before_it_was_aborted_ends_as_it_did(told_of):
    claims(told_of)
    told_of.say("ann/control", m.Abort(["ann-1"], number=1))
    has(told_of, "engine1", (0, "ann-1", 1))
    told_of.result("engine1", ok("ann-1"), seq=1)
    assert told_of.outcome("ann-1").status == "ok"


def test_a_result_counts_that_came_before_it_was_clear_whose_the_task_is():
    hand = Durable()
    for name in ("engine1", "engine2"):
        hand.engine(name)
    hand.client("ann")
    hand.submit("ann", task("ann-1", retries=5))
    after = Durable(hand.turns, complete=False)
    after.engine("engine2", seen=9)
    has(after, "engine2", (9, "ann-1", 2), seen=9)  # it had been called back from the other one
    after.result("engine2", ok("ann-1", 2), seq=1)
    assert after.state("ann-1") == "sent"
    after.wait(60)  # the other engine does not come back
    assert (after.outcome("ann-1").status, after.outcome("ann-1").attempt) == ("ok", 2)


def test_an_attempt_that_an_engine_never_began_may_have_run_on_another_one():
    hand = Durable()
    hand.supervisor("engine1", "engine2")
    for name in ("engine1", "engine2"):
        hand.engine(name)
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    sent_to, other = ("engine1", "engine2") if hand.core.work.places[0].load else (
        "engine2", "engine1"
    )  # fmt: skip
    after = Durable(hand.turns, complete=False)  # it does not know that the task was called back
    after.supervisor("engine1", "engine2")
    after.exited(sent_to, started=0, replaced=True)
    after.engine(other, seen=1)
    said = has(after, other, (0, "ann-1", 1))
    assert runs(said, f"{other}/tasks") == []
    after.result(other, ok("ann-1"), seq=1)
    assert (after.outcome("ann-1").status, after.core.work.late) == ("ok", 0)


def test_what_has_ended_and_is_forgotten_is_not_adopted_again():
    hand = doubtful("engine1", "engine2")
    hand.core.work.history.limit_records = 0
    id = mine(hand)
    has(hand, "engine1", (0, id, 2))
    hand.result("engine1", ok(id, 2), seq=1)
    has(hand, "engine2", (0, id, 1))
    assert id not in hand.core.work.tasks
    hand.result("engine2", m.Result(id, 1, "unfit", b""), seq=1)
    assert told(claims(hand, id)) == [(id, "ok")]


def test_what_was_sent_to_the_same_engine_once_more_is_aborted_there():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    after = Durable(hand.turns, complete=False)
    after.engine("engine1", seen=5)
    has(after, "engine1", (5, "ann-1", 1), seen=5)
    claims(after, "ann-1", accepted=1, sent=1)
    said = after.say_all("ann/control", m.Abort(["ann-1"], running=True, number=1))
    aborts = [(to, word.numbers) for to, word in said if isinstance(word, m.Abort)]
    assert aborts == [("engine1/control", [5])]


def test_what_has_run_is_told_to_a_client_that_submits_it_again():
    hand = doubtful("engine1")
    hand.core.work.history.limit_records = 0
    id = mine(hand)
    has(hand, "engine1", (0, id, 1))
    hand.result("engine1", ok(id), seq=1)
    assert told(claims(hand, sent=1)) == []
    said = hand.submit("ann", task(id))
    assert (told(said), runs(said, "engine1/tasks")) == ([(id, "ok")], [])
    assert list(hand.core.sessions[secret("ann")].may_lack()) == []


def test_also_in_the_turn_in_which_it_ends():
    hand = doubtful("engine1")
    hand.core.work.history.limit_records = 0
    id = mine(hand)
    has(hand, "engine1", (0, id, 1))
    hand.client("ann")
    effects = []
    for conn, role, message in (
        ("engine1/tasks", "engine", m.Results(1, [ok(id)])),
        ("ann/tasks", "client", m.Claim([], 0, 1)),
        ("ann/tasks", "client", m.Submit(1, [task(id)])),
    ):
        hand.core.feed(Received(conn, role, message), hand.now, effects)
    hand.core.settle(hand.now, effects)
    assert told(hand.keep(effects)) == [(id, "ok")]


def test_what_a_client_is_about_to_submit_again_is_not_taken_for_unwanted():
    hand = doubtful("engine1")
    wanted, other = mine(hand, 1), mine(hand, 2)
    has(hand, "engine1", (1, wanted, 1), (2, other, 1), seen=2)
    claims(hand, sent=1)
    assert not any(hand.core.work.tasks[id].aborting for id in (wanted, other))
    hand.submit("ann", task(wanted))
    assert [hand.core.work.tasks[id].aborting for id in (wanted, other)] == [False, True]
    assert told(hand.result("engine1", ok(wanted), seq=1)) == [(wanted, "ok")]


def test_what_nobody_has_is_told_to_a_client_that_comes_later():
    hand = doubtful("engine1")
    id = mine(hand)
    has(hand, "engine1")
    assert hand.core.recovery.over
    assert told(claims(hand, id)) == [(id, "lost")]


def test_what_an_engine_had_done_is_known_after_the_next_restart():
    hand = doubtful("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine1", (0, id, 1))
    hand.result("engine1", ok(id), seq=1)
    after = Durable(hand.turns, complete=False)
    assert after.outcome(id).value == b"v"


def test_what_an_engine_cannot_start_any_more_runs_when_its_client_submits_it_again():
    hand = doubtful("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine1", (1, id, 1))
    has(hand, "engine2")
    said = hand.say_all("engine1/tasks", m.Need((FIT,), 1), "engine")
    assert [(to, w.numbers) for to, w in said if isinstance(w, m.Abort)] == [
        ("engine1/control", [1])
    ]
    claims(hand, sent=1)
    said = hand.submit("ann", task(id))
    assert runs(said, "engine1/tasks") + runs(said, "engine2/tasks") == [(id, 1)]


def test_a_direct_request_that_its_engine_cannot_start_is_lost_and_blocks_nothing():
    hand = doubtful("engine1")
    id = mine(hand)
    has(hand, "engine1", (1, id, 1))
    claims(hand, id)
    said = hand.say_all("engine1/tasks", m.Need((FIT,), 1), "engine")
    assert told(said) == [(id, "lost")]
    assert hand.outcome(id).facts["reason"] == NO_FUNCTION
    assert not hand.core.work.places[0].sent


def test_what_is_to_follow_others_may_go_back_where_it_was():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.submit("ann", task("ann-2", terms=m.Terms(follow=m.Dependency(("ann-1",)))))
    before = len(hand.turns)
    hand.result("engine1", ok("ann-1"), seq=1)
    assert hand.state("ann-2") == "sent"
    after = Durable(hand.turns[:before], complete=False)
    after.engine("engine1", seen=2)
    holds = m.Holds(2, 0, 0, [(0, "ann-1", 1, "", 0), (2, "ann-2", 1, "", 0)])
    after.core.feed(Received("engine1/tasks", "engine", holds), after.now, [])
    after.result("engine1", ok("ann-1"), seq=1)  # in the same turn
    after.result("engine1", m.Result("ann-2", 1, "unfit", b"", reason="not now"), seq=2)
    assert after.state("ann-2") == "waiting"


def test_what_comes_back_without_the_values_that_it_takes_is_lost():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    hand.submit("ann", task("ann-2", retries=1, terms=m.Terms(inputs=("ann-1",))))
    before = len(hand.turns)
    hand.result("engine1", ok("ann-1"), seq=1)
    after = Durable(hand.turns[:before], complete=False)
    after.engine("engine1", seen=2)
    has(after, "engine1", (2, "ann-2", 1), seen=2)
    after.result("engine1", m.Result("ann-2", 1, "unfit", b"", reason="not now"), seq=1)
    assert after.outcome("ann-2").status == "lost"


def test_what_had_to_run_again_and_is_known_already_is_not_refused():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1", engine=0))
    hand.result("engine1", ok("ann-1"), seq=1)
    again = m.Resubmit(["ann-1"], ["ann-2"], 1)
    assert hand.say("ann/control", again) == [m.Reply(1)]
    after = Durable(hand.turns)  # which does not know what ann-1 was to do
    claims(after, "ann-2", accepted=1, sent=1)
    assert after.say("ann/control", again) == [m.Reply(1)]


def in_doubt(items):
    """A controller that knows of a map; engine1 was given some of it, as far as it knows."""
    hand = Durable()
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1")
    hand.client("ann")
    chunk = m.Chunk(0, items, 1, tuple(range(1, items + 1)))
    hand.submit("ann", m.Task("ann-1", FIT, bytes(items), chunk=chunk, retries=2))
    hand.engine("engine2")
    after = Durable(hand.turns, complete=False)
    after.supervisor("engine1", "engine2")
    for name in ("engine1", "engine2"):
        after.engine(name, seen=1)
    return after


def test_of_two_attempts_at_a_share_the_later_one_counts():
    after = in_doubt(1)
    has(after, "engine2", (0, "ann-1.0", 2), items=[(0, 1)])
    has(after, "engine1", (0, "ann-1.0", 1), items=[(0, 1)])
    share = m.Result("ann-1.0", 2, "ok", b"v", completed=40.0, items=1)
    after.result("engine2", share, seq=1)
    assert after.outcome("ann-1").status == "ok"


def test_items_count_that_were_told_while_others_ran_which_are_known_by_themselves_now():
    after = in_doubt(5)
    has(after, "engine2", (0, "ann-1.2", 1), items=[(2, 4)])
    told = m.Result("ann-1.2", 1, "ok", b"v", completed=40.0, items=2, running=1)
    after.result("engine2", told, seq=1)
    assert after.outcome("ann-1.2").status == "ok"


def test_items_that_an_engine_has_of_a_map_that_is_lost_are_nobodys():
    hand = doubtful("engine1", "engine2")
    hand.supervisor("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine2", (0, f"{id}.1", 1), items=[(1, 2)])
    claims(hand)
    hand.submit("ann", m.Task(id, FIT, b"xy", chunk=m.Chunk(0, 2, 1, (1, 2)), retries=2))
    assert hand.outcome(id).status == "lost"
    said = has(hand, "engine1", (1, f"{id}.0", 1), items=[(0, 1)])
    assert [word.numbers for _, word in said if isinstance(word, m.Abort)] == [[1]]
    assert hand.state(id) == "done"


def test_what_is_told_to_who_submits_it_again_is_not_taken_up_by_the_next_controller():
    hand = doubtful("engine1")
    hand.core.work.history.limit_records = 0
    id = mine(hand)
    has(hand, "engine1", (0, id, 1))
    hand.result("engine1", ok(id), seq=1)
    hand.core.journal.begin_anew()
    hand.wait(1)
    claims(hand, sent=1)
    hand.submit("ann", task(id), task(mine(hand, 2)))
    after = Durable(hand.turns)
    assert id not in after.core.work.tasks
    assert mine(hand, 2) in after.core.work.tasks


def test_what_has_run_again_is_told_to_a_client_that_had_no_answer():
    hand = done()
    after = Durable(hand.turns)
    after.engine("engine1", seen=1)
    has(after, "engine1")
    after.client("ann")  # it asks before it says what it lacks: that comes on the other lane
    after.say("ann/control", m.Resubmit(["ann-1"], ["ann-2"], 1))
    assert told(after.result("engine1", ok("ann-2"), seq=1)) == [("ann-2", "ok")]
    claim = m.Claim([], 1, 1, asked=["ann-2"])
    assert told(after.say_all("ann/tasks", claim)) == []


def replies(effects):
    return [x.message for x in effects if isinstance(x, Send) and isinstance(x.message, m.Reply)]


def test_what_is_to_run_again_is_answered_when_that_is_on_the_disk():
    hand = done()
    again = Received("ann/control", "client", m.Resubmit(["ann-1"], ["ann-2"], 7))
    effects = hand.core.handle(again, hand.now)
    [append] = [effect for effect in effects if isinstance(effect, Append)]
    assert replies(effects) == []
    assert replies(hand.core.handle(Synced(append.number, 1, 1), hand.now)) == [m.Reply(7)]


def test_a_result_is_acknowledged_when_it_is_on_the_disk():
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    effects = hand.core.handle(
        Received("engine1/tasks", "engine", m.Results(1, [ok("ann-1")])), hand.now
    )
    [append] = [effect for effect in effects if isinstance(effect, Append)]
    later = hand.core.handle(
        Received("ann/tasks", "client", m.Submit(2, [task("ann-2")])), hand.now
    )  # what is sent to the engine takes an acknowledgement along
    told = [[e.message for e in each if isinstance(e, Send)] for each in (effects, later)]
    assert [word for said in told for word in said if isinstance(word, m.Acked)] == []
    hand.handle(Synced(append.number, 1, 1))
    hand.result("engine1", ok("ann-2"), seq=2)
    assert acked(hand.say_all("ann/tasks", m.Submit(3, [task("ann-3")]))) == 2


@pytest.mark.parametrize(
    ("retries", "seen", "runs_again"), [(1, 1, 2), (1, 0, 1), (0, 0, 1), (0, 1, None)]
)
@pytest.mark.parametrize("chunk", [None, m.Chunk(0, 1, 1, (1,))])
def test_what_an_engine_got_and_has_no_more_may_have_ended_there(retries, seen, runs_again, chunk):
    """The disk was full when that was to be written, and power failed before there was room."""
    hand = Durable()
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", m.Task("ann-1", FIT, b"x", retries=retries, chunk=chunk))
    after = Durable(hand.turns, complete=False)
    after.engine("engine1", seen=seen)
    said = has(after, "engine1", seen=seen)
    id = "ann-1" if chunk is None else "ann-1.0"
    assert runs(said, "engine1/tasks") == ([(id, runs_again)] if runs_again else [])
    assert (after.outcome("ann-1") is not None) is (runs_again is None)


def test_a_map_that_was_refused_in_doubt_is_not_doubted():
    hand = doubtful("engine1")
    hand.handle(JournalFailed("No space left on device"))
    claims(hand, sent=1)
    hand.submit("ann", m.Task("ann-1", FIT, b"x", chunk=m.Chunk(0, 1, 1, (1,))))
    for lane in ("tasks", "control"):
        hand.close(f"engine1/{lane}")
    hand.wait(RETURN + AWAY)  # nobody knows what it had
    assert hand.core.recovery.over
    assert hand.outcome("ann-1").status == "lost"


def test_what_another_engine_has_by_now_goes_on_there():
    hand = Durable()
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1")
    hand.engine("engine2")
    hand.client("ann")
    hand.submit("ann", task("ann-1"))
    [place] = [p for p in hand.core.work.places.values() if p.sent]
    had, has_it = ("engine1", "engine2") if place.id == 0 else ("engine2", "engine1")
    after = Durable(hand.turns, complete=False)
    for name in (had, has_it):
        after.engine(name, seen=9)
    has(after, had, seen=9)  # it was called back from there
    said = has(after, has_it, (9, "ann-1", 1), seen=9)
    assert [word for _, word in said if isinstance(word, m.Abort)] == []
    after.result(has_it, ok("ann-1"), seq=1)
    assert after.outcome("ann-1").status == "ok"


def test_what_a_client_asks_for_before_its_claim_arrives_is_wanted():
    hand = done()
    after = Durable(hand.turns, complete=False)
    after.client("ann")
    after.say("ann/control", m.Resubmit(["ann-1"], ["ann-2"], 1))
    after.say_all("ann/tasks", m.Claim([], 1, 1))
    assert after.state("ann-2") == "waiting"


def test_a_result_that_was_heard_and_is_told_again_counts_no_more(monkeypatch):
    hand = Durable()
    hand.supervisor("engine1", "engine2")
    for name in ("engine1", "engine2"):
        hand.engine(name)
    hand.client("ann")
    hand.submit("ann", task("ann-1", retries=2), task("ann-2"))
    hand.result("engine1", m.Result("ann-1", 1, "unfit", b"", reason="not now"), seq=1)
    after = Durable(hand.turns)
    monkeypatch.setattr(engines, "AHEAD", 0)  # nothing more is sent
    after.engine("engine2", seen=1)
    has(after, "engine2", (1, "ann-2", 1))
    after.result("engine2", ok("ann-2"), seq=1)
    assert after.state("ann-1") == "queued"
    after.engine("engine1", seen=1)
    has(after, "engine1", (0, "ann-1", 1))
    assert (after.state("ann-1"), after.core.work.tasks["ann-1"].spent) == ("queued", 0)


def test_who_waits_for_what_an_engine_cannot_start_goes_on():
    hand = doubtful("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine1", (1, id, 1))
    has(hand, "engine2")
    hand.client("bob")
    after = m.Terms(after=m.Dependency((id,), success=False, failure=True))
    hand.submit("bob", task("bob-1", terms=after))
    assert hand.state("bob-1") == "held"
    hand.say_all("engine1/tasks", m.Need((FIT,), 1), "engine")
    assert (hand.outcome(id).status, hand.state("bob-1")) == ("lost", "sent")


def test_what_was_given_away_and_submitted_again_is_known_after_the_next_restart():
    hand = doubtful("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine1", (1, id, 1))
    has(hand, "engine2")
    hand.say_all("engine1/tasks", m.Need((FIT,), 1), "engine")
    claims(hand, sent=1)
    for name in ("engine1", "engine2"):
        hand.close(f"{name}/tasks")  # it has to wait
    hand.submit("ann", task(id))
    after = Durable(hand.turns)
    assert (after.state(id), after.core.work.tasks[id].spec.function) == ("waiting", FIT)


def test_what_an_engine_had_keeps_its_terms_and_retries_when_it_is_submitted_again():
    hand = doubtful("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine1", (1, id, 2))
    has(hand, "engine2")
    claims(hand, sent=1)
    hand.submit("ann", task(id, retries=2, terms=m.Terms(priority=3.0)))
    hand.supervisor("engine1", "engine2")
    hand.exited("engine1", started=1)
    said = hand.close("engine1/tasks")
    assert runs(said, "engine2/tasks") == [(id, 3)]
    assert hand.core.work.tasks[id].spent == 2  # the first attempt counts, too


def mapped(hand, *items):
    """A map of a client whose items have ended on the first engine, those that are given."""
    hand.engine("engine1")
    hand.client("ann")
    chunk = m.Chunk(0, 3, 1, (1, 2, 3))
    hand.submit("ann", m.Task("ann-1", FIT, b"xyz", chunk=chunk))
    hand.submit("ann", task("ann-2", terms=m.Terms(inputs=("ann-1",))))
    for seq, item in enumerate(items, 1):
        [record] = hand.core.work.places[0].sent.values()
        value = f"v{item}".encode()
        hand.result(
            "engine1", m.Result(record.spec.id, 1, "ok", value, completed=40.0, items=1), seq=seq
        )


def tells_the_last(hand):
    """The engine is back, and has done the last item of that map meanwhile."""
    hand.engine("engine1", seen=3)
    has(hand, "engine1", (0, "ann-1.2", 1), seen=3, items=[(2, 3)])
    hand.result("engine1", m.Result("ann-1.2", 1, "ok", b"v2", completed=40.0, items=1), seq=1)


def given(hand):
    """What ann-2 takes."""
    [value] = hand.core.work.tasks["ann-2"].inputs
    return [part.value for part in value.parts]


def small(turns):
    """The next controller, whose history holds nothing."""
    hand = Durable()
    hand.core = Controller(
        "c", "0", LeastLoad(), Limits(hwm=1, record_limit=0), journal=journal.Journal("j")
    )
    hand.turns = []
    replay = Replay()
    replay.follow(turns)
    hand.keep(hand.core.restore(replay, True, 1.0))
    return hand


def test_a_map_whose_shares_are_forgotten_gives_its_values_after_a_restart():
    hand = Durable()
    mapped(hand, 0, 1, 2)
    after = small(hand.turns)
    assert given(after) == [b"v0", b"v1", b"v2"]


def test_so_does_one_that_had_not_ended_after_two():
    hand = Durable()
    mapped(hand, 0, 1)
    after = small(hand.turns)
    again = small(after.turns)
    tells_the_last(again)
    assert given(again) == [b"v0", b"v1", b"v2"]


def test_nor_does_it_lack_the_values_of_shares_that_were_purged():
    hand = Durable()
    mapped(hand, 0, 1)
    hand.say("ann/control", m.Purge(every=True, number=1))
    assert "ann-1.0" not in hand.core.work.tasks
    after = Durable(hand.turns)
    tells_the_last(after)
    assert given(after) == [b"v0", b"v1", b"v2"]


def written_anew(hand):
    """Everything is written anew."""
    hand.core.journal.begin_anew()
    hand.handle(Tick())
    assert len(hand.turns) < 5


def test_nor_one_of_which_only_shares_are_forgotten_when_all_is_written_anew():
    hand = Durable()
    mapped(hand, 0, 1, 2)
    hand.core.work.forget(hand.core.work.tasks["ann-1.0"])
    written_anew(hand)
    after = Durable(hand.turns)
    assert given(after) == [b"v0", b"v1", b"v2"]


def worn(*, taken):
    """A map of which a share is forgotten; its values were `taken`, or nobody has wanted them."""
    hand = Durable()
    mapped(hand, 0, 1, 2)
    hand.result("engine1", ok("ann-2"), seq=4)
    if not taken:
        hand.core.work.tasks["ann-1"].pool.values = None
        takes(hand)
    hand.core.work.forget(hand.core.work.tasks["ann-1.0"])
    written_anew(hand)
    if taken:
        takes(hand)
    return hand


def takes(hand):
    """Another task takes the values of that map, after one that does not end."""
    hand.submit("ann", task("ann-3"))
    after = m.Dependency(("ann-3",))
    hand.submit("ann", task("ann-4", terms=m.Terms(after, inputs=("ann-1",))))


def lets_go(hand):
    """What the other one has waited for has ended."""
    hand.engine("engine1", seen=9)
    has(hand, "engine1", (5, "ann-3", 1), seen=9)
    hand.result("engine1", ok("ann-3"), seq=1)


@pytest.mark.parametrize("taken", [True, False], ids=["before", "never before"])
def test_so_are_those_that_somebody_takes_only_later(taken):
    after = Durable(worn(taken=taken).turns)
    assert after.state("ann-4") == "held"
    lets_go(after)
    [value] = after.core.work.tasks["ann-4"].inputs
    assert [part.value for part in value.parts] == [b"v0", b"v1", b"v2"]


def test_who_takes_values_that_are_not_all_known_is_told_so():
    hand = worn(taken=False)
    turns = [
        replace(turn, entries=[e for e in turn.entries if not isinstance(e, Kept)])
        for turn in hand.turns
    ]
    after = Durable(turns)
    lets_go(after)
    assert after.outcome("ann-4").status == "impossible"
    assert "the value of task ann-1" in after.outcome("ann-4").facts["reason"]


def test_who_asks_again_for_a_map_to_run_again_is_told_of_items_that_are_forgotten():
    hand = Durable()
    mapped(hand, 0, 1, 2)
    hand.result("engine1", ok("ann-2"), seq=4)
    hand.say("ann/control", m.Resubmit(["ann-1"], ["ann-9"], 1))
    share = m.Result("ann-9.0", 1, "ok", b"v", completed=40.0, items=1)
    hand.result("engine1", share, seq=5)
    after = small(hand.turns)
    after.client("ann")
    said = after.say_all("ann/control", m.Resubmit(["ann-1"], ["ann-9"], 1))
    assert told(said) == [("ann-9.0", "ok")]


def test_what_takes_values_that_are_forgotten_does_not_run_again():
    hand = Durable()
    mapped(hand, 0, 1, 2)
    hand.result("engine1", ok("ann-2"), seq=4)
    hand.core.work.tasks["ann-1"].pool.values = None  # nobody has waited for them
    hand.core.work.forget(hand.core.work.tasks["ann-1.0"])
    [answer] = hand.say("ann/control", m.Resubmit(["ann-2"], ["ann-3"], 7))
    assert "which is not kept any more" in answer.reason


def test_in_doubt_direct_requests_wait_too_and_do_not_run_if_they_may_have():
    hand = doubtful("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine1")
    claims(hand, sent=1)
    said = hand.submit("ann", task(id, engine=0))
    assert runs(said, "engine1/tasks") == []
    hand.wait(60)  # the other engine does not come back
    assert hand.outcome(id).facts["reason"] == IN_DOUBT


def test_so_is_what_a_client_says_again_only_after_the_others_were_given_up():
    hand = doubtful("engine1", "engine2")
    has(hand, "engine1")
    hand.wait(60)  # the other engine does not come back
    claims(hand, sent=1)
    said = hand.submit("ann", task(mine(hand, 1)))
    assert runs(said, "engine1/tasks") == []
    assert hand.outcome(mine(hand, 1)).facts["reason"] == IN_DOUBT
    new = mine(hand, 2)  # no controller before this one can have got it
    assert runs(hand.submit("ann", task(new)), "engine1/tasks") == [(new, 1)]


@pytest.mark.parametrize("order", [("client", "engine"), ("engine", "client")])
def test_and_after_the_next_restart(order):
    hand = doubtful("engine1", "engine2")
    has(hand, "engine1")
    hand.wait(60)  # the other engine does not come back
    after = Durable(hand.turns, complete=False)
    id = mine(after)
    for who in order:
        if who == "client":
            claims(after, sent=1)
            after.submit("ann", task(id))
        else:
            after.engine("engine1", seen=1)
            has(after, "engine1")
    assert after.outcome(id).facts["reason"] == IN_DOUBT


def test_and_of_a_client_that_is_not_known_any_more():
    hand = doubtful("engine1", "engine2")
    has(hand, "engine1")
    hand.wait(60)  # the other engine does not come back
    hand.client("bob")
    hand.say_all("bob/tasks", m.Claim([], 0, 1))
    hand.submit("bob", task("bob-1"))
    said = hand.submit("bob", task("bob-2"))
    assert hand.outcome("bob-1").facts["reason"] == IN_DOUBT
    assert runs(said, "engine1/tasks") == [("bob-2", 1)]


def test_who_is_refused_then_is_told_that_it_may_have_been_started():
    hand = doubtful("engine1", "engine2")
    has(hand, "engine1")
    hand.wait(60)  # the other engine does not come back
    claims(hand, sent=1)
    hand.core.journal.broken = "No space left on device"
    hand.submit("ann", task(mine(hand)))
    outcome = hand.outcome(mine(hand))
    assert (outcome.status, outcome.facts["started"]) == ("lost", True)


def refused(id, attempt):
    return m.Result(id, attempt, "refused", b"", reason="not here")


def test_in_doubt_what_an_engine_had_refused_may_have_run_elsewhere_since():
    hand = doubtful("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine1", (0, id, 1))
    claims(hand, sent=1)
    hand.submit("ann", task(id))
    hand.wait(60)  # the other engine does not come back
    hand.result("engine1", refused(id, 1), seq=1)
    assert hand.outcome(id).facts["reason"] == IN_DOUBT


@pytest.mark.parametrize("chunk", [None, m.Chunk(0, 1, 1, (1,))])
def test_so_may_what_the_journal_says_it_has(chunk):
    hand = Durable()
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", m.Task("ann-1", FIT, b"x", chunk=chunk))
    hand.engine("engine2")
    after = Durable(hand.turns, complete=False)
    after.supervisor("engine1", "engine2")
    after.engine("engine1", seen=1)
    id = "ann-1" if chunk is None else "ann-1.0"
    has(after, "engine1", (0, id, 1), items=[] if chunk is None else [(0, 1)])
    after.wait(60)  # the other engine does not come back
    after.result("engine1", m.Result(id, 1, "refused", b"", items=int(chunk is not None)), seq=1)
    assert after.outcome(id).facts["reason"] == IN_DOUBT


def test_attempts_that_were_refused_use_up_no_retries_after_a_restart():
    hand = doubtful("engine1", "engine2")
    id = mine(hand)
    has(hand, "engine1", (0, id, 1))
    claims(hand, sent=1)
    hand.submit("ann", task(id, retries=3, terms=m.Terms(timeout=100.0)))
    hand.result("engine1", refused(id, 1), seq=1)
    has(hand, "engine2", (0, id, 2))
    hand.result("engine2", refused(id, 2), seq=1)
    assert hand.state(id) == "waiting"  # as it has a timeout, for engines that join


def test_what_a_client_asks_for_once_more_is_told_though_it_is_forgotten():
    hand = done()
    after = small(hand.turns)
    after.client("ann")
    claim = m.Claim([], 1, 1, ["ann-1"])
    assert told(after.say_all("ann/tasks", claim)) == [("ann-1", "ok")]


def recovering(id="ann-1"):
    """A task that has two recoveries, each of which starts at most once."""
    recoveries = (task("", name="second"), task("", name="third"))
    return task(id, terms=m.Terms(recoveries=recoveries))


def test_in_doubt_a_recovery_of_which_an_engine_tells_is_not_started_again():
    hand = Durable()
    for name in ("engine1", "engine2"):
        hand.engine(name)
    hand.client("ann")
    hand.submit("ann", recovering())
    after = Durable(hand.turns, complete=False)
    after.engine("engine1", seen=1)
    after.engine("engine2", seen=1)
    has(after, "engine1", (1, "ann-1", 2, 1))
    has(after, "engine2")
    record = after.core.work.tasks["ann-1"]
    assert (record.attempt, record.spec.name) == (2, "second")
    said = after.result("engine1", m.Result("ann-1", 2, "error", b"", completed=40.0), seq=1)
    assert record.spec.name == "third"
    assert runs(said, "engine1/tasks") + runs(said, "engine2/tasks") == [("ann-1", 3)]
    again = Durable(after.turns)
    assert again.core.work.tasks["ann-1"].stage == 2


def test_nor_when_its_client_submits_the_task_only_then():
    hand = doubtful("engine1")
    id = mine(hand)
    has(hand, "engine1", (0, id, 3, 2))
    claims(hand, sent=1)
    hand.submit("ann", recovering(id))
    assert hand.core.work.tasks[id].spec.name == "third"
    hand.result("engine1", m.Result(id, 3, "error", b"", completed=40.0), seq=1)
    assert hand.outcome(id).status == "error"


def test_who_was_given_up_in_doubt_is_not_taken_for_one_that_was_never_heard_of():
    hand = doubtful("engine1")
    has(hand, "engine1")
    hand.wait(FORGET_CLIENT + 1)
    welcome = next(word for word in hand.client("ann") if isinstance(word, m.Welcome))
    assert (welcome.asks, welcome.torn) == (False, False)
    other = next(word for word in hand.client("bob") if isinstance(word, m.Welcome))
    assert other.torn


# --- large results of direct requests, which are not written ------------------------------------


LARGE = bytes(account.LARGE + 1)


def with_a_large_result(**fields):
    """Ann has been sent what engine 0 gave her, and has not said that she has it."""
    hand = Durable()
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("ann-1", engine=0, **fields))
    hand.result("engine", m.Result("ann-1", 1, "ok", LARGE), seq=1)
    return hand


def acked(said):
    return max((word.seq for _, word in said if isinstance(word, m.Acked)), default=0)


def came_back(turns):
    """The controller is started again, and the engine has nothing left to say."""
    after = Durable(turns)
    after.engine("engine")
    after.say_all("engine/tasks", m.Holds(1, 1, 0, []), "engine")
    return after


def got(hand, name, *ids):
    """What a client is given that comes back and lacks these."""
    hand.client(name)
    said = hand.say_all(f"{name}/tasks", m.Claim(list(ids), 1, 1))
    return [o for _, word in said if isinstance(word, m.Deliver) for o in word.outcomes]


def test_an_account_leaves_to_its_engine_what_its_client_has_not_got():
    hand = with_a_large_result()
    hand.core.journal.begin_anew()
    hand.wait(1)
    after = Durable(hand.turns)
    after.engine("engine")
    has = [(0, "ann-1", 1, "", 0)]
    after.say_all("engine/tasks", m.Holds(1, 0, 0, has), "engine")
    after.result("engine", m.Result("ann-1", 1, "ok", LARGE), seq=1)
    assert after.outcome("ann-1").value == LARGE


def test_what_is_forgotten_before_its_client_has_it_is_written():
    hand = with_a_large_result()
    hand.client("bob")
    hand.say("bob/control", m.Purge(["ann-1"], number=1))
    assert not hand.core.work.unfetched
    assert [o.value for o in got(came_back(hand.turns), "ann", "ann-1")] == [LARGE]


def test_who_else_has_it_says_nothing_of_its_client():
    hand = with_a_large_result()
    hand.client("bob")
    said = hand.say_all("bob/control", m.Query(1, "fetch", ["ann-1"]))
    assert [type(word) for to, word in said if to == "bob/tasks"] == [m.Deliver]
    hand.say("bob/tasks", m.Got(1, "c/2"))
    assert hand.core.work.unfetched
    hand.say("ann/tasks", m.Got(1, "c/1"))
    assert not hand.core.work.unfetched


def test_what_an_engine_has_given_that_is_lost_is_written():
    hand = with_a_large_result()
    for lane in ("tasks", "control"):
        hand.close(f"engine/{lane}")
    hand.wait(AWAY)
    assert not hand.core.work.unfetched
    assert [o.value for o in got(Durable(hand.turns), "ann", "ann-1")] == [LARGE]


def test_what_was_written_for_a_task_that_takes_it_is_written_anew_for_its_client():
    hand = Durable()
    hand.engine("engine")
    hand.client("ann")
    taker = m.Terms(inputs=("ann-1",))
    hand.submit("ann", task("ann-1", engine=0), task("ann-2", engine=0, terms=taker))
    hand.result("engine", m.Result("ann-1", 1, "ok", LARGE), seq=1)
    hand.core.journal.begin_anew()
    hand.wait(1)
    assert [o.value for o in got(came_back(hand.turns), "ann", "ann-1")] == [LARGE]


def test_an_engine_need_not_keep_what_a_client_does_not_fetch_for_ever(monkeypatch):
    monkeypatch.setattr(engines, "HELD", 2)
    hand = with_a_large_result()
    for seq in range(2, 6):
        hand.submit("ann", task(f"ann-{seq}"))
        said = hand.result("engine", m.Result(f"ann-{seq}", 1, "ok", b"v"), seq=seq)
        assert not acked(said)
    hand.now += engines.HELD_FOR + 1
    hand.submit("ann", task("ann-6"))
    hand.result("engine", m.Result("ann-6", 1, "ok", b"v"), seq=6)
    assert hand.core.work.places[0].durable == 6


def test_a_client_that_came_back_and_lacks_nothing_has_what_its_engine_keeps():
    hand = with_a_large_result()
    after = Durable(hand.turns)
    after.engine("engine")
    after.say_all("engine/tasks", m.Holds(1, 0, 0, [(0, "ann-1", 1, "", 0)]), "engine")
    after.result("engine", m.Result("ann-1", 1, "ok", LARGE), seq=1)
    assert after.core.work.unfetched
    assert got(after, "ann") == []
    assert not after.core.work.unfetched
    assert after.core.work.places[0].durable == 1


# --- how much is written ------------------------------------------------------------------------


def test_how_a_chunk_is_divided_is_written_by_what_is_new():
    """Its shares may be thousands, and one begins or ends in each turn."""
    hand = Durable()
    hand.engine("engine")
    hand.client("ann")
    ends = tuple(range(1, 101))
    hand.submit("ann", m.Task("ann-1", FIT, bytes(100), chunk=m.Chunk(0, 100, 1, ends)))
    before = len(hand.turns)
    for seq in range(1, 51):
        hand.now += 1.0
        [record] = hand.core.work.places[0].sent.values()
        result = m.Result(record.spec.id, 1, "ok", b"v", completed=1.0, items=record.items)
        hand.result("engine", result, seq=seq)
    told = [entry for turn in hand.turns[before:] for entry in turn.entries]
    told = [entry for entry in told if isinstance(entry, Divided)]
    assert sum(len(entry.ended) for entry in told) == 50
    pool = hand.core.work.tasks["ann-1"].pool
    for _ in range(2):  # the turns are as they were
        after = Durable(hand.turns).core.work.tasks["ann-1"].pool
        assert (after.ended, after.done, after.todo) == (pool.ended, pool.done, pool.todo)


def test_after_a_hole_it_is_written_as_a_whole(monkeypatch):
    """What was told before may not be there; nor all of what is told anew, yet."""
    hand = Durable()
    hand.engine("engine")
    hand.client("ann")
    ends = tuple(range(1, 5))
    hand.submit("ann", m.Task("ann-1", FIT, bytes(4), chunk=m.Chunk(0, 4, 1, ends)))
    hand.result("engine", m.Result("ann-1.0", 1, "ok", b"v", completed=1.0, items=1), seq=1)
    hand.handle(JournalFailed("No space left on device"))
    monkeypatch.setattr(journal, "PART", 1)
    hand.now += journal.RETRY
    turns = []
    result = m.Results(2, [m.Result("ann-1.1", 1, "ok", b"v", completed=1.0, items=1)])
    for event in (Tick(), Received("engine/tasks", "engine", result)):
        effects = hand.core.handle(event, hand.now)
        turns += [effect.turn for effect in effects if isinstance(effect, Append)]
    told = [entry for turn in turns for entry in turn.entries if isinstance(entry, Divided)]
    assert [(entry.ended, entry.since) for entry in told] == [([0, 1], 0)]


def test_an_engine_that_comes_back_by_half_is_given_up_all_the_same():
    hand = Durable()
    hand.engine("engine")
    after = Durable(hand.turns)
    after.engine("engine", lanes=("control",))
    after.say_all("engine/control", m.Holds(0, 0, 0, []), "engine")
    assert after.core.work.places[0].here
    after.wait(RETURN + 1.1)
    assert not after.core.work.places[0].here


def test_what_was_refused_is_not_known_after_a_restart():
    hand = Durable()
    hand.client("ann")
    [(_, refused)] = [each for each in hand.submit("ann", task("ann-1.5")) if "tasks" in each[0]]
    assert isinstance(refused, m.Refused)
    assert not Durable(hand.turns).core.work.tasks
