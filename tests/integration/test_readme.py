"""The lines of Python in the README run as they stand and print what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def block(language: str) -> str:
    """The only fenced block of this language."""
    blocks = re.findall(
        rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 1, f"the README has {len(blocks)} blocks of {language}"
    text: str = blocks[0]
    return text


def test_the_first_example_runs(tmp_path: Path) -> None:
    script = tmp_path / "first.py"
    script.write_text(block("python"))
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == block("text")
    assert done.stderr == ""


def test_what_the_readme_points_at_is_there() -> None:
    text = README.read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (README.parent / link).exists(), link
    commands = re.findall(r"^ {4}make (\w+)", text, re.MULTILINE)
    makefile = (README.parent / "Makefile").read_text()
    assert commands == ["demo", "test"]
    assert all(re.search(rf"^{command}:", makefile, re.MULTILINE) for command in commands)
