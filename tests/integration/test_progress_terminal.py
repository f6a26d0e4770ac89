"""Progress and reprs in a real terminal: a bar that moves, and one line that stays."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

PATIENCE = 60

START = """
import enginery
import enginery.client.display.working
enginery.client.display.working.PATIENCE = 30  # seconds, on a busy machine

def held(path):
    open(path).close()  # which waits until somebody opens it for writing

cluster = enginery.Cluster(n=2, profile_dir="profile_terminal")
rc = cluster.start_and_connect_sync()
lview = rc.load_balanced_view()
"""

Gates = list[Path]
Start = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[Gates]:
    """Four FIFOs, which nobody has opened; `os.open(gate, O_RDWR)` lets an item go on for good."""
    paths = [tmp_path / f"gate{i}" for i in range(4)]
    for path in paths:
        os.mkfifo(path)
    return paths


@pytest.fixture
def opened() -> Iterator[Callable[[Path], None]]:
    """Opens a gate; all are closed after the test."""
    ends: list[int] = []
    yield lambda path: ends.append(os.open(path, os.O_RDWR))
    for end in ends:
        os.close(end)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python in a terminal, with these arguments."""
    running: list[pexpect.spawn[str]] = []

    def started(*arguments: str) -> pexpect.spawn[str]:
        environment = {
            **os.environ, "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython"),
            "TERM": "xterm", "NO_COLOR": "1",
        }  # fmt: skip
        child = pexpect.spawn(
            sys.executable, list(arguments), cwd=tmp_path, env=environment, encoding="utf-8",
            timeout=PATIENCE, dimensions=(40, 120),
        )  # fmt: skip
        running.append(child)
        return child

    yield started
    for child in running:
        child.close(force=True)


def test_the_bar_moves_and_a_line_stays(
    tmp_path: Path, start: Start, gates: Gates, opened: Callable[[Path], None]
) -> None:
    script = tmp_path / "script.py"
    paths = [str(gate) for gate in gates]
    script.write_text(
        START
        + f"print(lview.map_sync(held, {paths}, progress=True))\n"
        + "rc.close()\ncluster.stop_cluster_sync()\n"
    )
    child = start(str(script))
    child.expect(r"map\(held\): +0%\|[^\r]*\| 0/4 \[[^\r]*2 running\]")
    opened(gates[0])
    child.expect(r"map\(held\): +25%\|[^\r]*\| 1/4 \[[^\r]*2 running\]")
    for gate in gates[1:]:
        opened(gate)
    child.expect(r"\r *\rmap\(held\): 4 items on [12] engines? in [^\r]* \([\d.]+/s\)\r\n")
    child.expect_exact("[None, None, None, None]\r\n")
    child.expect(pexpect.EOF)
    assert child.before == ""


def test_at_a_prompt_a_long_wait_shows_a_bar(
    start: Start, gates: Gates, opened: Callable[[Path], None]
) -> None:
    child = start("-i", "-c", START)
    child.expect_exact(">>> ")
    child.sendline(f"x = lview.map_sync(held, [{str(gates[0])!r}])")
    child.expect(r"map\(held\): +0%\|[^\r]*\| 0/1 \[[^\r]*1 running\]")
    opened(gates[0])
    child.expect(r"\rmap\(held\): 1 item on 1 engine in [^\r]*\r\n")
    child.expect_exact(">>> ")
    child.sendline("x = lview.map_sync(abs, range(2))")  # which is short
    child.expect_exact(">>> ")
    assert "items" not in child.before
    _leave(child)


def test_reprs_in_ipython(start: Start, gates: Gates, opened: Callable[[Path], None]) -> None:
    child = start("-m", "IPython", "--simple-prompt", "--no-banner", "-i", "-c", START)
    paths = [str(gates[0]), str(gates[1])]
    assert re.fullmatch(
        r"<Client terminal \w+: 2 engines \(0 busy, 2 idle\), 0 tasks waiting, controller [\d.:]+>",
        _given(child, "rc"),
    )
    assert _given(child, "rc[:]") == "<DirectView [0, 1]>"
    assert _given(child, "lview") == "<LoadBalancedView all 2 engines, leastload, retries=0>"
    _given(child, f"ar = lview.map_async(held, {paths})")
    _given(child, "both = all(True for _ in iter(lambda: ar.at_work, 2))")
    assert _given(child, "ar") == "<AsyncResult map(held): 0 of 2 done, 2 running>"
    assert _given(child, "[ar]") == "[<AsyncResult: map(held):pending>]"
    assert "(2 busy, 0 idle)" in _given(child, "rc")
    for gate in gates:
        opened(gate)
    assert _given(child, "ar.get()") == "[None, None]"
    assert _given(child, "ar") == "<AsyncResult map(held): 2 of 2 done>"
    child.expect(IPYTHON_PROMPT)
    _leave(child)


IPYTHON_PROMPT = r"In \[\d+\]: "


def _given(child: pexpect.spawn[str], code: str) -> str:
    """What IPython says that an expression gives."""
    child.expect(IPYTHON_PROMPT)
    child.sendline(code)
    child.expect(r"(?:Out\[\d+\]: ?([^\r]*)\r\n)?\r\n(?=In)")
    return child.match[1] if child.match else ""


def _leave(child: pexpect.spawn[str]) -> None:
    """End the cluster and the program."""
    child.sendline("rc.close(); cluster.stop_cluster_sync(); exit()")
    child.expect(pexpect.EOF)
