"""A supervisor's machine: which lives end how, and where the next one begins."""

import pytest

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.engine import RESTART, STOPPED
from enginery.core.supervisor import SHORT_LIFE, SHORT_LIVES, Supervisor, cause

PLACES = [b"a" * 16, b"b" * 16]


@pytest.fixture
def supervisor():
    made = Supervisor(b"s" * 16, PLACES, host="h", pid=1, version="0")
    for effect in made.begin(0.0):
        made.handle(e.Forked(effect.place, effect.incarnation, 1), 0.0)
    join(made)
    return made


def join(supervisor):
    supervisor.handle(e.Opened("control"), 0.0)
    return supervisor.handle(e.Received("control", "controller", m.Welcome("c", 0)), 0.0)


def die(supervisor, place, status, now, *, started=0, finished=0):
    life = supervisor.seats[place].incarnation
    effects = supervisor.handle(e.Died(place, life, status, started, finished), now)
    for effect in effects:
        if isinstance(effect, e.Fork):
            supervisor.handle(e.Forked(effect.place, effect.incarnation, 1), now)
    return effects


def exits(effects):
    return [x.message for x in effects if isinstance(x, e.Send) and isinstance(x.message, m.Exited)]


def forks(effects):
    return [x.place for x in effects if isinstance(x, e.Fork)]


def test_says_hello_with_its_places_in_order(supervisor):
    (hello,) = supervisor.handle(e.Opened("control"), 0.0)
    assert hello.message.places == tuple(PLACES)


def test_a_death_is_told_with_its_cause_and_page_and_followed_by_a_new_life(supervisor):
    before = supervisor.seats[PLACES[0]].incarnation
    effects = die(supervisor, PLACES[0], -9, 100.0, started=5, finished=4)
    (exited,) = exits(effects)
    assert (exited.reason, exited.started, exited.finished) == ("signal 9 (SIGKILL)", 5, 4)
    assert (exited.incarnation, exited.replaced) == (before, True)
    assert forks(effects) == [PLACES[0]]
    assert supervisor.seats[PLACES[0]].incarnation[:12] != before[:12]


def test_who_was_asked_to_stop_stays_away_and_who_was_asked_to_restart_comes_back(supervisor):
    assert forks(die(supervisor, PLACES[0], STOPPED, 100.0)) == []
    effects = die(supervisor, PLACES[1], RESTART, 100.0)
    assert forks(effects) == [PLACES[1]]
    assert [x.reason for x in exits(effects)] == ["stopped"]


def test_who_cannot_start_is_left_alone_after_a_few_lives(supervisor):
    now = 100.0
    lives = []
    for _ in range(SHORT_LIVES + 1):
        effects = die(supervisor, PLACES[0], 1, now)
        lives.append(len(forks(effects)))
        now += SHORT_LIFE / 2
    assert lives == [1] * SHORT_LIVES + [0]
    assert [x.replaced for x in exits(effects)] == [False]


def test_it_ends_with_its_last_engine(supervisor):
    assert not any(isinstance(x, e.Stop) for x in die(supervisor, PLACES[0], STOPPED, 100.0))
    (stop,) = [x for x in die(supervisor, PLACES[1], STOPPED, 100.0) if isinstance(x, e.Stop)]
    assert stop.code == 0


def test_a_death_while_there_is_no_connection_is_told_later(supervisor):
    supervisor.handle(e.Closed("control"), 0.0)
    assert exits(die(supervisor, PLACES[0], -9, 100.0)) == []
    assert [x.place for x in exits(join(supervisor))] == [PLACES[0]]


def test_what_may_have_been_lost_with_a_connection_is_told_again(supervisor):
    die(supervisor, PLACES[0], -9, 100.0)
    die(supervisor, PLACES[0], STOPPED, 200.0)
    supervisor.handle(e.Closed("control"), 0.0)
    assert [x.replaced for x in exits(join(supervisor))] == [True, False]


def test_after_the_end_of_the_controller_nothing_is_replaced(supervisor):
    (stop,) = supervisor.handle(e.Received("control", "controller", m.Goodbye("it ends")), 0.0)
    assert isinstance(stop, e.Stop)
    assert forks(die(supervisor, PLACES[0], -9, 100.0)) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (3, "exit code 3"),
        (-9, "signal 9 (SIGKILL)"),
        (-11, "signal 11 (SIGSEGV)"),
        (-99, "signal 99"),
    ],
)
def test_causes_in_words(status, words):
    assert cause(status) == words
