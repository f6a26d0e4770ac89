"""Profiles are found where IPython has them, and clusters in them by the files they have left."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from enginery.error import ConnectionFileError
from enginery.net.keys import ConnectionFile, KeyPair
from enginery.net.profile import Profile, clusters, ipython_dir

PAIR = KeyPair.create()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    return tmp_path


def write_file(profile: Profile, **changed: Any) -> ConnectionFile:
    fields: dict[str, Any] = {
        "role": "client",
        "url": "tcp://127.0.0.1:10101",
        "server_key": PAIR.public.decode(),
        "public_key": PAIR.public.decode(),
        "secret_key": PAIR.secret.decode(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": time.time(),
    }
    file = ConnectionFile(**(fields | changed))
    file.write(profile.file_path(file.role, file.cluster_id))
    return file


def test_the_directory_of_profiles(home, monkeypatch):
    assert ipython_dir() == home
    monkeypatch.delenv("IPYTHONDIR")
    monkeypatch.setenv("HOME", str(home / "me"))
    assert ipython_dir() == home / "me" / ".ipython"
    monkeypatch.setenv("IPYTHONDIR", "~/elsewhere")
    assert ipython_dir() == home / "me" / "elsewhere"


def test_a_profile_by_name_or_by_directory(home, tmp_path_factory):
    assert Profile().path == home / "profile_default"
    assert Profile("gpu").path == home / "profile_gpu"
    assert Profile("gpu").name == "gpu"
    directory = tmp_path_factory.mktemp("cluster")
    assert Profile(directory).path == Profile(str(directory)).path == directory
    assert Profile(directory).name == directory.name


def test_looking_for_a_file_makes_nothing(home):
    profile = Profile()
    assert profile.find_file("client") is None
    with pytest.raises(ConnectionFileError, match="No such file"):
        profile.read_file("client")
    assert clusters() == []
    assert os.listdir(home) == []


def test_directories_are_private(home):
    profile = Profile()
    (home / "profile_default" / "security").mkdir(parents=True, mode=0o755)
    for directory in (profile.security, profile.log, profile.pid):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(os.listdir(profile.path)) == ["log", "pid", "security"]


def test_files_are_found_by_role_and_cluster(home):
    profile = Profile("gpu")
    engine, client = write_file(profile, role="engine"), write_file(profile, cluster_id="a1")
    security = profile.path / "security"
    assert profile.find_file("engine") == security / "ipcontroller-engine.json"
    assert profile.find_file("client") is None
    assert profile.find_file("client", "a1") == security / "ipcontroller-a1-client.json"
    assert profile.read_file("engine") == engine
    assert profile.read_file("client", "a1") == client


def test_a_link_out_of_the_profile_is_found_and_refused(home):
    outside, profile = home / "keys.json", Profile()
    write_file(profile).write(outside)
    path = profile.file_path("client")
    path.unlink()
    path.symlink_to(outside)
    assert profile.find_file("client") == path
    with pytest.raises(ConnectionFileError, match="leads out of its profile"):
        profile.read_file("client")
    assert clusters() == []


def test_running_clusters_are_found_in_all_profiles(home):
    first, second = Profile("first"), Profile("second")
    write_file(first, started=time.time() + 1)
    write_file(second, cluster_id="a1")
    (second.path / "security" / "cluster-a1.json").write_text(json.dumps({"n": 4}))
    found = clusters()
    assert [(c.profile.name, c.cluster_id, c.n) for c in found] == [
        ("second", "a1", 4),
        ("first", "", -1),
    ]
    assert {c.pid for c in found} == {os.getpid()}


def test_what_does_not_run_here_is_not_found(home):
    profile = Profile()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_file(profile, cluster_id="ended", pid=ended.pid)
    write_file(profile, cluster_id="elsewhere", host="another-host")
    # this process began after that controller: its number is in use again
    write_file(profile, cluster_id="reused", started=time.time() - 86400 * 365)
    (profile.path / "security" / "ipcontroller-broken-client.json").write_text("{")
    write_file(profile, cluster_id="named").write(profile.file_path("client", "misnamed"))
    assert [c.cluster_id for c in clusters()] == ["named"]


def test_a_zombie_does_not_run(home):
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is not reaped
    try:
        write_file(Profile(), pid=child.pid)
        assert clusters() == []
    finally:
        child.wait()


def test_nothing_is_read_from_the_current_directory(home, monkeypatch, tmp_path_factory):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    for directory in (here, here / "security", here / "profile_default" / "security"):
        file = write_file(Profile(home / "x"))
        file.write(Path(directory) / "ipcontroller-client.json")
    (home / "x" / "security" / "ipcontroller-client.json").unlink()
    assert Profile().find_file("client") is None
    assert clusters() == []
