"""Options and configuration files become settings; what cannot be is told in words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from enginery.cli.controller_app import IPController
from enginery.cli.engine_app import IPEngine
from enginery.cli.entry import UsageError


def controller(profile: Path, *argv: str) -> dict[str, object]:
    """The settings of an `ipcontroller` in this profile."""
    return IPController.read([f"--profile-dir={profile}", *argv], "ipcontroller").settings()


def engine(profile: Path, *argv: str) -> dict[str, object]:
    """The settings of an `ipengine` in this profile."""
    return IPEngine.read([f"--profile-dir={profile}", *argv], "ipengine").settings()


def configure(profile: Path, text: str, name: str = "ipcontroller") -> None:
    """Write a configuration file."""
    (profile / f"{name}_config.py").write_text(f"c = get_config()\n{text}\n")


def test_defaults(tmp_path: Path) -> None:
    assert controller(tmp_path) == {
        "profile_dir": str(tmp_path),
        "cluster_id": "",
        "ip": "127.0.0.1",
        "location": "",
        "client_port": 0,
        "engine_port": 0,
        "reuse": False,
        "shared_memory": True,
        "host_to_host": True,
        "journal": "file",
        "fresh": False,
        "database": "sqlite",
        "database_bytes": 1 << 30,
        "database_age": 30 * 86400.0,
        "database_value_bytes": 1 << 20,
        "hwm": "auto",
        "memory_limit": 3 << 30,
        "record_limit": 100_000,
        "record_bytes": 256 << 20,
        "result_bytes": 1 << 30,
        "queue_limit": 0,
        "queue_bytes": 1 << 30,
        "scheme": "leastload",
        "schemes": (),
        "log_level": "INFO",
        "log_format": "logfmt",
        "log_to_file": True,
    }


def test_settings_are_fields_of_the_configurations(tmp_path: Path) -> None:
    from enginery.controller.config import ControllerConfig
    from enginery.engine.config import EngineConfig

    assert set(controller(tmp_path)) <= set(ControllerConfig.__dataclass_fields__)
    assert set(engine(tmp_path)) <= set(EngineConfig.__dataclass_fields__)


def test_command_line(tmp_path: Path) -> None:
    found = controller(
        tmp_path,
        "--hwm=3",
        "--client-port=10101",
        "--engine-port",
        "10102",
        "--ip=*",
        "--reuse",
        "--log-level=debug",
        "--log-format=json",
        "--log-to-file=False",
        "--cluster-id=a",
    )
    assert (found["hwm"], found["client_port"], found["engine_port"]) == (3, 10101, 10102)
    assert (found["ip"], found["reuse"], found["cluster_id"]) == ("*", True, "a")
    assert (found["log_level"], found["log_format"]) == ("DEBUG", "json")
    assert found["log_to_file"] is False


@pytest.mark.parametrize("spelling", ["scheme_name", "schemename"])
def test_configuration_file(tmp_path: Path, spelling: str) -> None:
    configure(tmp_path, f'c.TaskScheduler.hwm = 7\nc.TaskScheduler.{spelling} = "nosuch"')
    with pytest.raises(UsageError, match="there is no scheme 'nosuch'; there are leastload"):
        controller(tmp_path)
    assert controller(tmp_path, "--scheme=leastload")["hwm"] == 7


@pytest.mark.parametrize("name", ["leastload", "lru", "plainrandom", "twobin", "weighted"])
def test_scheme(tmp_path: Path, name: str) -> None:
    assert controller(tmp_path, f"--scheme={name}")["scheme"] == name


def own_scheme(profile: Path, module: str) -> None:
    """Write a module with the scheme `Mine`, called "mine", into the profile."""
    (profile / f"{module}.py").write_text(
        "from enginery.schemes import LeastLoad\n\n\nclass Mine(LeastLoad):\n    name = 'mine'\n"
    )


def test_own_scheme_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    own_scheme(tmp_path, "settings_scheme_1")
    found = controller(tmp_path, "--scheme=settings_scheme_1:Mine")
    assert (found["scheme"], found["schemes"]) == ("settings_scheme_1:Mine", ())


def test_own_schemes_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    own_scheme(tmp_path, "settings_scheme_2")
    configure(tmp_path, 'c.TaskScheduler.schemes = ["settings_scheme_2:Mine"]')
    found = controller(tmp_path)
    assert (found["scheme"], found["schemes"]) == ("leastload", ("settings_scheme_2:Mine",))
    assert controller(tmp_path, "--scheme=mine")["scheme"] == "mine"
    with pytest.raises(UsageError, match=r"there is no scheme 'nosuch'; .*, weighted, mine"):
        controller(tmp_path, "--scheme=nosuch")


@pytest.mark.parametrize(
    ("scheme", "complaint"),
    [
        ("nosuch", "your own by import path: mymodule:MyScheme"),
        ("nosuch_module:Mine", "there is no module 'nosuch_module'"),
        ("enginery.schemes:NoSuch", "has no 'NoSuch'"),
        ("enginery.error:EngineryError", "EngineryError is no subclass"),
    ],
)
@pytest.mark.parametrize("way", ["option", "file"])
def test_bad_schemes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, complaint: str, way: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    if way == "file":
        configure(tmp_path, f"c.TaskScheduler.schemes = [{scheme!r}]")
    with pytest.raises(UsageError, match=complaint) as caught:
        controller(tmp_path, *([f"--scheme={scheme}"] if way == "option" else []))
    assert "\n" not in str(caught.value)


def test_command_line_wins_over_the_file(tmp_path: Path) -> None:
    configure(tmp_path, 'c.TaskScheduler.hwm = 7\nc.IPController.ip = "10.0.0.1"')
    found = controller(tmp_path, "--hwm=2")
    assert (found["hwm"], found["ip"]) == (2, "10.0.0.1")


def test_nothing_is_read_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, here = tmp_path / "profile", tmp_path / "here"
    profile.mkdir()
    here.mkdir()
    configure(here, "c.TaskScheduler.hwm = 99\nraise SystemExit('read')")
    monkeypatch.chdir(here)
    assert controller(profile)["hwm"] == "auto"


def test_unknown_setting_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure(tmp_path, "c.TaskScheduler.hwmm = 2\nc.TaskSheduler.hwm = 3")
    controller(tmp_path)
    told = capfd.readouterr().err
    assert "hwmm" in told
    assert "Did you mean: `hwm`" in told or "Did you mean `hwm`" in told
    assert "nothing here reads c.TaskSheduler; did you mean c.TaskScheduler?" in told


def test_broken_configuration_file_names_its_line(tmp_path: Path) -> None:
    configure(tmp_path, "c.TaskScheduler.hwm = 2\nc.TaskScheduler.hwm = 1 / 0")
    with pytest.raises(UsageError) as caught:
        controller(tmp_path)
    file = tmp_path / "ipcontroller_config.py"
    assert str(caught.value) == f"{file}, line 3: ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--hwm=-1"], "--hwm: expected 'auto' or a number from 0 up, not the int -1"),
        (["--hwm=many"], "--hwm: expected 'auto' or a number from 0 up, not the str 'many'"),
        (["--client-port=99999"], "--client-port: should not be greater than 65535"),
        (["--log-level=loud"], "--log-level: "),
        (["--nosuch=1"], "there is no option --nosuch"),
        (["--nosuch"], "there is no option --nosuch"),
        (["--hwm"], "--hwm: expected one argument"),
        (["--ip"], "--ip: expected one argument"),
        (["extra"], "'extra'"),
    ],
)
def test_bad_options(tmp_path: Path, argv: list[str], complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        controller(tmp_path, *argv)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_engine_options(tmp_path: Path) -> None:
    found = engine(tmp_path, "-n", "4", "--furl-file=/x/engine.json", "--timeout=5")
    assert (found["n"], found["file"], found["timeout"]) == (4, "/x/engine.json", 5.0)
    assert engine(tmp_path, "--file=/y")["file"] == "/y"
    assert engine(tmp_path)["n"] == 0
    assert engine(tmp_path)["file"] is None


@pytest.mark.parametrize("n", ["-3", "0", "x"])
def test_bad_number_of_engines(tmp_path: Path, n: str) -> None:
    with pytest.raises(UsageError, match="-n: "):
        engine(tmp_path, "-n", n)
