"""Ctrl-C while somebody waits: in a program, at Python's and IPython's prompts, and in a kernel.

Programs press it themselves, from a thread, once their main thread really waits and both engines
are at work; at prompts and in the kernel it is pressed from here. What the work waits for is a gate
that stays closed, so that nothing ends by itself. A second press may take its time here: a machine
that runs tests does.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from enginery import Client, Cluster
from enginery.core.messages import Query
from tests.gate import Gate
from tests.notebook.execution import environment

from .terminal import PATIENCE, Terminal

KERNEL = Path(__file__).with_name("kernel.py")

PRELUDE = """\
import os, signal, threading, time
import enginery.client.interrupted
from enginery.core.messages import Query
enginery.client.interrupted.TWICE = 60
rc = enginery.Client({file!r})
rc.wait_for_engines(2)
lview, dview = rc.load_balanced_view(block=True), rc.direct_view(block=True)
def slow(x):
    if x >= 8: open({gate!r}).close()
    return x
def waits(done):
    ended = rc.last.progress if rc.last else 0
    at_work = sum(map(len, (engine["running"] for engine in rc.link.ask(Query(0, "engines")))))
    main = threading.main_thread().ident
    return ended == done and at_work == 2 and rc.link._driver._steersman == main
def when_it_waits(act, done=8):
    def watch():
        while not waits(done): time.sleep(0.01)
        act()
    threading.Thread(target=watch, daemon=True).start()
def press():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
def say_waiting():
    print("now it", "waits", flush=True)
"""

FIRST = """\
KeyboardInterrupt: stopped waiting for map(slow): 8 of 60 items done, 2 running, 50 waiting
  The work goes on.  Wait again: rc.last.get()    Stop it: rc.last.abort(running=True)
  Ctrl-C twice within 60 s does both: stops waiting and stops the work.
"""

SECOND = """\
KeyboardInterrupt: stopped map(slow): 8 of 60 items were done, the others are aborted
  What is done: rc.last.partial()    Run the others again: rc.last.resubmit()
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two engines, which survive all of it: `test_the_engines_have_survived`."""
    running = Cluster(n=2, profile_dir=tmp_path_factory.mktemp("ctrl_c") / "profile_two")
    running.start_cluster_sync()
    try:
        with running.connect_client_sync() as client:
            client.wait_for_engines(2, timeout=60)
            running.first_pids = running.engine_pids  # type: ignore[attr-defined]
        yield running
    finally:
        running.stop_cluster_sync()


@pytest.fixture
def observer(two: Cluster) -> Iterator[Client]:
    """A client that sees what becomes of the work of the others."""
    with two.connect_client_sync() as client:
        yield client


@pytest.fixture
def prelude(two: Cluster, gate: Gate) -> str:
    """What programs and sessions begin with."""
    return PRELUDE.format(file=two.client_connection_file, gate=str(gate.path))


def program(script: str, prelude: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a script to its end."""
    path = place / "script.py"
    path.write_text(prelude + textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=90, check=False
    )


def unfinished(observer: Client) -> list[str]:
    """The tasks of anybody that have not ended."""
    ids = observer.link.ask(Query(0, "history"))
    told = observer.link.ask(Query(0, "tasks", ids))
    return [id for id in ids if told[id]["state"] != "done"]


def nothing_is_left(observer: Client) -> None:
    """Everything was stopped, and the engines are free."""
    left = unfinished(observer)
    assert not left or observer.get_result(left).wait(PATIENCE)
    assert observer[:].apply_async(abs, -1).get(PATIENCE) == [1, 1]


# --- programs -------------------------------------------------------------------------------------


def test_the_first_ends_the_wait_and_the_second_the_work(
    prelude: str, observer: Client, tmp_path: Path
) -> None:
    script = """
        import traceback
        when_it_waits(press)
        try:
            lview.map(slow, range(60))
        except KeyboardInterrupt as error:
            print("".join(traceback.format_exception_only(error)), end="")
        unfinished = rc.last.total - rc.last.progress
        try:
            press()
            time.sleep(60)
        except KeyboardInterrupt as error:
            print("".join(traceback.format_exception_only(error)), end="")
            print("/enginery/" in "".join(traceback.format_exception(error)))
        print(unfinished, rc.last.wait(30), rc.last.partial() == {i: i for i in range(8)})
        print({type(e).__name__ for e in rc.last.get(return_exceptions=True)[8:]})
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """
    done = program(script, prelude, tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == FIRST + SECOND + "False\n52 True True\n{'TaskAborted'}\nTrue\n"
    nothing_is_left(observer)


def test_work_goes_on_after_one(prelude: str, gate: Gate, tmp_path: Path) -> None:
    script = """
        when_it_waits(press)
        try:
            lview.map(slow, range(12))
        except KeyboardInterrupt as error:
            print(error, flush=True)
        gate = os.open(GATE, os.O_RDWR)  # from now on it is open
        print(rc.last.get(60))
    """
    done = program(script.replace("GATE", repr(str(gate.path))), prelude, tmp_path)
    told = "stopped waiting for map(slow): 8 of 12 items done, 2 running, 2 waiting"
    assert (done.stderr, done.stdout) == ("", f"{told}\n{list(range(12))}\n")


def test_a_program_that_ends_hears_the_second(
    prelude: str, observer: Client, tmp_path: Path
) -> None:
    script = """
        when_it_waits(press)
        def again():
            while not rc.link.presses._at_exit: time.sleep(0.01)
            when_it_waits(press)
        threading.Thread(target=again, daemon=True).start()
        enginery.client.interrupted.AT_EXIT = 60
        lview.map(slow, range(60))
    """
    done = program(script, prelude, tmp_path)
    assert done.returncode == -signal.SIGINT
    shown = done.stderr.splitlines(keepends=True)
    assert shown[0] == "Traceback (most recent call last):\n"
    assert "".join(shown[3:]) == FIRST + SECOND
    nothing_is_left(observer)


def test_a_program_ends_soon_after_one(prelude: str, observer: Client, tmp_path: Path) -> None:
    script = """
        import atexit
        when_it_waits(press)
        begun = []
        atexit.register(lambda: print(time.monotonic() - begun[0]))
        try:
            lview.map(slow, range(60))
        finally:
            begun.append(time.monotonic())
    """
    done = program(script, prelude, tmp_path)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.endswith(FIRST)
    assert float(done.stdout) < 5  # 0.7 s, on a machine that has the time
    observer.abort(unfinished(observer), running=True)
    nothing_is_left(observer)


def test_a_second_one_in_another_wait_stops_both(
    prelude: str, observer: Client, tmp_path: Path
) -> None:
    script = """
        first = lview.map_async(slow, range(60))
        when_it_waits(press)
        try:
            first.get()
        except KeyboardInterrupt:
            pass
        second = dview.apply_async(slow, 9)
        when_it_waits(press, done=0)
        try:
            second.get()
        except KeyboardInterrupt as error:
            print(error, *error.__notes__, sep="\\n")
        print(first.wait(30), second.wait(30))
        print({type(error).__name__ for error in second.get(return_exceptions=True)})
    """
    done = program(script, prelude, tmp_path)
    assert done.stderr == ""
    assert done.stdout == (
        "stopped apply(slow): 0 of 2 engines were done, the others are aborted\n"
        "  What is done: rc.last.partial()    Run the others again: rc.last.resubmit()\n"
        "True True\n{'TaskAborted'}\n"
    )
    nothing_is_left(observer)


def test_one_that_comes_later_is_a_first_one(
    prelude: str, observer: Client, tmp_path: Path
) -> None:
    script = """
        enginery.client.interrupted.TWICE = 0
        for _ in range(2):
            when_it_waits(press)
            try:
                lview.map(slow, range(60)) if rc.last is None else rc.last.get()
            except KeyboardInterrupt as error:
                print(error)
        try:
            press()
            time.sleep(60)
        except KeyboardInterrupt as error:
            print(error.args, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        rc.last.abort(running=True)
    """
    done = program(script, prelude, tmp_path)
    line = FIRST.splitlines()[0].partition(": ")[2]
    assert (done.stderr, done.stdout) == ("", f"{line}\n{line}\n() True\n")
    nothing_is_left(observer)


def test_the_handler_of_python_comes_back(prelude: str, observer: Client, tmp_path: Path) -> None:
    """By the next call, or one that waits meanwhile; what asks for it then, as asyncio, has it."""
    script = """
        import asyncio
        when_it_waits(press)
        try:
            lview.map(slow, range(60))
        except KeyboardInterrupt:
            ours = signal.getsignal(signal.SIGINT)
        rc.last.wait(0)
        print(signal.getsignal(signal.SIGINT) is ours is not signal.default_int_handler)
        def over():
            enginery.client.interrupted.TWICE = 0
            return True
        rc.link.wait(over, 60)
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        async def main():
            press()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                print("cancelled")
                raise
        try:
            asyncio.run(main())
        except KeyboardInterrupt as error:
            print(error.args)
        rc.last.abort(running=True)
    """
    done = program(script, prelude, tmp_path)
    assert (done.stderr, done.stdout) == ("", "True\nTrue\ncancelled\n()\n")
    nothing_is_left(observer)


def test_an_answer_that_nobody_waits_for_is_not_kept(
    observer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after a timeout nor after Ctrl-C; the question is not kept either."""
    link = observer.link

    def interrupted(done: object, timeout: float | None) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(TimeoutError):
        link.ask(Query(0, "status"), timeout=0)
    with monkeypatch.context() as patch:
        patch.setattr(link, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            link.ask(Query(0, "status"))
    assert link.ask(Query(0, "status"))["scheme"]  # answers come in the order of the questions
    assert (link._answers, link._core.requests) == ({}, {})


def test_a_handler_of_the_program_stays(prelude: str, observer: Client, tmp_path: Path) -> None:
    script = """
        def mine(signum, frame):
            raise KeyboardInterrupt("mine")
        signal.signal(signal.SIGINT, mine)
        for _ in range(2):
            when_it_waits(press)
            try:
                lview.map(slow, range(60)) if rc.last is None else rc.last.get()
            except KeyboardInterrupt as error:
                print(error, signal.getsignal(signal.SIGINT) is mine)
        print(rc.last.wait(30))
    """
    done = program(script, prelude, tmp_path)
    assert done.stderr == ""
    assert done.stdout == (
        "stopped waiting for map(slow): 8 of 60 items done, 2 running, 50 waiting True\n"
        "stopped map(slow): 8 of 60 items were done, the others are aborted True\n"
        "True\n"
    )
    nothing_is_left(observer)


def test_other_waits_of_a_call(prelude: str, observer: Client, tmp_path: Path) -> None:
    """One engine, code, iteration, wait_interactive, and a lazy map, which gives all its items."""
    script = """
        enginery.client.interrupted.TWICE = 0
        waited = rc.load_balanced_view().map_async(slow, range(60))
        items = iter(waited)
        def tell(wait, done=8):
            when_it_waits(press, done)
            try:
                wait()
            except KeyboardInterrupt as error:
                print(str(error).removeprefix("stopped waiting for "))
        print([next(items) for _ in range(8)])
        tell(lambda: next(items))
        tell(lambda: next(items))
        tell(lambda: waited[9])
        tell(waited.wait_interactive)
        tell(waited.wait)
        waited.abort(running=True), waited.wait()
        code = f"open({GATE!r}).close()"
        dview.targets = [0, 1]
        tell(lambda: dview.execute(code), done=0)
        rc.last.abort(running=True), rc.last.wait()
        other = rc[1].apply_async(slow, 8)
        tell(lambda: rc[0].apply_sync(slow, 8), done=0)
        for ended in (rc.last, other):
            ended.abort(running=True), ended.wait()
        values = rc.load_balanced_view().imap(slow, range(60))
        rc.last = None
        print([next(values) for _ in range(8)])
        tell(lambda: next(values), done=0)
        rc.abort(running=True)
        try:
            next(values)
        except enginery.TaskAborted as error:
            print(error)
    """
    gate = re.search(r"open\((.+?)\)\.close", prelude)
    assert gate is not None
    done = program(script.replace("GATE", gate.group(1)), prelude, tmp_path)
    assert all(shown.startswith("map(slow): 8 of 60 done") for shown in done.stderr.splitlines())
    line = "map(slow): 8 of 60 items done, 2 running, 50 waiting\n"
    assert done.stdout == (
        f"{list(range(8))}\n{line * 5}"
        "execute: 0 of 2 engines done, 2 running\n"
        "apply(slow): it is running\n"
        f"{list(range(8))}\n"
        "map(slow): 2 running, 50 waiting\n"
        "item 8 of map(slow) was aborted while it ran\n"
    )
    nothing_is_left(observer)


# --- prompts --------------------------------------------------------------------------------------


def test_at_the_prompt_of_python(prelude: str, observer: Client, tmp_path: Path) -> None:
    (tmp_path / "begin.py").write_text(prelude)
    session = pexpect.spawn(
        sys.executable, ["-q", "-i", "begin.py"], cwd=str(tmp_path), encoding="utf-8",
        timeout=PATIENCE, env={**os.environ, "PYTHON_HISTORY": "", "HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        session.expect_exact(">>> ")
        session.sendline("when_it_waits(say_waiting); lview.map(slow, range(60))")
        session.expect_exact("now it waits")
        session.sendintr()
        session.expect_exact(FIRST.replace("\n", "\r\n"))
        session.expect_exact(">>> ")
        session.sendintr()
        session.expect_exact(SECOND.replace("\n", "\r\n"))
        session.expect_exact(">>> ")
        assert "/enginery/" not in session.before
        session.sendline("exit()")
        session.expect(pexpect.EOF)
    finally:
        session.close(force=True)
    nothing_is_left(observer)


def test_at_the_prompt_of_ipython(prelude: str, observer: Client, tmp_path: Path) -> None:
    """There Ctrl-C is a key, and the cursor stands in a line that is not lost for nothing."""
    (tmp_path / "begin.py").write_text(prelude)
    session = Terminal(tmp_path, "-i", "begin.py")
    try:
        session.type("when_it_waits(say_waiting); lview.map(slow, range(60))")
        session.expect("now it waits")
        session.interrupt()
        for line in FIRST.splitlines():
            session.expect(line)
        session.prompt()
        session.interrupt()
        for line in SECOND.splitlines():
            session.expect(line)
        assert "stopped = True" in session.run("print('stopped =', rc.last.wait(30))")
        session.press("nonsense")
        session.interrupt()  # clears the line, as ever
        assert "42" in session.run("6 * 7")
        session.leave()
    finally:
        session.end()
    nothing_is_left(observer)


def test_in_a_kernel(prelude: str, observer: Client, tmp_path: Path) -> None:
    """As from a notebook: the second comes when the cell has ended, or while it runs."""
    steps = [
        ("run", prelude),
        ("interrupt", "when_it_waits(say_waiting); lview.map(slow, range(60))", "now it waits"),
        ("interrupt", "", ""),
        ("run", "print(rc.last.wait(30), rc.last.progress)"),
        ("run", "print('alive')"),
    ]
    done = subprocess.run(
        [sys.executable, str(KERNEL)], input=json.dumps(steps), capture_output=True, text=True,
        env=environment(tmp_path), cwd=tmp_path, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, first, second, waited, alive = json.loads(done.stdout)
    assert first.endswith(FIRST.rstrip("\n"))
    assert "/enginery/" not in first
    assert second == SECOND
    assert (waited, alive) == ("True 60\n", "alive\n")
    nothing_is_left(observer)


def test_the_engines_have_survived(two: Cluster) -> None:
    assert two.engine_pids == two.first_pids  # type: ignore[attr-defined]
