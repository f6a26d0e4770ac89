"""Chunks in the controller's machine: how they are divided, and what becomes of each item."""

import gc
from weakref import ref

import pytest

from enginery.core import messages as m
from enginery.core.engines import Place
from enginery.core.entries import Function, Taken
from enginery.core.events import Received, Send
from enginery.core.pools import part_of, sane

from .hand_controller import FIT, Durable, Hand, runs, secret, task


def chunk(id="ann-1", items=10, grain=4, **fields):
    """A task that stands for so many items, of whose arguments each has two bytes."""
    grains = -(-items // grain)
    ends = tuple(2 * min(grain * (i + 1), items) for i in range(grains))
    arguments = b"".join(b"%02d" % i for i in range(items))
    return m.Task(id, FIT, arguments, chunk=m.Chunk(0, items, grain, ends), **fields)


def well(share, items, running=0, attempt=1, took=1e-6):
    """The engine says of a share that so many items went well."""
    return m.Result(
        share, attempt, "ok", b"v", items=items, running=running, started=1.0, completed=1.0 + took
    )


def failed(share, running=0, attempt=1):
    """The engine says that an item has failed."""
    return m.Result(share, attempt, "error", b"e", items=1, running=running)


@pytest.fixture
def hand():
    hand = Hand(hwm=1)
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1")
    hand.client("ann")
    return hand


def brief(hand, items=1000):
    """Let the items of the function be known to be brief."""
    hand.core.work.placement.paces.heard(FIT, items * 1e-6, items)


def ranges(hand, id="ann-1"):
    """What nobody was given of a chunk."""
    return hand.core.work.tasks[id].pool.todo


def test_nothing_is_left_of_a_map_that_is_forgotten(hand):
    gc.collect()
    gc.disable()  # it seldom looks in a controller
    try:
        hand.submit("ann", chunk("ann-1", items=2))
        left = [ref(hand.core.work.tasks[id]) for id in ("ann-1", "ann-1.0")]
        hand.result("engine1", well("ann-1.0", 1), seq=1)
        hand.result("engine1", well("ann-1.1", 1), seq=2)
        assert hand.outcome("ann-1").status == "ok"
        hand.say("ann/control", m.Purge(every=True, number=1))
        assert [each() for each in left] == [None, None]
    finally:
        gc.enable()


def told(said):
    """The outcomes that ann is told: (id, status, start, stop)."""
    return [
        (o.id, o.status, o.start, o.stop)
        for to, message in said
        if to == "ann/tasks" and isinstance(message, m.Deliver)
        for o in message.outcomes
    ]


# --- as it travels ------------------------------------------------------------------------------


def test_a_part_has_no_more_arguments_than_it_needs():
    part = part_of(chunk(), 5, 7)
    assert part.id == "ann-1.5"
    assert part.arguments == b"04050607"
    assert part.chunk == m.Chunk(5, 7, 4, (8,))
    last = part_of(part_of(chunk(), 3, 10), 8, 10)
    assert last.arguments == b"0809"
    assert last.chunk == m.Chunk(8, 10, 4, (4,))


@pytest.mark.parametrize(
    "wrong",
    [
        m.Chunk(0, 0, 4, (8,)), m.Chunk(-1, 3, 4, (8,)), m.Chunk(0, 3, 0, (8,)),
        m.Chunk(0, 3, 4, ()), m.Chunk(0, 3, 4, (7,)), m.Chunk(0, 9, 4, (8, 4, 8)),
        m.Chunk(0, 9, 4, (4, 8)),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_no_task(hand, wrong):
    nonsense = m.Task("ann-1", FIT, b"00000000", chunk=wrong)
    assert not sane(nonsense)
    said = hand.submit("ann", nonsense, task("ann-2"))
    assert any(isinstance(message, m.Refused) for _, message in said)
    assert "ann-1" not in hand.core.work.tasks
    assert "ann-2" in hand.core.work.tasks


def test_ids_of_shares_are_not_for_clients(hand):
    hand.submit("ann", task("ann-1.0"))
    assert "ann-1.0" not in hand.core.work.tasks


# --- how it is divided --------------------------------------------------------------------------


def test_unknown_items_go_one_by_one(hand):
    assert runs(hand.submit("ann", chunk()), "engine1/tasks") == [("ann-1.0", 1)]
    assert ranges(hand) == [(1, 10)]
    said = hand.result("engine1", well("ann-1.0", 1), seq=1)
    assert runs(said, "engine1/tasks") == [("ann-1.1", 1)]
    assert told(said) == [("ann-1.0", "ok", 0, 1)]


def test_engines_that_have_left_are_not_asked_for_each_share(hand, monkeypatch):
    for name in ("past1", "past2"):
        hand.engine(name, conn="engine past")
        hand.say("engine past/tasks", m.Goodbye("stopped"))
    hand.submit("ann", chunk())
    hand.wait(1.0)  # clients have been told who is here
    asked = []

    def here(place):
        asked.append(place.id)
        return vars(place)["here"]

    monkeypatch.setattr(Place, "here", property(here), raising=False)
    done = Received("engine1/tasks", "engine", m.Results(1, [well("ann-1.0", 1)]))
    said = [(each.conn, each.message) for each in hand.core.handle(done, 1.0) if type(each) is Send]
    assert runs(said, "engine1/tasks") == [("ann-1.1", 1)]
    assert set(asked) <= {0}


def test_brief_items_go_together_and_the_chunk_ends_with_the_last(hand):
    brief(hand)
    assert runs(hand.submit("ann", chunk()), "engine1/tasks") == [("ann-1.0", 1)]
    assert hand.state("ann-1") == "divided"
    said = hand.result("engine1", well("ann-1.0", 10), seq=1)
    assert told(said) == [("ann-1.0", "ok", 0, 10), ("ann-1", "ok", 0, 0)]


def test_what_an_engine_did_not_begin_goes_to_another(hand):
    brief(hand)
    hand.submit("ann", chunk())
    hand.engine("engine2")
    said = hand.result("engine1", well("ann-1.0", 3, running=1), seq=1)
    assert told(said) == [("ann-1.0", "ok", 0, 3)]
    assert hand.state("ann-1.3") == "sent"
    assert runs(said, "engine2/tasks") == [("ann-1.4", 1)]
    said = hand.result("engine1", well("ann-1.3", 1), seq=2)
    assert told(said) == [("ann-1.3", "ok", 3, 4)]


def test_it_is_called_back_when_another_engine_is_idle():
    hand = Hand(hwm=-1)
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1")
    hand.client("ann")
    brief(hand)
    hand.submit("ann", chunk())
    hand.engine("engine2")
    said = hand.wait(0.006)
    aborts = [message for to, message in said if to == "engine1/control"]
    assert [(abort.ids, abort.numbers) for abort in aborts] == [(["ann-1.0"], [1])]


# --- failures -----------------------------------------------------------------------------------


def test_a_failed_item_ends_alone_and_the_others_go_on(hand):
    brief(hand)
    hand.submit("ann", chunk())
    results = [well("ann-1.0", 3, running=7), failed("ann-1.3", running=6), well("ann-1.4", 6)]
    said = hand.result("engine1", *results, seq=1)
    assert told(said) == [
        ("ann-1.0", "ok", 0, 3), ("ann-1.3", "error", 3, 4), ("ann-1.4", "ok", 4, 10),
        ("ann-1", "error", 0, 0),
    ]  # fmt: skip


def test_a_retry_is_of_the_item_that_failed(hand):
    brief(hand)
    hand.submit("ann", chunk(retries=1))
    said = hand.result("engine1", well("ann-1.0", 3, running=1), failed("ann-1.3"), seq=1)
    assert runs(said, "engine1/tasks") == [("ann-1.3", 2)]
    assert ranges(hand) == [(4, 10)]
    said = hand.result("engine1", failed("ann-1.3", attempt=2), seq=2)
    assert ("ann-1.3", "error", 3, 4) in told(said)


@pytest.mark.parametrize("retries", [0, 1])
def test_of_an_engine_that_died_only_what_had_begun_pays(hand, retries):
    brief(hand)
    hand.submit("ann", chunk(retries=retries))
    hand.close("engine1/tasks")
    exited = m.Exited(
        b"engine1".ljust(16, b"-"), b"engine11".ljust(16, b"-"), 1, 0, "signal 9", False, {}, 4
    )
    said = hand.handle(Received("supervisor/control", "engine", exited))
    lost = [("ann-1.4", "lost", 4, 5), ("ann-1.0", "lost", 0, 4)]
    assert told(said) == ([] if retries else lost)
    if retries:
        assert (hand.state("ann-1.0"), hand.state("ann-1.4")) == ("waiting", "waiting")
        assert hand.core.work.tasks["ann-1.4"].crashed == (0,)
        assert hand.core.work.tasks["ann-1.0"].crashed == ()
    assert ranges(hand) == [(5, 10)]
    assert hand.state("ann-1") == "waiting"


def test_an_abort_ends_what_has_not_begun(hand):
    hand.submit("ann", chunk())
    said = hand.say_all("ann/control", m.Abort(["ann-1"], running=True, after=1, number=1))
    assert told(said) == [("ann-1.1", "aborted", 1, 10)]
    assert any(to == "engine1/control" and isinstance(w, m.Abort) for to, w in said)
    said = hand.result("engine1", well("ann-1.0", 1), seq=1)
    assert told(said) == [("ann-1.0", "ok", 0, 1), ("ann-1", "aborted", 0, 0)]


def test_what_an_abort_finds_not_begun_does_not_go_to_another(hand):
    brief(hand)
    hand.submit("ann", chunk())
    hand.engine("engine2")
    hand.say_all("ann/control", m.Abort(["ann-1"], running=True, after=1, number=1))
    said = hand.result("engine1", well("ann-1.0", 3, running=1), seq=1)
    assert told(said) == [("ann-1.4", "aborted", 4, 10), ("ann-1.0", "ok", 0, 3)]
    assert runs(said, "engine2/tasks") == []


@pytest.mark.parametrize(("items", "running"), [(-1, 0), (3, -1), (11, 0), (3, 8)])
def test_nonsense_about_items_is_late(hand, items, running):
    brief(hand)
    hand.submit("ann", chunk())
    hand.result("engine1", well("ann-1.0", items, running), seq=1)
    assert hand.state("ann-1.0") == "sent"
    assert hand.core.work.late == 1


# --- after a restart ----------------------------------------------------------------------------


@pytest.fixture
def durable():
    hand = Durable()
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1")
    hand.client("ann")
    brief(hand)
    return hand


def again(hand, *holds, items=(), complete=True):
    """A controller that takes up what this one has left, and the engine that comes back to it."""
    after = Durable(hand.turns, complete=complete)
    brief(after)
    after.supervisor("engine1", "engine2")
    after.engine("engine1", seen=1)
    message = m.Holds(1, 0, 0, list(holds), list(items))
    said = after.say_all("engine1/tasks", message, "engine")
    return after, said


def ends(hand, id="ann-1"):
    """Let the engine do all that is left; what each item has become."""
    for seq in range(1, 30):
        share = next(iter(hand.core.work.places[0].sent.values()), None)
        if share is None:
            break
        seq = hand.core.work.places[0].results + 1
        hand.result("engine1", well(share.spec.id, share.items, attempt=share.attempt), seq=seq)
    assert hand.state(id) == "done"
    outcomes = [r.outcome for r in hand.core.work.tasks.values() if r.spec.id.startswith(f"{id}.")]
    items = [item for o in outcomes for item in range(o.start, o.stop)]
    return sorted(items)


def test_what_an_engine_has_goes_on_after_a_restart(durable):
    durable.submit("ann", chunk(items=100))
    durable.result("engine1", well("ann-1.0", 30, running=1), seq=1)
    after, _ = again(durable, (1, "ann-1.30", 1, "", 0), items=[(30, 31)])
    assert after.state("ann-1.0") == "done"
    assert after.state("ann-1.30") == "sent"
    assert ranges(after) == [(31, 100)]
    assert ends(after) == list(range(100))


def test_what_was_told_and_not_heard_is_not_run_again(durable):
    durable.submit("ann", chunk(items=100))
    holds = [(0, "ann-1.0", 1, "", 0), (1, "ann-1.30", 1, "", 0)]
    after, _ = again(durable, *holds, items=[(0, 30), (30, 31)])
    assert after.state("ann-1.0") == "sent"
    after.result("engine1", well("ann-1.0", 30, running=1), seq=1)
    assert after.state("ann-1.30") == "sent"
    assert ends(after) == list(range(100))


def test_what_an_engine_never_had_is_divided_anew(durable):
    durable.submit("ann", chunk(items=100))
    after, said = again(durable)
    assert runs(said, "engine1/tasks") == [("ann-1.0", 1)]
    assert ends(after) == list(range(100))


def test_a_chunk_that_has_ended_is_known_with_its_shares(durable):
    durable.submit("ann", chunk())
    durable.result("engine1", well("ann-1.0", 4, running=6), well("ann-1.4", 6), seq=1)
    after, _ = again(durable)
    after.client("bob")
    said = after.say_all("bob/control", m.Query(1, "fetch", ["ann-1"]))
    told = [o.id for _, s in said if isinstance(s, m.Deliver) for o in s.outcomes]
    assert told == ["ann-1.0", "ann-1.4", "ann-1"]


def test_which_items_a_chunk_has_is_not_for_others(hand):
    hand.submit("ann", chunk())
    query = m.Query(1, "fetch", ["ann-1"])
    hand.client("bob", "task", define=False)
    assert hand.say("bob/control", query, "task") == [m.Reply(1, {"unknown": ["ann-1"]})]
    told = m.Reply(1, {"unknown": [], "items": {"ann-1": (0, 10)}})
    assert hand.say("ann/control", query) == [told]


def test_an_engine_may_have_what_the_journal_does_not_know(durable):
    durable.submit("ann", chunk(items=100))
    turns = list(durable.turns)
    taken = next(i for i, turn in enumerate(turns) if "ann-1" in repr(turn))
    durable.turns = turns[: taken + 1]
    durable.turns[-1].entries = [e for e in turns[taken].entries if isinstance(e, Function | Taken)]
    after, _ = again(durable, (1, "ann-1.40", 1, "", 0), items=[(40, 60)], complete=False)
    assert after.state("ann-1.40") == "sent"
    assert ranges(after) == [(0, 40), (60, 100)]
    assert ends(after) == list(range(100))


def test_what_has_gone_to_another_engine_is_not_taken_for_one_that_came_before(durable):
    durable.submit("ann", chunk(items=1))
    durable.engine("engine2")
    durable.result("engine1", m.Result("ann-1.0", 1, "unfit", b"", items=1), seq=1)
    after = Durable(durable.turns)
    after.supervisor("engine1", "engine2")
    after.engine("engine2", seen=1)
    said = after.say_all("engine2/tasks", m.Holds(0, 0, 0, []), "engine")  # it never came there
    assert runs(said, "engine2/tasks") == [("ann-1.0", 1)]
    after.engine("engine1", seen=1)
    has = [(0, "ann-1.0", 1, "", 0)]
    said = after.say_all("engine1/tasks", m.Holds(1, 0, 0, has, [(0, 1)]), "engine")
    after.result("engine1", m.Result("ann-1.0", 1, "unfit", b"", items=1), seq=1)
    assert after.core.work.tasks["ann-1.0"].place == after.core.by_identity[secret("engine2")].id
    after.result("engine2", well("ann-1.0", 1), seq=1)
    assert after.state("ann-1") == "done"


def test_a_chunk_that_an_engine_has_and_gives_back_stands_in_line_once(durable):
    durable.submit("ann", task("ann-2"), chunk(items=30000))
    turns = list(durable.turns)
    taken = next(i for i, turn in enumerate(turns) if "ann-1" in repr(turn))
    durable.turns = turns[: taken + 1]
    durable.turns[-1].entries = [e for e in turns[taken].entries if isinstance(e, Function | Taken)]
    after, _ = again(durable, (1, "ann-1.0", 1, "", 0), items=[(0, 30000)], complete=False)
    assert (after.state("ann-1"), after.state("ann-2")) == ("divided", "waiting")
    after.result("engine1", well("ann-1.0", 0), seq=1)
    assert (after.state("ann-1"), after.state("ann-2")) == ("waiting", "waiting")
    [line] = after.core.work.placement.lines.values()
    assert [record.spec.id for record in line] == ["ann-1", "ann-2"]


def test_what_doubt_has_cost_is_known_for_it_when_it_comes_back():
    hand = Durable()
    hand.supervisor("engine1", "engine2")
    hand.engine("engine1")
    hand.client("ann")
    hand.submit("ann", chunk(items=100, retries=1))
    assert ranges(hand) == [(1, 100)]
    after = Durable(hand.turns, complete=False)
    after.supervisor("engine1", "engine2")
    after.exited("engine1", started=9)  # more than the journal knows of
    after.engine("engine2")
    after.result("engine2", well("ann-1.0", 1, attempt=2), seq=1)
    for attempt, seq in ((2, 2), (3, 3)):
        share = after.core.work.tasks["ann-1.1"]
        assert (share.state, share.attempt, share.spent) == ("sent", attempt, 1)
        after.result("engine2", well("ann-1.1", 0, attempt=attempt), seq=seq)
