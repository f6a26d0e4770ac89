"""Showing output as it comes: whole lines, each after its engine, and only so much of a task."""

import json
import sys
from types import SimpleNamespace

import pytest

from enginery.client.display import live
from enginery.client.display.live import LiveOutput
from enginery.client.slots import Slot
from enginery.core.messages import Outcome, Output


@pytest.fixture(autouse=True)
def no_ipython(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.delenv("ENGINERY_PREFIX", raising=False)


def put(slot, number, text, stream="stdout", *, engine=0, attempt=1):
    slot.put_out(Output(slot.id, attempt, number, stream, text, engine))


def display(**shown):
    return json.dumps({"metadata": {}, "transient": {}, "update": False} | shown)


def test_whole_lines_are_shown_each_after_its_engine(capsys):
    slots = [Slot("a"), Slot("b")]
    output = LiveOutput(slots)
    assert not output.news
    put(slots[0], 0, "one\ntwo, ")
    put(slots[1], 0, "oh\n", "stderr", engine=1)
    assert output.news
    output.update()
    assert capsys.readouterr() == ("[0] one\n", "[1] oh\n")
    assert not output.news
    put(slots[0], 1, "and its end\nrest")
    output.update()
    assert capsys.readouterr().out == "[0] two, and its end\n"
    output.close()
    assert capsys.readouterr().out == "[0] rest\n"


def test_of_a_line_that_is_written_again_and_again_the_last_is_shown(capsys):
    slot = Slot("a")
    output = LiveOutput([slot])
    put(slot, 0, "\r 10%")
    put(slot, 1, "\r 20%")
    put(slot, 2, "\r100%\nended\r\n 50%\r")
    output.update()
    assert capsys.readouterr().out == "[0] 100%\n[0] ended\n"
    put(slot, 3, " 60%\r")
    output.close()
    assert capsys.readouterr().out == "[0]  60%\n"


def test_it_knows_when_all_has_come():
    slot = Slot("a")
    output = LiveOutput([slot])
    slot.end(Outcome("a", "ok", outputs=1, attempt=1), 0.0)
    assert not output.complete
    put(slot, 0, "late\n")
    assert output.complete


def test_another_attempt_begins_anew(capsys):
    slot = Slot("a")
    output = LiveOutput([slot])
    put(slot, 0, "first\n")
    output.update()
    put(slot, 0, "again\n", engine=2, attempt=2)
    output.update()
    assert capsys.readouterr().out == "[0] first\n[2] again\n"


def test_without_prefix(capsys, monkeypatch):
    monkeypatch.setenv("ENGINERY_PREFIX", "0")
    slot = Slot("a")
    output = LiveOutput([slot])
    put(slot, 0, "x\n")
    output.close()
    assert capsys.readouterr().out == "x\n"


def test_only_so_much_of_a_task_is_shown(capsys, monkeypatch):
    monkeypatch.setattr(live, "SHOWN", 10)
    slots = [Slot("a"), Slot("b")]
    output = LiveOutput(slots)
    put(slots[0], 0, "12345\n")
    put(slots[0], 1, "abcdefgh\n")
    put(slots[0], 2, "more\n")
    put(slots[1], 0, "other\n", engine=1)
    output.close()
    assert capsys.readouterr().out == (f"[0] 12345\n[0] abcd\n[0] {live.MORE}[1] other\n")
    assert not output.news


def test_without_ipython_the_text_of_what_is_displayed_is_printed(capsys):
    slot = Slot("a")
    output = LiveOutput([slot])
    put(slot, 0, "before ")
    put(slot, 1, display(data={"text/plain": "<Figure>", "image/png": "aGk="}), "display")
    output.close()
    assert capsys.readouterr().out == "[0] before \n[0] <Figure>\n"


def test_in_ipython_it_is_displayed_and_ids_of_engines_are_told_apart(capsys, monkeypatch):
    published = []

    def publish(**shown):
        published.append(shown)

    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=publish))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    slots = [Slot("a"), Slot("b")]
    output = LiveOutput(slots)
    data = {"text/plain": "<X>", "text/html": "<b>"}
    for engine, slot in enumerate(slots):
        put(slot, 0, display(data=data, transient={"display_id": "x"}), "display", engine=engine)
        put(slot, 1, display(data=data, transient={"display_id": "x"}, update=True), "display",
            engine=engine)  # fmt: skip
    output.close()
    told = [(p["transient"]["display_id"], p["update"], p["data"]) for p in published]
    assert told == [("0-x", False, data), ("0-x", True, data), ("1-x", False, data),
                    ("1-x", True, data)]  # fmt: skip
    assert capsys.readouterr().out == "[0]\n[1]\n"
