"""Tasks that the controller has forgotten: the database is asked, and what it says is told."""

from __future__ import annotations

import pytest

from enginery.core import messages as m
from enginery.core.events import (
    Consult,
    Consulted,
    DatabaseClosed,
    DatabaseOpened,
    Question,
    Received,
    Send,
)
from enginery.core.past import PATIENCE
from enginery.core.sessions import OF_ONE, OPEN

from .hand_controller import FIT, Hand, secret, task

ANN = secret("ann")


def document(id, **fields):
    """What a database tells of a task."""
    known = {"msg_id": id, "status": "ok", "state": "done", "attempt": 1, "submitted": 5.0}
    return {**known, "completed": 6.0, "name": "old", "label": "", "items": [], **fields}


class Asking(Hand):
    """Effects that ask the database go to `asked`."""

    def __init__(self, **limits):
        super().__init__(**limits)
        self.asked = []
        self.forgets = False

    def all(self, event):
        """What is said, as (connection, message); questions are put aside."""
        effects = self.core.handle(event, self.now)
        self.asked += [effect for effect in effects if isinstance(effect, Consult)]
        return [(e.conn, e.message) for e in effects if isinstance(e, Send)]

    def ask(self, what, *, number=7, who="ann", role="client", message=None, **fields):
        """A client asks; gives what it is told at once."""
        query = message or m.Query(number, what, **fields)
        return [told for _, told in self.all(Received(f"{who}/control", role, query))]

    def answer(self, value, reason="", number=None):
        """The database answers the last question; gives what the client is told."""
        number = self.asked[-1].number if number is None else number
        return [told for _, told in self.all(Consulted(number, value, reason))]

    @property
    def question(self) -> Question:
        """The last one."""
        return self.asked[-1].question


@pytest.fixture
def hand():
    """Ann's tasks t-1 and t-2 have ended; only t-2 is remembered."""
    hand = Asking(record_limit=1)
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", task("t-1"), task("t-2"))
    done = [m.Result(f"t-{n}", 1, "ok", b"v") for n in (1, 2)]
    hand.result("engine", done[0], seq=1)
    hand.wait(10.0)
    hand.result("engine", done[1], seq=2)
    hand.handle(DatabaseOpened(False))
    assert "t-1" not in hand.core.work.tasks
    return hand


def test_what_is_found_is_told_before_what_is_remembered(hand):
    assert hand.ask("database", keys=["msg_id"]) == []
    assert hand.question.what == "find"
    assert hand.question.keys == ["msg_id"]
    assert 0.0 < hand.question.before < hand.now  # what ended later is remembered
    told = hand.answer([(0.0, "t-1", {"msg_id": "t-1"}), (1.0, "t-2", {"msg_id": "wrong"})])
    assert told == [m.Reply(7, [{"msg_id": "t-1"}, {"msg_id": "t-2"}])]


def test_the_items_of_a_map_are_asked_for_as_any_key(hand):
    assert hand.ask("database", keys=["msg_id", "items"]) == []
    assert hand.question.keys == ["msg_id", "items"]
    told = hand.answer([(0.0, "t-1", {"msg_id": "t-1", "items": [0, 5]})])
    both = [{"msg_id": "t-1", "items": [0, 5]}, {"msg_id": "t-2", "items": []}]
    assert told == [m.Reply(7, both)]


@pytest.mark.parametrize(
    ("what", "keys", "why"),
    [
        ("database", ["msg_id", "engine_uuid"], "tasks have no key 'engine_uuid'; there are attem"),
        ("names", ["items"], "names are those of one key: label or name"),
        ("names", ["name", "label"], "names are those of one key: label or name"),
    ],
)
def test_a_key_that_there_is_not_is_told_without_asking(hand, what, keys, why):
    [refused] = hand.ask(what, keys=keys)
    assert (type(refused), refused.error) == (m.Refused, "QueryError")
    assert refused.reason.startswith(why)
    assert hand.asked == []


def test_a_history_is_both(hand):
    hand.ask("history")
    assert hand.answer([(0.0, "t-1", {})]) == [m.Reply(7, ["t-1", "t-2"])]


def test_counts_are_of_both(hand):
    hand.ask("counts")
    [reply] = hand.answer([(0.0, "t-1", document("t-1", status="error", attempt=2))])
    assert reply.value["states"] == {"ok": 1, "error": 1}
    assert (reply.value["retried"], reply.value["submitted"]) == (1, 0.0)


def test_names_are_of_both(hand):
    hand.ask("names", keys=["name"])
    assert hand.question.what == "names"
    assert hand.answer(["old"]) == [m.Reply(7, ["", "old"])]


def test_a_named_task_is_looked_for_only_when_it_is_not_remembered(hand):
    [known] = hand.ask("tasks", ids=["t-2"])
    assert set(known.value) == {"t-2"}
    assert hand.asked == []
    assert hand.ask("tasks", ids=["t-2", "t-1"]) == []
    assert hand.question.ids == ["t-1"]
    [reply] = hand.answer([(0.0, "t-1", document("t-1"))])
    assert list(reply.value) == ["t-2", "t-1"]
    assert reply.value["t-1"]["name"] == "old"


def test_a_story_is_told(hand):
    hand.ask("story", ids=["t-1"])
    assert hand.question.what == "stories"
    assert hand.answer({"t-1": [(1.0, "ok", 0)]}) == [m.Reply(7, [[1.0, "ok", 0]])]


def test_a_result_is_delivered_to_who_asks(hand):
    hand.client("bob")
    assert hand.ask("fetch", who="bob", ids=["t-1", "t-2", "t-9"], number=3) == []
    assert hand.question.ids == ["t-1", "t-9"]
    old = m.Outcome("t-1", "ok", b"v")
    reply, deliver = sorted(hand.answer(([old], {})), key=lambda told: type(told) is m.Deliver)
    assert reply == m.Reply(3, {"unknown": ["t-9"]})
    assert [outcome.id for outcome in deliver.outcomes] == ["t-1", "t-2"]
    assert hand.ask("fetch", who="bob", ids=["t-1"], number=3) == [reply]  # it was answered before


def test_which_items_a_chunk_has_is_not_for_others(hand):
    hand.submit("ann", m.Task("t-3", FIT, b"01", chunk=m.Chunk(0, 2, 2, (2,))))
    hand.client("bob", role="task", define=False)
    assert hand.ask("fetch", who="bob", role="task", ids=["t-3", "t-1"]) == []
    assert hand.answer(([], {})) == [m.Reply(7, {"unknown": ["t-3", "t-1"]})]


def test_what_nobody_knows_is_said(hand):
    hand.ask("tasks", ids=["t-1"])
    [refused] = hand.answer([])
    assert (refused.error, refused.number) == ("UnknownTask", 7)


def test_what_the_database_refuses_is_told(hand):
    hand.ask("database")
    assert hand.answer(None, "too much") == [m.Refused("too much", "QueryError", 7)]


def test_without_an_answer_what_is_remembered_is_told(hand):
    hand.ask("history")
    assert hand.core.deadline() == hand.now + PATIENCE
    hand.now += PATIENCE
    assert [told for _, told in hand.handle(Consulted(99, []))] == [m.Reply(7, ["t-2"])]
    assert hand.answer([(0.0, "t-1", {})]) == []  # too late
    hand.ask("history", number=8)
    assert [told for _, told in hand.all(DatabaseClosed())] == [m.Reply(8, ["t-2"])]
    assert hand.ask("history", number=9) == [m.Reply(9, ["t-2"])]


def test_nothing_is_asked_where_everything_is_remembered():
    hand = Asking()
    hand.client("ann")
    hand.handle(DatabaseOpened(False))
    assert hand.ask("history") == [m.Reply(7, [])]
    hand.handle(DatabaseOpened(True))  # it knows of earlier lives
    assert hand.ask("history") == []


def test_nothing_is_asked_about_tasks_that_have_not_ended(hand):
    assert hand.ask("database", where={"state": {"$ne": "done"}}) == [m.Reply(7, [])]
    [refused] = hand.ask("database", where={"nonsense": 1})
    assert isinstance(refused, m.Refused)
    assert hand.asked == []


@pytest.mark.parametrize(("role", "owner"), [("task", secret("bob")), ("monitor", b"")])
def test_a_role_limits_what_the_database_is_asked(hand, role, owner):
    hand.client("bob", role=role, define=False)
    hand.ask("database", who="bob", role=role)
    assert hand.question.owner == owner


def test_a_monitor_fetches_no_result(hand):
    hand.client("eve", role="monitor", define=False)
    assert hand.ask("fetch", who="eve", role="monitor", ids=["t-1"]) == [
        m.Reply(7, {"unknown": ["t-1"]})
    ]
    assert hand.asked == []


def test_a_question_that_comes_twice_is_asked_once(hand):
    hand.ask("history")
    hand.ask("history")
    assert len(hand.asked) == 1


def test_there_is_a_limit_for_each_client_and_for_all(hand):
    for number in range(OF_ONE):
        assert hand.ask("history", number=number + 1) == []
    [refused] = hand.ask("history", number=OF_ONE + 1)
    assert refused.reason.startswith(f"the database is being asked {OF_ONE} questions of this cli")
    for i in range(OF_ONE, OPEN):
        who = f"other {i // OF_ONE}"
        if i % OF_ONE == 0:
            hand.client(who)
        assert hand.ask("history", who=who, number=i) == []
    hand.client("bob")
    [refused] = hand.ask("history", who="bob")
    assert (
        refused.reason == f"the database is being asked {OPEN} questions already; ask again later"
    )
    hand.answer([], number=hand.asked[0].number)
    assert hand.ask("history", number=OF_ONE + 1) == []


def test_purging_reaches_both(hand):
    assert hand.ask("", message=m.Purge(["t-2", "t-1"], number=5)) == []
    assert (hand.question.what, hand.question.ids) == ("purge", ["t-1"])
    assert not hand.core.work.tasks
    assert hand.answer(["t-1"]) == [m.Reply(5)]
    hand.ask("", message=m.Purge(every=True, number=6))
    assert (hand.question.ids, hand.question.engines) == (None, None)
    assert hand.answer([]) == [m.Reply(6)]
    hand.ask("", message=m.Purge(["t-9"], number=7))
    [refused] = hand.answer([])
    assert (refused.error, refused.number) == ("UnknownTask", 7)
    hand.ask("", message=m.Purge(engines=[0], number=8))
    assert hand.question.engines == [0]
    [refused] = [told for _, told in hand.all(DatabaseClosed())]
    assert "does not answer" in refused.reason
