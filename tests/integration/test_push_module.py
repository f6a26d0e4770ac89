"""Modules of the client's side that engines get as source: `push_module`."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from enginery import NoEnginesRegistered, UnmetDependency, UnsendableError, require
from enginery.client.modules import LIMIT


@pytest.fixture
def rc(own_cluster):
    """A client of two engines that no other test has pushed anything to."""
    with own_cluster.connect_client_sync() as client:
        client.wait_for_engines(2, timeout=30)
        client.block = True
        yield client


@pytest.fixture
def write(rc, tmp_path, monkeypatch):
    """Write a file that can be imported here, and not on the engines, which are there already."""
    root = tmp_path / "lib"
    root.mkdir()
    monkeypatch.syspath_prepend(root)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change within one second here

    def writing(name, text):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    yield writing
    for name in set(sys.modules) - before:
        if str(root) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


MINE = """
FACTOR = 2

class Point:
    def __init__(self, x):
        self.x = x

    def moved(self):
        return Point(self.x + 1)

def f(x):
    return FACTOR * x
"""


def at_the_prompt(source, name="f"):
    """A function as it is at a prompt or in a script."""
    names = {"__name__": "__main__"}
    exec(source, names)
    return names[name]


reads = at_the_prompt("def f():\n    import my_module\n    return my_module.FACTOR\n")


def test_a_module_is_sent_and_used_in_every_way(rc, write):
    write("my_module.py", MINE)
    import my_module

    view, lview = rc[:], rc[None]
    with pytest.raises(ModuleNotFoundError, match="no module named 'my_module' on engines 0, 1"):
        view.map(my_module.f, range(4))
    assert view.push_module("my_module") == [None, None]
    assert view.map(my_module.f, range(4)) == lview.map(my_module.f, range(4)) == [0, 2, 4, 6]
    assert [point.x for point in view.apply(my_module.Point.moved, my_module.Point(5))] == [6, 6]
    assert isinstance(lview.apply(lambda: my_module.Point(1)), my_module.Point)
    view.execute("from my_module import f as mine; y = mine(21)")
    assert view["y"] == [42, 42]
    view["p"] = my_module.Point(7)
    assert view["p.x"] == [7, 7]

    @require("my_module")
    def required(x):
        return my_module.f(x)

    assert lview.map(required, range(3)) == [0, 2, 4]


def test_require_before_and_after(rc, write):
    write("my_module.py", MINE)
    required = require("my_module")(at_the_prompt("def f(x): return my_module.f(x)"))
    with pytest.raises(UnmetDependency):
        rc[0].apply(required, 1)
    rc[0].push_module("my_module")
    assert rc[0].apply(required, 1) == 2


def test_a_package_with_what_is_in_it(rc, write):
    write("my_package/__init__.py", "from .tools import g\n")
    write("my_package/tools.py", "from .inner.deep import K\n\ndef g(x):\n    return K * x\n")
    write("my_package/inner/__init__.py", "")
    write("my_package/inner/deep.py", "K = 10\n")
    write("my_package/data.json", "{}")
    write("my_package/not-a-module.py", "1 / 0")
    import my_package.inner.deep

    assert rc[:].push_module(my_package.inner.deep) == [None, None]
    assert rc[:].apply(my_package.g, 3) == [30, 30]
    rc[0].execute("import my_package.inner.deep as deep; k, p = deep.K, deep.__package__")
    assert rc[0].pull(["k", "p"]) == [10, "my_package.inner"]
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'my_package\.nothing'"):
        rc[0].execute("import my_package.nothing")


def test_a_package_without_a_file_of_its_own(rc, write):
    write("my_space/one.py", "def f(): return 1\n")
    rc[:].push_module("my_space")
    rc[:].execute("import my_space.one; y = my_space.one.f()")
    assert rc[:]["y"] == [1, 1]


def test_engines_that_join_later_have_it_too(rc, write):
    write("my_module.py", MINE)
    import my_module

    rc[0].push_module("my_module", targets=1)
    dies, waits = (
        rc.apply(f, args, targets=[0], balanced=True, block=False)
        for f, args in ((os._exit, (3,)), (my_module.f, (4,)))
    )
    assert waits.get(60) == 8  # what waited at the engine runs in its next life
    assert isinstance(dies.exception(60), Exception)
    rc.shutdown(1, restart=True, timeout=60)
    rc[1].execute("from my_module import FACTOR")
    assert rc[1]["FACTOR"] == 2


def test_what_has_changed_is_pushed_again(rc, write):
    write("my_module.py", MINE)
    import my_module

    view = rc[:]
    for factor in (2, 3, 2):
        write("my_module.py", MINE.replace("FACTOR = 2", f"FACTOR = {factor}"))
        importlib.reload(my_module)
        view.push_module(my_module)
        assert view.map(my_module.f, [1, 2]) == [factor, 2 * factor]
        view.execute("my_module = globals().get('my_module') or __import__('my_module')")
        view.execute("y = my_module.f(1)")
        assert view["y"] == [factor, factor]
        assert view.apply(lambda: my_module.FACTOR) == [factor, factor]


def test_the_same_again_renews_nothing(rc, write):
    write("my_module.py", "made = object()\n")
    rc[:].push_module("my_module")
    rc[:].execute("import my_module; first = my_module.made")
    rc[:].push_module("my_module")
    rc[:].execute("same = __import__('my_module').made is first")
    assert rc[:]["same"] == [True, True]


def test_two_clients_each_get_their_own(rc, write, own_cluster):
    with own_cluster.connect_client_sync() as other:
        for factor, client in ((2, rc), (3, other)):
            write("my_module.py", MINE.replace("FACTOR = 2", f"FACTOR = {factor}"))
            client[:].push_module("my_module", block=True)
        for _ in range(2):
            assert rc.apply(reads, targets="all", block=True) == [2, 2]
            assert other.apply(reads, targets="all", block=True) == [3, 3]


def test_tracebacks_show_its_lines(rc, write):
    path = write("my_module.py", MINE)
    rc[:].push_module("my_module")
    path.unlink()
    with pytest.raises(TypeError) as caught:
        rc[0].execute("import my_module\nmy_module.f({})")
    assert f'File "{path}", line 12, in f\n    return FACTOR * x' in caught.value.traceback


def test_a_module_that_does_not_load(rc, write):
    write("my_module.py", "FACTOR = nothing_of_that_name\n")
    rc[:].push_module("my_module")
    with pytest.raises(NameError, match="nothing_of_that_name"):
        rc[0].apply(reads)
    write("my_module.py", MINE)
    rc[:].push_module("my_module")
    assert rc[0].apply(reads) == 2
    write("my_module.py", "import my_other_module\n" + MINE)
    with pytest.raises(ModuleNotFoundError, match="my_other_module"):
        rc[0].push_module("my_module")  # which renews what the engine has imported
    write("my_other_module.py", "")
    rc[:].push_module("my_other_module")
    assert rc[0].apply(reads) == 2


def test_waiting_for_it_or_not(rc, write):
    write("my_module.py", MINE)
    pushed = rc[:].push_module("my_module", block=False)
    assert pushed.get(60) == [None, None]
    assert rc[1].push_module("my_module") is None


def test_what_cannot_be_pushed(rc, write):
    write("my_large.py", "#" * (LIMIT + 1))
    write("my_fast/__init__.py", "")
    write("my_fast/_fast.cpython-311-x86_64-linux-gnu.so", "")
    sys.modules["my_made"] = type(sys)("my_made")
    history = rc.history
    try:
        for name, why in {
            "my_large": "it has more than 4 MiB of source\n  Nothing was submitted.\n  Install it",
            "my_fast": "linux-gnu.so is compiled code",
            "numpy": "is compiled code",
            "my_made": "it was not loaded from a file",
            "json": "every engine has it",
            "enginery.client": "every engine has it",
            "__main__": "what you define at the prompt or in a script travels by itself",
        }.items():
            with pytest.raises(UnsendableError, match=why):
                rc[:].push_module(name)
    finally:
        del sys.modules["my_made"]
    with pytest.raises(ModuleNotFoundError, match="no module named 'my_missing' here"):
        rc[:].push_module("my_missing")
    for wrong in (5, "a b", "", ".relative"):
        with pytest.raises(TypeError, match="push_module takes a module or its name, not"):
            rc[:].push_module(wrong)
    assert rc.history == history


def test_no_engines_to_push_to(rc, write):
    write("my_module.py", MINE)
    view = rc.view("all")
    rc.shutdown(timeout=60)
    with pytest.raises(NoEnginesRegistered):
        view.push_module("my_module")
