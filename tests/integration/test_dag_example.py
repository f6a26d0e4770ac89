"""The example that runs a graph: in an order that its own check has proved, and drawn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "dag.py"


def test_the_import_graph_of_the_library_is_run_in_order_and_drawn(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "picture.png"],
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules, tasks, edges = map(
        int, re.findall(r"^(\d+) .* (\d+) tasks with (\d+)", done.stdout)[0]
    )
    assert modules >= tasks > 100
    assert edges > tasks
    assert "every task after what it imports" in done.stdout
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
