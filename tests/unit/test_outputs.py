"""What a task puts out, as its client keeps it: all of it up to a limit, then both ends."""

import json

import pytest

from enginery.client import outputs as module
from enginery.client.outputs import LEFT_OUT, Outputs
from enginery.core.messages import Outcome, Output


def put(outputs, number, text="", stream="stdout", attempt=1, **more):
    outputs.add(Output("t", attempt, number, stream, text, 3, **more))


@pytest.fixture
def outputs():
    return Outputs()


@pytest.fixture
def small(monkeypatch, outputs):
    monkeypatch.setattr(module, "HEAD", 2 * (100 + module.OVERHEAD))
    monkeypatch.setattr(module, "TAIL", 3 * (100 + module.OVERHEAD))
    return outputs


def test_text_and_displays_are_told_apart_and_kept_in_order(outputs):
    shown = {"data": {"text/html": "<b>"}, "metadata": {}, "transient": {}, "update": False}
    put(outputs, 0, "a")
    put(outputs, 1, "oh", "stderr")
    put(outputs, 2, json.dumps(shown), "display")
    put(outputs, 3, "b")
    assert (outputs.text("stdout"), outputs.text("stderr")) == ("ab", "oh")
    assert outputs.displays() == [shown]
    assert [piece.number for piece in outputs.since(1)] == [1, 2, 3]
    assert outputs.engine == 3


def test_only_the_last_attempt_counts(outputs):
    put(outputs, 0, "first")
    put(outputs, 0, "second", attempt=2)
    put(outputs, 1, "late", attempt=1)
    assert outputs.text("stdout") == "second"
    assert not outputs.complete(Outcome("t", "ok", attempt=1, outputs=1))
    assert outputs.complete(Outcome("t", "ok", attempt=2, outputs=1))
    assert not outputs.complete(Outcome("t", "ok", attempt=2, outputs=2))


def test_of_a_long_output_both_ends_are_kept(small):
    for n in range(50):
        put(small, n, f"{n:099}\n")
    lines = small.text("stdout").split(LEFT_OUT)
    assert [[int(line) for line in part.split()] for part in lines] == [[0, 1], [47, 48, 49]]
    assert small.complete(Outcome("t", "ok", attempt=1, outputs=50))


def test_one_that_is_too_long_is_left_out(small):
    put(small, 0, "a")
    put(small, 1, "x" * 10_000)
    put(small, 2, "b")
    assert small.text("stdout") == f"a{LEFT_OUT}b"


def test_what_the_controller_has_dropped_counts_as_come(outputs):
    put(outputs, 0, "a")
    put(outputs, 7, "", "dropped")
    outcome = Outcome("t", "ok", attempt=1, outputs=8)
    assert outputs.complete(outcome)
    assert outputs.text("stdout") == f"a{LEFT_OUT}"
    [_, notice] = outputs.since(0)
    assert list(outputs.since(notice.number + 1)) == []
    put(outputs, 8, "b")
    assert outputs.text("stdout") == f"a{LEFT_OUT}b"


def test_how_far_a_task_is_by_its_own_word_is_no_output(outputs):
    put(outputs, 0, "a")
    put(outputs, -1, "0.5", "progress")
    put(outputs, 1, "b")
    assert outputs.part == 0.5
    assert (outputs.text("stdout"), outputs.ended) == ("ab", 2)
    put(outputs, -1, "nonsense", "progress")
    assert outputs.part == 0.0
    put(outputs, -1, "7", "progress")
    assert outputs.part == 1.0
    put(outputs, 0, "", attempt=2)
    assert outputs.part == 0.0
