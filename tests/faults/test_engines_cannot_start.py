"""Engines that die as they begin, again and again: all who wait for them are told, and soon."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from enginery import Client, Cluster, ClusterError, NoEnginesRegistered, TimeoutError

from ..integration.asking import Ask

SITE = """
import os, sys
if os.environ.get("GOOD_ENGINES"):
    deep, forks = [0], [0]

    def before():
        forks[0] += deep[0] == 1

    def child():
        deep[0] += 1
        if deep[0] == 2 and forks[0] > int(os.environ["GOOD_ENGINES"]):
            print("there is no room for me", file=sys.stderr, flush=True)
            os._exit(3)

    os.register_at_fork(before=before, after_in_child=child)
"""
"""What every Python reads as it begins: the process that forks engines (a fork itself) lets so many
begin, and those after them end at once.
"""

REASON = "it ended 5 times in a row as it began: exit code 3"


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """Let only so many lives of engines begin well, of all supervisors that start from now on."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)

    def good(n: int) -> None:
        monkeypatch.setenv("PYTHONPATH", str(site))
        monkeypatch.setenv("GOOD_ENGINES", str(n))

    return good


def test_a_cluster_says_so_at_its_start(good: Callable[[int], None], tmp_path: Path) -> None:
    good(1)
    cluster = Cluster(n=2, profile_dir=tmp_path / "profile", timeout=60)
    with pytest.raises(ClusterError, match=REASON) as caught:
        cluster.start_cluster_sync()
    text = str(caught.value)
    assert "there is no room for me" in text
    assert "its output: " in text
    assert not cluster.running


def test_ipcluster_says_so(good: Callable[[int], None], tmp_path: Path) -> None:
    good(0)
    done = subprocess.run(
        [sys.executable, "-m", "enginery", "cluster", "start", "-n", "2",
         f"--profile-dir={tmp_path / 'profile'}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "there is no room for me" in done.stderr
    assert "5 times in a row as" in done.stderr


def test_clients_and_commands_say_so(good: Callable[[int], None], tmp_path: Path) -> None:
    profile = tmp_path / "profile_default"
    with Cluster(n=0, profile_dir=profile, cluster_id="") as rc:
        cluster, ask = rc.cluster, Ask(tmp_path)
        good(0)
        with pytest.raises(ClusterError, match="5 times in a row as it began"):
            cluster.start_engines_sync(2)
        with pytest.raises(NoEnginesRegistered, match=REASON):
            rc.load_balanced_view().apply_sync(abs, -1)
        with pytest.raises(TimeoutError, match=f"0 of 2 engines .*\n.*{REASON}"):
            rc.wait_for_engines(2, timeout=0.1)
        assert "0 engines and 2 that cannot start" in repr(rc)
        missing = ask.json("status")["engines"]["missing"]
        assert [(m["engine_id"], m["reason"]) for m in missing] == [(0, REASON), (1, REASON)]
        text = ask.text("status")
        assert f"cannot start: {REASON}; see enginery logs 0\n" in text
        assert "there is no room for me" in ask.text("logs", "0")
        problems = [f for f in ask.json("doctor", code=1)["findings"] if f["state"] == "problem"]
        assert [f["check"] for f in problems] == ["engines"] * 3
        assert REASON in problems[1]["text"]
        _others_come(rc, good, ask)


def _others_come(rc: Client, good: Callable[[int], None], ask: Ask) -> None:
    """Engines that come in their stead: what could not start is the past."""
    good(1)
    rc.cluster.start_engines_sync(1)
    assert rc.load_balanced_view().apply_sync(abs, -1) == 1
    assert "cannot start" not in repr(rc)
    assert ask.json("status")["engines"]["missing"] == []
