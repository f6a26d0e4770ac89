"""What is alike is said in columns, and means the same."""

import pytest

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core import sessions
from enginery.core.ahead import AUTO
from enginery.core.alike import FEWEST, in_columns, submissions
from enginery.core.client import Client
from enginery.core.sessions import Session

from .hand_controller import FIT, Durable, task

IDS = [f"ann-{i}" for i in range(10)]
TASKS = [m.Task(id, FIT, id.encode(), (), "fit", retries=1, submitted=float(i), label="l")
         for i, id in enumerate(IDS)]  # fmt: skip
RESULTS = [m.Result(id, 1, "ok", id.encode(), (), 1.0, 2.0, i) for i, id in enumerate(IDS)]


def done(ids, value=b"v"):
    """How these have ended."""
    times = [1.0] * len(ids)
    ran = m.Ran(list(ids), [value] * len(ids), times, times, [0] * len(ids))
    return m.Done(0, "life", "fit", times, ran)


def test_calls_that_are_alike_are_submitted_in_columns():
    [submit] = submissions(TASKS)
    assert (submit.tasks, len(submit.alike)) == ([], 1)
    assert submit.one_by_one() == TASKS
    assert (submit.count, submit.ids(), list(submit.functions())) == (10, IDS, [FIT])
    assert submit.size() == sum(each.size() for each in TASKS)
    assert submit.alike[0].cut(2, 5).tasks() == TASKS[2:5]


OTHERS = [
    {"buffers": (m.Buffer(b"x"),)},
    {"engine": 0},
    {"targets": (0,)},
    {"terms": m.Terms()},
    {"chunk": m.Chunk(0, 1, 1, (1,))},
    {"label": "x" * m.LONGEST},
]


def test_there_is_another_call_for_each_field_that_columns_lack():
    fields = set(m.Task.__struct_fields__) - set(m.Alike.__struct_fields__) - {"id"}
    assert {name for other in OTHERS for name in other} >= fields


@pytest.mark.parametrize("other", OTHERS)
def test_a_call_that_asks_for_more_is_submitted_as_it_is(other):
    tasks = [*TASKS[:5], m.Task("ann-5", FIT, b"", **other), *TASKS[6:]]
    first, second = submissions(tasks)
    assert (first.tasks, second.tasks) == ([], tasks[5:6])
    assert first.one_by_one() + second.one_by_one() == tasks
    assert list(submissions(tasks[5:7])) == [m.Submit(0, tasks[5:7])]


def test_several_functions_in_turn_are_several_columns():
    others = [task(f"bob-{i}", name="g") for i in range(FEWEST)]
    [submit] = submissions([*others[:1], *TASKS, *others, *TASKS[:FEWEST]])
    assert submit.tasks == others[:1]
    assert list(map(len, submit.alike)) == [10, FEWEST, FEWEST]
    few, last = submissions([*TASKS, *others[1:]])
    assert (len(few.alike), last.tasks, last.alike) == (1, others[1:], [])


@pytest.mark.parametrize("columns", [("", "", []), ("x" * 101, "y" * 100, ["ann-1"])])
def test_columns_of_nothing_or_with_a_long_name_are_none(columns):
    name, label, ids = columns
    with pytest.raises(ValueError, match="columns of no tasks, or with a long name"):
        m.Alike(FIT, name, label, 0, ids, [b""] * len(ids), [1.0] * len(ids))


def test_results_that_are_alike_are_told_in_columns():
    columns = in_columns(m.Results(4, RESULTS))
    assert (columns.seq, columns.results) == (4, [])
    assert columns.one_by_one() == RESULTS
    assert columns.size() == m.Results(4, RESULTS).size()


MORE = [
    {"status": "error"},
    {"attempt": 2},
    {"buffers": (m.Buffer(b"x"),)},
    {"items": 1},
    {"running": 1},
    {"stage": 1},
    {"changes": 1},
    {"reason": "why"},
]


def test_there_is_another_result_for_each_field_that_columns_lack():
    fields = set(m.Result.__struct_fields__) - {"id", "value", "started", "completed", "outputs"}
    assert {name for other in MORE for name in other} == fields


@pytest.mark.parametrize("other", MORE)
def test_a_result_with_more_to_say_leaves_all_as_they_are(other):
    fields = {"id": "ann-5", "attempt": 1, "status": "ok", "value": b"", **other}
    results = m.Results(1, [*RESULTS[:5], m.Result(**fields)])
    assert in_columns(results) is results


def test_work_is_done_in_the_order_of_its_numbers():
    row = m.Row(2, FIT, "fit", False, 0, ["b", "c"], [b"", b""])
    run = m.Run([m.Attempt(1, "a", 1, FIT, b""), m.Attempt(4, "d", 1, FIT, b"")], [row])
    assert [(a.n, a.id, a.attempt, a.final) for a in run.one_by_one()] == [
        (1, "a", 1, True), (2, "b", 1, False), (3, "c", 1, False), (4, "d", 1, True),
    ]  # fmt: skip


# --- at a client --------------------------------------------------------------------------------


@pytest.fixture
def client():
    """One that has submitted ten tasks."""
    client = Client(b"me", host="h", pid=1, version="0", python="3")
    client.handle(e.Opened("tasks"), 0.0)
    hear(client, m.Welcome("c", "c1", 0, 1 << 20, session=1))
    client.handle(e.Submitted(TASKS, {FIT: b"blob"}), 0.0)
    return client


def hear(client, message):
    """What it makes of this."""
    return client.handle(e.Received("tasks", "controller", message), 0.0)


def told(effects):
    """The tasks whose outcomes are new."""
    return [o.id for effect in effects if isinstance(effect, e.Delivered) for o in effect.outcomes]


def test_outcomes_in_columns_are_told_once(client):
    assert told(hear(client, m.Deliver(1, done=[done(IDS[:6])]))) == IDS[:6]
    assert told(hear(client, m.Deliver(2, done=[done([*IDS[4:8], "bob-1"])]))) == IDS[6:8]
    assert client.functions == {FIT: b"blob"}
    assert told(hear(client, m.Deliver(3, done=[done(IDS[8:]), done([])]))) == IDS[8:]
    assert client.functions == client.needed == client.outstanding == {}


def test_what_was_asked_for_counts_as_watched_no_more(client):
    client.handle(e.Asked(m.Query(1, "fetch", ["bob-1"])), 0.0)
    assert told(hear(client, m.Deliver(1, done=[done(["ann-0", "bob-1"])]))) == ["ann-0", "bob-1"]
    assert not client.watched


def test_of_columns_that_were_not_accepted_only_what_is_not_done_is_submitted_again(client):
    hear(client, m.Deliver(1, done=[done(IDS[:6])]))
    client.handle(e.Closed("tasks"), 0.0)
    client.handle(e.Opened("tasks"), 0.0)
    said = hear(client, m.Welcome("new", "c1", 0, 1 << 20, session=1, journal="j", since=1.0))
    submits = [each.message for each in said if isinstance(each, e.Send)]
    assert [s.ids() for s in submits if isinstance(s, m.Submit)] == [IDS[6:]]


# --- at a controller ----------------------------------------------------------------------------


def test_what_expires_is_what_is_large():
    session = Session(1, b"ann", "ann", "client")
    large = sessions.SLIM + 1
    session.due.extend([done(["a", "b"]), done(["c", "d"], bytes(large)), m.Outcome("e", "ok")])
    session.pump([])
    before = session.due_bytes
    assert session.expire(1) == 1
    (slim,) = [o for o in session.owed() if o.status == "expired"]
    assert slim.id == "c"
    assert session.due_bytes == sum(o.size() for o in session.owed()) < before
    assert [o.id for o in session.owed()] == list("abcde")
    assert len(session.due) == session.counted


def test_a_controller_that_starts_again_knows_what_was_written_in_columns():
    hand = Durable(hwm=AUTO)
    hand.brief()
    ids = [f"ann-{i}" for i in range(400)]
    hand.submit("ann", *map(task, ids))
    hand.result("engine", *[m.Result(id, 1, "ok", id.encode()) for id in ids[:6]], seq=1)
    assert hand.core.work.tasks.bundled
    states = {record.spec.id: record.state for record in hand.core.work.tasks.look()}
    assert {states[id] for id in ids} == {"done", "sent", "waiting"}
    after = Durable(hand.turns, hwm=AUTO).core.work
    assert {id: after.tasks[id].state for id in ids} == states
    assert [after.tasks[id].outcome.value for id in ids[:6]] == [id.encode() for id in ids[:6]]
