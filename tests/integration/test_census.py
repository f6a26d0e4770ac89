"""The example behind `make demo`, on a part of the library: equal answers, one engine killed."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "stdlib_census.py"
SOURCES = Path(email.__file__).parent


def test_the_census_counts_the_same_three_times_and_survives_a_killed_engine(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, SOURCES],
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("serial, direct and balanced give the same answer.\n")
    files = len(list(SOURCES.rglob("*.py")))
    assert f"\n{files} files, " in done.stdout
    shares = re.findall(r"engine \d: (\d+)", done.stdout)
    assert sum(map(int, shares)) == files
    # What ran when the engine was killed, and what had just ended, its result not out yet.
    assert int(re.findall(r"tasks retried +(\d+)", done.stdout)[0]) <= 2
    assert re.findall(r"killing engine 0 \(pid \d+\) with SIGKILL", done.stderr)
    for title in ("serial", "balanced"):
        steps = re.findall(rf"^{title}: (\d+) of {files} files$", done.stderr, re.MULTILINE)
        assert len(steps) == 4
        assert int(steps[-1]) == files
