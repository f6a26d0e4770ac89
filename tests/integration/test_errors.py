"""Errors of engines reach their user alike, whatever was called and however it was waited for."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

import enginery
from enginery import Client, CompositeError, DirectView, RemoteError


class Broken:
    """Goes to an engine, and cannot be loaded there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1/0",)


class Refused(Exception):
    """An exception of the user that takes two arguments and knows more than its message."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{why} ({code})")
        self.code, self.why = code, why


def inverse(x: float) -> float:
    """What fails on 0."""
    return 1 / x


Call = Callable[[DirectView], Any]

CALLS: dict[str, Call] = {
    "apply": lambda view: view.apply(inverse, 0),
    "execute": lambda view: view.execute("1/0"),
    "pull": lambda view: view.pull("missing"),
    "push": lambda view: view.push({"x": Broken()}),
    "scatter": lambda view: view.scatter("x", [Broken() for _ in range(8)]),
    "gather": lambda view: view.gather("missing"),
    "map": lambda view: view.map(inverse, [0] * 8),
}

TYPES = {"pull": NameError, "gather": NameError}
"""What a call raises, unless it is a ZeroDivisionError."""


def raised(call: Call, view: DirectView, block: bool) -> Exception:
    """What a call raises, at once or when its result is asked for."""
    with view.temp_flags(block=block):
        wait = (lambda: call(view)) if block else call(view).get
        with pytest.raises(enginery.EngineryError) as caught:
            wait()
    return caught.value


@pytest.mark.parametrize("block", [True, False], ids=["blocking", "not blocking"])
@pytest.mark.parametrize("name", CALLS)
def test_several_engines(rc: Client, name: str, block: bool) -> None:
    error = raised(CALLS[name], rc[:], block)
    kind = TYPES.get(name, ZeroDivisionError)
    assert type(error) is CompositeError
    assert error.method == name
    parts = 8 if name == "map" else 4
    assert len(error) == len(error.elist) == parts
    assert list(error) == error.elist
    assert all(isinstance(one, kind) and isinstance(one, RemoteError) for one in error)
    if name != "map":
        first, *lines = str(error).split("\n")
        assert first == f"one or more exceptions from call to method: {name}"
        told = [re.fullmatch(rf"\[(\d):{name}\]: {kind.__name__}: .+", line) for line in lines]
        assert [match and match.group(1) for match in told] == ["0", "1", "2", "3"]
        assert [one.engine_id for one in error] == [0, 1, 2, 3]
    for i in range(-parts, parts):
        with pytest.raises(kind) as one:
            error.raise_exception(i)
        assert one.value is error.elist[i]
    for i in (parts, -parts - 1):
        with pytest.raises(IndexError, match=f"there are {parts} exceptions here, no number {i}"):
            error.raise_exception(i)


@pytest.mark.parametrize("block", [True, False], ids=["blocking", "not blocking"])
@pytest.mark.parametrize("name", CALLS)
def test_one_engine(rc: Client, name: str, block: bool) -> None:
    """The error itself, which is of the class that it had there."""
    call = CALLS[name] if name != "map" else lambda view: view.map(inverse, [0])
    error = raised(call, rc[2], block)
    assert isinstance(error, TYPES.get(name, ZeroDivisionError))
    assert isinstance(error, RemoteError)
    assert not isinstance(error, CompositeError)
    assert (error.engine_id, error.method) == (2, name)
    assert error.ename in {"ZeroDivisionError", "NameError"}
    assert error.traceback.startswith("Traceback") or name in {
        "pull",
        "gather",
    }  # no frame is theirs
    assert error.traceback.endswith(f"{error.ename}: {error.evalue}\n")


def test_the_form_of_2008(rc: Client) -> None:
    def example() -> None:
        try:
            rc[:].execute("1/0", block=True)
        except CompositeError as e:
            e.raise_exception()

    with pytest.raises(ZeroDivisionError):
        example()


def test_tracebacks_of_all(rc: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its head, and with the lines of code: of what was executed, and of this file."""
    for call, frame, line in (
        (CALLS["execute"], r"<In \[\d+\]>.+ in <module>", "1/0"),
        (CALLS["apply"], rf"{re.escape(__file__)}.+ in inverse", "return 1 / x"),
    ):
        error = raised(call, rc[0, 3], True)
        assert isinstance(error, CompositeError)
        error.print_tracebacks()
        parts = capsys.readouterr().out.split("\n\n")[:-1]
        assert [part.partition("\n")[0] for part in parts] == [
            f"[0:{error.method}]:", f"[3:{error.method}]:",
        ]  # fmt: skip
        for part in parts:
            assert re.search(rf'  File "{frame}\n    {re.escape(line)}\n', part)
            assert part.endswith("ZeroDivisionError: division by zero")
            assert "\x1b" not in part


def test_what_an_exception_knows_survives(rc: Client) -> None:
    """Its attributes come along, even when one of them cannot be sent."""

    def refuse(lock: bool) -> None:
        error = Refused(3, "no")
        error.details = {"a": [1, 2]}  # type: ignore[attr-defined]
        if lock:
            error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    for lock in (False, True):
        with pytest.raises(Refused) as caught:
            rc[1].apply_sync(refuse, lock)
        error: Any = caught.value
        assert isinstance(error, RemoteError)
        assert (str(error), error.code, error.why) == ("no (3)", 3, "no")
        assert error.details == {"a": [1, 2]}
        assert not hasattr(error, "lock")
