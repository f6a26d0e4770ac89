"""Runs the notebooks of docs/tutorial again and stores their outputs.

    python -m tests.notebook [NOTEBOOK ...]

Outputs that say the same as before stay as they are, process ids and all, so that a change shows
what has changed. This computer's name is not stored.
"""

from __future__ import annotations

import re
import socket
import sys
import tempfile
from pathlib import Path

import nbformat

from .comparison import HOST, code_cells, wrong_in
from .execution import execute

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorial"


def store(path: Path) -> None:
    """Run one notebook and write it back."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as home:
        fresh = execute(notebook, Path(home))
    changed = 0
    for old, new in zip(code_cells(notebook), code_cells(fresh), strict=True):
        if wrong_in(old, new) or not old.execution_count:
            old.outputs = [_anonymous(output) for output in new.outputs]
            changed += 1
        for numbered in (old, *(each for each in old.outputs if "execution_count" in each)):
            numbered.execution_count = new.execution_count
    nbformat.write(notebook, path)
    print(f"{path.name}: {changed} cells changed")


def _anonymous(value: object) -> object:
    """The same without the name of this computer."""
    if isinstance(value, dict):
        pictures = {key for key in value if key.startswith("image/")}
        items = value.items()
        return nbformat.from_dict({k: v if k in pictures else _anonymous(v) for k, v in items})
    if isinstance(value, list):
        return [_anonymous(each) for each in value]
    if isinstance(value, str):
        return re.sub(rf"\b{re.escape(socket.gethostname())}\b", HOST, value)
    return value


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(TUTORIALS.glob("*.ipynb")):
        store(path)
