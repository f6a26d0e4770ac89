"""The time that the runs have, and the table of what they found.

figures(promise, how, figure)   one row of the table: what is promised, how it was tested, what came
histories                       what the simulator plays meanwhile, when nobody else wants to run
quiet                           it does not play meanwhile
morning                         when it must have ended
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from . import test_simulator
from .histories import Histories

HOUR = 3600.0
"""Seconds that all runs have together; what would begin later fails instead."""

MORNING = 3540.0
"""Seconds after which the simulator plays no more, if it has not played enough before."""

LONGEST = 1200
"""Seconds that one of them may take."""

ROWS = pytest.StashKey[list[tuple[str, str, str]]]()
BEGAN = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    """The hour begins."""
    config.stash[BEGAN] = time.monotonic()
    config.stash[ROWS] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They take longer than other tests; the simulator plays to the end."""
    items.sort(key=lambda item: getattr(item, "module", None) is test_simulator)
    for item in items:
        item.add_marker(pytest.mark.timeout(LONGEST))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin nothing when the hour is over, but for what only ends something."""
    if getattr(item, "module", None) is test_simulator:
        return
    if time.monotonic() - item.config.stash[BEGAN] > HOUR:
        pytest.fail("the hour of the nightly runs is over: this one has not begun", pytrace=False)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Takes rows of the table."""
    rows = request.config.stash[ROWS]
    return lambda promise, how, figure: rows.append((promise, how, figure))


@pytest.fixture
def morning(request: pytest.FixtureRequest) -> float:
    """When the night is over, by `time.monotonic`."""
    return request.config.stash[BEGAN] + MORNING


@pytest.fixture(scope="session", autouse=True)
def histories(session_leak_check: None) -> Iterator[Histories]:
    """Histories of the simulator, played until they are asked for."""
    playing = Histories()
    yield playing
    playing.end()


@pytest.fixture
def quiet(histories: Histories) -> Iterator[None]:
    """Nothing is played meanwhile, for a test that measures how long something takes."""
    with histories.paused():
        yield


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    rows = config.stash[ROWS]
    if not rows:
        return
    terminalreporter.section("figures")
    terminalreporter.line("| promise | how tested | figure |")
    terminalreporter.line("|---|---|---|")
    for row in rows:
        terminalreporter.line(f"| {' | '.join(row)} |")
    minutes = (time.monotonic() - config.stash[BEGAN]) / 60
    terminalreporter.line(f"\nall in {minutes:.0f} minutes")
