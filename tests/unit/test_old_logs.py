"""Which log files are removed: old ones of what is no longer here."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from enginery.cluster.old_logs import KEPT, remove_old_logs
from enginery.net.profile import Profile


def log_file(profile: Profile, name: str, age: float) -> Path:
    path = profile.log / name
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return Profile(tmp_path / "profile_old")


@pytest.mark.parametrize(
    "name",
    [
        "ipcontroller-c0ffee11.log", "ipcontroller-c0ffee11-12ab34.out", "ipcontroller.log",
        "ipcontroller-12ab34.out", "ipengine-c0ffee11-12ab34.out", "ipengine-99999999.log",
    ],
)  # fmt: skip
def test_logs_of_what_is_gone(profile: Profile, name: str) -> None:
    path = log_file(profile, name, KEPT + 60)
    young = log_file(profile, f"ipcontroller-young{path.suffix}", KEPT - 60)
    assert remove_old_logs(profile) == [path]
    assert list(profile.log.iterdir()) == [young]


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("-c0ffee11", "ipcontroller-c0ffee11.log"), ("-c0ffee11", "ipengine-c0ffee11-12ab34.out"),
        ("", "ipcontroller.log"), ("", "ipcontroller-12ab34.out"), ("", "ipengine-12ab34.out"),
        ("-one-two", "ipcontroller-one-two-12ab34.out"),
    ],
)  # fmt: skip
def test_a_cluster_that_has_files_keeps_its_logs(profile: Profile, id: str, name: str) -> None:
    (profile.security / f"ipcontroller{id}-client.json").touch()
    path = log_file(profile, name, 2 * KEPT)
    assert remove_old_logs(profile) == []
    assert path.exists()


def test_a_supervisor_that_runs_keeps_its_log(profile: Profile) -> None:
    path = log_file(profile, f"ipengine-{os.getpid()}.log", 2 * KEPT)
    assert remove_old_logs(profile) == []
    assert path.exists()


def test_files_of_others_stay(profile: Profile) -> None:
    for name in ("notes.txt", "ipcontroller.log.gz", "myipengine-12.log", "kernel-12.log"):
        log_file(profile, name, 2 * KEPT)
    assert remove_old_logs(profile) == []
