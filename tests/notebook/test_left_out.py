"""Without a browser the run says which tests it leaves out, and the others run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_run_names_what_it_leaves_out(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", HERE],
        cwd=HERE.parents[1],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    collected, left_out = ran.stdout.split(" left out ")
    assert "test_comparison.py::" in collected
    assert "test_lab.py::" not in collected
    assert "none of chromium, chromium-browser, google-chrome is on the PATH" in left_out
    assert "tests/notebook/test_lab.py::test_a_figure_of_an_engine_is_shown" in left_out
    assert "test_comparison.py::" not in left_out
