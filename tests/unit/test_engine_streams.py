"""Output belongs to its attempt, is counted, waits in bounds, and never gets lost in silence."""

import io
import json
import threading

import pytest

from enginery.engine import streams as module
from enginery.engine.streams import DROPPED, LIMIT, PIECE, Stream, Streams


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
