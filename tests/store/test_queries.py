"""A query finds in each database what it finds in memory."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from enginery.controller.store.answers import ORDER, Answers
from enginery.controller.store.database import Database
from enginery.controller.store.rows import BLANK, Row
from enginery.controller.store.schema import journals, tasks
from enginery.controller.store.sql import TEXTS, WHOLE
from enginery.core import database as language
from enginery.core.events import Question

TEXT = st.text(
    st.one_of(st.sampled_from("ab%_\\*?[]!-^'\"é\ud7ff\ue000\U0001f600\U0010ffff"), st.characters(
        exclude_categories=["Cs"], exclude_characters="\0"
    )), max_size=4,
)  # fmt: skip
WHOLES = st.integers(-3, 9)
FLOATS = st.sampled_from([0.0, -1.5, 0.1, 1.0, 2.0, 1700000000.123456, 1e300])
ANYTHING = st.one_of(
    TEXT, TEXT.map(lambda t: t + "\0" + t), WHOLES, FLOATS, st.booleans(), st.none(),
    st.just(float("nan")), st.just(float("inf")), st.integers(-(1 << 63), (1 << 64) - 1),
    st.binary(max_size=2), st.lists(WHOLES, max_size=2),
)  # fmt: skip
GLOB = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "[^a]", "%", "_", "é", "\\"]))


def value_of(key: str) -> st.SearchStrategy[Any]:
    """What may stand under this key."""
    return TEXT if key in TEXTS else WHOLES if key in WHOLE else FLOATS


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """A query that `checked` takes."""
    query: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(ORDER), max_size=2, unique=True)):
        operand = st.one_of(value_of(key), ANYTHING)
        operators: dict[str, Any] = {}
        for operator in draw(st.lists(st.sampled_from(sorted(language.OPERATORS)), max_size=2)):
            match operator:
                case "$in" | "$nin" | "$all":
                    operators[operator] = draw(st.lists(operand, max_size=3))
                case "$mod":
                    divisor = draw(st.integers(-4, 4).filter(bool))
                    operators[operator] = [divisor, draw(st.integers(-3, 3))]
                case "$glob":
                    operators[operator] = "".join(draw(GLOB))
                case "$eq":
                    operators[operator] = draw(operand.filter(lambda x: not isinstance(x, list)))
                case _:
                    operators[operator] = draw(operand)
        query[key] = operators
    return query


@st.composite
def documents(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Tasks that have ended, of all kinds."""
    found = []
    for number in range(draw(st.integers(0, 6))):
        told = {key: draw(value_of(key)) for key in ORDER}
        client = draw(TEXT)
        told |= {"client": client, "msg_id": f"{client}-{number}"}
        told |= {"status": draw(st.sampled_from(["ok", "é"]))}
        found.append(told)
    return found


def row_of(document: dict[str, Any], number: int) -> Row:
    """A row of the table."""
    return {**BLANK, **document, "accepted": float(number), "journal": 1}


def test_the_keys_of_both_are_the_same() -> None:
    assert set(ORDER) == language.KEYS


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(documents(), st.lists(conditions(), min_size=1, max_size=5))
def test_a_query_finds_what_it_finds_in_memory(
    database: Database, found: list[dict[str, Any]], queries: list[dict[str, Any]]
) -> None:
    with database.engine.begin() as connection:
        connection.execute(tasks.delete())
        connection.execute(journals.delete())
        fields = {"number": 1, "name": "j", "cluster": "c", "segment": 0, "record": 0}
        connection.execute(insert(journals).values(fields))
        if found:
            connection.execute(insert(tasks), [row_of(each, n) for n, each in enumerate(found)])
    answers = Answers(database, "c")
    for query in queries:
        where = language.checked(query)
        told = msgspec.msgpack.decode(answers.answer(Question("find", 0, where=where)))
        expected = [each["msg_id"] for each in found if language.matches(each, where)]
        assert {document["msg_id"]: document for _, _, document in told} == {
            each["msg_id"]: {**each, "items": []} for each in found if each["msg_id"] in expected
        }, where
