"""What the control thread can tell of a busy engine."""

import logging
import os
import threading
from types import SimpleNamespace

from enginery import log
from enginery.core.messages import Reply
from enginery.engine import about
from enginery.version import __version__
from enginery.wire import codec


def ask(what, current=None):
    return about.answer(what, SimpleNamespace(machine=SimpleNamespace(current=current)))


def test_stacks_name_each_thread_and_what_it_does():
    began, over = threading.Event(), threading.Event()

    def waits_here():
        began.set()
        over.wait()

    thread = threading.Thread(target=waits_here, name="somebody")
    thread.start()
    try:
        began.wait()
        told = ask("stacks")["threads"]
    finally:
        over.set()
        thread.join()
    (somebody,) = (each for each in told if each["name"] == "somebody")
    assert not somebody["main"]
    assert [frame["function"] for frame in somebody["frames"]][:1] == ["waits_here"]
    assert somebody["frames"][0]["source"] == "over.wait()"
    assert [frame["function"] for frame in somebody["below"]][-1:] == ["run"]


def test_stacks_are_of_all_threads_but_the_one_that_tells_and_the_main_one_comes_first():
    told = []
    thread = threading.Thread(target=lambda: told.append(ask("stacks")), name="teller")
    thread.start()
    thread.join()
    threads = told[0]["threads"]
    assert threads[0]["main"]
    assert "teller" not in {each["name"] for each in threads}


def test_stacks_name_the_task():
    told = ask("stacks", SimpleNamespace(id="ann-1", name="map(fit)"))
    assert (told["task"], told["name"]) == ("ann-1", "map(fit)")


def test_an_engine_tells_of_its_packages_and_limits():
    told = ask("about")
    assert told["packages"]["pyzmq"]
    assert told["enginery"] == __version__
    assert told["memory"] > 1 << 20
    assert told["open_files"] > 0


def test_the_end_of_the_log(tmp_path):
    logger = log.setup("engine", tmp_path / "log")
    try:
        for i in range(3):
            log.event(logger, "info", "engine.forked", life=i)
        told = ask("log")
    finally:
        log.close(logger)
    assert told["path"] == str(tmp_path / "log")
    assert [line.split()[-1] for line in told["lines"]] == ["life=0", "life=1", "life=2"]


def test_what_cannot_be_told_is_told_in_words():
    assert log.file_of(logging.getLogger("enginery.engine")) is None
    assert ask("log") == {"error": "OSError: this engine does not log to a file"}


def test_names_that_are_no_utf8_can_be_sent(tmp_path, monkeypatch):
    path = tmp_path / os.fsdecode(b"caf\xe9")
    path.mkdir()
    monkeypatch.chdir(path)
    code = compile("def waits_here():\n    began.set()\n    over.wait()", path / "code.py", "exec")
    began, over = threading.Event(), threading.Event()
    names = {"began": began, "over": over}
    exec(code, names)
    thread = threading.Thread(target=names["waits_here"], name=path.name)
    thread.start()
    try:
        began.wait()
        replies = codec.decode(codec.encode([Reply(1, ask("about")), Reply(2, ask("stacks"))]))
    finally:
        over.set()
        thread.join()
    here, stacks = (reply.value for reply in replies)
    assert here["cwd"] == f"{tmp_path}/caf\\udce9"
    frames = {each["name"]: each["frames"] for each in stacks["threads"]}
    assert frames["caf\\udce9"][0]["file"] == f"{tmp_path}/caf\\udce9/code.py"
