"""Functions and files of code that engines are given: `push_function`, `pull_function`, `run`."""

from __future__ import annotations

import re

import pytest

from enginery import AsyncResult, CompositeError, remote


def of_main(source: str, name: str = "f"):
    """A function as it is at a prompt or in a script."""
    names = {"__name__": "__main__"}
    exec(source, names)
    return names[name]


def f_of_the_document():
    return of_main("def f(x):\n    return 2.0*x**4\n")


# --- push_function, pull_function ---------------------------------------------------------------


def test_push_function_as_in_the_document(rc):
    rc.block = True
    mec = rc[:]
    assert mec.push_function({"f": f_of_the_document()}) == [None, None, None, None]
    mec.execute("y = f(4.0)")
    assert [reply["stdout"] for reply in mec.execute("print(y)")] == ["512.0\n"] * 4


def test_a_pushed_function_sees_the_names_of_its_engine(rc):
    view = rc[:]
    add = of_main("def add(x):\n    return x + k\n", "add")
    assert view.push_function({"add": add}, block=True) == [None] * 4
    view.scatter("k", [10, 20, 30, 40], flatten=True, block=True)
    view.execute("y = add(1)", block=True)
    assert view["y"] == [11, 21, 31, 41]
    view.execute("k = 0; y = add(1)", block=True)
    assert view["y"] == [1, 1, 1, 1]


def test_pulled_functions_can_be_called_here(rc):
    view = rc[:]
    view.push_function({"f": f_of_the_document()}, block=True)
    view.execute("def g(x, *, by=2):\n    return x * by", block=True)
    assert [f(4.0) for f in view.pull_function("f", block=True)] == [512.0] * 4
    for f, g in view.pull_function(("f", "g"), block=True):
        assert (f(1.0), g(3), g(3, by=5)) == (2.0, 6, 15)


def test_targets_and_block_of_functions(rc):
    pushed = rc[:].push_function({"f": abs}, targets=[0, 2])
    assert isinstance(pushed, AsyncResult)
    assert pushed.get(30) == [None, None]
    assert rc[1].push_function({"g": len}, block=True) is None
    assert rc[:].pull_function("f", targets=2, block=True) is abs
    assert rc[1].pull_function("g").get(30)("four") == 4
    with pytest.raises(NameError, match="name 'f' is not defined"):
        rc[1].pull_function("f", block=True)


def test_functions_of_several_kinds(rc):
    doubled = remote(rc[:])(lambda x: 2 * x)
    view = rc[0]
    view.push_function({"a": doubled, "b": "text".upper, "c": int, "d": lambda: 4}, block=True)
    view.execute("y = a(4), b(), c('7'), d()", block=True)
    assert view["y"] == (8, "TEXT", 7, 4)


def test_what_is_no_function_is_not_pushed(rc):
    with pytest.raises(TypeError, match=r"^'k' is no function but int: push\(\) sends any value$"):
        rc[:].push_function({"f": abs, "k": 5})
    with pytest.raises(TypeError, match="a name is a text, not 3"):
        rc[:].push_function({3: abs})
    with pytest.raises(NameError):
        rc[0].pull("f", block=True)


def test_what_is_no_function_is_not_pulled(rc):
    rc[:].push({"k": 5, "f": abs}, block=True)
    with pytest.raises(TypeError, match=r"'k' is no function but int: pull\(\) gives it"):
        rc[0].pull_function(["f", "k"], block=True)
    with pytest.raises(CompositeError, match=r"\[3:pull_function\]: TypeError: 'k' is no function"):
        rc[:].pull_function("k", block=True)
    with pytest.raises(TypeError, match="a name is a text, not 3"):
        rc[:].pull_function([3])


# --- run ----------------------------------------------------------------------------------------


def test_run_gives_what_execute_gives(rc, tmp_path):
    path = tmp_path / "job.py"
    path.write_text("a = 5\nprint(a)\n")
    view = rc[0, 2]
    executed = view.execute(path.read_text(), block=True)
    ran = view.run(path, block=True)
    assert type(ran) is type(executed)
    assert repr(ran).startswith("<Results List>\n[0] In [")
    for one, other in zip(ran, executed, strict=True):
        assert (
            one["input"]
            == other["input"]
            == {
                "translated": "a = 5\nprint(a)\n",
                "raw": "a = 5\nprint(a)\n",
            }
        )
        assert one["stdout"] == other["stdout"] == "5\n"
        assert (one["id"], one["number"]) == (other["id"], other["number"] + 1)
    assert view["a"] == [5, 5]
    with pytest.raises(NameError):
        rc[1]["a"]


def test_run_finds_the_file_on_this_side_only(rc, tmp_path, monkeypatch):
    (tmp_path / "relative.py").write_text("y = 'found'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("relative.py", "~/relative.py", tmp_path / "relative.py"):
        rc[:].clear()
        result = rc[:].run(name, targets=1)
        assert isinstance(result, AsyncResult)
        result.get(30)
        assert rc[1]["y"] == "found"


def test_magics_in_an_ipy_file(rc, tmp_path):
    path = tmp_path / "job.ipy"
    path.write_text("where = %pwd\nlines = !echo one\n%env ENGINERY_RUN=two\n")
    try:
        reply = rc[0].run(path, block=True)
        assert "get_ipython()" in reply["input"]["translated"]
        assert rc[0].apply_sync(of_main("def f(): return where")) == rc[0].apply_sync(
            of_main("def f():\n    import os\n    return os.getcwd()")
        )
        assert rc[0].apply_sync(of_main("def f(): return list(lines)")) == ["one"]
        rc[0].execute("import os; two = os.environ['ENGINERY_RUN']", block=True)
        assert rc[0]["two"] == "two"
    finally:
        rc[0].execute("import os; os.environ.pop('ENGINERY_RUN', None)", block=True)


def test_errors_name_the_file_and_the_line(rc, tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("a = 1\n\n1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        rc[0].run(path, block=True)
    assert f'File "{path}", line 3' in caught.value.traceback


def test_a_file_in_another_encoding(rc, tmp_path):
    path = tmp_path / "latin.py"
    path.write_bytes("# -*- coding: latin-1 -*-\na = 'Zürich'\n".encode("latin-1"))
    rc[0].run(path, block=True)
    assert rc[0]["a"] == "Zürich"


def test_files_that_cannot_be_read(rc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history = rc.history
    told = f"missing.py: No such file or directory; run() reads a file on this side, in {tmp_path}"
    with pytest.raises(FileNotFoundError, match=re.escape(told)):
        rc[:].run("missing.py", block=True)
    with pytest.raises(IsADirectoryError, match="Is a directory; run"):
        rc[:].run(tmp_path)
    (tmp_path / "not.py").write_bytes(b"a = '\xff'\n")
    with pytest.raises(SyntaxError, match="no text of Python: it is neither in UTF-8"):
        rc[:].run(tmp_path / "not.py")
    assert rc.history == history
