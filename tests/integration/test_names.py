"""Functions of a script see the engine's names, and bring those of the script along."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def script(cluster, rc, tmp_path):
    """Run the text of a script, which has a client `rc`; gives what it prints."""

    def run(body):
        path = tmp_path / "script.py"
        head = f"from enginery import *\nrc = Client({cluster.client_connection_file!r})\n"
        path.write_text(head + "dview, lview = rc[:], rc.load_balanced_view()\n" + body)
        done = subprocess.run(
            [sys.executable, path], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[:-1]

    return lambda body: run(textwrap.dedent(body))


def test_a_lambda_sees_the_names_of_the_engine(script):
    assert script("""
        dview.push(dict(a=5), block=True)
        print(dview.apply_sync(lambda: a) == dview.pull("a", block=True) == [5] * 4)
        a = 7
        print(dview.apply_sync(lambda: a))
    """) == ["True", "[5, 5, 5, 5]"]


def test_what_the_engine_lacks_comes_from_the_script(script):
    assert script("""
        import math
        k = 3

        def helper(x):
            return k * x

        class Thing:
            def value(self):
                return math.floor(4.5)

        print(lview.map_sync(lambda x: helper(x) + Thing().value(), range(4)))
        k = 4
        print(lview.map_sync(lambda x: helper(x) + Thing().value(), range(4)))
    """) == ["[4, 7, 10, 13]", "[4, 8, 12, 16]"]


def test_a_name_that_neither_side_has(script):
    assert script("""
        try:
            lview.apply_sync(lambda: nowhere)
        except NameError as error:
            print("nowhere" in str(error))
    """) == ["True"]


def test_closures_partials_methods_and_recursion(script):
    assert script("""
        import functools

        def adder(n):
            return lambda x: x + n

        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        class Scale:
            def __init__(self, by):
                self.by = by

            def __call__(self, x):
                return self.by * x

            def method(self, x):
                return self.by + x

        print(lview.map_sync(adder(10), range(3)))
        print(lview.map_sync(functools.partial(pow, 2), range(3)))
        print(lview.map_sync(Scale(3), range(3)))
        print(lview.map_sync(Scale(3).method, range(3)))
        print(lview.apply_sync(fib, 10))
        print(type(lview.apply_sync(Scale, 2)) is Scale)
    """) == ["[10, 11, 12]", "[1, 2, 4]", "[0, 3, 6]", "[3, 4, 5]", "55", "True"]


def test_references_are_looked_up_on_the_engine(script):
    assert script("""
        dview.scatter("a", range(8), block=True)
        print(dview.apply_sync(sum, Reference("a")))
        print(dview.apply_sync(lambda x: x["k"][0], {"k": [Reference("a[0]")]}))
    """) == ["[1, 5, 9, 13]", "[0, 2, 4, 6]"]


def test_decorated_and_interactive_functions(script):
    assert script("""
        dview["here"] = 1

        @dview.remote(block=True)
        def f(x):
            return here + x

        @lview.parallel(block=True)
        def g(x):
            return [here + f(i) for i in x]

        @interactive
        def h():
            return here

        print(f(1))
        print(g(range(3)))
        print(dview.apply_sync(h))
    """) == ["[2, 2, 2, 2]", "[2, 3, 4]", "[1, 1, 1, 1]"]


def test_functions_can_be_pushed(script):
    assert script("""
        def f(x):
            return 2.0 * x**4

        dview.push(dict(f=f), block=True)
        dview.execute("y = f(4.0)", block=True)
        print(dview["y"])
    """) == ["[512.0, 512.0, 512.0, 512.0]"]
