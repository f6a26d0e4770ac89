"""Questions that the controller puts to engines for a client, and collects the answers of."""

import pytest

from enginery.core import messages as m
from enginery.core.inquiries import ANSWERS, PATIENCE
from enginery.core.roles import MAY_ASK_ENGINES
from enginery.core.sessions import OF_ONE, OPEN

from .hand_controller import Hand, task


@pytest.fixture
def hand():
    hand = Hand()
    hand.engine("engine a")
    hand.engine("engine b")
    hand.client("ann")
    hand.wait(1.0)  # who is there has been told of the engines
    return hand


def ask(hand, what="stacks", *, number=7, engines=(), who="ann", role="client"):
    query = m.Query(number, what, engines=list(engines))
    return hand.say_all(f"{who}/control", query, role)


def reply(hand, engine, number, value):
    return hand.say_all(f"{engine}/control", m.Reply(number, value), "engine")


def test_who_asks_gets_one_answer_when_all_have_given_theirs(hand):
    asked = ask(hand)
    assert [(to, q.what) for to, q in asked] == [
        ("engine a/control", "stacks"),
        ("engine b/control", "stacks"),
    ]
    number = asked[0][1].number
    assert reply(hand, "engine b", number, "B") == []
    assert reply(hand, "engine b", number, "twice") == []
    told = m.Reply(7, {"answers": {1: "B", 0: "A"}, "silent": []})
    assert reply(hand, "engine a", number, "A") == [("ann/control", told)]
    assert reply(hand, "engine a", number, "late") == []


def test_who_has_not_answered_in_time_is_named(hand):
    number = ask(hand)[0][1].number
    reply(hand, "engine a", number, "A")
    assert hand.core.deadline() == hand.now + PATIENCE["stacks"]
    told = m.Reply(7, {"answers": {0: "A"}, "silent": [1]})
    assert hand.wait(PATIENCE["stacks"]) == [("ann/control", told)]
    assert hand.core.deadline() is None


def test_an_engine_that_is_lost_is_not_waited_for(hand):
    number = ask(hand)[0][1].number
    reply(hand, "engine a", number, "A")
    said = hand.say_all("engine b/control", m.Goodbye("stopped"), "engine")
    assert ("ann/control", m.Reply(7, {"answers": {0: "A"}, "silent": []})) in said


def test_one_engine_may_be_asked(hand):
    assert [to for to, _ in ask(hand, engines=[1])] == ["engine b/control"]
    [(to, refused)] = ask(hand, engines=[5], number=8)
    assert (to, refused.error, refused.number) == ("ann/control", "NoEnginesRegistered", 8)


def test_no_engine_is_an_answer_too():
    hand = Hand()
    hand.client("ann")
    assert ask(hand) == [("ann/control", m.Reply(7, {"answers": {}, "silent": []}))]


def test_what_is_asked_again_on_a_new_connection_is_asked_once(hand):
    number = ask(hand)[0][1].number
    assert ask(hand) == []
    reply(hand, "engine a", number, "A")
    assert len(reply(hand, "engine b", number, "B")) == 1


def test_there_is_a_limit_for_each_client_and_for_all(hand):
    first = ask(hand, number=1)[0][1].number
    for number in range(1, OF_ONE):
        ask(hand, number=number + 1)
    [(_, refused)] = ask(hand, number=OF_ONE + 1)
    assert refused.reason.startswith(f"{OF_ONE} questions of this client are being put to engines")
    for i in range(OF_ONE, OPEN):
        who = f"other {i // OF_ONE}"
        if i % OF_ONE == 0:
            hand.client(who, define=False)
        assert len(ask(hand, number=i, who=who)) == 2
    hand.client("bob", define=False)
    [(_, refused)] = ask(hand, who="bob")
    assert refused.reason == f"{OPEN} questions are being put to engines already; ask again later"
    reply(hand, "engine a", first, "A")
    reply(hand, "engine b", first, "B")
    assert len(ask(hand, number=OF_ONE + 1)) == 2


@pytest.mark.parametrize("what", sorted(ANSWERS))
@pytest.mark.parametrize("role", ["client", "task", "monitor"])
def test_only_some_may_ask(hand, what, role):
    hand.client("bob", role, define=False)
    said = ask(hand, what, who="bob", role=role)
    if role in MAY_ASK_ENGINES[what]:
        assert [q.what for _, q in said] == [what, what]
    else:
        [(to, refused)] = said
        assert (to, refused.error, refused.number) == ("bob/control", "NotAllowedError", 7)


def test_the_rest_goes_on_meanwhile(hand):
    ask(hand)
    said = hand.submit("ann", task("ann-1"))
    assert any(isinstance(message, m.Run) for _, message in said)
