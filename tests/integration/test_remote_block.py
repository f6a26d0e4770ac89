"""Row D8 of the contract: `with view.remote_block():`, in scripts, at prompts, in notebooks."""

# ruff: noqa: F841  what blocks assign is looked at on the engines

from __future__ import annotations

import asyncio
import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager

import nbformat
import pytest

from enginery import CompositeError, RemoteError
from tests.notebook.execution import execute

from .terminal import Terminal

SET_UP = """
    import sys
    from enginery import Client
    from enginery.kernel import client
    rc = Client({file!r})
    view = rc[:]
    view.block = True
"""


@pytest.fixture
def view(rc):
    view = rc[:]
    view.block = True
    yield view
    view.block = False


@pytest.fixture
def script(tmp_path, cluster):
    """Writes a script that has a client and a blocking view; gives its path and its first line."""

    def written(body, set_up=SET_UP):
        head = textwrap.dedent(set_up).format(file=cluster.client_connection_file)
        path = tmp_path / "script.py"
        path.write_text(head + textwrap.dedent(body))
        return path, head.count("\n")

    return written


def python(*arguments, home, **options):
    """Run Python to its end in a directory; what became of it."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=home, capture_output=True, text=True,
        timeout=100, check=False, **options,
    )  # fmt: skip


def names(view):
    """The names that users have set on the engines."""
    return set().union(*view.apply_sync(lambda: [n for n in globals() if not n.startswith("_")]))


# --- what runs, and where --------------------------------------------------------------------


def test_the_body_runs_on_the_engines_and_not_here(view):
    a = "here"
    with view.remote_block() as block:
        a = 10
        b = a + 20
    assert a == "here"
    assert view["a"] == [10, 10, 10, 10]
    assert view["b"] == [30, 30, 30, 30]
    assert block.code == "a = 10\nb = a + 20\n"
    assert repr(block.result.get()).startswith("<Results List>\n[0] In [")
    assert [reply.raw for reply in block.result.get()] == [block.code] * 4
    with pytest.raises(UnboundLocalError):
        print(b)


def test_targets_and_block(rc, gate):
    rc[:].push({"held": gate.held}, block=True)
    with rc[:].remote_block(targets=[2, 1], block=False) as block:
        held()  # noqa: F821
        print("it went on")
    assert not block.result.ready()
    gate.open()
    replies = block.result.get(timeout=30)
    assert [(reply.engine, reply.stdout) for reply in replies] == [
        (2, "it went on\n"),
        (1, "it went on\n"),
    ]
    with rc[3].remote_block(block=True) as block:
        c = 4
    assert block.result.get().engine == 3
    assert rc[3].pull("c", block=True) == 4


def test_a_block_can_be_entered_again(view):
    block = view.remote_block(targets=0)
    assert repr(block) == "<RemoteBlock on 0: not run>"
    with pytest.raises(RuntimeError, match="has a result after its end, not before"):
        block.result  # noqa: B018
    view.push({"n": 0})
    for _ in range(3):
        with block:
            n = n + 1  # noqa: F821
    assert view.pull("n") == [3, 0, 0, 0]
    assert f"{__file__}:" in repr(block)


TEXT = '''
from contextlib import nullcontext
if True:
    with (
        nullcontext(),
        view.remote_block() as block,  # not this remark
    ):

        # two lines
      # of remarks
        def twice(f):
            """Text that stands
  further left, and
                    further right."""
            return lambda x: f(f(x))

        @twice
        @twice
        def f(x):  # a remark

            return x + \\
    1
        text = f"""
  {f(0)}
        """ + (
    "b" 'c'
            "d")
        class C:
            value = [
  1,
                2]
# a remark
print(block.code)
'''


def test_the_text_is_taken_as_it_stands(script, view):
    """Strings, comments, decorators, brackets and backslashes."""
    path, _ = script(TEXT)
    done = python(path, home=path.parent)
    assert done.stderr == ""
    assert done.stdout.startswith('# two lines\n# of remarks\ndef twice(f):\n    """Text that')
    assert "\n@twice\n@twice\ndef f(x):  # a remark\n\n    return x + \\\n1\n" in done.stdout
    text, value, doc = view.pull(["text", "C.value", "twice.__doc__"])[0]
    assert text == "\n  4\n        bcd"
    assert value == [1, 2]
    assert doc == "Text that stands\n  further left, and\n                    further right."


def test_names_are_those_of_the_engines(view):
    local = 5
    told = "NameError: name 'local' is not defined"
    with pytest.raises(CompositeError, match=told), view.remote_block():
        print(local)


def test_globals_tabs_and_semicolons(script, view):
    path, _ = script("""
        if True:
        \twith view.remote_block():
        \t\tglobal x; x = 1
        \t\tif x:
        \t\t\ty = "é"; z = y + 'ü'
        \twith client.MultiEngineClient(rc.link.file) as mec:
        \t\twith mec:
        \t\t\tclient.remote(); s = 'é'; t = s
        \t\t\tu = t
    """)
    assert python(path, home=path.parent).stderr == ""
    assert view.pull(["x", "y", "z", "s", "t", "u"])[0] == [1, "é", "éü", "é", "é", "é"]


def test_other_contexts_of_the_same_statement_are_entered_and_left(view):
    events = []

    @contextmanager
    def noted(name):
        events.append(f"enter {name}")
        yield
        events.append(f"leave {name}")

    class Raw:
        def __enter__(self):
            events.append("enter raw")

        def __exit__(self, *error):
            events.append("leave raw")

    view.push({"events": []})
    with noted("a"), view.remote_block(), Raw():
        events.append("ran there")
    assert events == ["enter a", "enter raw", "leave raw", "leave a"]
    assert view["events"] == [["ran there"]] * 4


def test_in_methods_generators_and_coroutines(view):
    class Own:
        def method(self):
            with view.remote_block():
                in_method = 1

    def generator():
        with view.remote_block():
            in_generator = 2
        yield 7

    async def coroutine():
        with view.remote_block():
            import asyncio

            await asyncio.sleep(0)
            in_coroutine = 3
        return 8

    Own().method()
    assert list(generator()) == [7]
    assert asyncio.run(coroutine()) == 8
    assert view.pull(["in_method", "in_generator", "in_coroutine"])[0] == [1, 2, 3]


def test_in_a_thread(view):
    def run():
        with view.remote_block():
            in_thread = 1

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert view["in_thread"] == [1] * 4


# --- what fails ------------------------------------------------------------------------------


def test_an_error_points_at_its_line(script):
    path, first = script("""
        def calculate():
            with view.remote_block(targets=1):
                # a remark
                zero = 0
                result = 1 / zero

        try:
            calculate()
        except ZeroDivisionError as error:
            print(error.traceback)
            raise
    """)
    done = python(path, home=path.parent)
    line = first + 6
    assert f'  File "{path}", line {line}, in <module>\n    result = 1 / zero\n' in done.stdout
    assert f'File "{path}", line {line}, in <module>' in done.stderr
    assert f'File "{path}", line {first + 3}, in calculate' in done.stderr
    assert "result = 1 / zero" in done.stderr
    assert "During handling" not in done.stderr
    assert "block.py" not in done.stderr
    assert done.returncode == 1


def test_an_error_has_no_context_of_ours(view):
    with pytest.raises(CompositeError) as caught, view.remote_block() as block:
        oops = 1 / 0
    assert caught.value.__context__ is None
    assert len(caught.value) == 4
    assert block.result.failed == 4


REFUSED = {
    "return": ("def f():\n    with BLOCK:\n        REMOTE\n        x = 1\n        return x\nf()", 4,
               "`return` in a remote block, which runs elsewhere"),
    "yield": ("def f():\n    with BLOCK:\n        REMOTE\n        x = (yield)\nnext(f())", 3,
              "`yield` in a remote block, which runs elsewhere"),
    "break": ("for i in range(3):\n    with BLOCK:\n        REMOTE\n        x = 1\n"
              "        while x: break\n        if x: break", 5,
              "`break` in a remote block, of a loop that is outside of it"),
    "continue": ("for i in range(3):\n    with BLOCK:\n        REMOTE\n        x = 1\n"
                 "        for j in []: pass\n        else: continue", 5,
                 "`continue` in a remote block, of a loop that is outside of it"),
    "nonlocal": ("def f():\n    x = 0\n    def g():\n        with BLOCK:\n            REMOTE\n"
                 "            nonlocal x\n            x = 1\n    g()\nf()", 5,
                 "`nonlocal` in a remote block, which knows the names of engines only"),
    "nested": ("with BLOCK:\n    REMOTE\n    x = 1\n    with view.remote_block():\n        y = 2",
               3, "one remote block inside another"),
    "nested 2008": ("with BLOCK:\n    REMOTE\n    x = 1\n    with mec:\n        client.remote()\n"
                    "        y = 2", 3, "one remote block inside another"),
    "one line": ("with BLOCK: REMOTE; x = 1", 1, "a remote block stands in lines of its own"),
    "nothing": ("with BLOCK:\n    REMOTE\n    pass", 2, "there is nothing to run"),
}  # fmt: skip


@pytest.mark.parametrize("form", ["modern", "2008"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_elsewhere_is_refused_and_runs_nowhere(script, view, case, form):
    body, line, told = REFUSED[case]
    lines = body.replace("BLOCK", "view.remote_block()" if form == "modern" else "mec").split("\n")
    place = next(i for i, text in enumerate(lines) if "REMOTE" in text)
    if form == "2008":
        lines[place] = lines[place].replace("REMOTE", "client.remote()")
        line += case not in {"one line", "nothing"}
    elif case == "one line":
        lines[place] = lines[place].replace("REMOTE; ", "")
    else:
        del lines[place]
    path, first = script(
        "mec = client.MultiEngineClient(rc.link.file)\n" + "\n".join(lines) + "\nprint('went on')"
    )
    done = python(path, home=path.parent)
    assert f"SyntaxError: {told}" in done.stderr
    assert "nothing of the block was run" in done.stderr
    assert f'File "{path}", line {first + 1 + line}\n' in done.stderr
    assert "went on" not in done.stdout
    assert "During handling" not in done.stderr
    assert names(view) == set()


def test_two_blocks_in_one_statement(view):
    told = "one remote block inside another"
    with pytest.raises(SyntaxError, match=told), view.remote_block(), view.remote_block():
        x = 1
    assert names(view) == set()


@pytest.mark.parametrize("how", ["-c", "-"])
def test_where_there_is_no_source(cluster, view, how):
    code = textwrap.dedent(SET_UP.format(file=cluster.client_connection_file))
    code += "with view.remote_block():\n    x = 1\n    print('ran here')\n"
    options = {"input": code} if how == "-" else {}
    done = python(*(["-"] if how == "-" else ["-c", code]), home="/", **options)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: the block did not run: its text cannot be found (<st")
    assert done.stdout == ""
    assert names(view) == set()


def test_a_block_that_is_entered_by_no_with_statement(view):
    block = view.remote_block()
    with pytest.raises(RuntimeError, match="is not the `with` statement of a remote block"):
        block.__enter__()
    assert sys.gettrace() is None or "coverage" in repr(sys.gettrace()).lower()


def test_a_file_that_is_edited_while_it_runs(script, view):
    """Its text is read when the block is entered, and is another one then."""
    path, _ = script("""
        import pathlib
        def change():
            path = pathlib.Path(__file__)
            path.write_text(path.read_text().replace("x = 1", "x = 'changed'"))
        change()
        with view.remote_block():
            x = 1
    """)
    done = python(path, home=path.parent)
    assert f"the block did not run: {path} was edited after it was loaded" in done.stderr
    assert names(view) == set()
    done = python(path, home=path.parent)
    assert done.stderr == ""
    assert view["x"] == ["changed"] * 4


def test_a_file_that_is_edited_and_run_again(script, view):
    path, _ = script("""
        with view.remote_block():
            x = 1
        rc.close()
    """)
    runpy.run_path(str(path))
    assert view["x"] == [1] * 4
    path.write_text(path.read_text().replace("x = 1", "x = 'new'"))
    runpy.run_path(str(path))
    assert view["x"] == ["new"] * 4


# --- beside others that trace ----------------------------------------------------------------


def test_the_trace_functions_that_were_there_come_back(view):
    lines = []

    def trace(frame, event, detail):
        if frame.f_code.co_name != "traced":
            return None
        if event == "line":
            lines.append(frame.f_lineno - frame.f_code.co_firstlineno)
        return trace

    def traced():
        before = 1
        with view.remote_block():
            inside = 1
            inside = 2
        after = before
        return after

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        traced()
        assert sys.gettrace() is trace
    finally:
        sys.settrace(previous)
    assert lines[:2] == [1, 2]
    assert lines[-2:] == [5, 6]
    assert 3 not in lines[2:-2] or lines.count(3) <= 1
    assert 4 not in lines
    assert view["inside"] == [2] * 4


@pytest.mark.parametrize("measured", ["all", "script"])
@pytest.mark.parametrize("tracer", ["ctrace", "pytrace"])
def test_under_coverage(script, tmp_path, measured, tracer):
    path, first = script("""
        class Other:
            def __enter__(self):
                return 1
            def __exit__(self, *error):
                return None
        def f():
            with view.remote_block(), Other():
                a = 1
                b = 2
            return 3
        def g():
            try:
                with view.remote_block():
                    1 / 0
            except ArithmeticError:
                return 4
            except Exception:
                return 5
        for i in range(2):
            f()
            g()
        print(view['b'], f(), g())
        rc.close()
    """)
    data = tmp_path / "covered"
    options = ["--include", path] if measured == "script" else []
    done = python(
        "-m", "coverage", "run", f"--data-file={data}", *options, path,
        home=tmp_path, env=os.environ | {"COVERAGE_CORE": tracer},
    )  # fmt: skip
    assert done.stdout == "[2, 2, 2, 2] 3 5\n", done.stderr
    assert "trace-changed" not in done.stderr
    told = tmp_path / "told.json"
    made = python(
        "-m", "coverage", "json", f"--data-file={data}", f"--include={path}", "-o", told,
        home=tmp_path,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    [file] = json.loads(told.read_text())["files"].values()
    missing = {line - first for line in file["missing_lines"]}
    # Of the blocks, what did not happen, and what was between a body and the end of its block.
    assert missing <= {9, 10, 15, 17, 6}
    assert 10 in missing


def test_under_a_debugger(script, tmp_path):
    path, _ = script("""
        def f():
            with view.remote_block():
                a = 1
            return 'after'
        print(f(), view.pull('a', targets=0))
        rc.close()
    """)
    done = python(
        "-m", "pdb", "-c", "b 15", "-c", "c", path, home=tmp_path, input="p 6 * 7\nc\nq\n"
    )
    assert "after 1" in done.stdout, done.stderr
    assert "42" in done.stdout


# --- at prompts and in notebooks -------------------------------------------------------------


def test_at_a_prompt_of_ipython(cluster, tmp_path, view):
    terminal = Terminal(tmp_path)
    try:
        terminal.run("from enginery import Client")
        terminal.run(f"view = Client({cluster.client_connection_file!r})[:]")
        terminal.run("view.block = True")
        terminal.block("with view.remote_block() as block:", "# a remark", "a = 10", "b = a / 0")
        told = terminal.run("print(block.result.exception().elist[0].traceback)")
        assert ", line 4, in <module>\n    b = a / 0\n" in told
        told = terminal.run("%tb")
        assert "[0:execute]: ZeroDivisionError: division by zero" in told
        assert "block.py" not in told
        assert "NameError: name 'a' is not defined" in terminal.run("a")
        terminal.block(
            "with view.remote_block():", "%cd -q /", "!true", "import os", "c = os.getcwd()"
        )
        assert "['/', '/', '/', '/']" in terminal.run("view['c']")
        terminal.leave()
    finally:
        terminal.end()
    assert view["a"] == [10] * 4


def test_in_a_notebook(cluster, tmp_path, view):
    cells = [
        SET_UP.format(file=cluster.client_connection_file),
        """
        text = 'here'
        with view.remote_block() as block:
            text = '''there
        and'''
            print(text)
        print(text, block.result.get()[0].stdout)
        """,
        """
        def calculate():
            with view.remote_block(targets=0):

                # a remark
                x = 0
                y = 1 / x

        try:
            calculate()
        except ZeroDivisionError as error:
            print(error.traceback)
        """,
        """
        mec = client.MultiEngineClient(rc.link.file)
        with mec:
            client.remote()
            z = 5
        mec.get_result(targets=0)
        """,
    ]
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in cells]
    done = execute(notebook, tmp_path)
    printed = ["".join(o.get("text", "") for o in cell.outputs) for cell in done.cells]
    assert printed[1] == "here there\nand\n\n"
    assert ", line 6, in <module>\n    y = 1 / x\n" in printed[2]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed[3])
    assert re.fullmatch(r"<Results List>\n\[0\] In \[\d+\]: z = 5\n+", plain)
    assert view["z"] == [5] * 4


def test_errors_of_one_engine_are_of_their_class(rc):
    with pytest.raises(RemoteError) as caught, rc[0].remote_block(block=True):  # noqa: PT012
        none = None
        none.attribute  # noqa: B018
    assert isinstance(caught.value, AttributeError)
