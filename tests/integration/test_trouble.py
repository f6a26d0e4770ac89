"""The commands that one needs when something goes wrong: errors, logs, stacks, doctor and so on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from enginery import Client, Cluster
from enginery.core.messages import Query

from .asking import Ask, default_cluster, fit, occupy, submit


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of profiles in which the cluster of these tests is the default one."""
    return tmp_path_factory.mktemp("trouble")


@pytest.fixture(scope="module")
def rc(home: Path, session_leak_check: None) -> Iterator[Client]:
    """A client of two engines."""
    with default_cluster(home) as client:
        yield client


@pytest.fixture
def ask(home: Path, rc: Client) -> Ask:
    """Runs `enginery` with these arguments, in the profile of the cluster."""
    return Ask(home)


def die(x: Any) -> None:
    """End the engine at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def bad(x: int) -> float:
    """Fail in one of three ways."""
    if x % 3 == 0:
        raise ValueError(f"no multiples of three: {x}")
    return 1 / (x % 3 - 1)


def wait_for(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until something is true that no event tells of; what it is then."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


@pytest.fixture
def occupied(rc: Client, tmp_path: Path) -> Iterator[str]:
    """Engine 1 is at a task that does not end; its id."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    result = rc[1].apply_async(occupy, str(path))
    with open(path, "w"):  # opens as soon as it is being read
        yield result.msg_ids[0]
    result.wait(30)


# --- errors ---------------------------------------------------------------------------------------


def test_equal_failures_are_told_once(ask: Ask, rc: Client) -> None:
    result = submit(rc, "bad", bad, range(9))
    result.wait(30)
    told = ask.json("errors", "--label=bad")
    told["errors"].sort(key=lambda each: each["type"])
    assert [(e["type"], e["count"]) for e in told["errors"]] == [
        ("ValueError", 3),
        ("ZeroDivisionError", 3),
    ]
    assert (told["total"], told["read"]) == (6, 6)
    first = told["errors"][0]
    assert first["function"] == "bad"
    assert first["msg_ids"] == [result.msg_ids[i] for i in (0, 3, 6)]
    assert first["messages"] == [f"no multiples of three: {i}" for i in (0, 3, 6)]
    assert first["where"]["source"] == 'raise ValueError(f"no multiples of three: {x}")'
    assert "in bad" in first["traceback"]
    assert first["first"] <= first["last"]
    failed = {result.msg_ids[i] for i in (0, 3, 6, 1, 4, 7)}
    assert set(ask.ids("errors", "--label=bad")) == failed
    text = ask.text("errors", "--label=bad")
    assert re.search(r"^3 × ValueError in bad, on engines? [01](-1)?, \d\d:", text, re.M)
    assert text.count("Traceback (most recent call last)") == 2
    assert f"  tasks: {' '.join(first['msg_ids'])}\n" in text


def test_what_engines_died_of_is_told_too(ask: Ask, rc: Client) -> None:
    submit(rc, "die", die, [1]).wait(30)
    rc.wait_for_engines(2, timeout=30)
    [told] = ask.json("errors", "die")["errors"]
    assert (told["type"], told["function"], told["where"]) == ("EngineError", "die", None)
    assert told["messages"] == [f"engine {told['engines'][0]} died: killed by signal 9 (SIGKILL)"]


def test_the_newest_failures_are_read(ask: Ask, rc: Client) -> None:
    result = submit(rc, "many", bad, [3] * 5)
    result.wait(30)
    told = ask.json("errors", "--label=many", "--limit=2")
    assert (told["total"], told["read"]) == (5, 2)
    assert told["errors"][0]["msg_ids"] == result.msg_ids[-2:]
    text = ask.text("errors", "--label=many", "--limit=2").splitlines()
    assert text[-1] == "2 of 5 failed tasks were read, the newest; all: --limit 0"
    assert ask.text("errors", result.msg_ids[0]).startswith("1 × ValueError in bad")


def test_nothing_has_failed(ask: Ask, rc: Client) -> None:
    submit(rc, "fine", fit, range(3)).wait(30)
    assert ask.text("errors", "--label=fine") == "none of these failed\n"
    assert ask.json("errors", "--label=fine")["errors"] == []


def test_a_map_is_told_of_by_items(ask: Ask, rc: Client) -> None:
    before = ask.json("status")["tasks"]
    result = rc.load_balanced_view(label="divided").map(fit, range(1000))
    result.wait(30)
    [told] = ask.json("errors", "--label=divided")["errors"]
    assert (told["count"], told["messages"]) == (1, ["bad item 5"])
    assert ask.ids("list", "tasks", "--state=failed", "--label=divided") == told["msg_ids"]
    counted = ask.json("progress", "divided", code=1)
    assert (counted["total"], counted["states"]) == (1000, {"ok": 999, "error": 1})
    after = ask.json("status")["tasks"]
    assert (after["ok"], after["failed"]) == (before["ok"] + 999, before["failed"] + 1)
    [task] = ask.json("resubmit", *told["msg_ids"])["tasks"]
    with pytest.raises(ValueError, match="bad item 5"):
        rc.get_result(task["msg_id"]).get(30)


# --- progress -------------------------------------------------------------------------------------


def test_the_exit_code_tells_whether_anything_failed(ask: Ask, rc: Client) -> None:
    submit(rc, "well", fit, range(3)).wait(30)
    assert re.match(r"well: 3 items in .*/s\)\n$", ask.text("progress", "well"))
    result = submit(rc, "not so well", fit, range(3, 7))
    result.wait(30)
    text = ask.text("progress", "not so well", code=1)
    assert ", 1 failed\n  see: enginery errors\n" in text
    told = ask.json("progress", "not so well", code=1)
    assert (told["total"], told["failed"], told["states"]) == (4, 1, {"ok": 3, "error": 1})
    assert told["failed_ids"] == [result.msg_ids[2]]
    assert ask("progress", "no such label").returncode == 1


def test_it_waits_for_the_end(ask: Ask, rc: Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    submit(rc, "occupied", occupy, [str(tmp_path / "pipe")])
    with open(tmp_path / "pipe", "w"):
        popen = subprocess.Popen(
            ask.command(("progress", "-o", "ids")), stdout=subprocess.PIPE, env=ask.env
        )
        wait_for(lambda: rc.link.ask(Query(0, "status"))["clients"] > 1)
        assert popen.poll() is None
    assert popen.communicate(timeout=30) == (b"", None)
    assert popen.returncode == 0


def test_last_is_the_whole_last_call(ask: Ask, rc: Client) -> None:
    submit(rc, "a", fit, range(3)).wait(30)
    submit(rc, "b", fit, range(3, 7)).wait(30)  # one of which fails
    assert ask.json("progress", code=1)["total"] == 4
    assert ask.json("progress", "last", code=1)["total"] == 4
    tasks = ask.json("status")["tasks"]
    ended = sum(tasks[how] for how in ("ok", "failed", "aborted"))
    assert ask.json("progress", "all", code=1)["total"] == ended


# --- stacks ---------------------------------------------------------------------------------------


def test_stacks_of_what_runs(ask: Ask, rc: Client, occupied: str) -> None:
    lines = ask.text("stacks").splitlines()
    assert lines[0].startswith("engine 0 (pid ")
    assert lines[0].endswith(" runs no task")
    assert lines[1].endswith(f" runs apply(occupy), task {occupied}")
    assert re.fullmatch(r'  File ".*/asking\.py", line \d+, in occupy', lines[2])
    assert lines[3].strip() == "return pipe.read()"
    told = ask.json("stacks", "1")["engines"]
    assert [(e["engine_id"], e["task"], e["answered"]) for e in told] == [(1, occupied, True)]
    main = told[0]["threads"][0]
    assert main["main"]
    assert main["frames"][-1]["function"] == "occupy"
    assert "engine/runner.py" in ask.text("stacks", "0", "--threads")
    assert ask.ids("stacks", "0-1") == ["0", "1"]


def test_an_engine_that_does_not_answer(ask: Ask, rc: Client) -> None:
    pid = rc.link.engines[0].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        text = ask.text("stacks", "0")
        status = ask.json("status")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "does not answer" in text
    assert status["engines"]["silent"] == [0]
    assert ask("stacks", "7").returncode == 1


def test_stacks_and_status_of_the_scheme_pure(tmp_path: Path) -> None:
    ask, path = Ask(tmp_path), tmp_path / "pipe"
    os.mkfifo(path)
    profile = tmp_path / "profile_default"
    with Cluster(n=1, scheme="pure", profile_dir=profile, cluster_id="") as client:
        assert ask.text("progress") == "there is no task\n"
        done = ask("progress", "fit")
        assert done.returncode == 1
        assert "remembers no task and no label 'fit'; it remembers none at all" in done.stderr
        result = client.load_balanced_view().apply_async(occupy, str(path))
        with open(path, "w"):  # opens as soon as it is being read
            text = ask.text("stacks")
            assert "runs what is no task of the controller's: of the scheme pure, or typed" in text
            assert "return pipe.read()" in text
            assert "those of the scheme pure pass by" in ask.text("status")
        result.wait(30)


# --- status ---------------------------------------------------------------------------------------


def test_status_tells_of_a_lost_engine(ask: Ask, rc: Client) -> None:
    result = submit(rc, "die", die, [1])
    result.wait(30)
    rc.wait_for_engines(2, timeout=30)
    told = ask.json("status")
    last = told["warnings"][0]
    assert last["event"] == "engine.lost"
    assert last["fields"]["task"] == result.msg_ids[0]
    assert last["fields"]["replaced"] is True
    assert told["tasks"]["retried"] == 0
    lines = ask.text("status").splitlines()
    assert re.search(r"lost \d+, the last one .* ago: engine [01] on \S+", lines[2])
    assert re.search(r"killed by signal 9 \(SIGKILL\); replaced$", "\n".join(lines[2:4]), re.M)
    [warning] = [line for line in lines if line.startswith("warnings")]
    assert warning.endswith(f"while running map(die), task {result.msg_ids[0]}")


# --- logs -----------------------------------------------------------------------------------------


def test_logs_of_an_engine_are_of_all_its_lives(ask: Ask, rc: Client) -> None:
    before = rc.link.engines[0].pid
    result = rc[0].apply_async(die, 1)
    result.wait(30)
    rc.wait_for_engines(2, timeout=30)
    text = ask.text("logs", "0")
    for line in (
        rf"INFO engine.joined engine=0 host=\S+ pid={before}",
        rf"INFO engine.forked pid={before} life=\d+",
        rf"WARNING engine.lost engine=0 host=\S+ pid={before} .* task={result.msg_ids[0]}",
        rf"INFO engine.joined engine=0 host=\S+ pid={rc.link.engines[0].pid}",
    ):
        assert re.search(line, text)
    assert "engine=1" not in text
    # What is printed before there is a log has no time, and stands first.
    times = [line.split()[0] for line in text.splitlines() if line[:2] == "20"]
    assert len(times) >= 4
    assert times == sorted(times), text
    [line] = ask.text("logs", "--task", result.msg_ids[0]).splitlines()
    assert "engine.lost" in line


def test_logs_of_the_controller(ask: Ask, rc: Client, home: Path) -> None:
    told = ask.json("logs", "controller")
    assert told["files"] == [str(home / "profile_default" / "log" / "ipcontroller.log")]
    assert told["lines"][0]["text"].split()[2] == "controller.started"
    assert all(line["level"] in ("INFO", "WARNING") for line in told["lines"])
    assert len(ask.json("logs", "--limit=3")["lines"]) == 3
    assert ask("logs", "77").returncode == 2
    assert ask("logs", "-f", "-o", "json").returncode == 2


def test_logs_can_be_followed(ask: Ask, rc: Client) -> None:
    popen = subprocess.Popen(
        ask.command(("logs", "controller", "-f")), stdout=subprocess.PIPE, env=ask.env, text=True
    )
    watchdog = threading.Timer(30, popen.kill)
    watchdog.start()
    assert popen.stdout is not None
    me = subprocess.run(
        ask.command(("show", "all", "-o", "json")), env=ask.env, check=True, capture_output=True
    )
    assert me.returncode == 0
    joined: list[str] = []
    while len(joined) < 3:  # this client, the follower, and who asked to be shown something
        line = popen.stdout.readline()
        assert line
        joined += [line] if "client.joined" in line else []
    popen.send_signal(signal.SIGINT)
    popen.communicate()
    watchdog.cancel()
    assert popen.returncode == 130


def test_logs_are_there_when_the_controller_is_gone(tmp_path: Path) -> None:
    cluster = Cluster(n=1, profile_dir=tmp_path / "profile_default", cluster_id="")
    with cluster as client:
        pid = client.link.engines[0].pid
    ask = Ask(tmp_path)
    text = ask.text("logs")
    assert "controller.started" in text
    assert f"engine.forked pid={pid}" in text
    assert f"engine.joined engine=0 host={client.link.file.host} pid={pid}" in ask.text("logs", "0")
    assert Ask(tmp_path / "nothing")("logs").returncode == 3


@pytest.fixture
def elsewhere(home: Path, rc: Client, tmp_path: Path) -> Iterator[int]:
    """The id of an engine on a host of another name, whose files are not here."""
    unshare = shutil.which("unshare")
    if os.getuid() != 0 or unshare is None:
        pytest.skip("only root can give a process another host name")
    profile = tmp_path / "profile_elsewhere"
    security = profile / "security"
    security.mkdir(parents=True, mode=0o700)
    name = "ipcontroller-engine.json"
    shutil.copy(home / "profile_default" / "security" / name, security / name)
    packages = tmp_path / "packages" / "left_over-1.5.dist-info"
    packages.mkdir(parents=True)
    (packages / "METADATA").write_text("Metadata-Version: 2.1\nName: left-over\nVersion: 1.5\n")
    words = [unshare, "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"]
    words += [sys.executable, "-m", "enginery", "engine", "-n", "1", f"--profile-dir={profile}"]
    env = {**os.environ, "PYTHONPATH": str(packages.parent)}
    before = set(rc.ids)
    popen = subprocess.Popen(words, stderr=subprocess.PIPE, env=env)
    try:
        yield wait_for(lambda: next(iter(set(rc.ids) - before), None))
    finally:
        popen.terminate()
        popen.communicate(timeout=30)
        wait_for(lambda: set(rc.ids) == before)


def test_an_engine_on_another_host(ask: Ask, rc: Client, elsewhere: int) -> None:
    pid = rc.link.engines[elsewhere].pid
    text = ask.text("logs", str(elsewhere))
    assert f"engine.joined engine={elsewhere} host=elsewhere pid={pid}" in text
    assert f"engine.forked pid={pid} life=1" in text  # which stands in its own log only
    told = ask.json("doctor")
    assert {engine["host"] for engine in told["engines"]} > {"elsewhere"}
    [differs] = [f["text"] for f in told["findings"] if f["state"] == "warning"]
    assert differs == f"engine {elsewhere}: left-over 1.5 (here -)"
    assert "   on 2 hosts\n" in ask.text("status")


# --- doctor, clean --------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong(ask: Ask, rc: Client) -> None:
    told = ask.json("doctor")
    assert [f for f in told["findings"] if f["state"] == "problem"] == []
    checks = {finding["check"] for finding in told["findings"]}
    assert checks >= {"files", "controller", "engines", "versions", "clock", "disk", "open files"}
    assert told["controller"]["round_trip"] < 10
    assert [e["engine_id"] for e in told["engines"]] == [0, 1]
    assert all(e["differs"] == [] for e in told["engines"])
    assert "ok       engines      2 engines on 1 host, all answer\n" in ask.text("doctor")


def test_doctor_without_a_cluster(tmp_path: Path) -> None:
    told = Ask(tmp_path).json("doctor", code=3)
    [problem] = [f for f in told["findings"] if f["state"] == "problem"]
    assert problem["check"] == "controller"
    assert "ipcluster start -n 4" in problem["hint"]


def test_files_that_are_open_to_others_and_files_of_the_dead(
    home: Path, rc: Client, tmp_path: Path
) -> None:
    security = tmp_path / "profile_default" / "security"
    security.mkdir(parents=True, mode=0o700)
    path = security / "ipcontroller-client.json"
    shutil.copy(home / "profile_default" / "security" / path.name, path)
    path.chmod(0o644)
    ask = Ask(tmp_path)
    [problem, *_] = [f for f in ask.json("doctor", code=1)["findings"] if f["state"] == "problem"]
    assert "is open to others (mode 0644)" in problem["text"]
    path.chmod(0o600)
    ended = subprocess.Popen(["true"])
    ended.wait()
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": ended.pid}))
    [problem, *_] = [f for f in ask.json("doctor", code=1)["findings"] if f["state"] == "problem"]
    assert "is of a controller that is gone" in problem["text"]
    assert ask.json("clean")["removed"] == [str(path)]
    assert ask.text("clean") == "nothing to remove\n"


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["errors", "stacks"])
def test_what_shows_code_needs_a_clients_key(
    home: Path, rc: Client, tmp_path: Path, command: str
) -> None:
    security = tmp_path / "profile_default" / "security"
    security.mkdir(parents=True, mode=0o700)
    name = "ipcontroller-monitor.json"
    shutil.copy(home / "profile_default" / "security" / name, security / name)
    ask = Ask(tmp_path)
    done = ask(command)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"{command} needs a client key; there is only that of a monitor here" in done.stderr
    error = ask.json(command, code=4)["error"]
    assert error["type"] == "NotAllowedError"
    submit(rc, "bad", bad, [0]).wait(30)
    [task] = ask.json("show", "last")["tasks"]
    assert task["error"] is None


# --- completion -----------------------------------------------------------------------------------

PROMPT = "ready> "


@contextlib.contextmanager
def a_shell(ask: Ask, tmp_path: Path) -> Iterator[Any]:
    """A real bash, with the completion as its users have it."""
    import pexpect

    directory = tmp_path / "bin"
    directory.mkdir()
    command = directory / "enginery"
    command.write_text(f'#!/bin/sh\nexec {" ".join(ask.command(()))} "$@"\n')
    command.chmod(0o755)
    env = {**ask.env, "PATH": f"{directory}:{os.environ['PATH']}", "PS1": PROMPT}
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile"], env=env, encoding="utf-8", timeout=20,
        dimensions=(30, 120),
    )  # fmt: skip
    try:
        shell.expect_exact(PROMPT)
        shell.sendline('bind "set bell-style none"; eval "$(enginery completion bash)"')
        shell.expect_exact(PROMPT)
        yield shell
    finally:
        shell.close(force=True)


def test_completion_in_bash(ask: Ask, rc: Client, tmp_path: Path) -> None:
    submit(rc, "a-long-label", fit, [1]).wait(30)
    submit(rc, "a-long-trap$(exit)", fit, [1]).wait(30)  # of somebody with a task key, perhaps
    with a_shell(ask, tmp_path) as shell:
        for typed, completed in (
            ("enginery stat\t", "enginery status "),
            ("enginery list en\t", "enginery list engines "),
            ("enginery list tasks --sta\t", "enginery list tasks --state "),
            ("enginery list tasks --state fai\t", "enginery list tasks --state failed "),
            ("enginery list tasks --state=ok,fai\t", "enginery list tasks --state=ok,failed "),
            ("enginery show a-lo\t", "enginery show a-long-label "),
            ("enginery logs con\t", "enginery logs controller "),
            ("enginery status -o js\t", "enginery status -o json "),
        ):
            shell.send(typed)
            shell.expect_exact(completed)
            shell.sendcontrol("u")
        shell.send("enginery stacks \t\t")
        shell.expect(r"0 +1\s")


def test_scripts_for_other_shells(ask: Ask) -> None:
    for shell in ("zsh", "fish"):
        assert "enginery" in ask.json("completion", shell)["script"]
    assert ask("completion", "csh").returncode == 2


# --- which cluster --------------------------------------------------------------------------------


def test_the_only_cluster_needs_no_name(tmp_path: Path) -> None:
    ask, default = Ask(tmp_path), tmp_path / "profile_default"
    other = tmp_path / "profile_other"
    with Cluster(n=0, profile_dir=other, cluster_id="one"):
        told = ask.json("status")
        assert told["cluster"] == "other one"
        assert "add some: ipcluster engines -n 4 --profile=other --cluster-id=one" in ask.text(
            "status"
        )
        assert "controller.started" in ask.text("logs", "controller")
        assert ask("status", "--profile-dir", str(default)).returncode == 3
        with Cluster(n=0, profile_dir=default, cluster_id="two"):
            done = ask("status")
            assert done.returncode == 3
            assert "Ask that one:  enginery status --cluster-id=two\n" in done.stderr
            assert "Ask that one:  enginery status --profile=other --cluster-id=one" in done.stderr
            assert ask.json("status", "--cluster-id=two")["cluster"] == "default two"
