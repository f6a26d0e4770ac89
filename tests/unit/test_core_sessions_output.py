"""What is due to a client that does not read: bounded by bytes, in order, and said."""

import pytest

from enginery.core import messages as m
from enginery.core import sessions
from enginery.core.sessions import Session


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(sessions, "OUTPUT_DUE", 300)
    return Session(1, b"c" * 16, "c1", "client")


def output(number, id="t", attempt=1, stream="stdout", size=100):
    return m.Output(id, attempt, number, stream, "x" * size, 3)


def due(session):
    return [(o.number, o.stream) for o in session.due]


def leave(session, n):
    """So many go out."""
    for _ in range(n):
        session._leaves(session.due.popleft())


def test_what_is_too_much_is_told_in_one_place(session):
    for number in range(10):
        session.owe_output(output(number))
    assert due(session) == [(0, "stdout"), (1, "stdout"), (9, "dropped")]
    leave(session, 3)
    assert session.output_due == 0
    assert session.dropped == {}


def test_what_is_dropped_later_is_told_after_what_came_between(session):
    for number in range(4):
        session.owe_output(output(number))
    leave(session, 1)
    session.owe_output(output(4))
    session.owe_output(output(5))
    session.owe_output(output(6))
    assert due(session) == [(1, "stdout"), (3, "dropped"), (4, "stdout"), (6, "dropped")]
    assert [number for number, _ in due(session)] == sorted(n for n, _ in due(session))


def test_each_task_and_each_attempt_is_told_of_by_itself(session):
    for number in range(3):
        session.owe_output(output(number, id="a"))
    session.owe_output(output(0, id="b"))
    session.owe_output(output(3, id="a", attempt=2))
    assert [(o.id, o.attempt) for o in session.due if o.stream == "dropped"] == [
        ("a", 1), ("b", 1), ("a", 2),
    ]  # fmt: skip


def test_notices_are_bounded_too(session):
    for n in range(1000):
        session.owe_output(output(0, id=f"t{n}"))
    assert session.output_due <= 2 * sessions.OUTPUT_DUE + 300
    assert len(session.due) < 10


def test_how_far_a_task_is_is_dropped_in_silence(session):
    session.owe_output(output(0, size=1000))
    session.owe_output(output(-1, stream="progress"))
    assert due(session) == [(0, "stdout")]
