"""Tunnels through a real ssh server, to a controller that listens on loopback only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from enginery import Client, Cluster, NoControllerError
from enginery.net.keys import ConnectionFile
from tests.faults.killing import noted, starts, watched
from tests.testbeds.sshd import NODE, Sshd

LONG = 30.0
"""Seconds that nothing here should ever take."""

CUTS = 10


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without engines."""
    with_none = Cluster(n=0, profile_dir=tmp_path / "profile_there")
    with_none.start_cluster_sync()
    yield with_none
    with_none.stop_cluster_sync()


def file_of(cluster: Cluster, role: str) -> str:
    """The connection file of a role."""
    return str(Path(cluster.client_connection_file).with_name(
        Path(cluster.client_connection_file).name.replace("client", role)
    ))  # fmt: skip


def through_ssh(cluster: Cluster, **more: object) -> Client:
    """A client that goes through ssh."""
    return Client(cluster.client_connection_file, sshserver=NODE, timeout=LONG, **more)


def engines(cluster: Cluster, *options: str, server: str = NODE) -> subprocess.Popen[str]:
    """Engines that go through ssh, started by hand."""
    command = [sys.executable, "-m", "enginery", "engine", f"--file={file_of(cluster, 'engine')}"]
    profile = f"--profile-dir={cluster.profile.path}"
    return subprocess.Popen(
        [*command, profile, f"--ssh={server}", *options], stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str], signum: int = signal.SIGTERM) -> str:
    """End it, if it still runs; what it has said."""
    process.send_signal(signum)
    try:
        return process.communicate(timeout=LONG)[1]
    finally:
        process.kill()


def tunnels() -> list[psutil.Process]:
    """Every ssh of a tunnel, and every shell beside one, that runs on this host."""
    found = []
    for process in psutil.process_iter():
        try:
            if "LocalCommand=echo open" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def no_tunnel_is_left() -> None:
    """Wait until none is."""
    _, alive = psutil.wait_procs(tunnels(), LONG)
    assert not alive
    assert not tunnels()


def test_a_client_through_ssh(cluster: Cluster, sshd: Sshd) -> None:
    with through_ssh(cluster) as rc:
        assert rc.link.file.url.startswith("tcp://127.0.0.1:")
        assert rc.link.file.url != ConnectionFile.read(cluster.client_connection_file).url
        assert rc[:].apply_sync(os.getpid) == list(cluster.engine_pids.values())
    no_tunnel_is_left()


def test_the_key_that_is_named_is_used(cluster: Cluster, sshd: Sshd) -> None:
    server = f"127.0.0.1:{sshd.port}"
    with Client(
        cluster.client_connection_file, sshserver=server, sshkey=sshd.directory / "id"
    ) as rc:
        assert rc[0].apply_sync(abs, -1) == 1


@pytest.mark.parametrize("options", [("-n", "2"), ()], ids=["supervised", "alone"])
def test_engines_through_ssh(bare: Cluster, sshd: Sshd, options: tuple[str, ...]) -> None:
    started = engines(bare, *options)
    with bare.connect_client_sync() as rc:
        rc.wait_for_engines(2 if options else 1, timeout=LONG)
        assert rc[0].apply_sync(abs, -1) == 1
        assert sshd.connections() == 1
        ended(started)
    no_tunnel_is_left()


def test_nothing_is_lost_when_the_connection_is_cut(
    bare: Cluster, sshd: Sshd, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    started = engines(bare, "-n", "2")
    try:
        with through_ssh(bare) as rc:
            rc.wait_for_engines(2, timeout=LONG)
            lives = {id: engine.incarnation for id, engine in rc.link.engines.items()}
            view = rc.load_balanced_view()
            items = 800
            result = view.map_async(
                partial(noted, str(notes)), range(items), ordered=False, return_exceptions=True
            )
            with watched(result) as watch:
                for k in range(CUTS):
                    due = items * (k + 1) // (CUTS + 2)
                    assert rc.link.wait(lambda due=due: result.progress >= due, LONG)
                    sshd.drop(connections=2)
                assert not result.ready()
            times = Counter(item for items in starts(notes).values() for item in items)
            assert watch.counts(times) == (0, 0, 0, 0)
            assert watch.errors == []
            assert max(times.values()) == 1
            assert {id: e.incarnation for id, e in rc.link.engines.items()} == lives
    finally:
        ended(started)
    no_tunnel_is_left()


def test_the_pure_scheme_through_ssh(sshd: Sshd, tmp_path: Path) -> None:
    pure = Cluster(n=0, scheme="pure", profile_dir=tmp_path / "profile_pure")
    pure.start_cluster_sync()
    try:
        started = engines(pure, "-n", "1")
        with through_ssh(pure) as rc:
            rc.wait_for_engines(1, timeout=LONG)
            assert rc.load_balanced_view().map_sync(abs, range(-9, 0)) == list(range(9, 0, -1))
            ended(started)
    finally:
        pure.stop_cluster_sync()


def test_a_command_through_ssh(cluster: Cluster, sshd: Sshd) -> None:
    place = [f"--profile-dir={cluster.profile.path}", f"--cluster-id={cluster.cluster_id}"]
    command = [sys.executable, "-m", "enginery", "status", *place, f"--ssh={NODE}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LONG)
    assert "engines" in told.stdout
    no_tunnel_is_left()


# --- what goes wrong ------------------------------------------------------------------------------


def no_way(cluster: Cluster, server: str, key: str = "") -> list[str]:
    """The lines of the error of a client, which are those of an engine too."""
    with pytest.raises(NoControllerError) as caught:
        Client(cluster.client_connection_file, sshserver=server, sshkey=key, timeout=3)
    text = str(caught.value)
    options = [f"--sshkey={key}"] if key else []
    engine = engines(cluster, *options, "--timeout=2", server=server)
    told = engine.communicate(timeout=LONG)[1]
    assert engine.returncode == 3, told
    for line in text.splitlines()[1:-1]:
        assert line in told
    no_tunnel_is_left()
    return text.splitlines()


def test_no_ssh_here(bare: Cluster, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    first, hint = no_way(bare, NODE)
    assert first == "no ssh tunnel: there is no ssh on this host's PATH"
    assert hint == "  Install OpenSSH's client here."


def test_an_unknown_host(bare: Cluster, sshd: Sshd) -> None:
    first, said, _ = no_way(bare, "me@nobody.invalid")
    assert first == "no ssh tunnel: ssh knows no host 'me@nobody.invalid'"
    assert said.startswith("  ssh said: ssh: Could not resolve hostname nobody.invalid")


def test_a_refused_key(bare: Cluster, sshd: Sshd) -> None:
    name = f"127.0.0.1:{sshd.port}"
    first, said, *hint = no_way(bare, name, str(sshd.directory / "stranger"))
    assert first == f"no ssh tunnel: {name} does not let ssh in with the keys that it has here"
    assert "Permission denied (publickey)" in said
    assert "sshkey=, --sshkey" in hint[0]


def test_a_host_whose_key_is_not_known(bare: Cluster, sshd: Sshd, tmp_path: Path) -> None:
    first, _, hint = no_way(bare, f"localhost:{sshd.port}", str(sshd.directory / "id"))
    assert first == "no ssh tunnel: the host key of localhost is not known here, or has changed"
    assert hint.endswith("ssh localhost")


def test_no_ssh_server_there(bare: Cluster, sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    first, said, _ = no_way(bare, f"127.0.0.1:{port}")
    assert first == f"no ssh tunnel: 127.0.0.1:{port} cannot be reached by ssh"
    assert "Connection refused" in said


def test_no_controller_there(bare: Cluster, sshd: Sshd, tmp_path: Path) -> None:
    for role in ("client", "engine"):
        copy = Path(file_of(bare, role))
        (tmp_path / copy.name).write_bytes(copy.read_bytes())
        (tmp_path / copy.name).chmod(0o600)
    path = tmp_path / Path(bare.client_connection_file).name
    url = ConnectionFile.read(path).url.removeprefix("tcp://")
    bare.stop_cluster_sync()
    with pytest.raises(NoControllerError) as caught:
        Client(path, sshserver=NODE, timeout=LONG)
    first, said, *_ = str(caught.value).splitlines()
    assert first == f"no controller there: from {NODE} there is no way on to {url}"
    assert said.endswith("open failed: connect failed: Connection refused")
    assert str(path) in str(caught.value)
    no_tunnel_is_left()


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-n", "1"), ()], ids=["supervised", "alone"])
def test_a_tunnel_ends_with_a_killed_owner(
    bare: Cluster, sshd: Sshd, options: tuple[str, ...]
) -> None:
    started = engines(bare, *options)
    with bare.connect_client_sync() as rc:
        rc.wait_for_engines(1, timeout=LONG)
        assert tunnels()
        ended(started, signal.SIGKILL)
        no_tunnel_is_left()


FORKS = """
import os, sys
from enginery import Client

rc = Client(sys.argv[1], sshserver=sys.argv[2])
if os.fork() == 0:
    os.close(1)
    sys.stdin.read()  # lives on until it is told to end
    os._exit(0)
print("forked", flush=True)
sys.stdin.read()
"""


def test_a_fork_of_the_owner_does_not_keep_its_tunnel(cluster: Cluster, sshd: Sshd) -> None:
    command = [sys.executable, "-c", FORKS, cluster.client_connection_file, NODE]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "forked\n"
        owner.kill()
        no_tunnel_is_left()


def test_a_port_is_kept_while_the_connection_is_away(cluster: Cluster, sshd: Sshd) -> None:
    with through_ssh(cluster) as rc:
        port = int(rc.link.file.url.rpartition(":")[2])
        for process in tunnels():
            process.send_signal(signal.SIGSTOP)
        sshd.drop(connections=1)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        for process in tunnels():
            process.send_signal(signal.SIGCONT)
        assert rc[0].apply_sync(abs, -1) == 1
