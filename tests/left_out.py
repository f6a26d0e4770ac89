"""Tests that need something of the system which is not here are left out, and named at the end.

What a test needs is told by its fixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from .testbeds import hosts, sshd


class Need(NamedTuple):
    """A fixture, what is missing for it ("": nothing), and how that is told."""

    fixture: str
    missing: Callable[[], str]
    text: str


def _no_browser() -> str:
    from .notebook import lab as labs

    return "" if labs.browser() is not None else ", ".join(labs.BROWSERS)


NEEDS = (
    Need(
        "chromium",
        _no_browser,
        "need a browser, and none of {} is on the PATH; with it they run:  "
        "apt-get install chromium",
    ),
    Need("hosts", hosts.missing, "need {}, to make several hosts of this one"),
    Need("sshd", sshd.missing, "need {}; with them they run:  apt-get install openssh-server"),
)

LEFT_OUT = pytest.StashKey[dict[str, list[str]]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here."""
    left_out = config.stash.setdefault(LEFT_OUT, {})
    for need in NEEDS:
        needing = [item for item in items if need.fixture in getattr(item, "fixturenames", ())]
        if not needing or not (missing := need.missing()):
            continue
        left_out[need.text.format(missing)] = [item.nodeid for item in needing]
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the tests that were left out, and why."""
    left_out = config.stash.get(LEFT_OUT, {})
    if left_out:
        terminalreporter.section("left out", yellow=True)
    for text, names in left_out.items():
        terminalreporter.line(f"{len(names)} tests {text}")
        for name in names:
            terminalreporter.line(f"  {name}")
