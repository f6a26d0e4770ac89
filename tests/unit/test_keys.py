"""Key files are private at every instant, and what is wrong with one is said with its remedy."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from enginery.error import ConnectionFileError
from enginery.net import private
from enginery.net.keys import ROLES, ConnectionFile, KeyPair, Keys, file_name

SERVER, ENGINE = KeyPair.create(), KeyPair.create()


def connection_file(**changed: Any) -> ConnectionFile:
    fields: dict[str, Any] = {
        "role": "engine",
        "cluster_id": "a1",
        "url": "tcp://127.0.0.1:10102",
        "server_key": SERVER.public.decode(),
        "public_key": ENGINE.public.decode(),
        "secret_key": ENGINE.secret.decode(),
        "pid": 812,
        "host": "n1",
        "started": 1795171200.25,
        "version": "0.1.0",
        "location": "n1.example.org",
    }
    return ConnectionFile(**(fields | changed))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_says_what_was_written(tmp_path):
    file = connection_file()
    path = tmp_path / "security" / file.name
    file.write(path)
    assert ConnectionFile.read(path) == file
    assert ConnectionFile.read(str(path), within=tmp_path) == file
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert os.listdir(path.parent) == ["ipcontroller-a1-engine.json"]


@pytest.mark.parametrize(
    ("role", "cluster_id", "name"),
    [
        ("engine", "", "ipcontroller-engine.json"),
        ("client", "", "ipcontroller-client.json"),
        ("task", "a1", "ipcontroller-a1-task.json"),
        ("monitor", "a1", "ipcontroller-a1-monitor.json"),
    ],
)
def test_names(role, cluster_id, name):
    assert file_name(role, cluster_id) == name
    assert connection_file(role=role, cluster_id=cluster_id).name == name


def test_a_file_is_private_before_it_has_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / "ipcontroller-engine.json", []
    replace = os.replace

    def watching(draft, target):
        seen.append((mode(Path(draft)), path.exists(), Path(draft).stat().st_size > 0))
        replace(draft, target)

    monkeypatch.setattr(os, "replace", watching)
    old = os.umask(0)
    try:
        connection_file().write(path)
    finally:
        os.umask(old)
    assert seen == [(0o600, False, True)]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "ipcontroller-engine.json"
    connection_file(pid=1).write(path)

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        connection_file(pid=2).write(path)
    assert ConnectionFile.read(path).pid == 1
    assert os.listdir(tmp_path) == [path.name]


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    path = tmp_path / "security" / "ipcontroller-engine.json"
    path.parent.mkdir(mode=0o700)
    path.symlink_to(elsewhere)
    connection_file().write(path)
    assert elsewhere.read_text() == "mine"
    assert not path.is_symlink()


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o620, 0o644, 0o601])
def test_a_file_open_to_others_is_refused(tmp_path, wide):
    path = tmp_path / "ipcontroller-engine.json"
    connection_file().write(path)
    path.chmod(wide)
    with pytest.raises(ConnectionFileError, match=f"mode {wide:04o}") as caught:
        ConnectionFile.read(path)
    assert f"chmod 600 {path}" in str(caught.value)


def test_a_link_may_not_lead_out_of_the_profile(tmp_path):
    profile = tmp_path / "profile_default"
    inside, outside = profile / "keys.json", tmp_path / "keys.json"
    for path in (inside, outside):
        connection_file().write(path)
    link = profile / "security" / "ipcontroller-engine.json"
    link.parent.mkdir()
    link.symlink_to(inside)
    assert ConnectionFile.read(link, within=profile).pid == 812
    link.unlink()
    link.symlink_to(outside)
    with pytest.raises(ConnectionFileError, match="leads out of its profile") as caught:
        ConnectionFile.read(link, within=profile)
    assert str(outside) in str(caught.value)
    assert ConnectionFile.read(link).pid == 812  # named: its user's own choice
    link.unlink()
    link.parent.rmdir()
    link.parent.symlink_to(tmp_path)
    with pytest.raises(ConnectionFileError, match="leads out of its profile"):
        ConnectionFile.read(link.parent / "keys.json", within=profile)


def test_a_profile_that_is_a_link_itself_is_fine(tmp_path):
    connection_file().write(tmp_path / "real" / "security" / "ipcontroller-engine.json")
    (tmp_path / "profile").symlink_to(tmp_path / "real")
    profile = tmp_path / "profile"
    path = profile / "security" / "ipcontroller-engine.json"
    assert ConnectionFile.read(path, within=profile).pid == 812


def broken(**changed: Any) -> bytes:
    fields = asdict(connection_file()) | changed
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "truncated"),
        (b'{"role": "engi', "truncated"),
        (b"\xff\xfe\x00", "malformed"),
        (b"[1, 2]", "array"),
        (broken(url=...), "missing required field `url`"),
        (broken(secret_key=...), "missing required field `secret_key`"),
        (broken(pid="812"), "pid"),
        (broken(role="root"), "role"),
        (broken(url="ipc:///tmp/x"), "url is 'ipc:///tmp/x', not tcp://HOST:PORT"),
        (broken(url="tcp://127.0.0.1"), "not tcp://HOST:PORT"),
        (broken(server_key="short"), "server_key is not a key"),
        (broken(public_key=SERVER.public.decode()), "do not belong together"),
        (broken(secret_key="x"), "do not belong together"),
        (b" " * (private.LIMIT + 1), "larger than"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, content, said):
    path = tmp_path / "ipcontroller-engine.json"
    private.write(path, content)
    with pytest.raises(ConnectionFileError) as caught:
        ConnectionFile.read(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_fields_of_a_later_version_do_no_harm(tmp_path):
    path = tmp_path / "ipcontroller-engine.json"
    private.write(path, broken(added_later=[1, 2]))
    assert ConnectionFile.read(path) == connection_file()


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ConnectionFileError, match="No such file"):
        ConnectionFile.read(tmp_path / "none.json")
    with pytest.raises(ConnectionFileError, match="is not a file"):
        ConnectionFile.read(tmp_path)
    os.mkfifo(tmp_path / "pipe.json", 0o600)
    with pytest.raises(ConnectionFileError, match="not a file"):
        ConnectionFile.read(tmp_path / "pipe.json")


def test_nothing_shows_a_secret():
    keys = Keys.create()
    secrets = [keys.server.secret, *(keys.pair(role).secret for role in ROLES)]
    shown = f"{keys!r} {keys.server} {connection_file()!r}"
    assert not any(secret.decode() in shown for secret in [*secrets, ENGINE.secret])


def test_a_controller_keeps_its_keys(tmp_path):
    path = tmp_path / "security" / "ipcontroller-keys.json"
    keys = Keys.load_or_create(path)
    assert Keys.load_or_create(path) == keys
    assert mode(path) == 0o600
    pairs = [keys.server, *(keys.pair(role) for role in ROLES)]
    assert len({pair.public for pair in pairs}) == len(pairs) == 5
    assert keys.public("task") == keys.pair("task").public
    path.unlink()
    assert Keys.load_or_create(path) != keys


def test_a_broken_store_of_keys_is_not_overwritten(tmp_path):
    path = tmp_path / "ipcontroller-keys.json"
    Keys.load_or_create(path)
    stored = json.loads(path.read_text())
    for what, said in [
        (stored | {"roles": {}}, "role 'engine' are missing"),
        (stored | {"server": stored["roles"]["engine"][:1] * 2}, "do not belong together"),
        ({}, "missing required field"),
    ]:
        content = json.dumps(what).encode()
        private.write(path, content)
        with pytest.raises(ConnectionFileError, match=said):
            Keys.load_or_create(path)
        assert path.read_bytes() == content
    path.chmod(0o644)
    with pytest.raises(ConnectionFileError, match="chmod 600"):
        Keys.load_or_create(path)


def test_an_existing_directory_is_closed_to_others(tmp_path):
    directory = tmp_path / "security"
    directory.mkdir(mode=0o755)
    assert private.make_directory(directory) == directory
    assert mode(directory) == 0o700
