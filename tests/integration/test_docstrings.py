"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import builtins
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import enginery
from enginery import AsyncResult, Client, Cluster, error
from enginery.client.balanced import LoadBalancedView
from enginery.client.direct import DirectView

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

OTHERS = {
    # What the parts of the client say to each other.
    "execute_at", "expect_engines", "finish", "join", "places", "request", "run_again", "shown_as",
    "slots_of", "taken", "variant", "view_moved", "when_done",
    # Another name, or nothing that could be seen here.
    "activate", "get_results", "remote_block", "result", "spin", "stream_output",
    "wait_interactive",
}  # fmt: skip

CLASSES = Client, DirectView, LoadBalancedView, AsyncResult


def examples() -> list[doctest.DocTest]:
    """Those of every module that has some; an awaited form has the text of the blocking one."""
    finder, all_of_them = doctest.DocTestFinder(exclude_empty=True), {}
    for module in pkgutil.walk_packages(enginery.__path__, "enginery."):
        if module.name.endswith("__main__"):
            continue
        path = importlib.util.find_spec(module.name)
        assert path is not None
        assert path.origin is not None
        if ">>>" in Path(path.origin).read_text():
            for found in finder.find(importlib.import_module(module.name)):
                if found.examples:
                    all_of_them[found.docstring] = found
    return list(all_of_them.values())


@pytest.fixture(scope="module")
def rc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of four engines."""
    profile = tmp_path_factory.mktemp("docstrings") / "profile_default"
    with Cluster(n=4, profile_dir=profile) as rc:
        yield rc


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_prints_what_it_says(
    example: doctest.DocTest, rc: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "_", None, raising=False)  # doctest leaves the last value there
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    rc.wait_for_engines(4, timeout=30)
    rc.clear()
    example.globs |= {
        "en": enginery, "rc": rc, "dview": rc[:], "lview": rc.load_balanced_view(),
        "np": np, "os": os, "time": time, "Path": Path, "__name__": "__main__",
    }  # fmt: skip
    told: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_method_that_users_call_has_an_example(cls: type) -> None:
    methods = inspect.getmembers(cls, inspect.isfunction)
    public = {name for name, _ in methods if not name.startswith("_")} - OTHERS
    assert not {name for name in public if ">>>" not in (inspect.getdoc(getattr(cls, name)) or "")}


def test_the_page_of_errors_has_them_all_each_below_its_base() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
    told = []
    for line in page.read_text().splitlines():
        if found := re.match(r"\| ((?:&emsp;)*)`(\w+)` \|", line):
            told.append((found[1].count("&"), found[2]))

    def tree(cls: type, depth: int = 0) -> Iterator[tuple[int, str]]:
        yield depth, cls.__name__
        for each in cls.__subclasses__():
            if vars(error).get(each.__name__) is each:
                yield from tree(each, depth + 1)

    assert told == list(tree(error.EngineryError))
