"""Runs a notebook in a real ipykernel and gives it back with its outputs.

The kernel's manager works in a process of its own, since it changes signal handlers and keeps an
event loop; everything that Jupyter, IPython and enginery write goes into one directory.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import nbformat

CELL_LIMIT = 90
"""Seconds that one cell may take."""

PLACES = {
    "HOME": "",
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
}
"""Where Jupyter and IPython write, by the variable that says so."""


def environment(home: Path) -> dict[str, str]:
    """The variables of a process whose files shall be in this directory.

    But for Matplotlib's list of fonts: each engine would make it anew.
    """
    here = {name: str(home / place) for name, place in PLACES.items()}
    return {**os.environ, **here, "MPLCONFIGDIR": matplotlib.get_cachedir()}


def execute(
    notebook: nbformat.NotebookNode, home: Path, limit: float = 110
) -> nbformat.NotebookNode:
    """The notebook with the outputs of all its cells, which ran one after the other.

    `home` is the kernel's working directory and has all that it writes. A cell without the tag
    "raises-exception" that raises ends it: RuntimeError, with what the cell printed and raised.
    """
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        [sys.executable, Path(__file__), work],
        input=nbformat.writes(notebook),
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"the notebook did not run to its end\n{ran.stderr}")
    return nbformat.reads(ran.stdout, as_version=4)


def _main(work: str) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(sys.stdin, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_LIMIT,
        record_timing=False,
        resources={"metadata": {"path": work}},
    )
    try:
        executed = client.execute()
    except CellExecutionError as error:
        sys.exit(re.sub(r"\x1b\[[0-9;]*m", "", str(error)))
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    nbformat.write(executed, sys.stdout)


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs, with text that came in pieces in one piece, as Lab stores it."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last is not None and last.get("name", "") == output.get("name"):
            last.text += output.text
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    _main(sys.argv[1])
