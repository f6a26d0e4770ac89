"""Finding the connection file that a user means, and what is said when there is none (text 6)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from enginery import Client, ConnectionFileError, NoControllerError, NotSupportedError
from enginery.client.connect import find
from enginery.net.keys import ConnectionFile, Keys
from enginery.net.profile import Profile

KEYS = Keys.create()


def connection_file(role="client", url="tcp://127.0.0.1:10101", **more):
    pair = KEYS.pair(role)
    return ConnectionFile(
        role, url, KEYS.server.public.decode(), pair.public.decode(), pair.secret.decode(), **more
    )


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """The default profile of a user who has nothing else."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return Profile()


@pytest.fixture
def free_port():
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def put(profile, file):
    path = profile.security / file.name
    file.write(path)
    return path


def test_no_file_is_one_clear_error_at_once(profile):
    with pytest.raises(NoControllerError) as caught:
        Client(timeout=60)
    assert str(caught.value).splitlines() == [
        "no cluster is running in profile 'default'",
        "  looked for ~/profile_default/security/ipcontroller-client.json: no such file",
        "  Start one:    ipcluster start -n 4",
        "  or here:      rc = enginery.Cluster(n=4).start_and_connect_sync()",
    ]
    assert isinstance(caught.value, ConnectionError)


def test_the_remedy_is_for_the_profile_and_the_cluster_that_were_named(profile):
    with pytest.raises(NoControllerError) as caught:
        Client(profile="gpu", cluster_id="night")
    assert str(caught.value).splitlines() == [
        "no cluster 'night' is running in profile 'gpu'",
        "  looked for ~/profile_gpu/security/ipcontroller-night-client.json: no such file",
        "  Start one:    ipcluster start -n 4 --profile=gpu --cluster-id=night",
        '  or here:      cluster = enginery.Cluster(n=4, profile="gpu", cluster_id="night")',
        "                rc = cluster.start_and_connect_sync()",
    ]


def test_a_running_cluster_is_named(profile, tmp_path):
    other = Profile(tmp_path / "profile_gpu")
    started = 4e9  # the controller is this process: it began before that
    put(other, connection_file(pid=os.getpid(), host=socket.gethostname(), started=started))
    with pytest.raises(
        NoControllerError, match=r"Running now:  profile 'gpu':  Client\(profile=\"gpu\""
    ):
        Client()


def test_a_controller_that_is_gone(profile, free_port):
    url = f"tcp://127.0.0.1:{free_port}"
    put(profile, connection_file(url=url, pid=812, host="n1", started=1e9))
    with pytest.raises(NoControllerError) as caught:
        Client(timeout=60)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"the controller at 127.0.0.1:{free_port} is gone: nothing listens there"
    assert lines[1].startswith("  It was pid 812 on n1, started Sun ")
    assert lines[2] == "  Remove its file:  rm ~/profile_default/security/ipcontroller-client.json"
    assert lines[3] == "  Start one:        ipcluster start -n 4"


def test_a_host_that_is_silent():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NoControllerError, match=r"did not answer in 0\.3 s") as caught:
            Client(connection_file(url=url), timeout=0.3)
    assert "host reachable: yes; port open: yes" in str(caught.value)


def test_the_file_of_the_profile(profile):
    file = connection_file()
    path = put(profile, file)
    assert find(None, profile, "") == (file, "default", path)
    task = connection_file("task", cluster_id="b")
    put(profile, task)
    assert find(None, profile, "b").file == task
    best = connection_file("client", cluster_id="b")
    put(profile, best)
    assert find(None, profile, "b")[:2] == (best, "default b")


def test_a_file_by_its_path(profile, tmp_path):
    file = connection_file(cluster_id="x")
    copied = tmp_path / "any name"
    file.write(copied)
    assert find(copied, profile, "") == (file, "x", copied)
    assert find(str(copied), profile, "").file == file
    with pytest.raises(NoControllerError, match="there is no connection file ~/nothing"):
        find(tmp_path / "nothing", profile, "")


def test_a_file_for_engines_is_refused(profile):
    path = put(profile, connection_file("engine"))
    with pytest.raises(ConnectionFileError, match=r"is for engines\n  A client needs"):
        find(path, profile, "")


def test_a_broken_file_is_named(profile):
    path = profile.security / "ipcontroller-client.json"
    path.touch(mode=0o600)
    path.write_text("{")
    with pytest.raises(ConnectionFileError, match=r"ipcontroller-client\.json"):
        Client()


def test_the_content_of_a_file(profile):
    file = connection_file()
    content = {name: getattr(file, name) for name in file.__dataclass_fields__}
    assert find(content, profile, "").file == file
    assert find(file, profile, "").file is file
    with pytest.raises(ConnectionFileError, match="has no 'port'"):
        find(content | {"port": 1}, profile, "")
    with pytest.raises(ConnectionFileError, match="no connection file"):
        find({"url": "tcp://127.0.0.1:1"}, profile, "")
    with pytest.raises(TypeError, match="no path"):
        find(3, profile, "")


def test_an_address_finds_its_key_in_the_profile(profile):
    put(profile, connection_file("engine", "tcp://127.0.0.1:10102"))
    put(profile, connection_file("task", "tcp://127.0.0.1:10101"))
    client = connection_file("client", "tcp://127.0.0.1:10101", location="n1.example.org")
    put(profile, client)
    assert find("tcp://127.0.0.1:10101", profile, "").file == client
    assert find("tcp://n1.example.org:10101", profile, "").file.url == "tcp://n1.example.org:10101"
    for url in ("tcp://127.0.0.1:10102", "tcp://127.0.0.2:10101"):
        with pytest.raises(NoControllerError, match=f"no key for {url} in profile 'default'"):
            find(url, profile, "")


def test_a_password_for_ssh_is_refused():
    with pytest.raises(NotSupportedError, match="Name a key"):
        Client(sshserver="me@host", password="secret")


def test_profile_dir(profile, tmp_path):
    other = Profile(tmp_path / "elsewhere")
    with pytest.raises(NoControllerError, match="elsewhere/security"):
        Client(profile_dir=str(tmp_path / "elsewhere"))
    assert not Path(other.path).exists()
