"""The tutorials run in a real kernel, and give what is stored in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from .comparison import code_cells, differences

DIRECTORY = Path(__file__).parents[2] / "docs" / "tutorial"
TUTORIALS = sorted(DIRECTORY.glob("*.ipynb"))

Run = Callable[[nbformat.NotebookNode], nbformat.NotebookNode]


def test_there_are_four_tutorials() -> None:
    names = [path.stem for path in TUTORIALS]
    assert names == ["1-first-cluster", "2-direct-interface", "3-task-interface", "4-digits"]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_gives_what_is_stored(path: Path, run_notebook: Run) -> None:
    stored = nbformat.read(path, as_version=4)
    fresh = run_notebook(stored)
    assert not (wrong := differences(stored, fresh)), "\n\n".join(wrong)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_is_well_formed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert 10 <= len(notebook.cells) <= 30
    assert notebook.metadata.kernelspec.name == "python3"
    ran = [cell.execution_count for cell in code_cells(notebook)]
    assert ran == list(range(1, len(ran) + 1)), "it was not stored as one run, from its top"
    for link in re.findall(r"\]\(([^)#:]+)\)", "\n".join(cell.source for cell in notebook.cells)):
        assert (path.parent / link).exists(), link
