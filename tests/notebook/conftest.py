"""Fixtures for notebooks: a kernel's home, JupyterLab, a browser.

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
