"""Output belongs to its attempt, is counted, waits in bounds, and never gets lost in silence."""

import gc
import io
import json
import sys
import threading

import pytest

from enginery.engine import streams as module
from enginery.engine.streams import DROPPED, LIMIT, OVERHEAD, PIECE, Stream, Streams


@pytest.fixture
def wakes():
    return []


@pytest.fixture
def streams(wakes):
    streams = Streams(lambda: wakes.append(1))
    streams.outside = {"stdout": io.StringIO(), "stderr": io.StringIO()}
    return streams


def told(outputs):
    return [(o.id, o.attempt, o.number, o.stream, o.text) for o in outputs]


def test_text_is_joined_per_stream_and_numbered(streams):
    out, err = Stream(streams, "stdout"), Stream(streams, "stderr")
    streams.begin("t", 1)
    print("a", 1, file=out)
    print("b", file=out)
    print("c", file=err)
    print("d", file=out)
    assert streams.end() == 3
    assert told(streams.take()) == [
        ("t", 1, 0, "stdout", "a 1\nb\n"),
        ("t", 1, 1, "stderr", "c\n"),
        ("t", 1, 2, "stdout", "d\n"),
    ]
    assert streams.waiting == 0


def test_what_was_taken_counts_too(streams):
    out = Stream(streams, "stdout")
    streams.begin("t", 1)
    out.write("one")
    assert told(streams.take()) == [("t", 1, 0, "stdout", "one")]
    out.write("two")
    assert not streams.ended
    assert streams.end() == 2
    assert streams.ended
    assert told(streams.take()) == [("t", 1, 1, "stdout", "two")]


def test_each_attempt_begins_at_zero(streams):
    out = Stream(streams, "stdout")
    for attempt in (1, 2):
        streams.begin("t", attempt)
        out.write("x")
        assert streams.end() == 1
    streams.begin("u", 1)
    assert streams.end() == 0
    assert told(streams.take()) == [("t", 1, 0, "stdout", "x"), ("t", 2, 0, "stdout", "x")]


def test_the_sender_is_woken_at_the_first_text_when_a_lot_waits_and_at_the_end(streams, wakes):
    out = Stream(streams, "stdout")
    streams.begin("t", 1)
    out.write("x")
    out.write("y")
    assert len(wakes) == 1
    out.write("z" * PIECE)
    assert len(wakes) == 2
    streams.end()
    assert len(wakes) == 3
    streams.take()
    streams.begin("u", 1)
    streams.end()
    assert len(wakes) == 3 or streams.waiting


def test_a_long_text_goes_in_pieces(streams):
    streams.begin("t", 1)
    Stream(streams, "stdout").write("x" * (3 * PIECE + 5))
    assert streams.end() == 4
    sizes = []
    while outputs := streams.take():
        assert len(outputs) == 1 or sum(len(o.text) for o in outputs) <= PIECE
        sizes += [len(o.text) for o in outputs]
    assert sizes == [PIECE, PIECE, PIECE, 5]


def test_text_outside_an_attempt_goes_where_the_process_writes(streams):
    Stream(streams, "stderr").write("nobody's")
    assert streams.outside["stderr"].getvalue() == "nobody's"
    assert streams.take() == []


def test_bytes_and_half_characters_are_sent_as_text(streams):
    out = Stream(streams, "stdout")
    streams.begin("t", 1)
    data = "é".encode()
    out.buffer.write(data[:1])
    out.buffer.write(data[1:] + b"\xff")
    out.write("\udc80")
    with pytest.raises(TypeError, match="must be str, not bytes"):
        out.write(b"x")
    assert [o.text for o in streams.take()] == ["é\ufffd\\udc80"]


def test_a_writer_waits_for_room_while_there_is_a_controller(streams):
    streams.reachable(True)
    streams.begin("t", 1)
    written = threading.Event()

    def write():
        out = Stream(streams, "stdout")
        out.write("x" * (LIMIT + 1))
        out.write("last")
        written.set()

    writer = threading.Thread(target=write)
    writer.start()
    texts = []
    while not written.is_set() or streams.waiting:
        texts += [o.text for o in streams.take()]
        assert streams.waiting <= LIMIT + 2 * PIECE
    writer.join()
    assert "".join(texts) == "x" * (LIMIT + 1) + "last"


def test_nobody_waits_for_a_controller_that_is_gone(streams):
    streams.begin("t", 1)
    out = Stream(streams, "stdout")
    out.write("x" * LIMIT)
    streams.reachable(True)
    writer = threading.Thread(target=out.write, args=("y",))
    writer.start()
    streams.reachable(False)
    writer.join(10)
    assert not writer.is_alive()
    for _ in range(100):
        out.write("z" * PIECE)
    assert streams.waiting <= LIMIT + 2 * PIECE
    count = streams.end()
    outputs = []
    while taken := streams.take():
        outputs += taken
    assert [o.number for o in outputs] == list(range(count))
    text = "".join(o.text for o in outputs)
    assert text.startswith(DROPPED)
    assert text.endswith("z" * PIECE)


def shown(**data):
    return {"data": data, "metadata": {}, "transient": {"display_id": "x"}, "update": False}


def test_what_is_displayed_stands_in_its_place_among_the_text(streams):
    out = Stream(streams, "stdout")
    streams.begin("t", 1)
    print("a", file=out)
    html, image = shown(**{"text/html": "<b>"}), shown(**{"image/png": b"hi", "x": {1}})
    streams.display(html)
    streams.display(image)
    print("b", file=out)
    assert streams.end() == 4
    outputs = streams.take()
    assert [o.stream for o in outputs] == ["stdout", "display", "display", "stdout"]
    assert json.loads(outputs[1].text) == html
    assert json.loads(outputs[2].text)["data"] == {"image/png": "aGk=", "x": [1]}


def test_what_cannot_be_json_is_told_as_text(streams):
    streams.begin("t", 1)
    streams.display(shown(x=Ellipsis))
    assert json.loads(streams.take()[0].text)["data"] == {"x": "Ellipsis"}


class Odd:
    def __repr__(self):
        return "\udc80"


def test_half_characters_are_displayed_as_text(streams):
    streams.begin("t", 1)
    streams.display(shown(**{"text/html": "<b>\udc80", "x": ["\udc80", Odd(), b"hi"]}))
    [output] = streams.take()
    assert json.loads(output.text)["data"] == {
        "text/html": "<b>\\udc80", "x": ["\\udc80", "\\udc80", "aGk="],
    }  # fmt: skip


def test_a_display_that_is_too_large_is_told(streams, monkeypatch):
    monkeypatch.setattr(module, "DISPLAY_LIMIT", 3 << 20)
    streams.begin("t", 1)
    streams.display(shown(**{"text/plain": "<Huge>", "text/html": "x" * (5 << 20)}))
    [output] = streams.take()
    assert output.stream == "stdout"
    assert output.text == "<Huge>\n[displayed here were 5 MB, too much to be sent]\n"


def test_what_is_displayed_while_nothing_runs_goes_outside(streams):
    streams.display(shown(**{"text/plain": "<X>", "text/html": "<b>"}))
    assert streams.outside["stdout"].getvalue() == "<X>\n"


def test_a_display_that_is_dropped_leaves_a_notice(streams):
    streams.begin("t", 1)
    streams.display(shown(x="x" * (LIMIT + 1)))
    streams.display(shown(x="y"))
    first, second = streams.take()
    assert (first.stream, first.text) == ("stdout", DROPPED)
    assert json.loads(second.text)["data"] == {"x": "y"}


def test_of_what_a_task_says_of_itself_the_last_word_counts(streams, wakes):
    out = Stream(streams, "stdout")
    streams.begin("t", 1)
    streams.report(0.25)
    streams.report(0.5)
    print("a", file=out)
    streams.report(0.75)
    assert streams.end() == 1  # it is no output
    assert [(o.number, o.stream, o.text) for o in streams.take()] == [
        (-1, "progress", "0.5"), (0, "stdout", "a\n"), (-1, "progress", "0.75"),
    ]  # fmt: skip
    assert wakes
    assert streams.waiting == 0
    streams.report(1.0)
    assert streams.waiting == 0  # nothing runs


def in_time(call):
    """Have a thread of its own call it, and fail if it does not return."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"


def everything(streams):
    outputs = []
    while taken := streams.take():
        outputs += taken
    return outputs


@pytest.mark.parametrize("before", ["", "x", "x" * (LIMIT - LIMIT // PIECE * OVERHEAD)])
def test_what_is_printed_while_something_is_added_is_added_too(streams, monkeypatch, before):
    out, err = Stream(streams, "stdout"), Stream(streams, "stderr")
    within = ["within"]

    class Piece(module._Piece):
        def __init__(self, *fields):
            if within:
                print(within.pop(), file=out)
            super().__init__(*fields)

    streams.reachable(True)
    streams.begin("t", 1)
    out.write(before)
    monkeypatch.setattr(module, "_Piece", Piece)
    in_time(lambda: err.write("outer"))
    count = streams.end()
    outputs = everything(streams)
    assert [o.number for o in outputs] == list(range(count))
    text = {"stdout": "", "stderr": ""}
    for output in outputs:
        text[output.stream] += output.text
    assert text == {"stdout": before + "within\n", "stderr": "outer"}
    assert streams.waiting == 0


def test_what_is_printed_at_every_step_arrives_and_is_counted(streams):
    out, err = Stream(streams, "stdout"), Stream(streams, "stderr")
    printed = []

    def step(frame, event, arg):
        if frame.f_code.co_filename == module.__file__:
            printed.append(f"{frame.f_code.co_name} {frame.f_lineno} {event}\n")
            out.write(printed[-1])
        return step

    def steps():
        err.write("a")
        streams.report(0.5)
        err.write("b" * (LIMIT + 1))
        err.write("c")

    def traced():
        sys.settrace(step)
        steps()

    streams.begin("t", 1)
    in_time(traced)
    count = streams.end()
    outputs = [o for o in everything(streams) if o.stream != "progress"]
    assert [o.number for o in outputs] == list(range(count))
    assert outputs[-1].text.endswith(printed[-1])
    assert streams.waiting == 0


def test_a_finalizer_may_print_while_output_is_taken(streams):
    out = Stream(streams, "stdout")

    class Last:
        def __del__(self):
            out.write("last")

    class Circle(list):
        """Of which only the collector gets hold."""

    def take():
        circle = Circle()
        circle += [circle, Last()]
        del circle
        collected = []

        def collect(frame, event, arg):
            if frame.f_code.co_name == "notify_all" and not collected:
                collected.append(gc.collect())

        sys.settrace(collect)
        taken.extend(streams.take())

    taken = []
    streams.begin("t", 1)
    out.write("first")
    in_time(take)
    assert streams.end() == 2
    taken += everything(streams)
    assert told(taken) == [("t", 1, 0, "stdout", "first"), ("t", 1, 1, "stdout", "last")]
    assert streams.waiting == 0


def test_who_takes_does_not_wait_for_room(streams):
    out = Stream(streams, "stdout")
    streams.begin("t", 1)
    out.write("x" * LIMIT)
    streams.reachable(True)

    def run():
        streams.taker = threading.get_ident()
        out.write("last")
        outputs.extend(everything(streams))

    outputs = []
    in_time(run)
    assert "".join(output.text for output in outputs) == "x" * LIMIT + "last"
