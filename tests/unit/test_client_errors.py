"""What users read when something fails: every text as a whole, and what can be caught how."""

import asyncio
import contextlib
import gc
import linecache
import pickle
import re
import traceback
import weakref
from functools import partial
from types import SimpleNamespace

import pytest

from enginery import colours
from enginery import error as errors
from enginery.client.original import remote_class, restore
from enginery.client.results import AsyncResult
from enginery.core.messages import EngineInfo
from enginery.error import CompositeError, RemoteError
from enginery.frames import render
from enginery.wire.chunks import ChunkFailed
from enginery.wire.failure import Failure

from .hand_link import T0, HandLink, client_of, outcome

SCRIPT = """\
def bad(x):
    if x == 5: raise ValueError(f"bad item {x}")
    return x

def deep(n):
    return deep(n - 1) if n else 1 / 0
"""
NAMES: dict = {}
exec(compile(SCRIPT, "script.py", "exec"), NAMES)


def failure(call, *args, kind="call"):
    """What an engine says when this call fails; the test's own frame is left out, as its own is."""
    try:
        call(*args)
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next
        told = Failure.capture(error, kind=kind)
    else:
        raise AssertionError("it should have failed")
    lines = SCRIPT.splitlines()
    told.frames = [
        (f, n, name, lines[n - 1].strip() if f == "script.py" else line)
        for f, n, name, line in told.frames
    ]
    return told


def shown(error):
    """What Python prints below the frames."""
    return "".join(traceback.format_exception_only(error))


def raised(call, *args):
    with pytest.raises(BaseException) as caught:
        call(*args)
    return caught.value


@pytest.fixture
def hand():
    return HandLink()


@pytest.fixture
def make(hand):
    """Make a finished result: `ended` has, per task, what `outcome` takes."""

    def make(name, shape, *ended, sizes=None, **more):
        slots = hand.new_slots(len(ended), name)
        result = AsyncResult(client_of(hand), slots, name=name, shape=shape, sizes=sizes, **more)
        hand.deliver(*(outcome(slot, **how) for slot, how in zip(slots, ended, strict=True)))
        return result

    return make


def failed(call, *args, **more):
    return {"value": failure(call, *args), "status": "error", **more}


def lost(seconds=0.2, **facts):
    facts = {
        "reason": "signal 9 (SIGKILL)", "pid": 4711, "host": "n1", "uptime": 184.2,
        "started": True, "attempts": 1, "retries": 0, "replaced": True, **facts,
    }  # fmt: skip
    return {"status": "lost", "started": 0.0, "facts": facts}


# --- text 3: one item of a map ------------------------------------------------------------------


def test_one_item_of_a_map(make):
    result = make(
        "map(bad)", "map", *({"value": i} if i != 5 else failed(NAMES["bad"], 5) for i in range(8))
    )
    error = raised(result.get)
    assert shown(error) == (
        "ValueError: bad item 5\n"
        "  item 5 of 8 of map(bad), on engine 1 (pid 4711, n1) after 0.2 s; task 7f3a2c-5\n"
        '    File "script.py", line 2, in bad\n'
        '      if x == 5: raise ValueError(f"bad item {x}")\n'
        "  7 of 8 items are done and kept: ar.partial() gives them, "
        "ar.resubmit() runs the failed one again.\n"
    )
    assert error.ar is result
    assert error.ar.partial() == {i: i for i in range(8) if i != 5}


def test_a_chunk_keeps_its_good_items(make):
    told = [failure(NAMES["bad"], 5) if i == 5 else i for i in range(4, 8)]
    result = make(
        "map(bad)",
        "map",
        {"value": [0, 1, 2, 3], "engine": 0},
        {"value": ChunkFailed(told), "status": "error"},
        sizes=[4, 4],
    )
    error = raised(result.get)
    assert shown(error).splitlines()[:2] == [
        "ValueError: bad item 5",
        "  item 5 of 8 of map(bad), on engine 1 (pid 4711, n1) after 0.2 s; task 7f3a2c-1",
    ]
    assert result.partial() == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 7}
    assert repr(result) == "<AsyncResult map(bad): 7 of 8 done, 1 failed>"


def test_a_single_call_on_a_second_attempt_on_an_engine_that_is_gone(make):
    result = make(
        "apply(bad)", "single", failed(NAMES["bad"], 5, attempt=2, incarnation="old", seconds=75)
    )
    assert shown(raised(result.get)) == (
        "ValueError: bad item 5\n"
        "  apply(bad), on engine 1 after 1 min 15 s; task 7f3a2c-0, attempt 2\n"
        '    File "script.py", line 2, in bad\n'
        '      if x == 5: raise ValueError(f"bad item {x}")\n'
    )


def test_many_frames_are_told_by_the_first_and_the_last(make):
    error = raised(make("apply(deep)", "single", failed(NAMES["deep"], 9)).get)
    line = "return deep(n - 1) if n else 1 / 0"
    assert shown(error) == (
        "ZeroDivisionError: division by zero\n"
        "  apply(deep), on engine 1 (pid 4711, n1) after 0.2 s; task 7f3a2c-0\n"
        '    File "script.py", line 6, in deep\n'
        f"      {line}\n"
        "    … 7 frames more: print(e.traceback)\n"
        '    File "script.py", line 6, in deep\n'
        f"      {line}\n"
        '    File "script.py", line 6, in deep\n'
        f"      {line}\n"
    )
    assert "[Previous line repeated 7 more times]" in error.traceback


def test_the_source_is_looked_up_here_when_the_engine_has_none(make):
    def unlucky():
        raise LookupError("no luck")

    how = failed(unlucky)
    how["value"].frames = [(*frame[:3], "") for frame in how["value"].frames]
    assert 'raise LookupError("no luck")' in shown(raised(make("apply(f)", "single", how).get))


def test_the_users_own_notes_come_first(make):
    def noted():
        error = ValueError("x")
        error.add_note("look at row 7")
        raise error

    lines = shown(raised(make("apply(noted)", "single", failed(noted)).get)).splitlines()
    assert lines[:2] == ["ValueError: x", "look at row 7"]
    assert lines.count("look at row 7") == 1


# --- several failures ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "shape"), [("map(noted)", "map"), ("apply(noted)", "list")], ids=["map", "direct"]
)
def test_what_is_noted_of_all_is_told_once(make, call, shape):
    def noted(note):
        error = ValueError("x")
        error.add_note(note)
        raise error

    alike = [failed(noted, "look at row 7")] * 2
    assert shown(raised(make(call, shape, *alike).get)).count("look at row 7") == 1
    others = [failed(noted, "look at row 7"), failed(noted, "look at row 8")]
    assert "look at row" not in shown(raised(make(call, shape, *others).get))


def test_several_items_of_a_map_are_told_once_per_kind(make):
    def odd(x):
        raise ValueError(f"bad item {x}")

    ended = [{"value": i} for i in range(10_000)]
    for i in (5, 18):
        ended[i] = failed(odd, i)
    ended[77] = failed(NAMES["deep"], 0, engine=3)
    error = raised(make("map(bad)", "map", *ended).get)
    assert shown(error) == (
        "enginery.CompositeError: 3 of 10,000 items of map(bad) failed\n"
        "  [1:map] ValueError: bad item 5   ×2 (items 5, 18)\n"
        "  [3:map] ZeroDivisionError: division by zero   ×1 (item 77)\n"
        "  9,997 of 10,000 items are done and kept: ar.partial() gives them,\n"
        "    ar.resubmit() runs the failed ones again.\n"
        "  e.raise_exception(i) raises one of them, e.print_tracebacks() shows all\n"
    )
    assert len(error) == 3
    with pytest.raises(ZeroDivisionError):
        error.raise_exception(2)
    with pytest.raises(IndexError):
        error.raise_exception(3)


def test_many_items_and_kinds_are_cut_short(make):
    ended = [{"status": "aborted", "started": 0.0, "engine": -1} for _ in range(6)]
    ended += [failed(exec, f"raise KeyError({i})", attempt=i) for i in range(9)]
    for i, how in enumerate(ended[6:]):
        how["value"].frames = [("script.py", i, "f", "x")]
    assert str(raised(make("map(f)", "map", *ended).get)).splitlines() == [
        "15 of 15 items of map(f) failed",
        "  [map] TaskAborted: was aborted before it ran   ×6 (items 0, 1, 2, 3, 4, …)",
        *(f"  [1:map] KeyError: {i}   ×1 (item {6 + i})" for i in range(7)),
        "  … and 2 more kinds: e.elist",
    ]


def test_a_direct_call_has_a_line_per_engine(make):
    error = raised(
        make("execute", "list", *(failed(NAMES["deep"], 0, engine=i) for i in range(4))).get
    )
    assert shown(error) == (
        "enginery.CompositeError: one or more exceptions from call to method: execute\n"
        "[0:execute]: ZeroDivisionError: division by zero\n"
        "[1:execute]: ZeroDivisionError: division by zero\n"
        "[2:execute]: ZeroDivisionError: division by zero\n"
        "[3:execute]: ZeroDivisionError: division by zero\n"
        "  on engine 0:\n"
        '    File "script.py", line 6, in deep\n'
        "      return deep(n - 1) if n else 1 / 0\n"
        "  e.print_tracebacks() shows all\n"
    )
    assert error.method == "execute"
    assert [e.engine_id for e in error.elist] == [0, 1, 2, 3]


def test_beyond_eight_engines_equal_lines_are_folded(make):
    ended = [failed(NAMES["deep"], 0, engine=i) for i in range(12)]
    ended[3] = failed(NAMES["bad"], 5, engine=3)
    assert str(raised(make("execute", "list", *ended).get)) == (
        "one or more exceptions from call to method: execute\n"
        "[0-2, 4-11:execute]: ZeroDivisionError: division by zero   ×11\n"
        "[3:execute]: ValueError: bad item 5"
    )


def test_a_list_with_one_failure_is_composite_too(make):
    error = raised(make("execute", "list", {"value": 1}, failed(NAMES["bad"], 5)).get)
    assert type(error) is CompositeError
    assert str(error).endswith("\n[1:execute]: ValueError: bad item 5")


def test_print_tracebacks(make, capsys):
    ended = [failed(NAMES["bad"], 5, engine=0), lost()]
    raised(make("execute", "list", *ended).get).print_tracebacks()
    out = capsys.readouterr().out
    assert out.startswith("[0:execute]:\nTraceback (most recent call last):\n")
    assert "\n[1:execute]:\nenginery.EngineError: engine 1 died while running execute" in out


def test_lines_that_only_this_process_knows_are_in_the_traceback(make, monkeypatch):
    """As those of a cell, which no engine has as a file; there it is known by another name."""
    name = "<ipython-input-9-81a69062285a>"
    monkeypatch.setitem(linecache.cache, name, (9, None, ["def f():\n", "    1 / 0\n"], name))
    compiler = SimpleNamespace(
        format_code_name=lambda file: ("Cell", "In[9]") if file == name else None
    )
    monkeypatch.setattr(colours, "shell", lambda: SimpleNamespace(compile=compiler))
    how = failed(NAMES["bad"], 5)
    how["value"].traceback = (
        "Traceback (most recent call last):\n"
        f'  File "{name}", line 2, in f\n'
        f'  File "{name}", line 7, in f\n'
        '  File "other.py", line 1, in g\n'
        "    f()\n"
        "    ~^^\n"
        "ZeroDivisionError: division by zero\n"
    )
    assert make("apply(bad)", "single", how).exception(0).traceback == (
        "Traceback (most recent call last):\n"
        '  File "Cell In[9]", line 2, in f\n'
        "    1 / 0\n"
        '  File "Cell In[9]", line 7, in f\n'
        '  File "other.py", line 1, in g\n'
        "    f()\n"
        "    ~^^\n"
        "ZeroDivisionError: division by zero\n"
    )


def test_raising_one_of_several_shows_no_frame_of_ours(make):
    composite = raised(make("execute", "list", failed(NAMES["bad"], 5), lost()).get)
    for error in (
        raised(composite.raise_exception),
        raised(composite.raise_exception, 1),
        raised(composite.raise_exception, 2),
    ):
        assert files(error) == {__file__}
    assert list(composite) == composite.elist


def test_code_that_no_engine_understood_is_shown_once(make):
    def wrong(engine, code):
        return failed(exec, code, engine=engine)

    code = "if x:\n    y = = 1"
    told = shown(raised(make("execute", "list", wrong(0, code), wrong(1, code)).get))
    assert told.split("\n")[3:] == ["    y = = 1", "        ^", ""]
    told = shown(raised(make("execute", "list", wrong(0, "y = = 1"), wrong(1, "z = = 1")).get))
    assert len(told.splitlines()) == 3
    told = shown(raised(make("execute", "list", wrong(0, "y = = 1"), lost()).get))
    assert len(told.splitlines()) == 3


# --- text 2: a module is missing ----------------------------------------------------------------


def needs(module, **more):
    told = failure(
        exec, f"raise ModuleNotFoundError('No module named {module!r}', name={module!r})"
    )
    told.kind, told.module, told.python, told.frames = "load", module, "/opt/py/bin/python", []
    return {"value": told, "status": "error", **more}


def unfolded(error):
    """What is shown, with what follows a long path in its line."""
    return shown(error).replace(",\n    ", ", ")


def test_a_module_of_the_user_is_missing(make, tmp_path, monkeypatch):
    (tmp_path / "mymod.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    result = make("map(f)", "map", *(needs("mymod", engine=i % 2) for i in range(4)))
    error = raised(result.get)
    assert unfolded(error) == (
        "ModuleNotFoundError: no module named 'mymod' on engines 0, 1 (2 of 2)\n"
        "  map(f) names what is in mymod, so each engine must be able to import it. "
        "0 of 4 items ran.\n"
        f"  Here it is {tmp_path}/mymod.py, found through sys.path[0].\n"
        '  One of:  rc[:].push_module("mymod")     '
        "send this file, also to engines that join later\n"
        "           rc[:].sync_path()              give the engines this sys.path (shared disk)\n"
    )
    assert isinstance(error, RemoteError)
    assert isinstance(error, ModuleNotFoundError)
    assert error.name == "mymod"


def test_an_installed_module_is_missing(make, tmp_path, monkeypatch):
    where = tmp_path / "site-packages"
    where.mkdir()
    (where / "theirmod.py").touch()
    monkeypatch.syspath_prepend(where)
    error = raised(make("apply(f)", "single", needs("theirmod.sub")).get)
    assert unfolded(error) == (
        "ModuleNotFoundError: no module named 'theirmod.sub' on engine 1 (1 of 2)\n"
        "  apply(f) names what is in theirmod.sub, so each engine must be able to import it. "
        "It did not run.\n"
        f"  Here it is {where}/theirmod.py, found through sys.path[0].\n"
        "  One of:  rc[:].sync_path()                  "
        "give the engines this sys.path (shared disk)\n"
        "           python -m pip install theirmod     on n1, with /opt/py/bin/python\n"
    )


def test_a_package_of_the_user_is_missing(make, tmp_path, monkeypatch):
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").touch()
    (tmp_path / "mypkg" / "sub.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    lines = shown(raised(make("apply(f)", "single", needs("mypkg.sub")).get))
    assert 'rc[:].push_module("mypkg")     send this package, also to engines' in lines


def test_compiled_code_of_the_user_is_missing(make, tmp_path, monkeypatch):
    (tmp_path / "myfast.so").touch()
    monkeypatch.syspath_prepend(tmp_path)
    lines = shown(raised(make("apply(f)", "single", needs("myfast")).get)).splitlines()
    assert lines[-1] == "  rc[:].sync_path()     give the engines this sys.path (shared disk)"


def test_a_module_is_missing_everywhere(make):
    error = raised(make("execute", "list", needs("gone_mod", engine=0), {"value": 1}).get)
    assert shown(error).splitlines()[1:] == [
        "  execute names what is in gone_mod, so each engine must be able to import it. "
        "1 of 2 engines ran.",
        "  Here it cannot be found either.",
        "  python -m pip install gone_mod     on n1, with /opt/py/bin/python",
    ]


def test_a_module_missing_in_user_code_is_a_failure_like_any_other(make):
    told = failure(exec, "import gone_mod")
    error = raised(make("apply(f)", "single", {"value": told, "status": "error"}).get)
    assert shown(error).startswith(
        "ModuleNotFoundError: No module named 'gone_mod'\n  apply(f), on"
    )


# --- text 4: the system -------------------------------------------------------------------------


def test_engine_killed_for_memory(hand, make):
    hand.engines[1] = EngineInfo(1, "life1b", "n1", 4790, T0)
    ended = [{"value": i} for i in range(8)]
    ended[5] = lost(memory=3.9e9, oom=True)
    error = raised(make("map(die)", "map", *ended).get)
    assert shown(error) == (
        "enginery.EngineError: engine 1 died while running item 5 of 8 of map(die): "
        "killed by signal 9 (SIGKILL)\n"
        "  task 7f3a2c-5, attempt 1 of 1; engine 1 was pid 4711 on n1, up 3 min 4 s, "
        "memory 3.9 GB\n"
        "  The kernel killed it for memory.\n"
        "  A new engine 1 is up, without the variables of the old one. "
        "Items not yet started went on;\n"
        "    7 of 8 are done: ar.partial()\n"
        "  It was not run again, since that might not be safe. If it is:  map(..., retries=2)\n"
    )
    assert (error.engine_id, error.task, error.facts["pid"]) == (1, "7f3a2c-5", 4711)


def test_engine_killed_for_no_known_reason(make):
    error = raised(make("apply(die)", "single", lost(oom=False)).get)
    assert shown(error) == (
        "enginery.EngineError: engine 1 died while running apply(die): "
        "killed by signal 9 (SIGKILL)\n"
        "  task 7f3a2c-0, attempt 1 of 1; engine 1 was pid 4711 on n1, up 3 min 4 s\n"
        "  No reason is known: not by enginery, not for memory.\n"
        "  A new engine 1 is starting, without the variables of the old one.\n"
        "  It was not run again, since that might not be safe. If it is:  lview.retries = 2\n"
    )


def test_retries_are_spent(make):
    how = lost(attempts=3, retries=2, replaced=False, reason="exit code 3")
    assert shown(raised(make("apply(die)", "single", how).get)) == (
        "enginery.EngineError: engine 1 died while running apply(die): "
        "it ended with exit code 3\n"
        "  task 7f3a2c-0, attempt 3 of 3; engine 1 was pid 4711 on n1, up 3 min 4 s\n"
        "  The variables of engine 1 are gone with it.\n"
        "  It is not run again: retries=2 allows no more attempts.\n"
    )


def test_a_direct_task_that_never_started(make):
    facts = {"reason": "no engine 7 is registered", "engines": [0, 1], "started": False}
    how = {"status": "lost", "started": 0.0, "engine": 7, "facts": facts}
    assert shown(raised(make("apply(f)", "single", how).get)) == (
        "enginery.EngineError: apply(f) did not start: no engine 7 is registered\n"
        "  task 7f3a2c-0\n"
        "  Registered were engines: 0-1.\n"
        "  Nothing of it has run: sending it again is safe.\n"
    )


def test_a_direct_task_is_not_advised_to_be_retried(make):
    error = raised(make("execute", "single", lost(direct=True)).get)
    assert error.__notes__[-1] == "  It was not run again, since that might not be safe."


def test_the_controller_was_restarted(make):
    facts = {"reason": "the controller was restarted", "started": True}
    how = {"status": "lost", "started": 0.0, "engine": -1, "attempt": 0, "facts": facts}
    error = raised(make("apply(f)", "single", how).get)
    assert str(error) == "apply(f) was lost: the controller was restarted"


def test_a_task_that_kills_engines(make):
    how = lost(engines=[1, 0, 3], attempts=3, retries=99, replaced=True) | {"status": "kills"}
    error = raised(make("map(die)", "map", {"value": 0}, how).get)
    assert shown(error) == (
        "enginery.TaskKillsEngines: item 1 of 2 of map(die) was running when 3 engines died; "
        "it is not tried again\n"
        "  task 7f3a2c-1; engines 1, 0, 3 died; engine 1 was killed by signal 9 (SIGKILL);\n"
        "    it was pid 4711 on n1, up 3 min 4 s\n"
        "  A new engine 1 is starting, without the variables of the old one. "
        "Items not yet started went on;\n"
        "    1 of 2 are done: ar.partial()\n"
    )


def test_aborted_and_expired(make):
    aborted = {"status": "aborted", "engine": -1, "started": 0.0}
    error = raised(make("apply(f)", "single", aborted).get)
    assert type(error) is errors.TaskAborted is errors.AbortedTask
    assert shown(error).splitlines() == [
        "enginery.TaskAborted: apply(f) was aborted before it ran",
        "  task 7f3a2c-0",
    ]
    error = raised(make("apply(f)", "single", {"status": "aborted"}).get)
    assert str(error) == "apply(f) was aborted while it ran"
    error = raised(make("map(f)", "map", {"value": 1}, {"status": "expired"}).get)
    assert shown(error).splitlines() == [
        "enginery.ResultExpired: item 1 of 2 of map(f) is done, "
        "but its result is not kept any more",
        "  task 7f3a2c-3",
        "  1 of 2 items are done and kept: ar.partial() gives them, "
        "ar.resubmit() runs the failed one again.",
    ]


# --- other texts --------------------------------------------------------------------------------


def test_time_outs_say_how_far_it_is(hand):
    slots = hand.new_slots(60, "map(slow)")
    result = AsyncResult(client_of(hand), slots, name="map(slow)", shape="map")
    hand.deliver(*(outcome(slot, 0) for slot in slots[:8]))
    error = raised(result.get, 0.001)
    assert str(error) == (
        "map(slow) is not done after 1 ms: 8 of 60 items done;\n"
        "  the work goes on, wait again with get()"
    )
    assert isinstance(error, TimeoutError)
    hand.deliver(outcome(slots[8], status="aborted"))
    assert "8 of 60 items done, 1 failed;" in str(raised(result.get, 0))


# --- what can be caught -------------------------------------------------------------------------


class Own(Exception):
    """A class that is not made from its message."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code

    def __reduce__(self):
        return Own, (self.code, *self.args)


class Slotted(Exception):
    __slots__ = ("code",)


@pytest.mark.parametrize(
    "original",
    [
        ValueError("x"),
        KeyError("k"),
        FileNotFoundError(2, "No such file", "f.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ImportError("m", name="mod"),
        ExceptionGroup("group", [ValueError(1)]),
        TimeoutError("the task's own"),
        Own(7, "text"),
        Slotted("s"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_original_class_and_ours(make, original):
    def fail():
        raise original

    error = raised(make("apply(fail)", "single", failed(fail)).get)
    assert isinstance(error, RemoteError)
    assert isinstance(error, type(original))
    assert not isinstance(error, errors.TimeoutError)
    assert str(error) == str(original)
    assert repr(error.args) == repr(original.args)
    assert (error.ename, error.evalue) == (type(original).__name__, str(original))
    for name in ("errno", "filename", "start", "name", "exceptions", "code"):
        if hasattr(original, name):
            assert repr(getattr(error, name)) == repr(getattr(original, name))
    assert (error.engine_id, error.method, error.task) == (1, "apply", "7f3a2c-0")


@pytest.mark.parametrize(
    "original",
    [StopIteration(3), StopAsyncIteration(), SystemExit(3), KeyboardInterrupt(), GeneratorExit(),
     asyncio.CancelledError(), errors.TimeoutError("nested")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_would_act_here_is_told_and_not_done(make, original):
    def fail():
        raise original

    error = raised(make("apply(fail)", "single", failed(fail)).get)
    assert type(error) is RemoteError
    assert str(error) == f"{type(original).__name__}: {original}".removesuffix(": ")
    assert type(error.__cause__) is type(original)


def test_a_class_that_is_not_here(make):
    how = failed(NAMES["bad"], 5)
    how["value"].ename, how["value"].exception = "StrangeError", None
    error = raised(make("apply(bad)", "single", how).get)
    assert type(error) is RemoteError
    assert str(error) == "StrangeError: bad item 5"


def test_a_builtin_whose_arguments_could_not_be_sent(make):
    how = failed(NAMES["bad"], 5)
    how["value"].exception = None
    assert isinstance(raised(make("apply(bad)", "single", how).get), ValueError)


def test_a_composite_error_of_a_nested_call(make):
    def nested():
        raise CompositeError("inner", [ValueError(1)])

    error = raised(make("apply(nested)", "single", failed(nested)).get)
    assert isinstance(error, CompositeError)
    assert error.engine_id == 1


def test_a_value_that_cannot_be_loaded_here(hand):
    (slot,) = hand.new_slots(1)
    result = AsyncResult(client_of(hand), [slot], name="apply(f)", shape="single")
    there = outcome(slot)
    there.value = b"\x80\x05cgone_mod\nThing\n."
    hand.deliver(there)
    assert shown(raised(result.get)) == (
        "ModuleNotFoundError: No module named 'gone_mod'\n"
        "  apply(f) is done, but what it gave cannot be loaded here;\n"
        "  it ran on engine 1 (pid 4711, n1) after 0.2 s; task 7f3a2c-0\n"
    )
    assert len(shown(raised(result.get)).splitlines()) == 3


class Held:
    """Something that a user's function holds."""


class Stubborn(Exception):
    """Is made with something else than it says."""

    def __init__(self, number):
        super().__init__(f"no {number}")


class Unreadable:
    """Raises where it is loaded."""

    def __init__(self, make):
        self.make = make

    def __setstate__(self, state):
        raise state["make"]()


def unreadable(hand, make):
    (slot,) = hand.new_slots(1)
    hand.deliver(outcome(slot, Unreadable(make)))
    return AsyncResult(client_of(hand), [slot], name="apply(f)", shape="single")


def test_a_value_that_cannot_be_loaded_holds_nothing_of_who_asks(hand):
    result = unreadable(hand, ValueError)

    def ask(how):
        held = Held()
        with contextlib.suppress(ValueError):
            how()
        return weakref.ref(held)

    for how in (result.partial, result.get, result.get):
        held = ask(how)
        gc.collect()
        assert held() is None
    assert raised(result.get) is not raised(result.get)


@pytest.mark.parametrize(
    "make",
    [
        partial(FileNotFoundError, 2, "No", "f"),
        partial(ImportError, "no", name="m"),
        partial(UnicodeDecodeError, "ascii", b"\xff", 0, 1, "no"),
        partial(Stubborn, 3),
    ],
)
def test_what_loading_a_value_raised_keeps_what_it_says(hand, make):
    result, original = unreadable(hand, make), make()
    for _ in range(2):
        told = raised(result.get)
        assert (type(told), str(told), told.args) == (type(original), str(original), original.args)
        assert getattr(told, "name", None) == getattr(original, "name", None)


def test_one_class_per_original_class_and_none_kept():
    assert remote_class(Own) is remote_class(Own)
    assert remote_class(Own).__name__ == "RemoteError[Own]"
    assert remote_class(Own).__mro__[1:3] == (RemoteError, errors.EngineryError)


def test_errors_can_be_pickled():
    for original in (ValueError("x"), FileNotFoundError(2, "No", "f"), Own(7, "text")):
        error = restore(original)
        error.engine_id = 3
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)


def test_raising_twice_gives_two_exceptions(make):
    result = make("apply(bad)", "single", failed(NAMES["bad"], 5))
    first, second = raised(result.get), raised(result.get)
    assert first is not second
    assert shown(first) == shown(second)


# --- what is shown ------------------------------------------------------------------------------


def files(error):
    return {frame.filename for frame in traceback.extract_tb(error.__traceback__)}


@pytest.mark.parametrize(
    "use",
    [
        lambda result: result.get(),
        lambda result: result.r,
        lambda result: result.result(),
        lambda result: result[0],
        lambda result: result[:],
        list,
        lambda result: result.get_dict(),
    ],
)
def test_own_frames_are_cut(make, use):
    result = make("map(bad)", "map", failed(NAMES["bad"], 5))
    assert files(raised(use, result)) == {__file__}


def test_own_frames_are_cut_from_a_wait_that_ends_badly(hand):
    result = AsyncResult(client_of(hand), hand.new_slots(1), name="f", shape="single")
    assert files(raised(result.get, 0)) == {__file__}
    hand.lose(KeyboardInterrupt())
    assert "results.py" not in "".join(files(raised(result.get)))


def test_every_frame_can_be_had(make, monkeypatch):
    monkeypatch.setenv("ENGINERY_FULL_TRACEBACKS", "1")
    result = make("apply(bad)", "single", failed(NAMES["bad"], 5))
    assert any(file.endswith("client/results.py") for file in files(raised(result.get)))


def test_what_ipython_shows(make, monkeypatch):
    result = make("apply(bad)", "single", failed(NAMES["bad"], 5))
    monkeypatch.setenv("ENGINERY_FULL_TRACEBACKS", "1")
    error = raised(result.get)
    monkeypatch.delenv("ENGINERY_FULL_TRACEBACKS")
    every = error.__traceback__
    lines = error._render_traceback_()
    assert lines == render(error)
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("      if x == 5")
    assert "/enginery/client/" not in "\n".join(lines)
    assert error.__traceback__ is every


def test_every_text_is_at_most_twelve_lines_of_100_columns(make, hand):
    ended = [{"value": i} for i in range(8)]
    ended[5] = lost(memory=3.9e9, oom=True)
    for result in (
        make("map(die)", "map", *ended),
        make("map(f)", "map", failed(NAMES["deep"], 9)),
    ):
        lines = shown(raised(result.get)).splitlines()
        assert len(lines) <= 12
        assert all(len(re.sub(r"^[\w.]+\.", "", line)) <= 100 for line in lines)
