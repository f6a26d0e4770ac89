"""Queries look at few tasks where that can be helped, and find the same as from all of them."""

from __future__ import annotations

import pytest

from enginery.core import messages as m
from enginery.core.database import checked, matches
from enginery.core.history import BLOCK, RECENT
from enginery.core.queries import document
from enginery.core.search import candidates

from .hand_controller import Hand, task

N = 4 * BLOCK


@pytest.fixture(scope="module")
def hand() -> Hand:
    """Packed tasks of two labels, one of which has failed; and some that have not ended."""
    hand = Hand(hwm=0)
    hand.engine("engine")
    hand.client("ann")
    for i in range(RECENT + N):
        label = "early" if i < N // 2 else "late"
        hand.submit("ann", task(f"ann-{i}", label=label, submitted=float(i), name=f"f{i % 2}"))
        status = "error" if i == 7 else "ok"
        hand.result("engine", m.Result(f"ann-{i}", 1, status, b"", completed=float(i)), seq=i + 1)
    hand.submit("ann", *(task(f"ann-9000{i}", label="open") for i in range(3)))
    assert hand.core.work.history.archive.count >= 3 * BLOCK
    return hand


@pytest.mark.parametrize(
    ("where", "most"),
    [
        ({}, RECENT + N + 3),
        ({"label": "early"}, RECENT + N),
        ({"label": "nosuch"}, RECENT + 2 * BLOCK),
        ({"status": "error"}, RECENT + 3 * BLOCK),
        ({"state": "done", "status": {"$ne": "ok"}}, RECENT + 3 * BLOCK),
        ({"state": {"$ne": "done"}}, RECENT + 2 * BLOCK),
        ({"state": {"$in": ["waiting", "sent"]}, "label": "open"}, RECENT + 2 * BLOCK),
        ({"msg_id": "ann-5"}, 1),
        ({"msg_id": {"$in": ["ann-900", "ann-5", "ann-5", "nosuch"]}}, 2),
        ({"submitted": {"$lt": 3.0}}, RECENT + 3 * BLOCK),
        ({"name": "f1", "submitted": {"$gt": 1e9}}, RECENT + 2 * BLOCK),
        ({"priority": 0.0, "reason": ""}, RECENT + N + 3),
        ({"priority": 5.0}, RECENT + 2 * BLOCK),
        ({"client": "ann", "engine_id": 0}, RECENT + N + 3),
    ],
)
def test_all_that_is_meant_is_among_the_candidates(hand: Hand, where: dict, most: int) -> None:
    tasks, wanted = hand.core.work.tasks, checked(where)
    looked_at = list(candidates(tasks, wanted))
    found = [id for id, record in looked_at if matches(document(record), wanted)]
    expected = [id for id, record in tasks.items() if matches(document(record), wanted)]
    assert found == expected
    assert len(looked_at) <= most


def test_names(hand: Hand) -> None:
    query = m.Query(1, "names", keys=["label"])
    [reply] = hand.say("ann/control", query)
    assert reply.value == ["early", "late", "open"]


@pytest.mark.parametrize("what", ["database", "counts"])
@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"msg_id": 5}, []),
        ({"msg_id": None}, []),
        ({"msg_id": {"$in": [None, 5, ["ann-5"], {"a": 1}, "ann-5"]}}, ["ann-5"]),
        ({"msg_id": {"$eq": "ann-5", "$in": [None]}}, []),
        ({"engine_id": {"$in": [None, [0]]}}, []),
        ({"msg_id": "x-" + 5000 * "9"}, []),
    ],
)
def test_any_operand_is_answered(hand: Hand, what: str, where: dict, found: list[str]) -> None:
    [reply] = hand.say("ann/control", m.Query(1, what, where=where, keys=["msg_id"]))
    assert type(reply) is m.Reply
    if what == "database":
        assert [told["msg_id"] for told in reply.value] == found


@pytest.mark.parametrize("operand", [["ann-5", "ann-6"], [], {"$eq": ["ann-5"]}])
def test_one_value_is_no_list(hand: Hand, operand: object) -> None:
    [reply] = hand.say("ann/control", m.Query(1, "database", where={"msg_id": operand}))
    assert type(reply) is m.Refused
    assert reply.error == "QueryError"
    assert '{"$in": [...]}' in reply.reason


@pytest.mark.parametrize("there", [True, False])
def test_the_first_engine_is_one(there: bool) -> None:
    wanted = checked({"engine_id": {"$exists": there}})
    found = [id for id in (-1, 0, 7) if matches({"engine_id": id}, wanted)]
    assert found == ([0, 7] if there else [-1])


def test_a_value_is_compared_with_each_operand_once() -> None:
    wanted = checked(
        {
            "engine_id": {"$in": [1, 1.0, True, 2, [3]], "$nin": 5 * [-5]},
            "attempt": {"$all": [1, 1, 2, 3]},
        }
    )
    assert wanted == {
        "engine_id": {"$in": {1, 2}, "$nin": {-5}},
        "attempt": {"$all": [1, 2]},
    }
    assert matches({"engine_id": 2, "attempt": 1}, {"engine_id": wanted["engine_id"]})


@pytest.mark.parametrize("operand", [["x"] * 1_000_000, "x*" * 600])
def test_a_refusal_is_short(operand: object) -> None:
    with pytest.raises(LookupError) as refused:
        checked({"name": {"$glob": operand}})
    assert len(str(refused.value)) < 200


def test_a_story_is_told_once(hand: Hand) -> None:
    once, often = (
        hand.say("ann/control", m.Query(1, "story", ids=["ann-5"] * n))[0].value for n in (1, 100)
    )
    assert once == often
