"""What must not leak, run or listen: keys stay in their files, pickles shut, ports local."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from zmq.utils import z85

from enginery import Cluster, RemoteError
from enginery.core import messages as m
from enginery.core.names import content_hash
from enginery.net import sockets
from enginery.net.keys import ConnectionFile

from .peer import Peer, foreign, hello, key_file, peers_of

ROLES = ("engine", "client", "task", "monitor")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that keeps its keys, logs all it can, and was started by a careless user."""
    profile = tmp_path_factory.mktemp("secrets") / "profile_secrets"
    profile.mkdir(mode=0o700)
    (profile / "ipcontroller_config.py").write_text("c.IPController.reuse = True\n")
    (profile / "ipcontroller_config.py").chmod(0o600)
    running = Cluster(n=2, profile_dir=profile, log_level="debug")
    before = os.umask(0)
    try:
        running.start_cluster_sync()
    finally:
        os.umask(before)
    try:
        yield running
    finally:
        running.stop_cluster_sync()


@pytest.fixture(scope="module")
def identities(cluster: Cluster) -> list[bytes]:
    """A day in the life of this cluster; gives the secrets of peers who were there."""
    identities = []
    with cluster.connect_client_sync() as client, peers_of(cluster) as peers:
        client.wait_for_engines(2, timeout=30)
        client[:].push({"a": 1}, block=True)
        assert client.load_balanced_view().map_sync(abs, range(-50, 0)) == list(range(50, 0, -1))
        with pytest.raises(RemoteError):
            client[0].apply_sync(int, "not a number")
        client[:].apply_sync(print, "printed")
        for role in ROLES:
            with contextlib.closing(peers(foreign(key_file(cluster, role)))) as stranger:
                stranger.event(sockets.Failed)
            peer = peers(role)
            said = hello("engine" if role == "engine" else "client")
            identities += [said.identity, said.incarnation]
            peer.say(m.Query(1, "status"), said, m.Signal(9, [0], 2), m.Accepted(1))
            peer.hear(m.Welcome)
            peer.throw(b"no batch")
            peer.say(m.Goodbye(""))
    return identities


def processes(cluster: Cluster) -> list[psutil.Process]:
    """Every process of the cluster."""
    roots = [psutil.Process(process.pid) for process in cluster.processes]
    return [one for root in roots for one in (root, *root.children(recursive=True))]


# --- keys -------------------------------------------------------------------------------------


def spellings(secret: bytes) -> set[bytes]:
    """How these bytes might be written."""
    encoded = {secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret)}
    return {secret, repr(secret)[2:-1].encode(), *encoded}


def secret_keys(cluster: Cluster) -> dict[str, set[bytes]]:
    """Every secret key, in every spelling."""
    security = Path(cluster.profile.security)
    stored = json.loads((security / f"ipcontroller-{cluster.cluster_id}-keys.json").read_text())
    keys = {role: pair[1] for role, pair in stored["roles"].items()}
    assert keys == {role: key_file(cluster, role).secret_key for role in ROLES}
    keys["server"] = stored["server"][1]
    return {role: {key.encode(), *spellings(z85.decode(key))} for role, key in keys.items()}


def found(seen: dict[str, bytes], secrets: dict[str, set[bytes]]) -> list[str]:
    """Which secrets are where."""
    return [
        f"{name} has the key of {whose}"
        for name, content in seen.items()
        for whose, spelled in secrets.items()
        if any(spelling in content for spelling in spelled)
    ]


def test_no_key_is_in_a_log_or_in_what_others_see_of_processes(
    cluster: Cluster, identities: list[bytes]
) -> None:
    seen: dict[str, bytes] = {}
    for process in processes(cluster):
        for file in ("cmdline", "environ"):
            with suppress(ProcessLookupError, FileNotFoundError):  # it has ended meanwhile
                seen[f"{file} of {process.pid}"] = Path(f"/proc/{process.pid}/{file}").read_bytes()
    for path in Path(cluster.profile.path).rglob("*"):
        if path.is_file() and path.parent != cluster.profile.security:
            seen[str(path)] = path.read_bytes()
    seen["cluster file"] = Path(cluster.cluster_file).read_bytes()
    logs = [content for name, content in seen.items() if name.endswith(".log")]
    assert any(b"peer.rejected" in log and b"peer.nonsense" in log for log in logs)
    assert any(b"enginery" in content for name, content in seen.items() if "cmdline" in name)
    secrets = secret_keys(cluster)
    for role in ROLES:  # what is looked for can be found
        file = Path(cluster.profile.security) / key_file(cluster, role).name
        assert any(spelling in file.read_bytes() for spelling in secrets[role])
    assert found(seen, secrets) == []
    journal = str(cluster.profile.path / "journal")  # by these it knows its peers after a restart
    others = {name: content for name, content in seen.items() if not name.startswith(journal)}
    names = {f"identity {i}": spellings(one) for i, one in enumerate(identities)}
    assert found(others, names) == []


def test_keys_are_not_shown_by_what_holds_them(cluster: Cluster) -> None:
    file = key_file(cluster, "client")
    with cluster.connect_client_sync() as client:
        shown = repr([file, client, client.link, client.link.file, cluster, vars(cluster)])
    assert file.secret_key not in shown


def test_everything_in_a_profile_is_for_its_user_only(
    cluster: Cluster, identities: list[bytes]
) -> None:
    everything = [Path(cluster.profile.path), *Path(cluster.profile.path).rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in everything}
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert len([path for path in everything if path.suffix == ".json"]) == len(ROLES) + 2


# --- ports ------------------------------------------------------------------------------------


def test_nothing_listens_but_the_controller_on_loopback(
    cluster: Cluster, identities: list[bytes]
) -> None:
    with cluster.connect_client_sync():
        everyone = [psutil.Process(), *processes(cluster)]
        listening = {}
        for process in everyone:
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    listening[connection.laddr] = process.pid
                elif process.pid != os.getpid():
                    assert connection.laddr.ip == connection.raddr.ip == "127.0.0.1"
    urls = [key_file(cluster, role).url for role in ("engine", "client")]
    expected = {("127.0.0.1", int(url.rpartition(":")[2])) for url in urls}
    assert listening == dict.fromkeys(expected, cluster.controller_pid)


# --- pickles ----------------------------------------------------------------------------------

CONTROLLER = """
import json, os, pickle, sys
from pathlib import Path
from enginery.controller.config import ControllerConfig
from enginery.controller.service import run

opened = []
sys.addaudithook(lambda event, args: event == "pickle.find_class" and opened.append(args[1:]))
code = run(ControllerConfig(Path(sys.argv[1]), owner_pid=int(sys.argv[2]), ready_fd=os.dup(1)))
while_serving = list(opened)
try:
    refusal = repr(pickle.loads(Path(sys.argv[3]).read_bytes()))
except RuntimeError as error:
    refusal = str(error)
told = [code, while_serving, refusal, sorted(sys.modules)]
print(json.dumps(told))
"""
"""A controller that tells, after it was stopped, what it had opened and imported."""


class Evil:
    """Makes a directory where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_a_controller_cannot_unpickle_what_it_is_sent(tmp_path: Path) -> None:
    profile, mark = tmp_path / "profile_bare", tmp_path / "mark"
    evil = pickle.dumps(Evil(mark))
    (tmp_path / "evil").write_bytes(evil)
    command = [sys.executable, "-c", CONTROLLER, profile, str(os.getpid()), tmp_path / "evil"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        files = {role: ConnectionFile.read(path) for role, path in ready["files"].items()}
        serve_evil(files, evil)
        process.send_signal(signal.SIGTERM)
        code, opened, refusal, modules = json.loads(process.stdout.read().splitlines()[-1])
    assert code == 0
    assert opened == []
    assert "never unpickles" in refusal
    assert not mark.exists()
    forbidden = ("cloudpickle", "numpy", "pandas", "IPython", "enginery.client", "enginery.engine")
    assert [name for name in modules if name.startswith(forbidden)] == []
    wire = {name for name in modules if name.startswith("enginery.wire.")}
    wire -= {name for name in wire if name.startswith("enginery.wire.memory")}
    assert wire == {"enginery.wire.codec", "enginery.wire.pieces"}


def serve_evil(files: dict[str, ConnectionFile], evil: bytes) -> None:
    """Put a pickle wherever a controller takes bytes, and let it pass on what comes of it."""
    context = sockets.new_context()
    try:
        engine, client = Peer(context, files["engine"]), Peer(context, files["client"])
        engine.say(hello("engine"))
        engine.hear(m.Welcome)
        client.say(hello("client"))
        id = f"{client.hear(m.Welcome).id}-1"
        hash = content_hash(evil)
        task = m.Task(id, hash, evil, (m.Buffer(evil),), name=repr(evil), label=repr(evil))
        client.say(m.Define(hash, evil), m.Submit(1, [task]))
        assert engine.hear(m.Define).blob == evil
        [attempt] = engine.hear(m.Run).attempts
        assert attempt.arguments == evil
        engine.say(
            m.Output(id, 1, 0, "stdout", repr(evil)),
            m.Results(1, [m.Result(id, 1, "error", evil, (m.Buffer(evil),))]),
            m.Reply(1, evil),
        )
        delivered = client.hear(m.Deliver)
        [outcome] = delivered.outcomes
        assert outcome.value == evil
        client.throw(evil)
        client.throw(b"\x90", evil)
        client.say(m.Query(1, evil.decode("latin-1")))
        assert client.hear(m.Refused).number == 1
    finally:
        context.destroy(linger=0)
