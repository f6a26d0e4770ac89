"""Fixtures for notebooks: a kernel's home, JupyterLab, a browser; and what is left out without one.

run_notebook(notebook)   executes it in a real ipykernel, gives it with its outputs
lab                      a JupyterLab for the tests of a module
open_notebook(name, nb)  a notebook in Lab in a real browser, as `tests.notebook.lab.Notebook`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from . import lab as labs
from .execution import execute
from .lab import Lab, Notebook

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

LEFT_OUT = pytest.StashKey[list[str]]()


@pytest.fixture
def run_notebook(tmp_path: Path) -> Callable[[nbformat.NotebookNode], nbformat.NotebookNode]:
    """Executes a notebook in a kernel and a directory of its own."""
    return lambda notebook: execute(notebook, tmp_path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, session_leak_check: None) -> Iterator[Lab]:
    """A JupyterLab for the tests of a module."""
    with labs.running_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(
    tmp_path_factory: pytest.TempPathFactory, session_leak_check: None
) -> Iterator[BrowserContext]:
    """A browser for the tests of a module, in which nothing may use asyncio besides."""
    with labs.running_browser(tmp_path_factory.mktemp("chromium")) as context:
        yield context


@pytest.fixture
def open_notebook(
    lab: Lab, chromium: BrowserContext, request: pytest.FixtureRequest
) -> Iterator[Callable[[str, nbformat.NotebookNode], Notebook]]:
    """Opens a notebook in Lab, in a browser of this test; its kernel ends with Lab.

    How the page looked at last is kept, under the name of the test.
    """
    page = chromium.new_page()

    def opened(name: str, notebook: nbformat.NotebookNode) -> Notebook:
        lab.write(name, notebook)
        return Notebook(page, lab, name)

    yield opened
    labs.keep_picture(page, request.node.name)
    page.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a browser, leave out what needs one; the end of the run says what that was."""
    if labs.browser() is not None:
        return
    needing = [item for item in items if "chromium" in getattr(item, "fixturenames", ())]
    if needing:
        config.stash[LEFT_OUT] = [item.nodeid for item in needing]
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the tests that were left out, and why."""
    left_out = config.stash.get(LEFT_OUT, [])
    if left_out:
        terminalreporter.section("left out", yellow=True)
        terminalreporter.line(
            f"{len(left_out)} tests need a browser, and none of {', '.join(labs.BROWSERS)} is on "
            "the PATH; with it they run:  apt-get install chromium"
        )
        for name in left_out:
            terminalreporter.line(f"  {name}")
