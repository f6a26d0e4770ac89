"""Errors in IPython's colours, and plain wherever those are not wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from enginery import CompositeError, RemoteError, colours

SCRIPT = """
from traitlets.config import Config
from IPython.core.interactiveshell import InteractiveShell

config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config, colors={colors!r})
shell.run_cell('''
import enginery
from enginery.client.original import restore

def failure():
    error = restore(ZeroDivisionError("division by zero"))
    error.engine_id, error.method = 1, "execute"
    error.traceback = (
        'Traceback (most recent call last):\\\\n  File "<In [3]>", line 1, in f\\\\n'
        '    return 1 / 0\\\\nZeroDivisionError: division by zero\\\\n'
    )
    error.add_note("  execute, on engine 1")
    error.add_note('    File "<In [3]>", line 1, in f')
    error.add_note("      return 1 / 0")
    return error
''')
shell.run_cell({cell!r})
"""

KEYWORD = "\x1b[38;5;28;01mreturn\x1b[39;00m"
"""`return` in the theme "neutral"."""


def shown(cell: str, home: Path, colors: str = "neutral", **environment: str) -> str:
    """What IPython prints for a cell."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(cell=cell, colors=colors)],
        env={**os.environ, "IPYTHONDIR": str(home), **environment},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


RAISE = "raise failure()"
PRINT = "enginery.CompositeError('two', [failure(), failure()]).print_tracebacks()"


@pytest.mark.parametrize("cell", [RAISE, PRINT])
def test_ipython_colours_them(cell: str, tmp_path: Path) -> None:
    text = shown(cell, tmp_path)
    assert f"{KEYWORD} " in text
    assert "\x1b[31mZeroDivisionError\x1b[39m" in text or "\x1b[38;5;160mZeroDiv" in text
    lines = [line for line in colours.ESCAPES.sub("", text).split("\n") if line]
    where = next(i for i, line in enumerate(lines) if line.lstrip().startswith('File "<In [3]>"'))
    indent = "    " if cell == RAISE else "  "
    assert lines[where : where + 2] == [
        f'{indent}File "<In [3]>", line 1, in f',
        f"{indent}  return 1 / 0",
    ]


def test_the_class_has_the_name_that_users_know(tmp_path: Path) -> None:
    lines = shown(RAISE, tmp_path, "nocolor").rstrip().split("\n")
    assert lines[-4:] == [
        "ZeroDivisionError: division by zero",
        "  execute, on engine 1",
        '    File "<In [3]>", line 1, in f',
        "      return 1 / 0",
    ]
    assert "----> 1 raise failure()" in lines


@pytest.mark.parametrize("cell", [RAISE, PRINT])
def test_ipython_without_colours(cell: str, tmp_path: Path) -> None:
    assert "\x1b" not in shown(cell, tmp_path, "nocolor")
    assert "\x1b" not in shown(cell, tmp_path, NO_COLOR="1")


def test_outside_of_ipython_nothing_is_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    assert colours.shell() is None
    assert colours.coloured("Traceback\n") == "Traceback\n"
    assert colours.as_ipython(RemoteError("x"), None) is None
    assert colours.cell("script.py") == "script.py"
    CompositeError("one", [RemoteError("x")]).print_tracebacks()
    assert capsys.readouterr().out == "[-1:]:\nenginery.RemoteError: x\n\n"
