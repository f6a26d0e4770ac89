"""What a script defines runs on an engine, in the engine's namespace, and what returns fits home.

Two real processes: a script as `__main__`, and an engine whose `__main__` is a fresh module.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from enginery.wire import payload
from enginery.wire.failure import Failure

HERE = Path(__file__).parent
MODULE = """
class Box:
    pass

def f():
    return 1

def thing():
    return 2
"""


class Story(NamedTuple):
    answers: dict[str, Any]
    about: dict[str, tuple[frozenset[str], bool, set[str]]]
    checked: str


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    only_client = tmp_path_factory.mktemp("only_client")
    (only_client / "only_the_client_has_this.py").write_text(MODULE)
    environment = os.environ | {"PYTHONPATH": str(only_client)}
    script = [sys.executable, str(HERE / "wire_script.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(script, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as client:
        assert client.stdin
        assert client.stdout
        try:
            cases = pickle.load(client.stdout)
        except EOFError:
            pytest.fail(client.communicate()[1].decode())
        engine = subprocess.run(
            [sys.executable, str(HERE / "wire_engine.py")],
            input=pickle.dumps(cases),
            capture_output=True,
            check=False,
        )
        assert engine.returncode == 0, engine.stderr.decode()
        answers = pickle.loads(engine.stdout)
        back = pickle.dumps({name: value for name, (value, _) in answers.items()})
        _, errors = client.communicate(back)
    readable = {}
    for name, ((data, _), _) in answers.items():
        if not name.startswith(("home", "returns", "class")):  # of classes that only they have
            readable[name] = payload.loads(data, ()).value
    return Story(readable, {n: about for n, (_, about) in answers.items()}, errors.decode())


def test_what_comes_home_is_of_the_classes_of_home(story: Story) -> None:
    assert story.checked == "checked\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engine wins", 101),
        ("client lends", 4),
        ("through functions", 7),
        ("lambda", "engine"),
        ("recursion", 120),
        ("cached", 6765),
        ("sentinel", True),
        ("stores", 6),
        ("shared cell", (6, 7, 7)),
        ("local class", ([3, 3], {"a": 1})),
        ("enum", True),
        ("partial", 5),
        ("builtin", 2.0),
        ("chunk", [4, 5]),
        ("metadata", ([1, "d"], "words", [1], None, "documented")),
        ("modules", (3, 9, "a", 2)),
        ("namespace", (True, "__main__")),
        ("zoo", (3, 2, 5, 3, 6, "T")),
        ("decorated", 5),
        ("isinstance of abc", True),
        ("argument lends", 7),
        ("reference", ([[7]], 7)),
        ("live", 2),
        ("read-only", False),
        ("use fine", "fine"),
    ],
)
def test_calls(story: Story, name: str, value: Any) -> None:
    answer = story.answers[name]
    if name == "metadata":
        assert answer[3] == {"x": int, "y": "str", "return": list[int]}
        answer = (*answer[:3], None, *answer[4:])
    assert answer == value, getattr(answer, "traceback", "")


def failure(story: Story, name: str) -> Failure:
    answer = story.answers[name]
    assert isinstance(answer, Failure), answer
    return answer


def test_nothing_else_failed(story: Story) -> None:
    failed = {name for name, answer in story.answers.items() if isinstance(answer, Failure)}
    uses = {f"use {name}" for name in ("missing", "thing", "box", "big", "array", "lock")}
    assert failed == uses | {
        "use nothing", "raises", "load", "load argument", "reference missing"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["use missing", "use thing"])
def test_a_lent_module_that_is_absent_fails_only_where_it_is_used(story: Story, name: str) -> None:
    said = failure(story, name)
    assert (said.ename, said.module) == ("ModuleNotFoundError", "only_the_client_has_this")
    assert said.kind == "load"
    assert said.python == sys.executable
    assert said.frames[-1][2] == "use"


@pytest.mark.parametrize("name", ["load", "load argument"])
def test_what_goes_by_name_fails_when_loaded(story: Story, name: str) -> None:
    said = failure(story, name)
    assert (said.ename, said.module) == ("ModuleNotFoundError", "only_the_client_has_this")
    assert said.kind == "load"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("big", ": it is larger than 64 KiB; push it first: rc[:].push({'big': big})"),
        ("array", ": it is larger than 64 KiB; push it first: rc[:].push({'array': array})"),
        ("lock", "cannot pickle '_thread.lock' object"),
        ("box", "No module named 'only_the_client_has_this'"),
    ],
)
def test_what_is_not_lent_is_a_name_error_that_says_why(story: Story, name: str, why: str) -> None:
    said = failure(story, f"use {name}")
    assert said.ename == "NameError"
    (note,) = said.notes
    assert note.startswith(f"'{name}' did not come along with the function: ")
    assert why in note


def test_a_plain_name_error_has_no_note(story: Story) -> None:
    assert failure(story, "use nothing").ename == "NameError"
    assert failure(story, "use nothing").notes == []


def test_a_reference_to_nothing_is_a_name_error(story: Story) -> None:
    said = failure(story, "reference missing")
    assert said.ename == "NameError"
    assert "zzz" in said.evalue
    assert said.kind == "load"


def test_what_a_function_says_of_itself(story: Story) -> None:
    stores, live, names = story.about["stores"]
    assert stores == {"counter"}
    assert not live
    assert story.about["live"][1]
    assert story.about["through functions"][2] == {"add_k", "k"}
    assert names == set()
