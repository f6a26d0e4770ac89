"""What one asks of a running cluster on the command line: as text, as JSON, as ids."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from enginery import Client, TaskAborted

from .asking import Ask, default_cluster, fit, occupy, submit

IDS = re.compile(r"^[0-9a-f]{6,}-\d+$")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of profiles in which the cluster of these tests is the default one."""
    return tmp_path_factory.mktemp("ask")


@pytest.fixture(scope="module")
def rc(home: Path, session_leak_check: None) -> Iterator[Client]:
    """A client of two engines; it has mapped `fit` over ten items, and that failed for one."""
    with default_cluster(home) as client:
        submit(client, "fit", fit, range(10)).wait(30)
        yield client


@pytest.fixture
def ask(home: Path, rc: Client) -> Ask:
    """Runs `enginery` with these arguments, in the profile of the cluster."""
    return Ask(home)


@pytest.fixture
def busy(rc: Client, tmp_path: Path) -> Iterator[list[str]]:
    """Both engines are at a task labelled "busy" that does not end; the ids of those two."""
    paths = [tmp_path / "0", tmp_path / "1"]
    for path in paths:
        os.mkfifo(path)
    results = submit(rc, "busy", occupy, [str(path) for path in paths])
    ends = [open(path, "w") for path in paths]  # noqa: SIM115 - opens as soon as it is being read
    yield results.msg_ids
    for end in ends:
        end.close()
    results.wait(30)


# --- status, engines, clusters --------------------------------------------------------------------


def test_status(ask: Ask, rc: Client, busy: list[str]) -> None:
    waiting = submit(rc, "waiting", abs, range(3))
    held = submit(rc, "held", abs, range(2), after=waiting)
    told = ask.json("status")
    engines = told["engines"]
    assert [engines[name] for name in ("busy", "idle", "hosts")] == [2, 0, 1]
    assert (engines["missing"], engines["silent"]) == ([], [])
    assert engines["largest"]["memory"] > 1 << 20
    assert told["controller"]["memory"] > 1 << 20
    tasks = told["tasks"]
    assert [tasks[state] for state in ("held", "waiting", "running")] == [2, 3, 2]
    assert tasks["failed"] >= 1
    assert told["controller"]["pid"] == rc.link.file.pid
    lines = ask.text("status").splitlines()
    assert re.fullmatch(
        rf"cluster   default   up \d+.* s   controller pid {rc.link.file.pid} on \S+, enginery \S+",
        lines[0],
    )
    assert lines[1] == "engines   busy 2   idle 0   on 1 host"
    assert re.match(r"tasks     held 2   waiting 3   running 2   ok \d+   failed \d", lines[2])
    assert re.match(r"memory    controller \S+ MB(.*)   largest engine [01]: \S+ MB", lines[3])
    assert lines[4] == "see       enginery errors · enginery list tasks --state held,waiting"
    assert len(lines) == 5
    held.abort()
    waiting.abort()


def test_list_engines(ask: Ask, rc: Client, busy: list[str]) -> None:
    told = ask.json("list", "engines")["engines"]
    assert [engine["engine_id"] for engine in told] == rc.ids == [0, 1]
    assert {engine["running"] for engine in told} == set(busy)
    assert {engine["engine_uuid"] for engine in told} == {
        engine.incarnation for engine in rc.link.engines.values()
    }
    assert ask.ids("list", "engines", "--state=busy", "--engine=1-5") == ["1"]
    assert ask.ids("list", "engines", "--state=idle") == []
    titles, first, _ = ask.text("list", "engines").splitlines()
    assert titles.split() == ["engine", "state", "host", "pid", "up", "queue", "tasks", "running"]
    assert first.split()[:2] == ["0", "busy"]


def test_list_clusters(ask: Ask, rc: Client) -> None:
    [told] = ask.json("list", "clusters")["clusters"]
    assert (told["profile"], told["engines"], told["pid"]) == ("default", 2, rc.link.file.pid)
    assert ask.ids("list", "clusters") == ["default"]
    assert ask.text("list", "clusters").splitlines()[1].split()[:3] == ["default", "-", "2"]


# --- tasks ----------------------------------------------------------------------------------------


def test_the_json_of_tasks_is_as_the_metadata(ask: Ask, rc: Client) -> None:
    result = submit(rc, "same", fit, range(4, 7))
    result.wait(30)
    told = ask.json("list", "tasks", "--label=same")
    assert told["total"] == 3
    keys = ("msg_id", "name", "label", "engine_id", "attempt", "status")
    for task, metadata in zip(told["tasks"], result.metadata, strict=True):
        assert {key: task[key] for key in keys} == {key: metadata[key] for key in keys}
        for key in ("submitted", "started", "completed"):
            there = datetime.fromisoformat(task[key])
            assert abs((there - metadata[key]).total_seconds()) < 1e-5


@pytest.mark.parametrize(
    ("filters", "n"),
    [
        (["--label=fit"], 10),
        (["--label=fit", "--state=failed"], 1),
        (["--label=fit", "--state=ok,error"], 10),
        (["--label=fit", "--function=fit"], 10),
        (["--label=fit", "--function=map(f*)", "--engine=0-1"], 10),
        (["--label=fit", "--engine=77"], 0),
        (["--label=fit", "--limit=4"], 4),
        (["--state=running"], 2),
        (["--state=unfinished", "--function=occupy"], 2),
        (["--label=fit", "--label=busy", "--state=running,failed"], 3),
        (["--label=nosuch"], 0),
    ],
)
def test_filters(ask: Ask, busy: list[str], filters: list[str], n: int) -> None:
    ids = ask.ids("list", "tasks", *filters)
    assert len(ids) == n
    assert all(IDS.match(id) for id in ids)


def test_a_table_has_fifty_tasks_and_json_has_all(ask: Ask, rc: Client) -> None:
    result = submit(rc, "sixty", abs, range(60))
    result.wait(30)
    lines = ask.text("list", "tasks", "--label=sixty").splitlines()
    assert len(lines) == 52
    assert lines[-1] == "50 of 60 tasks, the newest; all: --limit 0"
    assert [line.split()[1] for line in lines[1:-1]] == result.msg_ids[-50:]
    assert ask.ids("list", "tasks", "--label=sixty") == result.msg_ids
    assert len(ask.text("list", "tasks", "--label=sixty", "--limit=0").splitlines()) == 61


def test_the_table(ask: Ask) -> None:
    titles, row = ask.text("list", "tasks", "--label=fit", "--state=failed").splitlines()
    assert " ".join(titles.split()) == "number task state engine function label submitted took why"
    assert re.search(r" failed +[01]  map\(fit\)  fit    \d\d:\d\d:\d\d .* ms  error$", row)


def test_show(ask: Ask, rc: Client) -> None:
    [id] = ask.ids("list", "tasks", "--label=fit", "--state=failed")
    text = ask.text("show", id)
    for line in (r"state +failed \(error\)", r"function +map\(fit\)", "attempt +1, retries=0"):
        assert re.search(f"^  {line}$", text, re.MULTILINE)
    assert re.search(r"^    \+\S+ m?s +error, engine [01]$", text, re.MULTILINE)
    [task] = ask.json("show", id)["tasks"]
    assert [step["what"] for step in task["story"]] == [step.what for step in rc.story(id)]
    code = re.search(r"its error: (.*)", text)
    assert "    ValueError: bad item 5\n" in text
    assert task["error"]["type"] == "ValueError"
    assert "in fit\n" in task["error"]["traceback"]
    assert code is not None
    assert code[1] == f'enginery.Client().get_result("{id}").get()'


def test_explain(ask: Ask, rc: Client, busy: list[str]) -> None:
    [waiting] = submit(rc, "waiting", abs, [1]).msg_ids
    told = ask.text("explain", waiting, busy[0]).splitlines()
    assert told[0].startswith(f"task {waiting}, number ")
    assert "  engine 0: busy with 1 (hwm=auto)" in told
    assert any(line.startswith("  it runs on engine ") for line in told)
    tasks = ask.json("explain", waiting)["tasks"]
    assert tasks[0]["explanation"] == [line.strip() for line in rc.explain(waiting).split("\n")[1:]]


def test_selectors(ask: Ask, rc: Client) -> None:
    history = rc.hub_history()
    assert ask.ids("show", "1-3,5") == [*history[:3], history[4]]
    assert ask.ids("show", "last", "1") == [history[-1], history[0]]
    assert ask.ids("show", "fit") == history[:10]
    assert ask.ids("explain", "all") == history
    assert ask.text("show", "-", "-o", "ids", input=f"{history[1]}\n2-3\n").split() == history[1:3]
    numbers = [task["number"] for task in ask.json("show", history[6], history[2])["tasks"]]
    assert numbers == [7, 3]


# --- abort and resubmit ---------------------------------------------------------------------------


def test_abort(ask: Ask, rc: Client, busy: list[str]) -> None:
    waiting = submit(rc, "many", abs, range(5))
    assert ask.text("abort", "many") == "5 tasks aborted\n"
    with pytest.raises(TaskAborted):
        waiting[0].get()
    told = ask.text("abort", "many", *busy).splitlines()
    assert told[:3] == [
        "no task aborted",
        "5 tasks had ended already",
        "2 tasks have started, and go on",
    ]
    stop = re.search(r"enginery (abort --running \S+)$", told[3])
    assert stop is not None
    assert ask.text(*stop[1].split()) == "2 tasks aborted\n"
    statuses = [task["status"] for task in ask.json("abort", *busy)["tasks"]]
    assert statuses == ["aborted", "aborted"]


def test_resubmit(ask: Ask, rc: Client) -> None:
    submit(rc, "again", fit, range(5, 8)).wait(30)
    failed = ask.ids("list", "tasks", "--label=again", "--state=failed")
    [new] = ask.ids("resubmit", *failed)
    with pytest.raises(ValueError, match="bad item 5"):
        rc.get_result(new).get(30)
    ok = ask.ids("list", "tasks", "--label=again", "--state=ok")
    tasks = ask.json("resubmit", *ok)["tasks"]
    assert [task["resubmitted"] for task in tasks] == ok
    assert rc.get_result([task["msg_id"] for task in tasks]).get(30) == [36, 49]
    text = ask.text("resubmit", *ok).splitlines()
    assert (text[0], len(text)) == ("2 tasks submitted once more", 4)


def test_unfinished_tasks_are_not_resubmitted(ask: Ask, rc: Client, busy: list[str]) -> None:
    before = len(rc.hub_history())
    done = ask("resubmit", "fit", "busy")
    assert (done.returncode, done.stdout) == (1, "")
    assert "tasks have not ended" in done.stderr
    assert "Nothing was submitted" in done.stderr
    error = ask.json("resubmit", busy[0], code=1)["error"]
    assert error["type"] == "TaskNotDone"
    assert error["message"] == f"task {busy[0]} has not ended"
    assert len(rc.hub_history()) == before


# --- keys -----------------------------------------------------------------------------------------


@pytest.fixture
def with_keys(home: Path, rc: Client, tmp_path: Path) -> Callable[..., Ask]:
    """Asks with copies of these key files only."""

    def with_keys(*roles: str) -> Ask:
        security = tmp_path / "profile_default" / "security"
        security.mkdir(parents=True, mode=0o700)
        for role in roles:
            name = f"ipcontroller-{role}.json"
            shutil.copy(home / "profile_default" / "security" / name, security / name)
        return Ask(tmp_path)

    return with_keys


def test_a_monitor_may_look_and_change_nothing(with_keys: Callable[..., Ask], rc: Client) -> None:
    ask = with_keys("monitor")
    assert ask.ids("show", "fit") == rc.hub_history()[:10]
    assert ask.json("status")["engines"]["hosts"] == 1
    assert "it has ended: ok" in ask.text("explain", "1")
    for command in ("abort", "resubmit"):
        done = ask(command, "1")
        assert (done.returncode, done.stdout) == (4, "")
        assert f"{command} needs a client key; there is only that of a monitor here" in done.stderr
        assert "Copy ipcontroller-client.json there" in done.stderr
    error = ask.json("abort", "1", code=4)["error"]
    assert error["type"] == "NotAllowedError"
    assert "\nCopy ipcontroller-client.json there" in error["hint"]


def test_who_looks_uses_the_monitors_key_where_there_is_one(
    with_keys: Callable[..., Ask], tmp_path: Path
) -> None:
    ask = with_keys("monitor", "client")
    client = tmp_path / "profile_default" / "security" / "ipcontroller-client.json"
    client.write_text("{")
    assert ask.ids("explain", "1")
    done = ask("abort", "1")
    assert done.returncode == 1
    assert str(client) in done.stderr


def test_a_clients_key_alone_does(with_keys: Callable[..., Ask]) -> None:
    ask = with_keys("client")
    assert ask.text("abort", "1") == "no task aborted\n1 task had ended already\n"
    assert len(ask.ids("show", "fit")) == 10


def test_a_task_key_sees_too_little(with_keys: Callable[..., Ask]) -> None:
    done = with_keys("task")("list", "tasks")
    assert done.returncode == 4
    assert "list needs a monitor or client key; there is only that of a task here" in done.stderr


def test_no_controller(tmp_path: Path) -> None:
    ask = Ask(tmp_path)
    done = ask("status")
    assert done.returncode == 3
    assert "no cluster is running in profile 'default'" in done.stderr
    error = ask.json("abort", "all", code=3)["error"]
    assert error["type"] == "NoControllerError"
    assert "ipcluster start -n 4" in error["hint"]
    assert ask.text("list", "clusters").startswith("no cluster is running")


def test_a_controller_that_does_not_answer(ask: Ask, rc: Client) -> None:
    os.kill(rc.link.file.pid, signal.SIGSTOP)
    try:
        done = ask("status", "--timeout=0.3")
    finally:
        os.kill(rc.link.file.pid, signal.SIGCONT)
    assert done.returncode == 3
    assert "did not answer in 0.3 s" in done.stderr


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["list"], "the following arguments are required"),
        (["list", "jobs"], "invalid choice: 'jobs'"),
        (["list", "tasks", "--state=fialed"], "there is no state 'fialed'"),
        (["list", "tasks", "--limit=-1"], "'-1' is no number; 0 means all"),
        (["list", "engines", "--label=x"], "--label does not go with engines"),
        (["list", "clusters", "--engine=1"], "--engine does not go with clusters"),
        (["show"], "the following arguments are required: SELECTOR"),
        (["show", "3-1"], "3 is more than 1"),
        (["abort", "--nosuch", "1"], "unrecognized arguments: --nosuch"),
        (["status", "--timeout=0"], "no number of seconds above 0"),
        (["status", "-o", "xml"], "there is no form 'xml'; there are text, json, ids"),
    ],
)
def test_usage_errors(ask: Ask, words: list[str], what: str) -> None:
    done = ask(*words)
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"enginery {words[0]}: ")
    assert what in first
    assert second == f"  see: enginery {words[0]} --help"


def test_errors_as_json(ask: Ask) -> None:
    error = ask.json("show", "9999", code=1)["error"]
    assert error["type"] == "UnknownTask"
    assert error["message"].startswith("the controller remembers no task 9999; there are 1-")
    assert error["hint"] == "See them: enginery list tasks"
    error = ask.json("list", "tasks", "--state=x", code=2)["error"]
    assert (error["type"], error["hint"]) == ("UsageError", "enginery list --help")


def test_the_environment_says_the_form(home: Path, rc: Client) -> None:
    assert IDS.match(Ask(home, ENGINERY_OUTPUT="ids").text("show", "last"))
    in_json = Ask(home, ENGINERY_OUTPUT="json")
    assert json.loads(in_json.text("show", "last"))["schema"] == 1
    assert json.loads(in_json.text("show", "9999", code=1))["error"]["type"] == "UnknownTask"
    assert IDS.match(in_json.text("show", "last", "-oids"))
    done = Ask(home, ENGINERY_OUTPUT="xml")("status")
    assert done.returncode == 2
    assert "ENGINERY_OUTPUT: there is no form 'xml'" in done.stderr


@pytest.mark.parametrize("command", ["status", "list", "show", "explain", "abort", "resubmit"])
def test_help(ask: Ask, command: str) -> None:
    lines = ask.text(command, "--help").splitlines()
    assert lines[0].startswith(f"enginery {command}: ")
    assert "Examples:" in lines
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100


def test_the_profile_is_an_option(ask: Ask, home: Path, tmp_path: Path) -> None:
    elsewhere = Ask(tmp_path)
    option = f"--profile-dir={home / 'profile_default'}"
    assert elsewhere.json("status", option)["cluster"] == "default"
    assert f"enginery errors {option}" in elsewhere.text("status", option)
    assert ask("status", "--cluster-id=other").returncode == 3
    assert ask("status", "--profile=nosuch").returncode == 1


# --- terminals, pipes, signals --------------------------------------------------------------------


def on_a_terminal(ask: Ask, *words: str, columns: int) -> str:
    """What a command prints on a terminal of this width."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    popen = subprocess.Popen(ask.command(words), stdout=writer, stderr=writer, env=ask.env)
    os.close(writer)
    told = b""
    try:
        while some := os.read(reader, 1 << 16):
            told += some
    except OSError:  # how Linux says that nobody writes there any more
        pass
    os.close(reader)
    assert popen.wait(30) == 0
    return told.decode().replace("\r\n", "\n")


def test_tables_fit_a_terminal_and_nothing_is_cut_in_a_pipe(
    ask: Ask, rc: Client, home: Path
) -> None:
    label = "a label that is far too long for the terminal that is looked at"
    submit(rc, label, fit, [5]).wait(30)
    words = ("list", "tasks", f"--label={label}")
    told = on_a_terminal(ask, *words, columns=80)
    assert "\x1b[31mfailed" in told
    plain = re.sub(r"\x1b\[\d+m", "", told)
    assert [len(line) <= 80 for line in plain.splitlines()] == [True, True]
    assert "…" in plain
    assert label in on_a_terminal(ask, *words, "--wide", columns=80)
    assert "\x1b" not in on_a_terminal(Ask(home, NO_COLOR="1"), *words, columns=80)
    assert "\x1b" not in ask.text(*words)
    assert label in ask.text(*words)


def test_a_reader_that_has_had_enough(ask: Ask) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        popen = subprocess.run(
            ask.command(("list", "tasks")), stdout=nobody, stderr=subprocess.PIPE, env=ask.env,
            timeout=30, check=False,
        )  # fmt: skip
    assert (popen.returncode, popen.stderr) == (0, b"")


def test_ctrl_c(ask: Ask) -> None:
    popen = subprocess.Popen(
        ask.command(("show", "-")), stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=ask.env
    )
    assert popen.stdin is not None
    popen.stdin.write(b"1 " * (1 << 16))  # more than a pipe holds: it is being read when this ends
    watchdog = threading.Timer(20, popen.kill)
    watchdog.start()
    popen.send_signal(signal.SIGINT)
    _, err = popen.communicate()
    watchdog.cancel()
    assert (popen.returncode, err) == (130, b"")
