"""What is typed at a console of an engine takes its turn among the attempts."""

from signal import SIGINT

import pytest

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.engine import Engine

LIFE = b"i" * 16


@pytest.fixture
def engine():
    made = Engine(b"p" * 16, LIFE, host="h", pid=1, version="0", python="3")
    for lane in ("tasks", "control"):
        made.handle(e.Opened(lane), 0.0)
        hear(made, m.Welcome("c", 0, incarnation=LIFE), lane)
    hear(made, m.Define(b"f", b"blob"))
    return made


def hear(engine, message, lane="tasks"):
    return engine.handle(e.Received(lane, "controller", message), 0.0)


def run(engine, *numbers):
    return hear(engine, m.Run([m.Attempt(n, f"t{n}", 1, b"f", b"") for n in numbers]))


def typed(engine, number):
    return engine.handle(e.Typed(number), 0.0)


def finish(engine):
    current = engine.current
    return engine.handle(e.Finished(m.Result(current.id, current.attempt, "ok", b"")), 0.0)


def leave(engine):
    return engine.handle(e.TypedEnded(), 0.0)


def started(effects):
    return [
        x.attempt.id if isinstance(x, e.Start) else x.number
        for x in effects
        if isinstance(x, e.Start | e.RunTyped)
    ]


def test_it_runs_at_once_when_there_is_nothing_to_do(engine):
    assert started(typed(engine, 1)) == [1]
    assert started(typed(engine, 2)) == []
    assert started(leave(engine)) == [2]
    assert started(leave(engine)) == []


def test_it_waits_for_what_came_before_and_what_comes_later_waits_for_it(engine):
    assert started(run(engine, 1, 2)) == ["t1"]
    assert started(typed(engine, 1)) == []
    assert started(run(engine, 3)) == []
    assert started(finish(engine)) == ["t2"]
    assert started(finish(engine)) == [1]
    assert started(leave(engine)) == ["t3"]


def test_what_was_aborted_is_not_waited_for(engine):
    run(engine, 1, 2)
    typed(engine, 1)
    hear(engine, m.Abort(["t2"], numbers=[2]), "control")
    assert started(finish(engine)) == [1]


def test_a_result_does_not_wait_for_what_was_typed(engine):
    run(engine, 1)
    typed(engine, 1)
    effects = finish(engine)
    sent = [x.message for x in effects if isinstance(x, e.Send)]
    assert [type(message) for message in sent] == [m.Results]
    assert started(effects) == [1]


def test_a_held_result_is_told_before_what_was_typed_runs(engine):
    run(engine, 1, 2)
    typed(engine, 1)
    first, second = finish(engine), finish(engine)
    told = [x.message for x in [*first, *second] if isinstance(x, e.Send)]
    assert [r.id for message in told for r in message.results] == ["t1", "t2"]


def test_sigint_interrupts_it(engine):
    typed(engine, 7)
    assert hear(engine, m.Signal(SIGINT), "control") == [e.Interrupt("", 7)]
    leave(engine)
    assert hear(engine, m.Signal(SIGINT), "control") == []


def test_clearing_waits_for_it(engine):
    typed(engine, 1)
    assert hear(engine, m.Clear(count=1, life=engine.name), "control") == []
    assert leave(engine) == [e.ClearNamespace()]
