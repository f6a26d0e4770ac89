"""An interface of one's own on the public client: the example, and the page that explains it."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import enginery
from enginery import AsyncResult, EngineError

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "actors.py"
PAGE = ROOT / "docs" / "howto" / "own-interface.md"


@pytest.fixture(scope="module")
def example():
    """The example as a module that no engine has."""
    spec = importlib.util.spec_from_file_location("actors_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[spec.name]


OF_A_SCRIPT = """
import os

class Box:
    def __init__(self, *values, limit=3):
        if len(values) > limit:
            raise ValueError(f"more than {limit} values")
        self.values = list(values)

    def add(self, value):
        self.values.append(value)
        return len(self.values)

    def told(self):
        return self.values, os.getpid()

    def die(self):
        os._exit(3)
"""
names = {"__name__": "__main__"}
exec(OF_A_SCRIPT, names)
Box = names["Box"]
"""What lives on an engine in these tests."""


# --- the example and the page -------------------------------------------------------------------


def test_the_example_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+ files on 4 engines: \w+ \d+ \w+ \d+ \w+ \d+\n", done.stdout)


def test_the_page_shows_the_code_that_runs():
    script = SCRIPT.read_text()
    assert len(script.splitlines()) < 150
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    for block in blocks:
        assert block in script
    shown = "".join(blocks)
    for name in ("make_actor", "call_actor", "drop_actor", "Actor", "Actors", "map_reduce"):
        assert re.search(rf"^(def|class) {name}\b", shown, re.MULTILINE), name


def test_it_is_made_of_public_names_alone():
    tree = ast.parse(SCRIPT.read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("enginery")
        for alias in node.names
    ]
    assert names
    assert set(names) <= set(enginery.__all__)
    own = {"_view", "_name", "_title"}  # of its own `Actor`
    private = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr)
    }
    assert private <= own
    inside = {"link", "calls", "result", "expect_engines", "view_moved", "finish", "join"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & inside


# --- what it promises ---------------------------------------------------------------------------


def test_an_object_lives_on_an_engine(rc, example):
    with example.Actors(rc) as actors:
        one, other = actors.start(Box, 1, 2), actors.start(Box, limit=5)
        assert isinstance(one.add(3), AsyncResult)
        sizes = [one.add(value) for value in range(20)]
        assert [size.get(30) for size in sizes] == list(range(4, 24))
        values, pid = one.told().get(30)
        assert values == [1, 2, 3, *range(20)]
        assert other.told().get(30)[0] == []
        assert other.told().get(30)[1] != pid
        assert sorted(actors.living.values()) == [0, 1]
        assert actors.start(Box, engine=3).told().get(30)[1] == rc[3].apply_sync(os.getpid)
        assert repr(one) == "<Actor: Box on engine 0>"


def test_actors_go_where_there_are_fewest(rc, example):
    with example.Actors(rc) as actors:
        for _ in range(8):
            actors.start(Box)
        assert sorted(actors.living.values()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert actors.living == {}


def test_failures_are_those_of_the_object(rc, example):
    with example.Actors(rc) as actors:
        with pytest.raises(ValueError, match="more than 1 values"):
            actors.start(Box, 1, 2, limit=1)
        box = actors.start(Box)
        with pytest.raises(AttributeError, match="'Box' object has no attribute 'nothing'"):
            box.nothing().get(30)
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            box.add().get(30)
        with pytest.raises(AttributeError, match="has no method '_private' that can be called"):
            box._private  # noqa: B018
        assert box.add(1).get(30) == 1


def test_an_actor_that_was_stopped(rc, example):
    actors = example.Actors(rc)
    box = actors.start(Box)
    told = box.told()
    actors.stop(box).get(30)
    assert told.get(30)[0] == []
    with pytest.raises(LookupError, match="Box on engine 0 is gone: it was stopped"):
        box.told().get(30)


def test_an_actor_whose_engine_dies(own_cluster, example):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=30)
        with example.Actors(rc) as actors:
            box, other = actors.start(Box, 1), actors.start(Box, 2)
            first = rc.link.engines[0].incarnation
            dies, waits = box.die(), box.told()
            with pytest.raises(EngineError, match=r"engine 0 died while running .* exit code 3"):
                dies.get(60)
            with pytest.raises(EngineError, match="did not start: engine 0 ended"):
                waits.get(60)

            def again():
                return 0 in rc.ids and rc.link.engines[0].incarnation != first

            assert rc.link.wait(again, 60)
            with pytest.raises(LookupError, match="Box on engine 0 is gone") as caught:
                box.told().get(60)
            assert "its engine died" in str(caught.value)
            assert other.told().get(30)[0] == [2]
            assert actors.start(Box, 3, engine=0).told().get(30)[0] == [3]
            rc.shutdown(1, timeout=60)
            with pytest.raises(EngineError, match="no engine 1 is registered"):
                other.told().get(60)


def test_classes_of_modules_go_by_name(own_cluster, example, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    actors = importlib.import_module("actors")
    try:
        with own_cluster.connect_client_sync() as rc, example.Actors(rc) as living:
            rc.wait_for_engines(2, timeout=30)
            with pytest.raises(ModuleNotFoundError, match=r"no module named 'actors'"):
                living.start(actors.Tally)
            rc[:].push_module("actors", block=True)
            tallies = [living.start(actors.Tally) for _ in range(3)]
            example.map_reduce(rc, lambda text: {text: 2}, ["a", "b", "a"], tallies)
            counted = [tally.most_common(9).get(30) for tally in tallies]
            assert sorted(pair for each in counted for pair in each) == [("a", 4), ("b", 2)]
    finally:
        del sys.modules["actors"]
