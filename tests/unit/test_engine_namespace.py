"""What functions lend is there while they run, and nobody else's names are touched."""

import sys

import pytest

from enginery.engine import actions
from enginery.engine.namespace import Namespace, here


@pytest.fixture
def space(monkeypatch):
    space = Namespace()
    monkeypatch.setitem(sys.modules, "__main__", space.module)
    return space


def users(space):
    return {k: v for k, v in space.names.items() if not k.startswith("__")}


def test_it_is_the_main_module(space):
    assert here() is space
    assert sys.modules["__main__"].__dict__ is space.names
    assert eval("__name__, len('abc')", space.names) == ("__main__", 3)
    assert "lend" not in dir(space.module)


def test_outside_an_engine_there_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", sys)
    with pytest.raises(RuntimeError, match="only on an engine"):
        actions.pull("a")


def test_lent_names_are_taken_back_before_another_function_runs(space):
    space.lend({"k": 1})
    assert users(space) == {"k": 1}
    space.lend({"k": 2, "m": 3})
    assert users(space) == {"k": 2, "m": 3}
    space.lend({})
    assert users(space) == {}


def test_the_same_function_again_finds_what_it_left(space):
    names = {"k": []}
    space.lend(names)
    space.names["k"].append(1)
    space.names["extra"] = 2
    space.lend(names)
    assert users(space) == {"k": [1], "extra": 2}


def test_a_name_that_the_user_has_set_is_never_replaced(space):
    actions.push({"k": "mine"})
    space.lend({"k": "lent"})
    assert actions.pull("k") == "mine"
    space.lend({})
    assert actions.pull("k") == "mine"


def test_what_the_user_sets_while_it_is_lent_is_the_users(space):
    space.lend({"k": 1, "gone": 2})
    space.names["k"] = "mine"
    del space.names["gone"]
    space.lend({})
    assert users(space) == {"k": "mine"}


def test_what_a_function_stores_is_the_users(space):
    space.lend({"counter": 0, "step": 1}, stores={"counter"})
    space.lend({})
    assert users(space) == {"counter": 0}


def test_functions_among_the_arguments_lend_for_one_run(space):
    names = {"k": 1}
    space.lend(names)
    space.lend_more({"helper": 2})
    assert users(space) == {"k": 1, "helper": 2}
    space.lend(names)
    assert users(space) == {"k": 1}


def test_what_is_pushed_stays_also_when_it_was_lent_with_it(space):
    value = object()
    space.lend({})
    space.lend_more({"g": value})
    actions.push({"f": 1, "g": value})
    space.lend({})
    assert users(space) == {"f": 1, "g": value}


def test_what_a_pushed_function_needs_stays_behind_everything_else(space):
    space.lend_more({"np": "theirs"})
    actions.push({"f": "uses np"})
    space.lend({})
    assert actions.pull(["f", "np"]) == ["uses np", "theirs"]
    space.lend({"np": "another's"})
    assert space.names["np"] == "another's"
    space.lend({})
    assert space.names["np"] == "theirs"
    actions.push({"np": "mine"})
    space.lend({"np": "another's"})
    assert space.names["np"] == "mine"


def test_clear_removes_names_and_keeps_the_module(space):
    actions.push({"a": 1, "_": 2, "__": 3})
    space.lend({"k": 1})
    actions.clear()
    assert users(space) == {}
    assert "__" not in space.names
    assert space.names["__name__"] == "__main__"
    space.lend({"k": 2})
    assert space.names["k"] == 2


def test_pull_gives_one_value_or_a_list_and_follows_dots(space):
    actions.push({"a": 1, "s": sys})
    assert actions.pull("a") == 1
    assert actions.pull(["a", "s.version_info.major"]) == [1, sys.version_info.major]
    assert actions.pull(()) == []


def test_pull_names_what_is_missing(space):
    with pytest.raises(NameError, match="name 'nothing' is not defined") as caught:
        actions.pull("nothing.more")
    assert caught.value.name == "nothing"
