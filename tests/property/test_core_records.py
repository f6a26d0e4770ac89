"""A task moves as its table says: every state with every move, and whatever sequence of them."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginery.core import messages as m
from enginery.core.tasks import LEFT_OUT, STORY, TRANSITIONS, Move, Record, State

STATES, MOVES = get_args(State), get_args(Move)


def record(state="new"):
    made = Record(m.Task("t", b"", b""), b"")
    made.state = state
    return made


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("move", MOVES)
def test_each_state_with_each_move(state, move):
    task = record(state)
    if (state, move) in TRANSITIONS:
        task.move(move, 1.0, "cause", 3)
        assert task.state == TRANSITIONS[state, move]
        assert task.story == [(1.0, "cause", 3)]
    else:
        with pytest.raises(AssertionError, match=f"{state}.* cannot {move}"):
            task.move(move, 1.0)
        assert task.state == state
        assert task.story == []


@given(st.lists(st.sampled_from(MOVES)))
def test_the_story_tells_every_move_that_was_made(moves):
    task = record()
    made = []
    for now, move in enumerate(moves):
        try:
            task.move(move, float(now))
        except AssertionError:
            continue
        made.append((float(now), move, -1))
    assert task.story == made


def test_every_state_can_be_reached_and_all_but_done_can_be_left():
    reached = {"new"}
    while more := {TRANSITIONS[s, v] for s, v in TRANSITIONS if s in reached} - reached:
        reached |= more
    assert reached == set(STATES)
    assert {state for state, _ in TRANSITIONS} == set(STATES) - {"done"}


def test_every_state_can_come_to_its_end():
    ends = {"done"}
    while more := {s for (s, _), after in TRANSITIONS.items() if after in ends} - ends:
        ends |= more
    assert ends == set(STATES)


def test_of_a_long_story_the_beginning_and_the_end_are_kept():
    task = record("waiting")
    for now in range(0, 3000, 3):
        task.move("assign", now, "assign", 1)
        task.move("send", now + 1, "send", 1)
        task.move("free", now + 2, "refused", 1)
    story = task.story
    assert len(story) <= STORY
    assert story[:2] == [(0, "assign", 1), (1, "send", 1)]
    assert [at for at, _, _ in story[-4:]] == [2996, 2997, 2998, 2999]
    assert [what for _, what, _ in story].count(LEFT_OUT) == 1
