"""`execute` runs code as IPython does, in the engine's namespace, and fails as any call does."""

import gc
import linecache
import sys
import traceback
import warnings
import weakref
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.util import find_spec, spec_from_file_location

import pytest
from IPython.core.interactiveshell import InteractiveShell

from enginery.engine import actions
from enginery.engine.lazy_shell import LazyShell
from enginery.engine.namespace import Namespace


@pytest.fixture
def space(monkeypatch, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    space = Namespace()
    monkeypatch.setitem(sys.modules, "__main__", space.module)
    with warnings.catch_warnings():
        yield space
    type(space.shell._shell).clear_instance() if space.shell else None
    assert not (tmp_path / "none").exists()


def frames(error):
    """The frames of what user code raised, without the engine's own."""
    told = traceback.extract_tb(error.__traceback__)
    return [(f.filename, f.lineno, f.name, f.line) for f in told if "enginery" not in f.filename][
        1:
    ]


def test_there_is_no_shell_before_something_is_executed(space):
    actions.push({"a": 1})
    assert actions.pull("a") == 1
    assert space.shell is None


def test_the_last_expression_is_the_result(space, capsys):
    reply = actions.execute("a = 5\na + 1")
    assert (reply.number, reply.raw, reply.result) == (1, "a = 5\na + 1", "6")
    assert reply.data == {"text/plain": "6"}
    assert actions.execute("a = 7").result == ""
    assert actions.execute("a;").result == ""
    assert actions.execute("").result == ""
    assert capsys.readouterr().out == ""
    assert space.names["a"] == 7


def test_inputs_and_outputs_are_numbered_and_remembered(space):
    actions.execute("1 + 1")
    actions.execute("x = 3")
    reply = actions.execute("In[1], Out[1], _1, len(In)")
    assert (reply.number, reply.result) == (3, "('1 + 1', 2, 2, 4)")


def test_magics_and_what_is_printed(space, capsys):
    reply = actions.execute("%time b = 2\nprint('hello', b)")
    assert "run_line_magic" in reply.translated
    assert "hello 2" in capsys.readouterr().out


def test_rich_results_are_kept_in_every_form(space):
    reply = actions.execute("from IPython.display import HTML\nHTML('<b>x</b>')")
    assert reply.data["text/html"] == "<b>x</b>"


def test_get_ipython_is_the_shell(space):
    actions.execute("shell = get_ipython()")
    assert InteractiveShell.instance() is space.names["shell"]
    assert sys.modules["__main__"] is space.module


def test_what_an_input_raises_is_raised_from_its_own_frame_on(space, capsys):
    with pytest.raises(ZeroDivisionError) as caught:
        actions.execute("def f():\n    return 1 / 0\nf()")
    assert frames(caught.value) == [
        ("<In [1]>", 3, "<module>", "f()"),
        ("<In [1]>", 2, "f", "return 1 / 0"),
    ]
    with pytest.raises(ZeroDivisionError) as caught:
        actions.execute("f()", "/home/me/script.py")
    assert [frame[:3] for frame in frames(caught.value)] == [
        ("/home/me/script.py", 1, "<module>"),
        ("<In [1]>", 2, "f"),
    ]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "error"),
    [("f(", SyntaxError), ("  x\n y", IndentationError), ("raise SystemExit(3)", SystemExit)],
)
def test_other_ways_to_fail_are_raised_too(space, capsys, code, error):
    with pytest.raises(error):
        actions.execute(code)
    assert capsys.readouterr() == ("", "")
    assert actions.execute("1").number == 2


def test_a_magic_that_there_is_not(space):
    with pytest.raises(Exception, match="%nothing"):
        actions.execute("%nothing")


def test_after_clear_the_shell_works_on_and_counts_on(space):
    actions.execute("big = [1]\nbig")
    actions.clear()
    assert (
        actions.execute("'big' in globals(), Out, In[1]").result == "(False, {}, 'big = [1]\\nbig')"
    )
    assert actions.execute("get_ipython().execution_count").number == 3


def test_path_and_directory(space, tmp_path, monkeypatch):
    monkeypatch.chdir(".")
    actions.set_path(["/a", "/b"])
    assert sys.path == ["/a", "/b"]
    actions.change_directory(str(tmp_path))
    assert actions.execute("import os; os.getcwd()").result == repr(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        actions.change_directory(str(tmp_path / "none"))


# --- what is displayed --------------------------------------------------------------------------


@pytest.fixture
def displayed(space):
    shown = []
    space.display = shown.append
    return shown


def test_what_is_displayed_goes_to_the_namespace_in_every_form(space, displayed):
    actions.execute(
        "from IPython.display import HTML\n"
        "handle = display(HTML('<b>x</b>'), display_id='one')\n"
        "handle.update(HTML('<b>y</b>'))"
    )
    assert [(d["data"]["text/html"], d["transient"], d["update"]) for d in displayed] == [
        ("<b>x</b>", {"display_id": "one"}, False),
        ("<b>y</b>", {"display_id": "one"}, True),
    ]


def test_functions_that_display_make_the_shell(space, displayed):
    from IPython.display import display

    lazy_shell = LazyShell(space)
    lazy_shell.install()
    try:
        assert space.shell is None
        display({"a": 1})
        assert space.shell is not None
    finally:
        lazy_shell.uninstall()
    assert displayed[0]["data"] == {"text/plain": "{'a': 1}"}


def test_the_shell_is_answered_for_until_that_is_taken_back(space):
    assert "initialized" not in vars(InteractiveShell)
    lazy_shell = LazyShell(space)
    lazy_shell.install()
    lazy_shell.uninstall()
    assert "initialized" not in vars(InteractiveShell)
    InteractiveShell.initialized()
    assert space.shell is None


class Elsewhere(MetaPathFinder):
    """Finds a package that is in no directory of `sys.path`, as of an editable installation."""

    def __init__(self, file):
        self.file = file

    def find_spec(self, name, path=None, target=None):
        return spec_from_file_location(name, self.file) if name == "ipython_elsewhere" else None


def test_an_ipython_that_another_finder_finds_is_answered_for_too(space, tmp_path, monkeypatch):
    file = tmp_path / "__init__.py"
    file.write_text("here = True\n")
    monkeypatch.setattr("enginery.engine.lazy_shell.NAME", "ipython_elsewhere")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Elsewhere(file)])
    lazy_shell = LazyShell(space)
    lazy_shell.install()
    try:
        assert find_spec("ipython_elsewhere").origin == str(file)  # only looked for
        assert import_module("ipython_elsewhere").here
        assert lazy_shell not in sys.meta_path
        InteractiveShell.initialized()
        assert space.shell is not None
    finally:
        lazy_shell.uninstall()
        sys.modules.pop("ipython_elsewhere", None)
    assert "initialized" not in vars(InteractiveShell)


def test_help_is_printed_plainly(space, capsys):
    actions.execute("len?")
    told = capsys.readouterr().out
    assert "Return the number of items" in told
    assert "\x1b" not in told


def test_exit_is_no_way_to_end_an_engine(space):
    with pytest.raises(RuntimeError, match=r"exit does not end an engine; rc.shutdown\(id\)"):
        actions.execute("exit")


# --- what is remembered of past inputs ------------------------------------------------------------


def test_what_is_printed_is_not_kept_by_ipython(space, capsys):
    actions.execute("print('x' * 1000)\n1 + 1")
    actions.execute("import sys; sys.stderr.write('y'); None")
    assert capsys.readouterr() == ("x" * 1000 + "\n", "y")
    with pytest.raises(ZeroDivisionError):
        actions.execute("1 / 0")
    history = space.shell.interpreter.history_manager
    kept = [getattr(history, name, None) for name in ("outputs", "exceptions", "db_input_cache")]
    assert not any(kept)


@pytest.fixture
def keeps_three(monkeypatch):
    monkeypatch.setattr("enginery.engine.shell.KEPT", 3)


def test_only_the_last_inputs_are_remembered_under_their_numbers(space, keeps_three):
    for number in range(1, 8):
        actions.execute(f"x = {number}\nx")
    assert actions.execute("In[1:], [n for n in globals() if n[:2] == '_i' and n[2:].isdigit()]")
    shell = space.shell.interpreter
    history = shell.history_manager
    for texts in (history.input_hist_raw, history.input_hist_parsed):
        assert texts[:6] == [""] * 6
        assert texts[6:8] == ["x = 6\nx", "x = 7\nx"]
    assert [n for n in range(1, 9) if f"_i{n}" in space.names] == [6, 7, 8]
    assert [n for n in range(1, 9) if f"_i{n}" in shell.user_ns_hidden] == [6, 7, 8]
    assert list(history.output_hist_reprs) == [6, 7, 8]
    assert actions.execute("len(In), In[7], _i7").result == "(10, 'x = 7\\nx', 'x = 7\\nx')"


def test_a_name_that_the_user_has_set_is_not_taken(space, keeps_three):
    actions.execute("1")
    actions.execute("_i1 = 'mine'")
    for _ in range(4):
        actions.execute("None")
    assert space.names["_i1"] == "mine"


def test_sources_of_the_last_definitions_are_remembered_besides(space, keeps_three):
    linecache.clearcache()  # of other tests
    for number in range(5):
        actions.execute(f"def f{number}():\n    return 1 / 0")
    for _ in range(5):
        actions.execute("None")
    told = [name for name in linecache.cache if name.startswith("<In [")]
    assert told == [f"<In [{n}]>" for n in (3, 4, 5, 8, 9, 10)]
    with pytest.raises(ZeroDivisionError) as caught:
        actions.execute("f4()")
    assert frames(caught.value)[-1] == ("<In [5]>", 2, "f4", "return 1 / 0")


def test_results_that_ipython_lets_go_of_are_not_held_otherwise(space):
    actions.execute("class Big: pass")
    actions.execute("Big()")
    gone = weakref.ref(space.names["_"])
    actions.clear()
    gc.collect()
    assert gone() is None


def test_an_output_cache_that_is_full_is_emptied_for_good(space):
    actions.execute("get_ipython().displayhook.cache_size = 4")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(2, 12):
            actions.execute(str(number))
    hidden = space.shell.interpreter.user_ns_hidden
    assert {n for n in range(1, 12) if f"_{n}" in hidden} == set(space.names["Out"])


# --- code that is a part of a file ---------------------------------------------------------------


def test_code_may_begin_at_another_line_of_its_file(space, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("\n\ndef f():\n    return 1 / 0\nf()\n")
    with pytest.raises(ZeroDivisionError) as caught:
        actions.execute("def f():\n    return 1 / 0\nf()\n", str(script), 3)
    assert frames(caught.value) == [
        (str(script), 5, "<module>", "f()"),
        (str(script), 4, "f", "return 1 / 0"),
    ]
    with pytest.raises(SyntaxError) as wrong:
        actions.execute("a = 1\nb = (\n", "/elsewhere/script.py", 7)
    assert wrong.value.lineno == 8
    with pytest.raises(ZeroDivisionError) as caught:
        actions.execute("\n1 / 0", "/elsewhere/script.py", 7)
    assert frames(caught.value) == [("/elsewhere/script.py", 8, "<module>", "1 / 0")]
