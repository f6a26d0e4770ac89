"""An engine's machine: what it starts, in which order, and what it keeps until it is told."""

from signal import SIGINT, SIGTERM

import pytest

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.engine import HELD_BYTES, HOLD, OVERDUE, RESTART, STOPPED, Engine
from enginery.core.names import life_name
from enginery.error import MemoryUnavailable

LIFE = b"i" * 16


@pytest.fixture
def engine():
    made = Engine(b"p" * 16, LIFE, host="h", pid=1, version="0", python="3")
    for lane in ("tasks", "control"):
        made.handle(e.Opened(lane), 0.0)
        hear(made, welcome(made), lane)
    hear(made, m.Define(b"f", b"blob"))
    return made


def welcome(engine):
    return m.Welcome("c", 0, incarnation=engine.incarnation)


def hear(engine, message, lane="tasks"):
    return engine.handle(e.Received(lane, "controller", message), 0.0)


def attempt(n, id="", function=b"f", **fields):
    return m.Attempt(n, id or f"t{n}", 1, function, b"", **fields)


def finish(engine, status="ok", now=0.0):
    run = engine.current
    return engine.handle(e.Finished(m.Result(run.id, run.attempt, status, b"")), now)


def started(effects):
    return [effect.attempt.id for effect in effects if isinstance(effect, e.Start)]


def told(effects, kind=m.Message):
    return [x.message for x in effects if isinstance(x, e.Send) and isinstance(x.message, kind)]


def results(effects):
    return [(r.id, r.status) for message in told(effects, m.Results) for r in message.results]


def test_says_hello_on_each_lane_with_how_far_it_has_got(engine):
    hear(engine, m.Run([attempt(1), attempt(2)]))
    (hello,) = told(engine.handle(e.Opened("tasks"), 0.0))
    assert (hello.kind, hello.lane, hello.seen, hello.incarnation) == ("engine", "tasks", 2, LIFE)


def test_runs_one_at_a_time_in_the_order_of_arrival(engine):
    assert started(hear(engine, m.Run([attempt(1), attempt(2)]))) == ["t1"]
    assert started(hear(engine, m.Run([attempt(3)]))) == []
    assert started(finish(engine)) == ["t2"]
    assert started(finish(engine)) == ["t3"]


def test_what_arrives_again_is_not_run_again(engine):
    hear(engine, m.Run([attempt(1)]))
    assert started(hear(engine, m.Run([attempt(1), attempt(2)]))) == []
    assert started(finish(engine)) == ["t2"]
    assert not engine.queue


def test_the_number_of_a_dropped_attempt_is_not_waited_for(engine):
    assert started(hear(engine, m.Run([attempt(2)]))) == ["t2"]


def test_a_result_is_kept_until_it_is_acked(engine):
    hear(engine, m.Run([attempt(1)]))
    assert results(finish(engine)) == [("t1", "ok")]
    engine.handle(e.Closed("tasks"), 0.0)
    engine.handle(e.Opened("tasks"), 0.0)
    assert results(hear(engine, welcome(engine))) == [("t1", "ok")]
    hear(engine, m.Acked(1, engine.name))
    assert results(hear(engine, welcome(engine))) == []


def test_a_controller_that_was_started_again_is_told_which_recoveries_it_had(engine):
    hear(engine, m.Run([attempt(1), attempt(2, stage=1), attempt(3, stage=2)]))
    finish(engine)
    said = hear(engine, m.Welcome("d", 0, incarnation=engine.incarnation, asks=True))
    (holds,) = [word for word in told(said) if isinstance(word, m.Holds)]
    stages = {id: stage for _, id, _, _, stage in holds.attempts}
    assert stages == {"t1": 0, "t2": 1, "t3": 2}


def test_a_controller_that_asks_is_told_what_has_arrived_not_what_may_have_been_sent(engine):
    hear(engine, m.Run([attempt(1)]))
    after = m.Welcome("d", 0, incarnation=engine.incarnation, asks=True, after=1_000_000)
    [holds] = [word for word in told(hear(engine, after)) if isinstance(word, m.Holds)]
    assert holds.seen == 1


def test_a_result_is_not_said_into_a_broken_connection(engine):
    hear(engine, m.Run([attempt(1)]))
    engine.handle(e.Closed("tasks"), 0.0)
    assert results(finish(engine)) == []
    assert results(hear(engine, welcome(engine))) == [("t1", "ok")]


def test_a_lacking_function_is_asked_for_once_per_connection(engine):
    (need,) = told(hear(engine, m.Run([attempt(1, function=b"g"), attempt(2, function=b"g")])))
    assert need == m.Need((b"g",), 1)
    assert told(hear(engine, m.Run([attempt(3)]))) == []
    assert m.Need((b"g",), 1) in told(hear(engine, welcome(engine)))
    effects = hear(engine, m.Define(b"g", b"blob"))
    assert started(effects) == ["t1"]
    assert isinstance(effects[0], e.Load)


class Gone:
    """Memory that cannot be opened any more."""

    nbytes, reference = 100, None

    def view(self):
        raise MemoryUnavailable("it is gone")


def test_a_function_that_came_too_late_to_be_opened_is_asked_for_again(engine):
    gone = m.Define(b"g", b"blob", (m.Buffer(None, Gone()),))
    assert hear(engine, gone) == []
    assert m.Need((b"g",), 1) in told(hear(engine, m.Run([attempt(1, function=b"g")])))
    effects = hear(engine, gone)  # it cannot be had at all: that fails where it is used
    assert started(effects) == ["t1"]
    assert isinstance(effects[0], e.Load)


def test_the_oldest_functions_are_forgotten_but_not_those_at_work(engine, monkeypatch):
    monkeypatch.setattr("enginery.core.engine.FUNCTION_BYTES", 8)
    hear(engine, m.Run([attempt(1)]))
    hear(engine, m.Define(b"g", b"1234"))
    effects = hear(engine, m.Define(b"h", b"1234"))
    assert [x.hash for x in effects if isinstance(x, e.Forget)] == [b"g"]


# --- aborts ---------------------------------------------------------------------------------------


def test_an_abort_before_the_start_is_answered_at_once(engine):
    hear(engine, m.Run([attempt(1), attempt(2)]))
    effects = hear(engine, m.Abort(["t2"], numbers=[2]), "control")
    assert told(effects) == [m.Dropped(["t2"], [2])]
    assert started(finish(engine)) == []


def test_an_abort_may_overtake_the_work_it_is_about(engine):
    hear(engine, m.Abort(["t1"], numbers=[1]), "control")
    assert started(hear(engine, m.Run([attempt(1), attempt(2)]))) == ["t2"]


def test_an_abort_of_what_runs_needs_to_say_so(engine):
    hear(engine, m.Run([attempt(1)]))
    assert hear(engine, m.Abort(["t1"], numbers=[1]), "control") == []
    assert hear(engine, m.Abort(["t1"], True, numbers=[1]), "control") == [e.Interrupt("t1", 1)]
    assert results(finish(engine, "error")) == [("t1", "aborted")]


def test_who_is_interrupted_gently_may_go_on(engine):
    hear(engine, m.Run([attempt(1)]))
    gently = m.Abort(["t1"], running=True, numbers=[1], gently=True)
    assert hear(engine, gently, "control") == [e.Interrupt("t1", 1)]
    assert engine.deadline() is None
    assert hear(engine, m.Abort(["t1"], running=True, numbers=[1]), "control")
    assert engine.deadline() is not None
    assert results(finish(engine)) == [("t1", "ok")]


def test_an_interrupt_that_came_too_late_changes_nothing(engine):
    hear(engine, m.Run([attempt(1)]))
    hear(engine, m.Abort(["t1"], True, numbers=[1]), "control")
    assert results(finish(engine, "ok")) == [("t1", "ok")]


def test_sigint_interrupts_what_runs_and_other_signals_reach_the_process(engine):
    assert hear(engine, m.Signal(SIGINT), "control") == []
    hear(engine, m.Run([attempt(1)]))
    assert hear(engine, m.Signal(SIGINT), "control") == [e.Interrupt("t1", 1)]
    assert hear(engine, m.Signal(SIGTERM), "control") == [e.Kill(SIGTERM)]


def test_shutdown_and_restart_differ_by_the_exit_code(engine):
    assert [x.code for x in hear(engine, m.Shutdown(), "control")] == [STOPPED]
    assert [x.code for x in hear(engine, m.Shutdown(restart=True), "control")] == [RESTART]


def test_clearing_waits_for_the_running_task_and_happens_once(engine):
    assert hear(engine, m.Clear(count=1, life=engine.name), "control") == [e.ClearNamespace()]
    assert hear(engine, m.Clear(count=1, life=engine.name), "control") == []
    hear(engine, m.Run([attempt(1), attempt(2)]))
    assert hear(engine, m.Clear(count=2, life=engine.name), "control") == []
    effects = [x for x in finish(engine) if isinstance(x, e.ClearNamespace | e.Start)]
    assert [type(x) for x in effects] == [e.ClearNamespace, e.Start]


# --- a life is given up ---------------------------------------------------------------------------


def given_up(engine):
    return hear(engine, m.Again(given_up=engine.incarnation))


def test_who_was_given_up_comes_back_as_the_next_life_with_nothing_to_do(engine):
    hear(engine, m.Run([attempt(1), attempt(2)]))
    effects = given_up(engine)
    assert e.Interrupt("t1", 1) in effects
    hellos = told(effects, m.Hello)
    assert [h.lane for h in hellos] == ["tasks", "control"]
    assert {h.incarnation for h in hellos} == {engine.incarnation} != {LIFE}
    assert hellos[0].incarnation[:12] == LIFE[:12]
    assert started(finish(engine, "error")) == []
    assert not engine.unacked


def test_it_is_given_up_once_though_both_lanes_say_so(engine):
    given_up(engine)
    now = engine.incarnation
    assert hear(engine, m.Again(given_up=LIFE), "control") == []
    assert engine.incarnation == now


@pytest.mark.parametrize(
    "message",
    [
        m.Run([attempt(2)]),
        m.Abort(["t1"], numbers=[1]),
        m.Clear(count=1, life=life_name(LIFE)),
        m.Acked(1, life_name(LIFE)),
    ],
)
def test_what_is_meant_for_the_former_life_is_not_heard(engine, message):
    hear(engine, m.Run([attempt(1)]))
    finish(engine)
    given_up(engine)
    assert hear(engine, m.Welcome("c", 0, incarnation=LIFE)) == []
    assert hear(engine, message) == []
    hear(engine, welcome(engine))
    assert started(hear(engine, m.Run([attempt(3)]))) == ["t3"]


def test_nor_when_it_is_read_after_the_welcome(engine):
    hear(engine, m.Run([attempt(1)]))
    finish(engine)
    given_up(engine)
    for lane in ("tasks", "control"):
        hear(engine, m.Welcome("c", 0, incarnation=engine.incarnation, after=1), lane)
    hear(engine, m.Run([attempt(2)]))
    finish(engine)
    for message in (m.Acked(1, life_name(LIFE)), m.Clear(count=1, life=life_name(LIFE))):
        assert hear(engine, message) == []
    assert [results.results[0].id for results in engine.unacked] == ["t2"]


def test_the_new_life_may_have_to_run_the_same_task(engine):
    hear(engine, m.Run([attempt(1)]))
    given_up(engine)
    for lane in ("tasks", "control"):
        hear(engine, welcome(engine), lane)
    hear(engine, m.Run([attempt(2, "t1")]))
    assert told(hear(engine, m.Abort(["t1"], True, numbers=[2]), "control")) == [
        m.Dropped(["t1"], [2])
    ]
    assert started(finish(engine, "error")) == []


def test_another_controller_is_not_told_what_the_last_one_has_had(engine):
    hear(engine, m.Run([attempt(1), attempt(2)]))
    engine.handle(e.Closed("tasks"), 0.0)
    effects = hear(engine, m.Welcome("a new one", 0, incarnation=engine.incarnation))
    assert e.Interrupt("t1", 1) in effects
    assert results(finish(engine, "error")) == []
    assert started(hear(engine, m.Run([attempt(3)]))) == ["t3"]
    (message,) = told(finish(engine), m.Results)
    assert (message.seq, [r.id for r in message.results]) == (1, ["t3"])


def test_a_former_controller_gives_nobody_up(engine):
    another = m.Welcome("another", 0, incarnation=LIFE, asks=True, since=1.0)
    hear(engine, another)
    assert hear(engine, m.Again(given_up=LIFE), "control") == []  # it was read late
    hear(engine, another, "control")
    hear(engine, m.Again(given_up=LIFE), "control")
    assert engine.incarnation != LIFE


# --- results that are held ------------------------------------------------------------------------


def test_results_are_held_while_what_follows_is_brief(engine):
    hear(engine, m.Run([attempt(1), attempt(2), attempt(3)]))
    assert results(finish(engine, now=0.0)) == []
    assert results(finish(engine, now=0.0)) == []
    assert results(finish(engine, now=0.0)) == [("t1", "ok"), ("t2", "ok"), ("t3", "ok")]
    assert results(engine.handle(e.Tick(), 1.0)) == []


def test_large_results_are_not_held(engine):
    hear(engine, m.Run([attempt(1), attempt(2), attempt(3)]))
    large = m.Result("t1", 1, "ok", bytes(HELD_BYTES))
    assert results(engine.handle(e.Finished(large), 0.0)) == [("t1", "ok")]
    assert results(finish(engine)) == []


def test_held_results_go_out_on_the_other_lane_when_what_follows_takes_long(engine):
    hear(engine, m.Run([attempt(1), attempt(2)]))
    assert e.Look() in finish(engine, now=0.0)
    assert engine.deadline() == OVERDUE
    effects = engine.handle(e.Tick(), OVERDUE)
    assert [effect.conn for effect in effects] == ["control"]
    assert results(effects) == [("t1", "ok")]
    assert engine.deadline() is None
    assert results(finish(engine, now=9.0)) == [("t2", "ok")]
    assert [message.seq for message in engine.unacked] == [1, 2]


def test_it_is_looked_again_while_more_is_to_run(engine):
    hear(engine, m.Run([attempt(n) for n in range(1, 9)]))
    finish(engine, now=0.0)
    assert results(finish(engine, now=OVERDUE - HOLD / 2)) == [("t1", "ok"), ("t2", "ok")]
    finish(engine, now=OVERDUE - HOLD / 2)
    assert results(engine.handle(e.Tick(), OVERDUE)) == []  # held for less than that
    assert engine.deadline() == 2 * OVERDUE
    assert results(engine.handle(e.Tick(), 2 * OVERDUE)) == [("t3", "ok")]


def test_what_went_out_on_the_other_lane_is_said_again_when_that_breaks(engine):
    hear(engine, m.Run([attempt(1), attempt(2)]))
    finish(engine, now=0.0)
    engine.handle(e.Tick(), OVERDUE)
    engine.handle(e.Closed("control"), 1.0)
    engine.handle(e.Opened("control"), 1.0)
    assert results(hear(engine, welcome(engine), "control")) == [("t1", "ok")]


def test_a_new_connection_hears_that_properties_have_changed(engine):
    engine.handle(e.Changed(2), 0.0)
    engine.handle(e.Closed("control"), 0.0)
    engine.handle(e.Opened("control"), 0.0)
    effects = hear(engine, welcome(engine), "control")
    assert [e.Send("control", m.Changed(2))] == [x for x in effects if isinstance(x, e.Send)]


def test_what_is_left_of_a_former_life_is_not_run(engine):
    hear(engine, m.Again(given_up=engine.incarnation), "control")
    for lane in ("tasks", "control"):
        hear(engine, m.Welcome("c", 0, incarnation=engine.incarnation, after=5), lane)
    hear(engine, m.Define(b"f", b"blob"))
    hear(engine, m.Run([attempt(4), attempt(5)]))
    assert engine.current is None
    hear(engine, m.Run([attempt(6)]))
    assert engine.current is not None
    assert engine.current.n == 6


def test_what_an_abort_has_named_does_not_keep_the_next_one_waiting(engine):
    hear(engine, m.Run([attempt(1, function=b"g"), attempt(2, function=b"g"), attempt(3)]))
    effects = hear(engine, m.Abort(["t1"], numbers=[1]), "control")
    assert m.Need((b"g",), 2) in told(effects)
    assert started(hear(engine, m.Abort(["t2"], numbers=[2]), "control")) == ["t3"]


def test_a_welcome_of_a_controller_that_is_no_more_is_not_heeded(engine):
    for lane in ("tasks", "control"):
        engine.handle(e.Closed(lane), 0.0)
        engine.handle(e.Opened(lane), 0.0)
    newer = m.Welcome("d", 0, incarnation=engine.incarnation, asks=True, since=2.0)
    hear(engine, newer, "tasks")
    hear(engine, m.Run([attempt(1), attempt(2)]))
    [hello] = told(hear(engine, welcome(engine), "control"))
    assert (hello.lane, [each.id for each in engine.queue]) == ("control", ["t2"])
