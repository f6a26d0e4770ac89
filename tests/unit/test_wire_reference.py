"""A Reference resolves where it arrives, at any depth, and nowhere else."""

from __future__ import annotations

import copy
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from enginery.wire import payload
from enginery.wire.reference import Reference


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main.__dict__


def arrive(value: Any) -> Any:
    return payload.loads(*payload.dumps(value)).value


def test_it_resolves_at_any_depth(engine: dict[str, Any]) -> None:
    engine["a"] = [1, 2]
    sent = ((Reference("a"), {"k": [Reference("a")]}), SimpleNamespace(x=Reference("a")))
    (first, nested), other = arrive(sent)
    assert first is nested["k"][0] is other.x is engine["a"]


def test_it_may_be_an_expression(engine: dict[str, Any]) -> None:
    engine["a"] = SimpleNamespace(b=[5, 6])
    assert arrive(Reference(" a.b[1] ")) == 6
    assert arrive(Reference("len(a.b)")) == 2


def test_it_is_looked_up_each_time(engine: dict[str, Any]) -> None:
    sent = payload.dumps(Reference("a"))
    for i in range(2):
        engine["a"] = i
        assert payload.loads(*sent).value == i


def test_a_name_that_is_not_there(engine: dict[str, Any]) -> None:
    with pytest.raises(NameError, match="'a' is not defined"):
        arrive([Reference("a")])


def test_copies_are_references(engine: dict[str, Any]) -> None:
    reference = Reference("a")
    assert copy.copy(reference) is copy.deepcopy([reference])[0] is reference
    assert reference == Reference("a")
    assert reference != Reference("b")
    assert len({reference, Reference("a")}) == 1
    assert repr(reference) == "Reference('a')"


@pytest.mark.parametrize("name", ["", "a b", "a = 1", "1 +", "\0"])
def test_what_is_no_expression_is_refused_at_once(name: str) -> None:
    with pytest.raises(ValueError, match="not a name or an expression"):
        Reference(name)


def test_what_is_no_text_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="not a list"):
        Reference([1])  # type: ignore[arg-type]
