"""What `enginery doctor` makes of what engines answer."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

from enginery.cli.doctor import LITTLE, _clocks, _limits, _versions, differing
from enginery.cli.known import Tasks

if TYPE_CHECKING:
    from enginery.cli.reach import Reached

OURS = {"python": "3.12.1", "enginery": "1.0", "packages": {"numpy": "2.1", "pandas": "2.2"}}


def about(**facts: Any) -> dict[str, Any]:
    """What an engine answers, like here unless said otherwise."""
    alike = {"time": 100.0, "host": socket.gethostname(), "memory": 1, "memory_limit": 0}
    return OURS | alike | {"disk_free": LITTLE} | facts


def test_packages_that_differ_are_named_with_both_versions() -> None:
    theirs = {"numpy": "1.26", "polars": "1.0"}
    assert differing(theirs, OURS["packages"]) == [
        {"name": "numpy", "here": "2.1", "there": "1.26"},
        {"name": "pandas", "here": "2.2", "there": None},
        {"name": "polars", "here": None, "there": "1.0"},
    ]


def test_engines_that_differ_in_the_same_way_are_told_of_once() -> None:
    other = about(packages={"numpy": "1.26", "pandas": "2.2"})
    told = list(_versions({0: about(), 1: other, 2: other, 3: about(python="3.13.0")}, OURS))
    assert [(f.state, f.text) for f in told] == [
        ("warning", "engine 3: python 3.13.0; here it is 3.12.1"),
        ("warning", "engines 1-2: numpy 1.26 (here 2.1)"),
    ]


def test_engines_that_are_alike() -> None:
    [told] = _versions({0: about()}, OURS)
    assert (told.state, told.text) == ("ok", "Python 3.12.1 and 2 packages, as here")
    assert list(_versions({}, OURS)) == []


def test_clocks() -> None:
    [told] = _clocks({0: about(), 1: about(time=90.0), 2: about(time=102.5)}, 100.0)
    assert (told.state, told.text) == ("warning", "engines 1-2: off by up to 10 s")
    [told] = _clocks({0: about(time=100.4)}, 100.0)
    assert told.state == "ok"


def test_what_engines_may_run_out_of() -> None:
    full = about(memory=900, memory_limit=1000)
    elsewhere = about(host="n4", disk_free=5_000_000)
    told = [finding.text for finding in _limits({0: about(), 1: full, 2: elsewhere})]
    assert told == [
        f"engine 1 on {socket.gethostname()} has 900 B of 1.0 kB",
        "5.0 MB are free on n4",
    ]


def test_an_answer_of_another_form_is_no_answer() -> None:
    class There:
        timeout = 1.0

        class link:
            @staticmethod
            def ask(message: Any, timeout: float) -> Any:
                answers = {0: {"memory": 5, "memory_limit": 0, "more": 1}, 1: {"memory": "much"}}
                answers |= {2: 7, 3: {"error": "OSError: no such file"}}
                return {"answers": answers, "silent": [4]}

    told = Tasks(cast("Reached", There)).inquire("usage")
    assert told.answers == {0: {"memory": 5, "memory_limit": 0}}
    assert told.wrong[1].startswith("it answers something else: Expected `int`")
    assert told.wrong[2].startswith("it answers something else: Expected `object`")
    assert told.wrong[3] == "OSError: no such file"
    assert told.silent == [4]
