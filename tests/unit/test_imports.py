"""What a block of `sync_imports` imports is told to the engines, names and all."""

import builtins

import pytest

from enginery.client.imports import SyncImports


def imported(body):
    """Run import statements inside a block; give the text that would go to the engines."""
    sent = []
    exec(f"with block:\n {body}", {"block": SyncImports(sent.append), "__package__": "email"})
    return sent


@pytest.mark.parametrize(
    "statement",
    [
        "import json",
        "import json as j",
        "import os.path",
        "import os.path as p",
        "import xml.etree.ElementTree as tree",
        "from os import path",
        "from os.path import join as j, split",
        "from textwrap import *",
    ],
)
def test_statement_is_sent_as_it_is_written(statement):
    assert imported(statement) == [statement]


def test_several_statements_go_together():
    assert imported("import json, os as o; from math import pi") == [
        "import json\nimport os as o\nfrom math import pi"
    ]


def test_relative_imports_become_absolute():
    assert imported("from . import message") == ["from email import message"]
    assert imported("from .message import Message as M") == [
        "from email.message import Message as M"
    ]


def test_works_in_a_function():
    sent = []

    def function():
        with SyncImports(sent.append):
            import json as j
            from math import pi, tau
        return j, pi, tau

    function()
    assert sent == ["import json as j\nfrom math import pi, tau"]


def test_imports_of_imported_modules_are_not_sent():
    import sys

    sys.modules.pop("this_module_imports", None)
    assert imported("import wave") == ["import wave"]


def test_nothing_is_sent_when_the_block_fails_and_importing_is_as_before():
    original = builtins.__import__
    sent = []
    with pytest.raises(ModuleNotFoundError), SyncImports(sent.append):
        import there_is_no_such_module  # noqa: F401
    assert sent == []
    assert builtins.__import__ is original


def test_nothing_is_sent_for_nothing():
    assert imported("pass") == []
