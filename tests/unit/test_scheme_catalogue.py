"""Users' own schemes: found by import path, refused in one clear line, and watched while in use."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from enginery.controller.catalogue import known, load, make, name_of
from enginery.controller.checked import Checked
from enginery.core.messages import Task
from enginery.error import ClusterError
from enginery.schemes import SCHEMES, LeastLoad, Load, PlainRandom, Scheme

HEAD = "from enginery.schemes import LeastLoad, Scheme\n"
GOOD = HEAD + "class Last(Scheme):\n    def choose(self, engines):\n        return engines[-1]\n"

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A profile's directory, and the name of a module that nothing else has used."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"own_scheme_{next(_numbers)}"
    yield tmp_path / f"{name}.py", name
    sys.modules.pop(name, None)


class Engine:
    """An engine as schemes see it."""

    load = used = 0

    def __init__(self, id: int) -> None:
        self.id = id


# --- finding them ---------------------------------------------------------------------------------


def test_the_built_in_ones_are_known() -> None:
    before = list(sys.path)
    for name, scheme in SCHEMES.items():
        assert known(name) == (SCHEMES, name)
        assert load(name) is scheme
    assert sys.path == before  # nothing is looked for


@pytest.mark.parametrize("place", ["profile", "current", "program"])
def test_where_a_module_is_found(
    module: tuple[Path, str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, name = module
    file.write_text(GOOD)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path if place == "current" else elsewhere)
    profile = tmp_path if place == "profile" else elsewhere
    path = [str(tmp_path)] if place == "program" else []
    schemes, chosen = known(f"{name}:Last", (), profile, path)
    assert chosen == "Last"
    assert list(schemes) == [*SCHEMES, "Last"]
    assert issubclass(schemes["Last"], Scheme)


def test_no_installed_module_is_replaced(module: tuple[Path, str]) -> None:
    file, name = module
    file.write_text(GOOD)
    first = list(sys.path)
    known(f"{name}:Last", (), file.parent)
    assert sys.path[: len(first)] == first


def test_further_ones_can_be_chosen_by_name(module: tuple[Path, str]) -> None:
    file, name = module
    file.write_text(GOOD + "class Other(Last):\n    name = 'other'\n")
    paths = [f"{name}:Last", f"{name}:Other", f"{name}:Last", "lru"]
    schemes, chosen = known("other", paths, file.parent)
    assert chosen == "other"
    assert list(schemes) == [*SCHEMES, "Last", "other"]
    assert known(f"{name}:Other", paths, file.parent)[1] == "other"


def test_a_name_that_was_inherited_is_anothers() -> None:
    class Mine(LeastLoad):
        pass

    assert name_of(LeastLoad) == "leastload"
    assert name_of(Mine) == "Mine"


# --- refusing them --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        (
            "nosuch",
            "there is no scheme 'nosuch'; there are leastload, lru, plainrandom, twobin, weighted,"
            " and your own by import path: mymodule:MyScheme",
        ),
        ("mod.Mine", "there is no scheme 'mod.Mine'; there are .* import path: mod:Mine$"),
        ("", "there is no scheme ''; there are leastload"),
        (":Mine", "this is no import path, as in mymodule:MyScheme"),
        ("mod:", "this is no import path"),
        ("a b:Mine", "this is no import path"),
        ("enginery.error:NoSuch", r"error.py\) has no 'NoSuch'; schemes there: none"),
        ("enginery.error:EngineryError", "EngineryError is no subclass of enginery.schemes.Scheme"),
        ("enginery.schemes:SCHEMES", "SCHEMES is no subclass"),
        ("enginery.schemes:Drawn", "Drawn does not define choose"),
    ],
)
def test_what_cannot_be_chosen(chosen: str, complaint: str) -> None:
    with pytest.raises(ClusterError, match=complaint) as caught:
        known(chosen)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1 / 0\n", "importing 'MODULE' raised ZeroDivisionError: division by zero"),
        ("x = 1 / 0\n", r"\(.*MODULE.py, line 1\)"),
        ("class\n", r"raised SyntaxError: .*MODULE.py, line 1\)"),
        ("import nosuch_module\n", "raised ModuleNotFoundError: No module named 'nosuch_module'"),
        ("raise SystemExit(3)\n", "raised SystemExit: 3 .*`if __name__ == '__main__':`"),
        (GOOD, r"has no 'Mine'; schemes there: Last"),
        ("Mine = 7\n", "Mine is no subclass"),
        (HEAD + "class Mine(Scheme):\n    pass\n", "Mine does not define choose"),
        (HEAD + "class Mine(LeastLoad):\n    name = 'lru'\n", "another scheme is called 'lru'"),
        (HEAD + "class Mine(LeastLoad):\n    name = 'pure'\n", "another scheme is called 'pure'"),
    ],
)
def test_modules_with_mistakes(module: tuple[Path, str], text: str, complaint: str) -> None:
    file, name = module
    file.write_text(text)
    with pytest.raises(ClusterError, match=complaint.replace("MODULE", name)) as caught:
        known(f"{name}:Mine", (), file.parent)
    assert str(caught.value).startswith(f"scheme '{name}:Mine': ")
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClusterError) as caught:
        known("nosuch_module:Mine", (), tmp_path / "profile")
    assert str(caught.value) == (
        "scheme 'nosuch_module:Mine': there is no module 'nosuch_module' among the installed ones,"
        f" nor in {tmp_path / 'profile'}, nor in {tmp_path}"
    )


def test_a_module_that_loads_a_scheme_itself_does_not_go_on_for_ever(
    module: tuple[Path, str],
) -> None:
    file, name = module
    file.write_text(f"from enginery.controller.catalogue import load\nload('{name}:Mine')\n")
    with pytest.raises(ClusterError, match="must not start a cluster when it is imported"):
        known(f"{name}:Mine", (), file.parent)


class Fails(LeastLoad):
    def __init__(self) -> None:
        raise ValueError("no luck")


class Forgets(LeastLoad):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("scheme", "complaint"),
    [
        (Fails, r"scheme 'Fails': Fails\(\) raised ValueError: no luck \(.*, line \d+\)"),
        (Forgets, r"Forgets.__init__ has to call super\(\).__init__\(\)"),
    ],
)
def test_schemes_that_cannot_be_made(scheme: type[Scheme], complaint: str) -> None:
    with pytest.raises(ClusterError, match=complaint) as caught:
        make(scheme, print)
    assert "\n" not in str(caught.value)


# --- in use ---------------------------------------------------------------------------------------


def test_what_is_made_has_real_chance_and_its_name() -> None:
    made = make(PlainRandom, print)
    assert type(made) is PlainRandom  # and costs nothing more
    assert made.chance == random.random

    class Mine(PlainRandom):
        pass

    checked = make(Mine, print)
    assert isinstance(checked, Checked)
    assert (checked.name, checked.own.name) == ("Mine", "Mine")
    assert checked.own.chance == random.random


class Faulty(Scheme):
    """Chooses what it is told to, by a function."""

    answer: object = None

    def choose(self, engines: Sequence[Load]) -> Load:
        return self.answer(engines) if callable(self.answer) else self.answer  # type: ignore[return-value]


def faulty(answer: object) -> tuple[Checked, list[str], list[Engine]]:
    """A checked scheme with three engines, and what is told of it."""
    own, told = Faulty(), list[str]()
    own.answer = answer
    scheme, engines = Checked(own, told.append), [Engine(id) for id in range(3)]
    for engine in engines:
        scheme.update(engine, True)
    return scheme, told, engines


def test_a_good_choice_is_kept_to() -> None:
    scheme, told, engines = faulty(lambda engines: engines[-1])
    assert scheme.best() is engines[2]
    assert scheme.best((0, 1)) is engines[1]
    assert scheme.best((), [2]) is engines[1]
    assert scheme.best((), (), (2,)) is engines[1]
    scheme.update(engines[2], False)
    assert scheme.best() is engines[1]
    assert told == []


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "it chose NoneType, which is no engine that may get the task"),
        (2, "it chose int, "),
        (Engine(0), "it chose engine 0, "),  # of another life, or another cluster
        (lambda engines: engines[9], "its choice raised IndexError: list index out of range ("),
        (lambda engines: 1 / 0, "its choice raised ZeroDivisionError: division by zero ("),
    ],
)
def test_a_wrong_choice_is_told_and_replaced(answer: object, complaint: str) -> None:
    scheme, told, engines = faulty(answer)
    assert scheme.best() is engines[0]
    assert scheme.best((1, 2), [1], [0]) is engines[2]
    assert len(told) == 2
    assert all(complaint in text and "\n" not in text for text in told)


def test_an_engine_that_may_not_get_the_task_is_no_choice() -> None:
    scheme, told, engines = faulty(None)
    scheme.own.answer = lambda _: engines[2]  # type: ignore[attr-defined]
    assert scheme.best() is engines[2]
    assert scheme.best((0, 1)) is engines[0]
    assert scheme.best((), (), (2,)) is engines[0]
    scheme.update(engines[2], False)
    assert scheme.best() is engines[0]
    assert len(told) == 3


def test_nobody_is_asked_when_there_is_no_engine() -> None:
    scheme, told, _ = faulty(None)
    assert scheme.best((7,)) is None
    assert scheme.best((), (), (0, 1, 2)) is None
    assert told == []


@pytest.mark.parametrize("rank", [float("nan"), None, "high", 1 / 3])
def test_a_rank_that_is_no_number_is_told(rank: object) -> None:
    class Ranks(Faulty):
        def rank(self, task: object) -> float:
            return rank  # type: ignore[return-value]

    told: list[str] = []
    scheme = Checked(Ranks(), told.append)
    task = Task("id", b"", b"")
    assert scheme.rank(task) == (rank if rank == 1 / 3 else 0)
    assert len(told) == (rank != 1 / 3)


def test_update_may_fail() -> None:
    class Updates(Faulty):
        def update(self, engine: Load, room: bool) -> None:
            raise KeyError(engine.id)

        def best(
            self,
            allowed: Collection[int] = (),
            avoid: Collection[int] = (),
            excluded: Collection[int] = (),
        ) -> Load | None:
            return None

    told: list[str] = []
    scheme, engine = Checked(Updates(), told.append), Engine(4)
    scheme.update(engine, True)
    assert scheme.best() is engine
    assert "update raised KeyError: 4 (" in told[0]
    assert "it chose NoneType" in told[1]
