"""The controller is found when its file appears, found anew when it changes, and not for ever."""

import os

import pytest

from enginery.engine.config import EngineConfig
from enginery.engine.search import COPYING, SOON, Search
from enginery.error import ConnectionFileError, NoControllerError
from enginery.net.keys import ConnectionFile, Keys


@pytest.fixture
def profile(tmp_path):
    (tmp_path / "security").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def path(profile):
    return profile / "security" / "ipcontroller-engine.json"


def write(path, port=1, keys=None):
    keys = keys or Keys.create()
    pair = keys.pair("engine")
    ConnectionFile(
        role="engine",
        cluster_id="",
        url=f"tcp://127.0.0.1:{port}",
        server_key=keys.server.public.decode(),
        public_key=pair.public.decode(),
        secret_key=pair.secret.decode(),
        pid=os.getpid(),
        host="here",
        started=0.0,
        version="1",
        location="",
    ).write(path)
    return keys


def test_the_file_is_found_once(profile, path):
    search = Search(EngineConfig(profile), 0.0)
    assert search.path == path
    assert search.look(0.0) is None
    write(path)
    assert search.look(0.1).url == "tcp://127.0.0.1:1"
    assert search.look(0.2) is None


def test_it_is_found_anew_when_it_names_another_controller(profile, path):
    search = Search(EngineConfig(profile), 0.0)
    keys = write(path)
    assert search.look(0.0)
    write(path, keys=keys)
    assert search.look(0.1) is None
    write(path, port=2, keys=keys)
    assert search.look(0.2).url == "tcp://127.0.0.1:2"
    write(path, port=2)
    assert search.look(0.3)


def test_a_file_of_another_place_or_cluster(profile, tmp_path):
    assert Search(EngineConfig(profile, file=tmp_path / "x.json"), 0.0).path == tmp_path / "x.json"
    path = Search(EngineConfig(profile, cluster_id="abc"), 0.0).path
    assert path.name == "ipcontroller-abc-engine.json"


def test_a_file_that_is_being_copied_gets_time_a_broken_one_is_told(profile, path):
    search = Search(EngineConfig(profile), 0.0)
    path.write_text('{"role": "eng')
    path.chmod(0o600)
    assert search.look(1.0) is None
    assert search.look(1.0 + COPYING / 2) is None
    with pytest.raises(ConnectionFileError):
        search.look(1.0 + COPYING)


def test_waiting_is_told_once_and_ends(profile, path, capsys):
    search = Search(EngineConfig(profile, timeout=10.0), 0.0)
    for now in (0.0, 5.0):
        search.check(now)
    told = capsys.readouterr().err
    assert told.count("waiting for a controller: looked for") == 1
    assert str(path) in told
    with pytest.raises(NoControllerError, match=r"no controller within 10 s: looked for .*json"):
        search.check(10.0)


def test_a_controller_that_does_not_answer_is_named(profile, path, capsys):
    search = Search(EngineConfig(profile, timeout=10.0), 0.0)
    write(path)
    search.look(0.0)
    search.check(0.0)
    assert capsys.readouterr().err == ""
    search.check(SOON)
    assert "no answer from the controller at tcp://127.0.0.1:1" in capsys.readouterr().err
    with pytest.raises(NoControllerError, match="no answer within 10 s"):
        search.check(10.0)


def test_a_controller_that_was_there_is_waited_for_longer(profile):
    search = Search(EngineConfig(profile, timeout=10.0, patience=100.0), 0.0)
    assert search.interval
    search.joined(True, 5.0)
    assert search.interval is None
    search.check(1000.0)
    search.joined(False, 1000.0)
    search.joined(False, 1050.0)
    search.check(1099.0)
    with pytest.raises(NoControllerError):
        search.check(1100.0)


def test_a_number_of_engines_that_cannot_be(profile):
    with pytest.raises(ValueError, match="cannot be -1"):
        EngineConfig(profile, n=-1)
