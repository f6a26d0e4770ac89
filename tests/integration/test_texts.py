"""What users read when they make a mistake, each made for real: every text as a whole (row U1).

A script is run as at a prompt, with a real cluster; what differs from run to run (process ids,
hosts, times, ids, addresses, directories) is written in capitals. No text has more than 12 lines,
or more than 100 columns.
"""

# ruff: noqa: E501 (texts stand here as they are)
from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from enginery import Cluster, Reference
from enginery.net.keys import ConnectionFile, Keys

PROMPT = Path(__file__).with_name("prompt.py")

VARYING = [
    (r"\(pid \d+, HOST\)", "(pid PID, HOST)"),
    (r"pid \d+", "pid PID"),
    (r"task [0-9a-f]{6}-\d+(\.\d+)?", "task ID"),
    (r"(after|up) (\d[\d.e-]* (ms|s|min|h)( \d+ (s|min))?)", r"\1 TIME"),
    (r"memory \d[\d.]* [kMG]?B", "memory SIZE"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"started \w{3} \d\d:\d\d", "started DAY TIME"),
    (r"ip(controller|engine)-[0-9a-f]{8}-[0-9a-f]{6}\.out", r"ip\1-ID.out"),
    (r"--cluster-id=[0-9a-f]{8}", "--cluster-id=ID"),
    (r"<In \[\d+\]>", "<In [N]>"),
    (r"A new engine (\d) is (starting|up),", r"A new engine \1 is COMING,"),
]


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    """Two engines that no text harms."""
    yield from cluster_of(2)


@pytest.fixture
def dying() -> Iterator[Cluster]:
    """Two engines for texts about their deaths, which take tasks in turns whatever these take."""
    yield from cluster_of(2, hwm=1)


def cluster_of(n: int, hwm: int | None = None) -> Iterator[Cluster]:
    """A cluster in a directory with a short name, as users' are."""
    with tempfile.TemporaryDirectory() as directory:
        running = Cluster(n=n, hwm=hwm, profile_dir=Path(directory) / "profile_texts")
        running.start_cluster_sync()
        try:
            yield running
        finally:
            running.stop_cluster_sync()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, where scripts run and which is their home."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


class Texts(list[str]):
    """The texts that a script got to read, with what varies in capitals."""

    def __init__(self, place: Path, script: str, connection: str = "", **environment: str) -> None:
        if connection:
            script = PRELUDE.format(connection=connection) + textwrap.dedent(script)
        (place / "script.py").write_text(textwrap.dedent(script).lstrip())
        done = subprocess.run(
            [sys.executable, str(PROMPT), "script.py"],
            cwd=place,
            env=os.environ | {"HOME": str(place), "IPYTHONDIR": ""} | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        told = [json.loads(line) for line in done.stdout.splitlines()]
        for each in told:
            lines = homely(each["message"]).splitlines()
            assert len(lines) <= 12, each["message"]
            for line in lines:
                assert len(line.removeprefix("enginery.")) <= 100, line
        self.whole = "\n".join(each["shown"] for each in told)
        super().__init__(normal(each["shown"]) for each in told)

    def __str__(self) -> str:
        return "\n".join(self)


PRELUDE = """\
import enginery
rc = enginery.Client({connection!r})
rc.wait_for_engines(2)
lview = rc.load_balanced_view(1)
"""


def homely(text: str) -> str:
    """A text with paths as short as those of users are."""
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/\w+", "HOME", text)
    return text.replace(sys.executable, "PYTHON")


def normal(text: str) -> str:
    """A text without what differs from run to run, and without the marks below lines of code."""
    text = homely(text)
    text = re.sub(rf"(?<= ){re.escape(socket.gethostname())}(?=[,;)\n])", "HOST", text)
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    lines = [line for line in text.splitlines() if line.strip(" ^~")]
    return "\n".join(lines) + "\n"


def golden(text: str) -> str:
    """Texts as they stand in a test."""
    return textwrap.dedent(text).lstrip("\n")


# --- 1: it cannot be sent ------------------------------------------------------------------------


def test_what_cannot_be_sent(two: Cluster, place: Path) -> None:
    texts = Texts(
        place,
        """
        import threading
        lock = threading.Lock()
        def fit(x, lock):
            return x
        def make():
            lock = threading.Lock()
            def g(x):
                with lock:
                    return x
            return g
        lview.apply_sync(fit, 1, lock)
        lview.apply_sync(fit, 1, make())
        lview.map_sync(make(), range(4))
        lview.apply_sync(fit, (i for i in range(3)), 1)
        rc[:]["cfg"] = {"handlers": [lock]}
        """,
        two.client_connection_file,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 16, in <module>
            lview.apply_sync(fit, 1, lock)
        enginery.UnsendableError: fit(x, lock): argument 2 cannot be sent to an engine
          args[1] is a _thread.lock
          Nothing was submitted.
          Locks, open files, sockets and connections cannot leave their process. Make it on the engine:
              dview.execute("import threading; lock = threading.Lock()")
              lview.map(f, xs, Reference("lock"))

        Traceback (most recent call last):
          File "script.py", line 17, in <module>
            lview.apply_sync(fit, 1, make())
        enginery.UnsendableError: fit(x, lock): argument 2 cannot be sent to an engine
          args[1] holds a _thread.lock; found in closure variable 'lock' of function g (script.py:12)
          Nothing was submitted.
          Locks, open files, sockets and connections cannot leave their process. Make it on the engine:
              dview.execute("import threading; lock = threading.Lock()")
              lview.map(f, xs, Reference("lock"))

        Traceback (most recent call last):
          File "script.py", line 18, in <module>
            lview.map_sync(make(), range(4))
        enginery.UnsendableError: map(g): the function cannot be sent to an engine
          function g holds a _thread.lock; found in closure variable 'lock' of function g (script.py:12)
          Nothing was submitted.
          Locks, open files, sockets and connections cannot leave their process. Make it on the engine:
              dview.execute("import threading; lock = threading.Lock()")
              lview.map(f, xs, Reference("lock"))

        Traceback (most recent call last):
          File "script.py", line 19, in <module>
            lview.apply_sync(fit, (i for i in range(3)), 1)
        enginery.UnsendableError: fit(x, lock): argument 1 cannot be sent to an engine
          args[0] is a generator
          Nothing was submitted.
          Generators and coroutines live in the process that runs them. Send what they yield:
              list(x)

        Traceback (most recent call last):
          File "script.py", line 20, in <module>
            rc[:]["cfg"] = {"handlers": [lock]}
        enginery.UnsendableError: push(…): argument 1 cannot be sent to an engine
          args[0]['cfg']['handlers'][0] is a _thread.lock
          Nothing was submitted.
          Locks, open files, sockets and connections cannot leave their process. Make it on the engine:
              dview.execute("import threading; thing = threading.Lock()")
              lview.map(f, xs, Reference("thing"))
        """
    )


def test_what_is_advised_then_works(two: Cluster) -> None:
    with two.connect_client_sync() as rc:
        dview, lview = rc[:], rc.load_balanced_view()

        def fit(x: int, lock: Any) -> int:
            with lock:
                return x

        dview.execute("import threading; lock = threading.Lock()")
        assert lview.map(fit, range(4), Reference("lock")).get(30) == [0, 1, 2, 3]
        assert dview.map(fit, range(4), Reference("lock")).get(30) == [0, 1, 2, 3]
        assert list(lview.imap(fit, range(4), Reference("lock"))) == [0, 1, 2, 3]
        with pytest.raises(TypeError, match="needs a sequence beside its References"):
            lview.map(fit, Reference("lock"))


# --- 2: a module is missing ----------------------------------------------------------------------


def test_a_module_that_engines_lack(two: Cluster, place: Path) -> None:
    (place / "lib").mkdir()
    (place / "lib" / "mymod.py").write_text("def f(x):\n    return x\n")
    texts = Texts(
        place,
        """
        import os, sys
        sys.path.insert(0, os.path.abspath("lib"))
        import mymod
        def g(x):
            import mymod
            return mymod.f(x)
        rc[:].map_sync(mymod.f, range(4))
        lview.apply_sync(mymod.f, 1)
        rc[:].apply_sync(mymod.f, 1)
        lview.map_sync(g, range(4))
        rc[1].execute("import mymod", block=True)
        lview.apply_sync(eval, "__import__('nothing_of_that_name')")
        with rc[:].sync_imports():
            import mymod
        rc[:].sync_path(block=True)
        assert rc[:].apply_sync(mymod.f, 1) == [1, 1]
        rc[:].execute("import sys; del sys.path[0], sys.modules['mymod']", block=True)
        """,
        two.client_connection_file,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 12, in <module>
            rc[:].map_sync(mymod.f, range(4))
        ModuleNotFoundError: no module named 'mymod' on engines 0, 1 (2 of 2)
          map(f) names what is in mymod, so each engine must be able to import it. 0 of 4 items ran.
          Here it is HOME/lib/mymod.py, found through sys.path[0].
          One of:  rc[:].push_module("mymod")     send this file, also to engines that join later
                   rc[:].sync_path()              give the engines this sys.path (shared disk)

        Traceback (most recent call last):
          File "script.py", line 13, in <module>
            lview.apply_sync(mymod.f, 1)
        ModuleNotFoundError: no module named 'mymod' on engine 1 (1 of 2)
          apply(f) names what is in mymod, so each engine must be able to import it. It did not run.
          Here it is HOME/lib/mymod.py, found through sys.path[0].
          One of:  rc[:].push_module("mymod")     send this file, also to engines that join later
                   rc[:].sync_path()              give the engines this sys.path (shared disk)

        Traceback (most recent call last):
          File "script.py", line 14, in <module>
            rc[:].apply_sync(mymod.f, 1)
        ModuleNotFoundError: no module named 'mymod' on engines 0, 1 (2 of 2)
          apply(f) names what is in mymod, so each engine must be able to import it. 0 of 2 engines ran.
          Here it is HOME/lib/mymod.py, found through sys.path[0].
          One of:  rc[:].push_module("mymod")     send this file, also to engines that join later
                   rc[:].sync_path()              give the engines this sys.path (shared disk)

        Traceback (most recent call last):
          File "script.py", line 15, in <module>
            lview.map_sync(g, range(4))
        enginery.CompositeError: 4 of 4 items of map(g) failed
          [1:map] ModuleNotFoundError: No module named 'mymod'   ×4 (items 0, 1, 2, 3)
          Here it is HOME/lib/mymod.py, found through sys.path[0].
          One of:  rc[:].push_module("mymod")     send this file, also to engines that join later
                   rc[:].sync_path()              give the engines this sys.path (shared disk)
          e.raise_exception(i) raises one of them, e.print_tracebacks() shows all

        Traceback (most recent call last):
          File "script.py", line 16, in <module>
            rc[1].execute("import mymod", block=True)
        ModuleNotFoundError: No module named 'mymod'
          execute, on engine 1 (pid PID, HOST) after TIME; task ID
            File "<In [N]>", line 1, in <module>
              import mymod
          Here it is HOME/lib/mymod.py, found through sys.path[0].
          One of:  rc[:].push_module("mymod")     send this file, also to engines that join later
                   rc[:].sync_path()              give the engines this sys.path (shared disk)

        Traceback (most recent call last):
          File "script.py", line 17, in <module>
            lview.apply_sync(eval, "__import__('nothing_of_that_name')")
        ModuleNotFoundError: No module named 'nothing_of_that_name'
          apply(eval), on engine 1 (pid PID, HOST) after TIME; task ID
            File "<string>", line 1, in <module>

        Traceback (most recent call last):
          File "script.py", line 18, in <module>
            with rc[:].sync_imports():
        enginery.CompositeError: one or more exceptions from call to method: execute
        [0:execute]: ModuleNotFoundError: No module named 'mymod'
        [1:execute]: ModuleNotFoundError: No module named 'mymod'
          on engine 0:
            File "<In [N]>", line 1, in <module>
              import mymod
          e.print_tracebacks() shows all
        """
    )


# --- 3: it raises --------------------------------------------------------------------------------


def test_items_of_a_map_that_fail(two: Cluster, place: Path) -> None:
    texts = Texts(
        place,
        """
        def bad(x):
            if x == 5: raise ValueError(f"bad item {x}")
            return x
        def worse(x):
            if x in (5, 18): raise ValueError(f"bad item {x}")
            return 1 / (x - 77)
        def wordy(x):
            raise ValueError("much to say, " * 20 + "\\n and more")
        lview.map_sync(bad, range(8))
        lview.map_sync(worse, range(10_000), chunksize=100)
        lview.map_sync(wordy, range(2))
        """,
        two.client_connection_file,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 14, in <module>
            lview.map_sync(bad, range(8))
        ValueError: bad item 5
          item 5 of 8 of map(bad), on engine 1 (pid PID, HOST) after TIME; task ID
            File "script.py", line 7, in bad
              if x == 5: raise ValueError(f"bad item {x}")
          7 of 8 items are done and kept: ar.partial() gives them, ar.resubmit() runs the failed one again.

        Traceback (most recent call last):
          File "script.py", line 15, in <module>
            lview.map_sync(worse, range(10_000), chunksize=100)
        enginery.CompositeError: 3 of 10,000 items of map(worse) failed
          [1:map] ValueError: bad item 5   ×2 (items 5, 18)
          [1:map] ZeroDivisionError: division by zero   ×1 (item 77)
          9,997 of 10,000 items are done and kept: ar.partial() gives them,
            ar.resubmit() runs the failed ones again.
          e.raise_exception(i) raises one of them, e.print_tracebacks() shows all

        Traceback (most recent call last):
          File "script.py", line 16, in <module>
            lview.map_sync(wordy, range(2))
        enginery.CompositeError: 2 of 2 items of map(wordy) failed
          [1:map] ValueError: much to say, much to say, much to say, much to say, much to…   ×2 (items 0, 1)
          e.raise_exception(i) raises one of them, e.print_tracebacks() shows all
        """
    )


def test_a_call_that_fails(two: Cluster, place: Path) -> None:
    texts = Texts(
        place,
        """
        import sys
        def inverse(x):
            return 1 / x
        lview.apply_sync(inverse, 0)
        rc[:].apply_sync(inverse, 0)
        rc[1].execute("x = 1\\ny = undefined", block=True)
        rc[1]["nothing"]
        lview.apply_sync(sys.exit, 4)
        """,
        two.client_connection_file,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 9, in <module>
            lview.apply_sync(inverse, 0)
        ZeroDivisionError: division by zero
          apply(inverse), on engine 1 (pid PID, HOST) after TIME; task ID
            File "script.py", line 8, in inverse
              return 1 / x

        Traceback (most recent call last):
          File "script.py", line 10, in <module>
            rc[:].apply_sync(inverse, 0)
        enginery.CompositeError: one or more exceptions from call to method: apply
        [0:apply]: ZeroDivisionError: division by zero
        [1:apply]: ZeroDivisionError: division by zero
          on engine 0:
            File "script.py", line 8, in inverse
              return 1 / x
          e.print_tracebacks() shows all

        Traceback (most recent call last):
          File "script.py", line 11, in <module>
            rc[1].execute("x = 1\\ny = undefined", block=True)
        NameError: name 'undefined' is not defined
          execute, on engine 1 (pid PID, HOST) after TIME; task ID
            File "<In [N]>", line 2, in <module>
              y = undefined

        Traceback (most recent call last):
          File "script.py", line 12, in <module>
            rc[1]["nothing"]
        NameError: name 'nothing' is not defined
          pull, on engine 1 (pid PID, HOST) after TIME; task ID

        SystemExit: 4
        The above exception was the direct cause of the following exception:
        Traceback (most recent call last):
          File "script.py", line 13, in <module>
            lview.apply_sync(sys.exit, 4)
        enginery.RemoteError: SystemExit: 4
          apply(exit), on engine 1 (pid PID, HOST) after TIME; task ID
        """
    )


def test_code_that_is_not_python(two: Cluster, place: Path) -> None:
    """One clear text, with the line and a mark below what is wrong in it."""
    texts = Texts(
        place,
        """
        code = "x = 1\\nif x:\\n    y = = 1"
        rc[0].execute(code, block=True)
        rc[:].execute(code, block=True)
        """,
        two.client_connection_file,
    )
    shown = str(texts)
    assert shown == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 7, in <module>
            rc[0].execute(code, block=True)
          File "<In [N]>", line 3
            y = = 1
        SyntaxError: invalid syntax
          execute, on engine 0 (pid PID, HOST) after TIME; task ID

        Traceback (most recent call last):
          File "script.py", line 8, in <module>
            rc[:].execute(code, block=True)
        enginery.CompositeError: one or more exceptions from call to method: execute
        [0:execute]: SyntaxError: invalid syntax (<In [N]>, line 3)
        [1:execute]: SyntaxError: invalid syntax (<In [N]>, line 3)
            y = = 1
        """
    )
    marks = [line for line in texts.whole.splitlines() if not line.strip(" ^") and line]
    assert marks == ["        ^"] * 2


def test_a_wait_that_takes_too_long(two: Cluster, place: Path) -> None:
    texts = Texts(
        place,
        """
        import time
        ar = lview.map_async(time.sleep, [60] * 5)
        ar.get(0.01)
        rc.wait_for_engines(9, timeout=0.01)
        ar.abort(running=True)
        """,
        two.client_connection_file,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 8, in <module>
            ar.get(0.01)
        enginery.TimeoutError: map(sleep) is not done after TIME: 0 of 5 items done;
          the work goes on, wait again with get()

        Traceback (most recent call last):
          File "script.py", line 9, in <module>
            rc.wait_for_engines(9, timeout=0.01)
        enginery.TimeoutError: 2 of 9 engines are registered after TIME
          Why they do not come:  enginery status    Start more:  ipcluster engines -n 4
        """
    )


# --- 4: an engine dies ---------------------------------------------------------------------------


def test_an_engine_that_is_killed(dying: Cluster, place: Path) -> None:
    texts = Texts(
        place,
        """
        import os
        def die(x):
            if x == 5: os.kill(os.getpid(), 9)
            return x
        lview.map_sync(die, range(8))
        lview.apply_sync(os._exit, 3)
        lview.map_sync(die, range(8), retries=1)
        rc.load_balanced_view(0).map_sync(die, range(8), retries=9)
        rc.wait_for_engines(2)
        rc[:].apply_sync(die, 5)
        """,
        dying.client_connection_file,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 10, in <module>
            lview.map_sync(die, range(8))
        enginery.EngineError: engine 1 died while running item 5 of 8 of map(die): killed by signal 9 (SIGKILL)
          task ID, attempt 1 of 1; engine 1 was pid PID on HOST, up TIME, memory SIZE
          No reason is known: not by enginery, not for memory.
          A new engine 1 is COMING, without the variables of the old one. Items not yet started went on;
            7 of 8 are done: ar.partial()
          It was not run again, since that might not be safe. If it is:  map(..., retries=2)

        Traceback (most recent call last):
          File "script.py", line 11, in <module>
            lview.apply_sync(os._exit, 3)
        enginery.EngineError: engine 1 died while running apply(_exit): it ended with exit code 3
          task ID, attempt 1 of 1; engine 1 was pid PID on HOST, up TIME, memory SIZE
          A new engine 1 is COMING, without the variables of the old one.
          It was not run again, since that might not be safe. If it is:  lview.retries = 2

        Traceback (most recent call last):
          File "script.py", line 12, in <module>
            lview.map_sync(die, range(8), retries=1)
        enginery.EngineError: engine 1 died while running item 5 of 8 of map(die): killed by signal 9 (SIGKILL)
          task ID, attempt 2 of 2; engine 1 was pid PID on HOST, up TIME, memory SIZE
          No reason is known: not by enginery, not for memory.
          A new engine 1 is COMING, without the variables of the old one. Items not yet started went on;
            7 of 8 are done: ar.partial()
          It is not run again: retries=1 allows no more attempts.

        Traceback (most recent call last):
          File "script.py", line 13, in <module>
            rc.load_balanced_view(0).map_sync(die, range(8), retries=9)
        enginery.TaskKillsEngines: item 5 of 8 of map(die) was running when 3 engines died; it is not tried again
          task ID; engines 0, 0, 0 died; engine 0 was killed by signal 9 (SIGKILL);
            it was pid PID on HOST, up TIME, memory SIZE
          No reason is known: not by enginery, not for memory.
          A new engine 0 is COMING, without the variables of the old one. Items not yet started went on;
            7 of 8 are done: ar.partial()

        Traceback (most recent call last):
          File "script.py", line 15, in <module>
            rc[:].apply_sync(die, 5)
        enginery.CompositeError: one or more exceptions from call to method: apply
        [0:apply]: EngineError: engine 0 died: killed by signal 9 (SIGKILL)
        [1:apply]: EngineError: engine 1 died: killed by signal 9 (SIGKILL)
        """
    )


def test_names_may_be_long(dying: Cluster, place: Path) -> None:
    texts = Texts(
        place,
        """
        import os
        def find_the_best_of_all_parameters(x):
            os.kill(os.getpid(), 9)
        lview.map_sync(find_the_best_of_all_parameters, [1])
        lview.map_sync(find_the_best_of_all_parameters, [1], retries=9)
        """,
        dying.client_connection_file,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 9, in <module>
            lview.map_sync(find_the_best_of_all_parameters, [1])
        enginery.EngineError: engine 1 died while running item 0 of 1 of map(find_the_best_of_all_parameters):
          killed by signal 9 (SIGKILL)
          task ID, attempt 1 of 1; engine 1 was pid PID on HOST, up TIME, memory SIZE
          No reason is known: not by enginery, not for memory.
          A new engine 1 is COMING, without the variables of the old one.
          It was not run again, since that might not be safe. If it is:  map(..., retries=2)

        Traceback (most recent call last):
          File "script.py", line 10, in <module>
            lview.map_sync(find_the_best_of_all_parameters, [1], retries=9)
        enginery.TaskKillsEngines: item 0 of 1 of map(find_the_best_of_all_parameters) was running when 3 engines
          died; it is not tried again
          task ID; engines 1, 1, 1 died; engine 1 was killed by signal 9 (SIGKILL);
            it was pid PID on HOST, up TIME, memory SIZE
          No reason is known: not by enginery, not for memory.
          A new engine 1 is COMING, without the variables of the old one.
        """
    )


# --- 6: no controller ----------------------------------------------------------------------------


def test_no_controller(place: Path) -> None:
    texts = Texts(
        place,
        """
        import enginery
        enginery.Client()
        enginery.Client(profile="gpu", cluster_id="night")
        enginery.Client("elsewhere/ipcontroller-client.json")
        enginery.Client("tcp://127.0.0.1:10101")
        """,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 2, in <module>
            enginery.Client()
        enginery.NoControllerError: no cluster is running in profile 'default'
          looked for ~/.ipython/profile_default/security/ipcontroller-client.json: no such file
          Start one:    ipcluster start -n 4
          or here:      rc = enginery.Cluster(n=4).start_and_connect_sync()

        Traceback (most recent call last):
          File "script.py", line 3, in <module>
            enginery.Client(profile="gpu", cluster_id="night")
        enginery.NoControllerError: no cluster 'night' is running in profile 'gpu'
          looked for ~/.ipython/profile_gpu/security/ipcontroller-night-client.json: no such file
          Start one:    ipcluster start -n 4 --profile=gpu --cluster-id=night
          or here:      cluster = enginery.Cluster(n=4, profile="gpu", cluster_id="night")
                        rc = cluster.start_and_connect_sync()

        Traceback (most recent call last):
          File "script.py", line 4, in <module>
            enginery.Client("elsewhere/ipcontroller-client.json")
        enginery.NoControllerError: there is no connection file ~/elsewhere/ipcontroller-client.json
          It is made when a controller starts:  ipcluster start -n 4
          From another host:  copy it, and let nobody else read it

        Traceback (most recent call last):
          File "script.py", line 5, in <module>
            enginery.Client("tcp://ADDRESS")
        enginery.NoControllerError: no key for tcp://ADDRESS in profile 'default'
          looked through ~/.ipython/profile_default/security/ipcontroller-*.json
          Copy the controller's ipcontroller-client.json there, or give its path:  Client("PATH")
        """
    )


def changed(path: str, to: Path, **fields: Any) -> str:
    """Write a connection file with other fields; its path as it stands in a script."""
    replace(ConnectionFile.read(path), **fields).write(to)
    return repr(to.name)


def test_a_connection_file_that_does_not_fit(two: Cluster, place: Path) -> None:
    """Of a cluster that was restarted, of another one, of one that is gone, or for others."""
    good, other = two.client_connection_file, Keys.create()
    pair = other.pair("client")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        server = changed(good, place / "server.json", server_key=other.server.public.decode())
        keys = {"public_key": pair.public.decode(), "secret_key": pair.secret.decode()}
        key = changed(good, place / "key.json", **keys)
        gone = changed(good, place / "gone.json", url=url)
        (place / "broken.json").touch(mode=0o600)
        (place / "broken.json").write_text("{")
        (place / "open.json").write_text(Path(good).read_text())
        (place / "open.json").chmod(0o644)
        engine = changed(good, place / "engine.json", role="engine")
        texts = Texts(
            place,
            f"""
            import enginery
            enginery.Client({server})
            enginery.Client({key})
            enginery.Client({gone})
            enginery.Client({engine})
            enginery.Client("broken.json")
            enginery.Client("open.json")
            """,
        )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 2, in <module>
            enginery.Client('server.json')
        enginery.NoControllerError: another controller listens at ADDRESS now
          That of ~/server.json is gone:
          it was restarted with new keys, or is just stopping. Copy the file again.

        Traceback (most recent call last):
          File "script.py", line 3, in <module>
            enginery.Client('key.json')
        enginery.NoControllerError: the controller at ADDRESS answered, but refused this key
          The key is that in ~/key.json
          New keys were made there since: copy the file again.

        Traceback (most recent call last):
          File "script.py", line 4, in <module>
            enginery.Client('gone.json')
        enginery.NoControllerError: the controller at ADDRESS is gone: nothing listens there
          It was pid PID on HOST, started DAY TIME.
          Remove its file:  rm ~/gone.json
          Start one:        ipcluster start -n 4

        Traceback (most recent call last):
          File "script.py", line 5, in <module>
            enginery.Client('engine.json')
        enginery.ConnectionFileError: ~/engine.json is for engines
          A client needs one like ipcontroller-client.json, which is made beside it.

        Traceback (most recent call last):
          File "script.py", line 6, in <module>
            enginery.Client("broken.json")
        enginery.ConnectionFileError: HOME/broken.json is not a key file of enginery: Input data was truncated
          Copy it again from the controller's host; there, remove it and start the controller.

        Traceback (most recent call last):
          File "script.py", line 7, in <module>
            enginery.Client("open.json")
        enginery.ConnectionFileError: HOME/open.json is open to others (mode 0644)
          Who can read it can use the cluster as you, if it was not copied already.
          Close it:           chmod 600 HOME/open.json
          If in doubt, remove it and its like on the controller's host, and start that again.
        """
    )


# --- others --------------------------------------------------------------------------------------


def test_what_is_not_there(two: Cluster, place: Path) -> None:
    texts = Texts(
        place,
        """
        rc[9]
        rc[0, 9]
        rc[5:]
        rc["all engines"]
        rc.load_balanced_view([1, 9])
        rc[0].execute("pass", targets=9)
        rc.queue_status(9)
        rc.get_result("nobody-1")
        rc.abort("nobody-1")
        rc.close()
        rc[0].execute("pass")
        """,
        two.client_connection_file,
    )
    assert str(texts) == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 6, in <module>
            rc[9]
        IndexError: there is no engine 9; there are engines 0, 1

        Traceback (most recent call last):
          File "script.py", line 7, in <module>
            rc[0, 9]
        IndexError: there is no engine 9; there are engines 0, 1

        Traceback (most recent call last):
          File "script.py", line 8, in <module>
            rc[5:]
        enginery.NoEnginesRegistered: targets [5:] names no engine; there are engines 0, 1

        Traceback (most recent call last):
          File "script.py", line 9, in <module>
            rc["all engines"]
        TypeError: targets='all engines' names no engines; the only name is 'all'

        Traceback (most recent call last):
          File "script.py", line 10, in <module>
            rc.load_balanced_view([1, 9])
        IndexError: there is no engine 9; there are engines 0, 1

        Traceback (most recent call last):
          File "script.py", line 11, in <module>
            rc[0].execute("pass", targets=9)
        IndexError: there is no engine 9; there are engines 0, 1

        Traceback (most recent call last):
          File "script.py", line 12, in <module>
            rc.queue_status(9)
        IndexError: there is no engine 9; there are engines 0, 1

        Traceback (most recent call last):
          File "script.py", line 13, in <module>
            rc.get_result("nobody-1")
        enginery.UnknownTask: no task has the id 'nobody-1', or its result is not kept any more

        Traceback (most recent call last):
          File "script.py", line 14, in <module>
            rc.abort("nobody-1")
        enginery.UnknownTask: no task has the id 'nobody-1', or its result is not kept any more

        Traceback (most recent call last):
          File "script.py", line 16, in <module>
            rc[0].execute("pass")
        enginery.NoControllerError: this client is closed; make a new one: rc = Client()
        """
    )


def test_a_cluster_that_cannot_be(two: Cluster, place: Path) -> None:
    port = int(ConnectionFile.read(two.client_connection_file).url.rpartition(":")[2])
    texts = Texts(
        place,
        f"""
        import enginery
        enginery.Cluster(n=-1)
        enginery.Cluster(n="four")
        enginery.Cluster(profile="nosuch")
        port = {port}
        enginery.Cluster(n=1, profile_dir="p", client_port=port).start_cluster_sync()
        same = dict(profile_dir={str(two.profile.path)!r}, cluster_id={two.cluster_id!r})
        enginery.Cluster(n=1, **same).start_cluster_sync()
        """,
    )
    assert str(texts).replace(two.cluster_id, "ID") == golden(
        """
        Traceback (most recent call last):
          File "script.py", line 2, in <module>
            enginery.Cluster(n=-1)
        ValueError: n is a number of engines and cannot be -1

        Traceback (most recent call last):
          File "script.py", line 3, in <module>
            enginery.Cluster(n="four")
        ValueError: n is a number of engines, not 'four'

        Traceback (most recent call last):
          File "script.py", line 4, in <module>
            enginery.Cluster(profile="nosuch")
        enginery.ClusterError: there is no profile 'nosuch': no directory HOME/.ipython/profile_nosuch
          Make it: ipython profile create nosuch

        Traceback (most recent call last):
          File "script.py", line 6, in <module>
            enginery.Cluster(n=1, profile_dir="p", client_port=port).start_cluster_sync()
        enginery.ClusterError: the controller process did not start: exit code 1
          enginery controller: cannot listen for clients at ADDRESS: Address already in use
            Another controller may be running there: ipcluster list
            Choose another port with --client-port, or none for any free one.
          command: PYTHON -P -m enginery controller --cluster-id=ID --settings=-
          its output: HOME/p/log/ipcontroller-ID.out

        Traceback (most recent call last):
          File "script.py", line 8, in <module>
            enginery.Cluster(n=1, **same).start_cluster_sync()
        enginery.ClusterError: a controller of cluster 'ID' of profile 'texts' is running already (pid PID)
          Stop it:              ipcluster stop --profile-dir=HOME/profile_texts --cluster-id=ID
          Or run one beside it: give this one a --cluster-id of its own
        """
    )


# --- Ctrl-C --------------------------------------------------------------------------------------

INTERRUPTED = """
def wait_for(path):
    import pathlib, time
    pathlib.Path(path + ".begun").touch()
    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    return "done"

def say_when_waiting():
    import threading, time
    main = threading.main_thread().ident
    def watch():
        while rc.link._driver._steersman != main:
            time.sleep(0.01)
        print("waiting", flush=True)
    threading.Thread(target=watch, daemon=True).start()

ar = lview.apply_async(wait_for, {go!r})
"""


@contextmanager
def interrupted(place: Path, cluster: Cluster, script: str) -> Iterator[subprocess.Popen[str]]:
    """A script that waits for a task when Ctrl-C comes."""
    start = PRELUDE.format(connection=cluster.client_connection_file)
    start += INTERRUPTED.format(go=str(place / "go"))
    (place / "script.py").write_text(start + textwrap.dedent(script))
    command = [sys.executable, "script.py"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=place, stdout=pipe, stderr=pipe, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "waiting\n"
            begun, patience = place / "go.begun", Event()
            while not begun.exists():
                patience.wait(0.01)  # no event tells that a task has begun
            program.send_signal(signal.SIGINT)
            yield program
        finally:
            (place / "go").touch()
            program.kill()


def test_an_interrupted_wait_can_be_gone_on_with(two: Cluster, place: Path) -> None:
    script = """
        try:
            say_when_waiting()
            ar.get()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            print(ar.get(30), rc[:].apply_sync(abs, -1), flush=True)
    """
    before = two.engine_pids
    with interrupted(place, two, script) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "interrupted\n"
        (place / "go").touch()
        assert program.communicate(timeout=30) == ("done [1, 1]\n", "")
    assert two.engine_pids == before


def test_what_an_interrupt_shows(two: Cluster, place: Path) -> None:
    before = two.engine_pids
    with interrupted(place, two, "say_when_waiting(); ar.get()") as program:
        out, text = program.communicate(timeout=30)  # the program ends, and the work goes on
    assert out == ""
    assert re.sub(r"line \d+", "line N", homely(text)) == golden(
        """
        Traceback (most recent call last):
          File "HOME/script.py", line N, in <module>
            say_when_waiting(); ar.get()
                                ^^^^^^^^
        KeyboardInterrupt: stopped waiting for apply(wait_for): it is running
          The work goes on.  Wait again: rc.last.get()    Stop it: rc.last.abort(running=True)
          Ctrl-C twice within 2 s does both: stops waiting and stops the work.
        """
    )
    assert program.returncode == -signal.SIGINT
    assert two.engine_pids == before
