"""What IPython shows of errors of engines, and %debug after them, in a real terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from enginery import Cluster

from .terminal import Terminal

PARTS = """\
[{}:{}]:
Traceback (most recent call last):
  File "{}", line {}, in {}
    {}
{}"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two engines that no error harms."""
    running = Cluster(n=2, profile_dir=tmp_path_factory.mktemp("debug") / "profile_two")
    running.start_cluster_sync()
    try:
        yield running
    finally:
        running.stop_cluster_sync()


@pytest.fixture(scope="module")
def terminal(two: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """IPython with a client `rc` and a blocking view `dview`; its first cell defines `inverse`."""
    home = tmp_path_factory.mktemp("terminal")
    (home / "begin.py").write_text(
        "import enginery\n"
        f"rc = enginery.Client({two.client_connection_file!r})\n"
        "rc.wait_for_engines(2)\n"
        "dview = rc.direct_view(block=True)\n"
    )
    session = Terminal(home, "-i", "begin.py")
    try:
        session.type("def inverse(x):")
        session.type("return 1 / x")
        session.run("")
        yield session
    finally:
        session.end()


def lines(shown: str) -> list[str]:
    """The lines of what was shown, without empty ones and what hides the cursor."""
    return [line.rstrip() for line in shown.split("\n") if line.strip()]


def below(shown: str, mark: str) -> list[str]:
    """The lines from the first on that begins with this."""
    told = lines(shown)
    first = next(i for i, line in enumerate(told) if line.startswith(mark))
    return told[first:]


def test_one_engine(terminal: Terminal) -> None:
    shown = terminal.run("rc[0].apply_sync(inverse, 0)")
    told = below(shown, "ZeroDivisionError  ")
    assert re.fullmatch(r"ZeroDivisionError +Traceback \(most recent call last\)", told[0])
    assert re.fullmatch(r"Cell In\[\d+\], line 1", told[1])
    assert told[2] == "----> 1 rc[0].apply_sync(inverse, 0)"
    assert told[3] == "ZeroDivisionError: division by zero"
    assert told[4].startswith("  apply(inverse), on engine 0 (pid ")
    assert told[5:7] == ['    File "Cell In[1]", line 2, in inverse', "      return 1 / x"]
    assert "/enginery/" not in shown


def test_several_engines_and_debug(terminal: Terminal) -> None:
    """As in the interface of 2008: `e` is the exception there, whose names can be completed."""
    shown = terminal.run("dview.execute('1/0')")
    assert below(shown, "CompositeError:")[:3] == [
        "CompositeError: one or more exceptions from call to method: execute",
        "[0:execute]: ZeroDivisionError: division by zero",
        "[1:execute]: ZeroDivisionError: division by zero",
    ]
    assert "/enginery/" not in shown
    terminal.type("%debug")
    terminal.expect("---> ")
    assert "raise e" in terminal.expect("ipdb>")
    terminal.type("e.print_tracebacks()")
    for head in ("[0:execute]:", "[1:execute]:"):
        terminal.expect(head)
        assert '  File "<In [' in terminal.expect("ZeroDivisionError: division by zero")
    terminal.expect("ipdb>")
    terminal.type("p len(e), [type(one).__bases__[1] for one in e.elist]")
    terminal.expect("(2, [<class 'ZeroDivisionError'>, <class 'ZeroDivisionError'>])")
    terminal.expect("ipdb>")
    terminal.press("e.print_tr\t")
    terminal.expect("acebacks")
    terminal.type("()")
    terminal.expect("[1:execute]:")
    terminal.expect("ZeroDivisionError: division by zero")
    terminal.expect("ipdb>")
    terminal.type("up")
    terminal.expect("----> 1 dview.execute('1/0')")
    terminal.expect("ipdb>")
    terminal.type("q")
    terminal.prompt()


def test_the_lines_of_cells_are_in_tracebacks(terminal: Terminal) -> None:
    """The engines do not have the cell; this process does."""
    terminal.run("ar = rc[:].apply_async(inverse, 0); error = ar.exception(30)")
    told = below(terminal.run("error.print_tracebacks()"), "[0:apply]")
    part = PARTS.format("{}", "apply", "Cell In[1]", 2, "inverse", "return 1 / x",
                        "ZeroDivisionError: division by zero")  # fmt: skip
    assert told[:12] == [*part.format(0).split("\n"), *part.format(1).split("\n")]


def test_one_of_several_is_raised_as_itself(terminal: Terminal) -> None:
    shown = terminal.block(
        "try: dview.execute('1/0')",
        "except enginery.CompositeError as e: e.raise_exception()",
    )
    assert below(shown, "ZeroDivisionError:")[0] == "ZeroDivisionError: division by zero"
    assert "/enginery/" not in shown


def test_code_that_is_not_python(terminal: Terminal) -> None:
    shown = terminal.run("rc[0].execute('y = = 1', block=True)")
    told = below(shown, "  File <In [")
    assert told[1].strip() == "y = = 1"
    assert told[2].strip() == "^"
    assert told[3] == "SyntaxError: invalid syntax"
    assert "/enginery/" not in shown
