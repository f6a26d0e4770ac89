"""Every command says what it is, what went wrong, and how it ended by its exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from enginery.cli import enginery, ipcluster, ipcluster_app, ipcontroller, ipengine
from enginery.cli.entry import guarded, say
from enginery.cluster.guard import BROKEN_LAW
from enginery.cluster.places import cluster_file
from enginery.error import ClusterError, EngineryError, NoControllerError, NotAllowedError
from enginery.net.profile import Profile

MAINS = [
    (ipcluster.main, ["start"], "ipcluster start"),
    (ipcluster.main, ["stop"], "ipcluster stop"),
    (ipcluster.main, ["engines"], "ipcluster engines"),
    (ipcluster.main, ["list"], "ipcluster list"),
    (ipcluster.main, ["clean"], "ipcluster clean"),
    (ipcontroller.main, [], "ipcontroller"),
    (ipengine.main, [], "ipengine"),
    (enginery.main, ["cluster", "start"], "enginery cluster start"),
    (enginery.main, ["controller"], "enginery controller"),
    (enginery.main, ["engine"], "enginery engine"),
]


@pytest.mark.parametrize(("main", "argv", "name"), MAINS)
def test_help(
    main: Callable[[list[str]], int],
    argv: list[str],
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*argv, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert text.startswith(f"{name}: ")
    assert len(text.splitlines()) <= 30
    assert max(map(len, text.splitlines())) <= 100


def test_help_of_those_with_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    assert ipcluster.main(["--help"]) == 0
    assert "ipcluster start" in capsys.readouterr().out
    assert enginery.main(["--help"]) == 0
    assert "enginery controller" in capsys.readouterr().out


def test_help_all_lists_what_a_file_can_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ipcontroller.main(["--help-all"])
    assert "TaskScheduler.scheme_name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("main", "argv"),
    [
        (enginery.main, ["nosuch"]),
        (ipcluster.main, ["nosuch"]),
        (ipcluster.main, ["start", "-n", "-1"]),
        (ipcluster.main, ["start", "-n", "four"]),
        (ipcluster.main, ["-n", "-1"]),
        (ipcontroller.main, ["--nosuch"]),
        (ipengine.main, ["-n", "-1"]),
    ],
)
def test_usage_errors(
    main: Callable[[list[str]], int],
    argv: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    assert main(argv) == 2
    text = capsys.readouterr().err
    assert "--help" in text
    assert "Traceback" not in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize("argv", [["stop"], ["engines", "-n", "1"]])
def test_no_cluster(
    argv: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    assert ipcluster.main(argv) == 3
    text = capsys.readouterr().err
    assert "no cluster is running in profile 'default'" in text
    assert "ipcluster start -n 4" in text


def test_unknown_profile(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    for main, argv in [(ipcluster.main, ["start"]), (ipcontroller.main, []), (ipengine.main, [])]:
        assert main([*argv, "--profile=nosuch"]) == 1
        text = capsys.readouterr().err
        assert "there is no profile 'nosuch'" in text
        assert "ipython profile create nosuch" in text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClusterError("x"), 1),
        (OSError("x"), 1),
        (NoControllerError("x"), 3),
        (NotAllowedError("x"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    def fail() -> int:
        raise error

    assert guarded("prog", fail) == code
    assert guarded("prog", lambda: 7) == 7


def test_a_listed_cluster_that_does_not_answer_has_no_number_of_engines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"profile": "gpu", "cluster_id": "", "engines": None, "pid": 7, "started": "", "url": "u"}
    monkeypatch.setattr(ipcluster_app, "clusters", lambda: [row])
    monkeypatch.setattr(ipcluster_app, "describe", lambda cluster: cluster)
    assert ipcluster.main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["gpu", "-", "-", "7", "-", "u"]


def test_module_is_the_umbrella() -> None:
    from enginery import __version__ as version

    command = [sys.executable, "-m", "enginery", "--version"]
    assert (
        subprocess.run(command, capture_output=True, check=True).stdout.decode() == f"{version}\n"
    )


def test_a_controller_is_reached_without_the_slow_imports() -> None:
    code = (
        "import sys; import enginery.cli.enginery, enginery.cli.ipcontroller;"
        "import enginery.controller.service, enginery.cluster.places;"
        "print(sorted({'IPython', 'traitlets', 'tqdm', 'asyncio', 'cloudpickle', 'psutil'}"
        " & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"[]\n"


@pytest.mark.parametrize(("code", "kept"), [(0, False), (BROKEN_LAW, True)])
def test_the_cluster_file_stays_for_a_controller_that_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kept: bool
) -> None:
    monkeypatch.setattr("enginery.controller.service.run", lambda config: code)
    file = cluster_file(Profile(tmp_path).security, "")
    file.touch()
    assert ipcontroller._serve({"profile_dir": str(tmp_path)}) == code
    assert file.exists() is kept


def test_an_error_does_not_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("enginery resubmit", EngineryError("task \x1b[31m-1 has not ended\n  See größe"))
    told = "enginery resubmit: task \\x1b[31m-1 has not ended\n  See größe\n"
    assert capsys.readouterr() == ("", told)
