"""The magics in a real IPython: a terminal that is typed into, a kernel, a shell in this process.

Nothing here waits for a time: cells on engines end when their gate opens, and what a terminal shows
is waited for.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_notebook
from traitlets.config import Config

from enginery import AsyncResult, Client, Cluster
from enginery.client.display.live import SHOWN
from enginery.client.magics.extension import extension_of
from enginery.kernel import client as kernel_client

from ..gate import Gate
from ..notebook.execution import environment, execute
from .terminal import Terminal

KERNEL = Path(__file__).parent / "kernel.py"
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "magics.md"


# --- a shell in this process: what the magics accept, and what they do with it --------------------


class Prompt:
    """An IPython shell; `run` gives what a cell printed, `error` what it raised."""

    def __init__(self, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
        self.shell = shell
        self._capsys = capsys
        self.error: BaseException | None = None
        self.value: Any = None

    def run(self, cell: str) -> str:
        """Run a cell as if it had been typed; all that it has shown."""
        self._capsys.readouterr()
        done = self.shell.run_cell(cell, store_history=True)
        self.error = done.error_in_exec or done.error_before_exec
        self.value = done.result
        shown = self._capsys.readouterr()
        return shown.out + shown.err

    def complete(self, line: str) -> list[str]:
        """What Tab offers at the end of this input."""
        with provisionalcompleter():
            return [each.text for each in self.shell.Completer.completions(line, len(line))]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InteractiveShell]:
    """One that keeps nothing, and is not what `get_ipython()` gives."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name in ("ps1", "ps2", "ps3"):
        monkeypatch.setattr(sys, name, "", raising=False)  # IPython sets them for good
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    return InteractiveShell(config=config)


@pytest.fixture
def prompt(rc: Client, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Prompt:
    """A prompt whose `%px` works on all four engines and waits for them."""
    extension_of(shell).activate("", rc.direct_view("all", block=True))
    shell.user_ns["rc"] = rc
    return Prompt(shell, capsys)


def lines(shown: str) -> list[str]:
    """The lines that are shown, whichever engine was faster."""
    return sorted(shown.splitlines())


def test_px_shows_what_each_engine_printed_and_gave(prompt: Prompt) -> None:
    assert prompt.run("%px a = 5") == ""
    shown = prompt.run("%px print('it is', a); {'a': a}['a'] + 1")
    printed, given = shown.splitlines()[:4], shown.splitlines()[4:]
    assert sorted(printed) == [f"[{i}] it is 5" for i in range(4)]
    assert [re.sub(r"\d+(?=\]:)", "n", line) for line in given] == [
        f"[{i}] Out[n]: 6" for i in range(4)
    ]
    assert prompt.value is None


@pytest.mark.parametrize(
    ("spec", "engines"),
    [
        ("0", [0]),
        ("-1", [3]),
        ("all", [0, 1, 2, 3]),
        ("::2", [0, 2]),
        ("[::2]", [0, 2]),
        ("1:3", [1, 2]),
        ("0,2", [0, 2]),
        ("[2, 0]", [2, 0]),
        ("chosen", [1, 3]),
        ("aview", [2]),
    ],
)
def test_targets_are_what_can_stand_in_brackets_or_a_variable(
    prompt: Prompt, spec: str, engines: list[int]
) -> None:
    prompt.shell.user_ns.update(chosen=[1, 3], aview=prompt.shell.user_ns["rc"][2])
    given = prompt.run(f"%%px --targets {spec}\n'here'")
    assert re.findall(r"^\[(\d)\] Out\[\d+\]: 'here'$", given, re.MULTILINE) == [
        str(i) for i in engines
    ]
    assert re.findall(r"^\[(\d)\]", prompt.run(f"%px --targets {spec} 1"), re.MULTILINE) == [
        str(i) for i in engines
    ]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("%%px --targets 9\nprint('ran')", "--targets 9: there is no engine 9; there are engines"),
        ("%%px --targets nobody\nprint('ran')", "there is no variable 'nobody' here"),
        ("%%px --targets 0-2\nprint('ran')", "this names no engines; write 0, 0,2"),
        ("%%px --targets\nprint('ran')", "--targets: expected one argument"),
        ("%%px --tragets 0\nprint('ran')", "unrecognized arguments: --tragets 0; its options: --b"),
        ("%px --tragets 0 print('ran')", "unrecognized option --tragets; its options: --block"),
        ("%%px -a -b\nprint('ran')", "not allowed with argument"),
        ("%%px --group-outputs size\nprint('ran')", "invalid choice: 'size'"),
        ("%%px --signal-on-interrupt SIGFOO\nprint('ran')", "there is no signal 'SIGFOO'"),
        ("%%px --progress-after soon\nprint('ran')", "invalid seconds value: 'soon'"),
        ("%%px -o 7up\nprint('ran')", "'7up' cannot be the name of a variable"),
        ("%%px --out 'x\nprint('ran')", "no closing quotation"),
        ("%%px --stream -e\nprint('ran')", "without --stream"),
        ("%px", "there is no code to run"),
        ("%autopx now", "unrecognized arguments: now; its options: none"),
        ("%pxresult --targets 0", "unrecognized arguments: --targets 0"),
        ("%pxresult", "no %px has run yet"),
        ("%result 3", "for a MultiEngineClient only"),
        ("%pxconfig --targets 9 --noblock", "there is no engine 9"),
    ],
)
def test_a_wrong_option_is_one_line_and_nothing_runs(
    prompt: Prompt, rc: Client, cell: str, told: str
) -> None:
    shown = prompt.run(cell)
    assert shown.startswith(f"UsageError: {cell.split(maxsplit=1)[0]}")
    assert told in shown
    assert len(shown.splitlines()) == 1
    assert rc.history == []
    assert extension_of(prompt.shell).auto.suffix is None


def test_code_that_begins_with_a_minus_is_code(prompt: Prompt) -> None:
    prompt.run("%px a = 5")
    assert re.search(r"^\[0\] Out\[\d+\]: -5$", prompt.run("%px -a"), re.MULTILINE)
    assert lines(prompt.run("%px -t 1 print('one')")) == ["[1] one"]


def test_noblock_gives_the_result_and_pxresult_shows_it(prompt: Prompt, gate: Gate) -> None:
    cell = f"%%px --noblock -o later\nprint('begun')\nopen({str(gate.path)!r}).close()\n'ended'"
    prompt.run(cell)
    assert isinstance(prompt.value, AsyncResult)
    assert prompt.value is prompt.shell.user_ns["later"]
    assert not prompt.value.ready()
    gate.open()
    for magic in ("%pxresult", "%result"):
        shown = [re.sub(r" Out\[\d+\]:", "", line) for line in prompt.run(magic).splitlines()]
        assert sorted(shown[:4]) == [f"[{i}] begun" for i in range(4)]
        assert shown[4:] == [f"[{i}] 'ended'" for i in range(4)]
    assert prompt.run("%pxresult -o again") != ""
    assert prompt.shell.user_ns["again"] is prompt.shell.user_ns["later"]


def test_outputs_are_grouped_by_engine_type_or_order(prompt: Prompt) -> None:
    cell = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n'value'"

    def shown(options: str) -> list[str]:
        text = prompt.run(f"%%px --targets 2,0 {options}\n{cell}")
        return [re.sub(r" Out\[\d+\]:", "", line) for line in text.splitlines()]

    out = ["[2] out", "[2] 'value'", "[0] out", "[0] 'value'"]
    err = ["[2] err", "[0] err"]  # which are read from another stream
    assert shown("--group-outputs order") == shown("-r") == out + err
    by_engine = ["[0] out", "[0] 'value'", "[2] out", "[2] 'value'", "[0] err", "[2] err"]
    assert shown("--group-outputs=engine") == shown("-e") == by_engine
    by_type = ["[2] out", "[0] out", "[2] 'value'", "[0] 'value'"]
    assert shown("--group-outputs type") == shown("--no-stream") == by_type + err
    assert prompt.run("%pxresult -e").splitlines()[0] == "[0] out"


def test_local_runs_the_code_here_too(prompt: Prompt) -> None:
    shown = prompt.run("%%px --local --targets 0\nwhere = 7\nprint('both')\nwhere")
    assert shown.splitlines()[:2] == ["both", "Out[1]: 7"]
    assert shown.splitlines()[2] == "[0] both"
    assert shown.splitlines()[3].endswith(": 7")
    assert prompt.shell.user_ns["where"] == 7
    prompt.run("here_only = 1")
    shown = prompt.run("%%px --local --targets 0\nif 'here_only' in globals(): 1/0\n'fine'")
    assert shown.count("ZeroDivisionError: division by zero") == 1
    assert "'fine'" in shown
    assert "UsageError: %%px --local: the code failed here; see above" in shown
    assert prompt.error is not None


def test_verbose_says_where_the_code_runs(prompt: Prompt) -> None:
    assert prompt.run("%%px --verbose\npass") == "%%px: running on engines 0-3\n"
    assert prompt.run("%%px --verbose -t 2\npass") == "%%px: running on engine 2\n"


def test_pxconfig_sets_what_holds_when_nothing_else_is_said(prompt: Prompt) -> None:
    assert prompt.run("%pxconfig") == (
        "--block --targets all --stream --no-verbose --progress-after 2 "
        "--signal-on-interrupt SIGINT\n"
    )
    assert prompt.run(
        "%pxconfig -t 1:3 --noblock --verbose --no-stream --progress-after -1 "
        "--signal-on-interrupt term"
    ) == ""  # fmt: skip
    assert prompt.run("%pxconfig") == (
        "--noblock --targets [1,2] --no-stream --verbose --progress-after -1 "
        "--signal-on-interrupt SIGTERM\n"
    )
    assert "running on engines 1-2" in prompt.run("%px 1")
    assert isinstance(prompt.value, AsyncResult)
    shown = prompt.run("%px --block --no-verbose -t 0 print('hi')")
    assert shown == "[0] hi\n"


def test_a_failure_is_told_once_and_the_good_values_are_shown(prompt: Prompt) -> None:
    prompt.run("rc[:].scatter('i', range(4), flatten=True, block=True)")
    shown = prompt.run("%px 10 / i")
    assert [line for line in shown.splitlines() if "Error" in line] == [
        "CompositeError: one or more exceptions from call to method: execute",
        "[0:execute]: ZeroDivisionError: division by zero",
    ]
    assert "ipython" not in shown.lower()  # no frame of what lies between
    assert [line.split(": ")[1] for line in shown.splitlines() if "Out[" in line] == [
        "10.0", "5.0", "3.3333333333333335",
    ]  # fmt: skip
    again = prompt.run("%pxresult")
    assert again == shown


def test_a_syntax_error_is_told_once_with_its_line_and_nothing_is_sent(
    prompt: Prompt, rc: Client
) -> None:
    shown = prompt.run("%%px\nx = 1\nif x\n    pass")
    assert shown.splitlines() == [
        '  File "<%px>", line 2',
        "    if x",
        "        ^",
        "SyntaxError: expected ':'",
    ]
    assert rc.history == []
    assert prompt.run("%px --targets 0 cd /").splitlines()[0] == "[0] /"  # a magic without its %


def test_several_views_by_their_suffixes(prompt: Prompt, rc: Client) -> None:
    extension = extension_of(prompt.shell)
    extension.activate("_even", rc.direct_view(slice(0, None, 2), block=True))
    extension.activate("3", rc.direct_view(3, block=True))
    assert lines(prompt.run("%px_even print('even')")) == ["[0] even", "[2] even"]
    assert prompt.run("%%px3\nprint('last')") == "[3] last\n"
    assert "--targets [0,2]" in prompt.run("%pxconfig_even")
    prompt.run("%pxconfig_even --targets 0")
    assert prompt.run("%px_even print('one')") == "[0] one\n"
    assert prompt.run("%pxresult3") == "[3] last\n"
    assert len(lines(prompt.run("%px print('every')"))) == 4
    assert prompt.run("%autopx3") == "Auto Parallel Enabled\nType %autopx3 to disable\n"
    assert prompt.run("print('there')") == "[3] there\n"
    assert prompt.run("%px_even print('one')") == "[0] one\n"
    prompt.run("%autopx_even")
    assert prompt.run("print('there')") == "[0] there\n"
    assert prompt.run("%autopx_even") == "Auto Parallel Disabled\n"
    assert prompt.run("print('here')") == "here\n"
    with pytest.raises(ValueError, match="only letters, digits and _"):
        extension.activate("-x", rc[0])


def test_under_autopx_all_runs_on_the_engines_but_what_must_be_here(
    prompt: Prompt, rc: Client
) -> None:
    prompt.run("x = 'here'")
    assert prompt.run("%autopx") == "Auto Parallel Enabled\nType %autopx to disable\n"
    prompt.run("x = 'there'")
    assert rc[:]["x"] == ["there"] * 4
    assert prompt.shell.user_ns["x"] == "here"
    done = len(rc.history)
    for cell in ("", "   \n", "%pxconfig", "%pxresult", "%result"):
        prompt.run(cell)
    assert len(rc.history) == done
    assert lines(prompt.run("%%px --targets 0\nprint('zero')")) == ["[0] zero"]
    assert prompt.run("%%px --local -t 0\nprint('both')").splitlines() == ["both", "[0] both"]
    assert lines(prompt.run("for i in range(2):\n    if i:\n        print(i)")) == [
        f"[{i}] 1" for i in range(4)
    ]
    assert prompt.run("%autopx") == "Auto Parallel Disabled\n"
    assert prompt.run("print(x)") == "here\n"
    assert prompt.run("autopx").startswith("Auto Parallel Enabled")  # automagic
    assert prompt.run("autopx") == "Auto Parallel Disabled\n"


def test_autopx_leaves_the_question_whether_an_input_is_complete_to_ipython(
    prompt: Prompt,
) -> None:
    prompt.run("%autopx")
    check = prompt.shell.input_transformer_manager.check_complete
    assert check("for i in range(3):") == ("incomplete", 4)
    assert check("x = 1") == ("complete", None)
    prompt.run("%autopx")


def test_values_that_are_long_or_have_several_lines(prompt: Prompt) -> None:
    class_ = "class Rows:\n    def __repr__(self):\n        return 'a\\nb'\nRows()"
    shown = prompt.run(f"%%px --targets 0\n{class_}")
    assert re.fullmatch(r"\[0\] Out\[\d+\]:\na\nb\n", shown)
    shown = prompt.run("%px --targets 0 'y' * 10**6")
    assert SHOWN < len(shown) < SHOWN + 1000
    assert "more of this value is not shown here" in shown
    prompt.run("%px --targets 0 1")  # the magics keep their last result, in memory if it is large


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%px --tar", ["--targets"]),
        ("%%px --no", ["--noblock", "--no-stream", "--no-verbose"]),
        ("%px --block --tar", ["--targets"]),
        ("%%px --targets ", ["all", "0", "1", "2", "3"]),
        ("%%px --targets=a", ["all"]),
        ("%px -t 0 --ver", ["--verbose"]),
        ("%%px --group-outputs ", ["type", "engine", "order"]),
        ("%pxconfig --signal-on-interrupt SIGT", ["SIGTERM"]),
        ("%pxresult -o res", ["result_of_mine"]),
        ("%pxresult --", ["--group-outputs", "--out"]),
        ("%px_even --tar", ["--targets"]),
        ("x = 1\n%px --tar", ["--targets"]),
        ("%px print(x) --tar", []),
        ("%px_odd --tar", []),
    ],
)
def test_tab_completes_options_and_their_values(
    prompt: Prompt, rc: Client, line: str, offered: list[str]
) -> None:
    extension_of(prompt.shell).activate("_even", rc[::2])
    prompt.shell.user_ns["result_of_mine"] = rc[0].apply_async(int)
    assert prompt.complete(line) == offered


class Classic:
    """An interface of somebody's own that has `px`; here, what the 2008 one promises."""

    block: ClassVar[bool] = True
    targets: ClassVar[str] = "all"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def px(self, code: str, targets: Any = None, block: bool | None = None) -> str:
        self.calls.append((code, targets, block))
        return f"ran {code}"

    def get_result(self, *number: int) -> str:
        return f"result {number}"


def test_an_object_with_px_of_its_own_is_asked_and_its_answer_shown(prompt: Prompt) -> None:
    mine = Classic()
    extension_of(prompt.shell).activate("9", mine)
    assert (
        prompt.run("%px9 import math")
        == "Executing command on Controller\nOut[1]: 'ran import math'\n"
    )
    prompt.run("%%px9 --targets 0,2 --noblock\nx")
    prompt.run("%autopx9")
    assert prompt.run("y") == "Out[4]: 'ran y\\n'\n"
    prompt.run("%autopx9")
    assert mine.calls == [
        ("import math", None, None),
        ("x\n", (0, 2), False),
        ("y\n", None, None),
    ]
    assert prompt.run("%result9") == "Out[6]: 'result ()'\n"
    assert prompt.run("%result9 3") == "Out[7]: 'result (3,)'\n"
    assert prompt.run("%px9 --local x").startswith("UsageError: only --targets, --block and")


def test_the_client_of_2008_answers_with_result_lists(cluster: Cluster, prompt: Prompt) -> None:
    mec = kernel_client.MultiEngineClient(str(cluster.client_connection_file))
    extension_of(prompt.shell).activate("", mec)
    shown = prompt.run("%px print('there')").splitlines()
    assert shown[:3] == ["Executing command on Controller", "Out[1]: ", "<Results List>"]
    assert re.fullmatch(r"\[0\] In \[\d+\]: print\('there'\)", shown[3])
    assert re.fullmatch(r"\[0\] Out\[\d+\]: there", shown[4])
    assert prompt.run("%result").splitlines()[1:] == shown[2:]
    mec.client.close()


def test_load_ext_makes_the_magics_known_and_they_say_what_is_missing(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = Prompt(shell, capsys)
    prompt.run("%load_ext enginery")
    for magic in ("%px 1", "%autopx", "%pxconfig", "%result"):
        shown = prompt.run(magic)
        assert shown.startswith(
            f"UsageError: {magic.split(maxsplit=1)[0]}: there are no engines to work on"
        )
        assert "rc = enginery.Client()" in shown


def test_px_follows_the_first_client_that_is_open(
    cluster: Cluster, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = Prompt(shell, capsys)
    first, second = cluster.connect_client_sync(), cluster.connect_client_sync()
    extension_of(shell).offer(first)
    extension_of(shell).offer(second)
    first.wait_for_engines(4, timeout=30)
    second.wait_for_engines(4, timeout=30)
    prompt.run("%px 1")
    assert (len(first.history), len(second.history)) == (4, 0)
    first.close()
    prompt.run("%px 1")
    assert len(second.history) == 4
    del second
    prompt.shell.user_ns.clear()
    extension_of(shell).magics[""].last = None
    gc.collect()
    assert "there are no engines to work on" in prompt.run("%px 1")


def test_activate_outside_ipython_says_so(rc: Client) -> None:
    with pytest.raises(RuntimeError, match="this is plain Python"):
        rc[:].activate()


def test_a_client_costs_no_ipython_where_there_is_none(cluster: Cluster) -> None:
    code = (
        "import sys, enginery\n"
        f"rc = enginery.Client({str(cluster.client_connection_file)!r})\n"
        "assert 'IPython' not in sys.modules\n"
        "import IPython\n"
        "again = enginery.Client(rc.link.file)\n"
        "assert 'enginery.client.magics.extension' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


# --- a terminal ---------------------------------------------------------------------------------


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Callable[[Cluster, int], Terminal]]:
    """Makes IPython in a terminal, with `rc`, a client of this many engines of a cluster."""
    terminals: list[Terminal] = []

    def connect(cluster: Cluster, engines: int) -> Terminal:
        terminal = Terminal(tmp_path)
        terminals.append(terminal)
        file = str(cluster.client_connection_file)
        terminal.run(f"import enginery as en; rc = en.Client({file!r})")
        terminal.run(f"rc.wait_for_engines({engines}, timeout=60)")
        return terminal

    yield connect
    for terminal in terminals:
        terminal.end()


@pytest.fixture
def terminal(
    rc: Client, cluster: Cluster, connected: Callable[[Cluster, int], Terminal]
) -> Terminal:
    """A client of four engines at an IPython prompt; the engines are cleared afterwards."""
    return connected(cluster, 4)


def answer(shown: str) -> list[str]:
    """The lines that engines have put out or given."""
    return [line for line in shown.splitlines() if re.match(r"\[\d\]", line)]


def test_output_is_live_and_the_first_client_needs_no_activation(
    terminal: Terminal, gate: Gate
) -> None:
    terminal.type(f"%px print('be' 'fore'); open({str(gate.path)!r}).close(); print('af' 'ter')")
    for _ in range(4):
        terminal.expect("] before")  # while the gate is closed
    gate.open()
    assert sorted(answer(terminal.prompt())) == [f"[{i}] after" for i in range(4)]
    terminal.leave()


def test_ctrl_c_interrupts_the_engines_and_the_session_goes_on(terminal: Terminal) -> None:
    terminal.run("%px kept = 'kept'")
    terminal.type("%px import signal; print('wait' 'ing'); signal.pause()")
    for _ in range(4):
        terminal.expect("] waiting")
    terminal.interrupt()
    shown = terminal.prompt()
    assert shown.split("^C")[-1].strip() == "KeyboardInterrupt: %px: interrupted engines 0-3"
    assert answer(terminal.run("%px print(kept)")).count("[0] kept") == 1
    terminal.leave()


def test_ctrl_c_tells_of_engines_that_had_failed_before(terminal: Terminal) -> None:
    terminal.run("rc[2].push({'bad': True}, block=True)")
    terminal.type(
        "%px import signal; print('wait' 'ing'); 1/0 if 'bad' in globals() else signal.pause()"
    )
    for _ in range(4):
        terminal.expect("] waiting")
    terminal.interrupt()
    shown = " ".join(terminal.prompt().split("^C")[-1].split())
    assert "interrupted engines 0-1, 3; engine 2 had failed before, see %pxresult" in shown
    terminal.leave()


STUBBORN = """
def stubborn():
    while True:
        try:
            print("waiting")
            return open({gate!r}).close()
        except KeyboardInterrupt:
            print("caught")
"""


def test_a_second_ctrl_c_stops_waiting_for_code_that_goes_on(
    terminal: Terminal, rc: Client, gate: Gate
) -> None:
    rc[1].execute(STUBBORN.format(gate=str(gate.path)), block=True)
    terminal.type("%px --targets 1 stubborn()")
    terminal.expect("[1] waiting")
    terminal.interrupt()
    terminal.expect("[1] caught")
    terminal.interrupt()
    shown = terminal.prompt()
    assert "KeyboardInterrupt: %px: interrupted engine 1; not yet ended: engine 1" in shown
    assert "Wait for it: %pxresult" in shown
    gate.open()
    told = ["[1] waiting", "[1] caught", "[1] waiting"]
    assert answer(terminal.run("%pxresult")) == told
    terminal.leave()


WAITS_FOR_USR1 = """
import signal
def told(*args):
    raise InterruptedError
def waits():
    before = signal.signal(signal.SIGUSR1, told)
    try:
        print("waiting")
        signal.pause()
    except InterruptedError:
        print("usr1")
    finally:
        signal.signal(signal.SIGUSR1, before)
"""


def test_another_signal_can_be_sent_or_none(terminal: Terminal, rc: Client, gate: Gate) -> None:
    wait = f"print('wait' 'ing'); open({str(gate.path)!r}).close()"
    terminal.type(f"%px --targets 0 --signal-on-interrupt none {wait}")
    terminal.expect("[0] waiting")
    terminal.interrupt()
    shown = terminal.prompt()
    # In the wait, or while what has just come is being shown.
    assert re.search(r"KeyboardInterrupt: (%px: )?stopped waiting for (execute: |engine 0;)", shown)
    assert "the work goes on" in shown.lower()
    gate.open()
    assert answer(terminal.run("%pxresult")) == ["[0] waiting"]
    rc[1].execute(WAITS_FOR_USR1, block=True)
    terminal.type("%px --targets 1 --signal-on-interrupt USR1 waits()")
    terminal.expect("[1] waiting")
    terminal.interrupt()
    shown = terminal.prompt()
    assert answer(shown) == ["[1] usr1"]
    assert "KeyboardInterrupt: %px: interrupted engine 1" in shown
    terminal.leave()


def test_ctrl_c_in_a_px_of_2008_interrupts_too(
    terminal: Terminal, cluster: Cluster, tmp_path: Path
) -> None:
    terminal.run("from enginery.kernel import client")
    terminal.run(f"mec = client.MultiEngineClient({str(cluster.client_connection_file)!r})")
    terminal.run("mec.activate()")
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    wait = f"open({str(begun)!r}, 'w').close(); import signal; signal.pause()"
    terminal.type(f"%px --targets 2 {wait}")
    begun.read_text()  # which ends when the engine has opened it, too
    terminal.interrupt()
    assert "KeyboardInterrupt: %px: interrupted engine 2" in terminal.prompt()
    assert "<Results List>" in terminal.run("%px print('fi' 'ne')")
    terminal.leave()


def test_views_are_activated_by_hand(terminal: Terminal) -> None:
    terminal.run("rc.activate([1, 3], '_odd'); rc[0].block = True; rc[0].activate()")
    assert answer(terminal.run("%px_odd 1 + 1"))[1].endswith(": 2")
    assert answer(terminal.run("%px print('ze' 'ro')")) == ["[0] zero"]
    assert answer(terminal.run("%px_odd print('o' 'dd')").replace("[3]", "[1]")) == ["[1] odd"] * 2
    terminal.leave()


@pytest.mark.parametrize("activated", [False, True])
def test_after_another_start_the_magics_work_on_the_new_cluster(
    tmp_path: Path, activated: bool
) -> None:
    """Who runs the first cell of a notebook again does no more than that."""
    terminal = Terminal(tmp_path)
    try:
        start = "cluster = en.Cluster(n=1); rc = cluster.start_and_connect_sync()"
        terminal.run("import enginery as en")
        terminal.run(start)
        if activated:
            terminal.run("rc.activate()")
        assert answer(terminal.run("%px print('fi' 'rst')")) == ["[0] first"]
        terminal.run("cluster.stop_cluster_sync()")
        terminal.run(start)
        assert answer(terminal.run("%px print('sec' 'ond')")) == ["[0] second"]
        terminal.run("cluster.stop_cluster_sync()")
        terminal.leave()
    finally:
        terminal.end()


def test_autopx_with_inputs_of_several_lines_and_with_errors(terminal: Terminal) -> None:
    assert "Auto Parallel Enabled\nType %autopx to disable" in terminal.run("%autopx")
    shown = terminal.block("for i in range(2):", "print('i is', i)")
    assert sorted(answer(shown)) == sorted(
        f"[{engine}] i is {i}" for engine in range(4) for i in range(2)
    )
    wrong = terminal.run("x = = 3")
    assert wrong.count("SyntaxError: invalid syntax") == 1
    assert "Traceback" not in wrong
    assert "UsageError: %%px --targets 7: there is no engine 7" in terminal.block(
        "%%px --targets 7", "1"
    )
    assert terminal.run("1/0").count("ZeroDivisionError") == 4
    assert sorted(answer(terminal.run("print('fi' 'ne')"))) == [f"[{i}] fine" for i in range(4)]
    assert "Auto Parallel Disabled" in terminal.run("%autopx")
    assert "here" in terminal.run("print('he' 're')")
    terminal.run("%autopx")
    terminal.leave()  # exit is for this side


def test_under_autopx_an_engine_may_die_and_all_may_be_gone(
    own_cluster: Cluster, connected: Callable[[Cluster, int], Terminal]
) -> None:
    terminal = connected(own_cluster, 2)
    terminal.run("%autopx")
    terminal.run("import os")
    victim = own_cluster.engine_pids[1]
    shown = terminal.run(f"if os.getpid() == {victim}: os.kill(os.getpid(), 9)")
    assert shown.count("[1:execute]: EngineError: engine 1 died") == 1
    assert "signal 9 (SIGKILL)" in shown
    assert "Traceback" not in shown
    assert sorted(answer(terminal.run("print('al' 'ive')"))) == ["[0] alive", "[1] alive"]
    terminal.run("%autopx")
    terminal.run("rc.shutdown()")
    terminal.run("%autopx")
    shown = terminal.run("print('no' 'body')")
    assert shown.count("NoEnginesRegistered: ") == 1
    assert "Traceback" not in shown
    assert "Auto Parallel Disabled" in terminal.run("%autopx")
    assert "42" in terminal.run("6*7")
    terminal.leave()


def test_a_thousand_lines_of_each_engine_arrive_in_order(terminal: Terminal) -> None:
    shown = terminal.run("%px for i in range(1000): print('line', i)")
    told = answer(shown)
    for engine in range(4):
        mine = [line for line in told if line.startswith(f"[{engine}]")]
        assert mine == [f"[{engine}] line {i}" for i in range(1000)]
    terminal.leave()


def test_very_much_output_is_bounded_and_says_so(terminal: Terminal) -> None:
    shown = terminal.run("%px --targets 0 print(('z' * 99 + chr(10)) * 20_000)")
    assert shown.count("z" * 99) < 20_000
    assert shown.count("z" * 99) >= 2_000
    assert shown.count("more of its output is not shown here") == 1
    assert terminal.run("print(rc.last.stdout.count('z'))").split()[-1] == "1980000"
    terminal.leave()


def test_tab_completes_at_the_terminal(terminal: Terminal) -> None:
    terminal.press("%px --tar\t")
    terminal.expect("gets")  # which nobody has typed
    assert answer(terminal.run(" 0 print('on' 'ly')")) == ["[0] only"]
    terminal.leave()


def test_a_bar_is_shown_when_it_takes_long(terminal: Terminal, gate: Gate) -> None:
    terminal.type(f"%px --progress-after 0 open({str(gate.path)!r}).close(); print('do' 'ne')")
    terminal.expect("%px:   0%")
    gate.open()
    shown = terminal.prompt()
    assert re.search(r"%px: 4 engines in ", shown)
    assert sorted(re.findall(r"\[\d\] done", shown)) == [f"[{i}] done" for i in range(4)]
    terminal.leave()


# --- a kernel ------------------------------------------------------------------------------------


def connect(cluster: Cluster) -> str:
    """The cell that makes a client."""
    return (
        f"import enginery as en\nrc = en.Client({str(cluster.client_connection_file)!r})\n"
        "rc.wait_for_engines(4, timeout=60)"
    )


def notebook(cluster: Cluster, *cells: str) -> nbformat.NotebookNode:
    """A notebook that connects and runs these cells."""
    return new_notebook(
        cells=[new_code_cell(source) for source in (connect(cluster), *cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )


def test_a_notebook_shows_rich_output_in_its_order(
    rc: Client, cluster: Cluster, tmp_path: Path
) -> None:
    cells = (
        "%px %matplotlib inline",
        "%%px --targets 2\n"
        "from IPython.display import HTML, display\n"
        "import matplotlib.pyplot as plt\n"
        "print('one')\n"
        "display(HTML('<b>two</b>'))\n"
        "print('three')\n"
        "plt.plot([1, 2]); plt.show()\n"
        "print('four')\n"
        "HTML('<i>five</i>')",
    )
    ran = execute(notebook(cluster, *cells), tmp_path)
    *shown, value = [
        re.sub(r"\x1b\[\d+m", "", output["text"])
        if output["output_type"] == "stream"
        else min(output["data"])
        for output in ran.cells[2].outputs
    ]
    assert shown[:4] == ["[2] one\n[2]\n", "text/html", "[2] three\n[2]\n", "image/png"]
    assert re.fullmatch(r"\[2\] four\n\[2\] Out\[\d+\]:\n", shown[4])
    assert value == "text/html"
    assert ran.cells[2].outputs[1]["data"]["text/html"] == "<b>two</b>"
    assert ran.cells[2].outputs[5]["data"]["text/html"] == "<i>five</i>"


def test_interrupting_the_kernel_interrupts_the_engines(
    rc: Client, cluster: Cluster, tmp_path: Path
) -> None:
    waiting = "%%px --targets 0\nimport signal\nprint('waiting')\nsignal.pause()"
    steps = [
        ["run", connect(cluster)],
        ["run", "%px kept = 'kept'"],
        ["interrupt", waiting, "[0] waiting"],
        ["run", "%px --targets 0 print(kept)"],
    ]
    done = subprocess.run(
        [sys.executable, KERNEL],
        input=json.dumps(steps),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, interrupted, after = json.loads(done.stdout)
    assert interrupted == "[0] waiting\nKeyboardInterrupt: %%px: interrupted engine 0"
    assert after == "[0] kept\n"


def test_autopx_in_a_notebook(rc: Client, cluster: Cluster, tmp_path: Path) -> None:
    ran = execute(
        notebook(
            cluster, "%autopx", "for i in range(2):\n    print(i)", "%autopx", "print('here')"
        ),
        tmp_path,
    )
    _, on, there, off, here = ["".join(o["text"] for o in cell.outputs) for cell in ran.cells]
    assert on == "Auto Parallel Enabled\nType %autopx to disable\n"
    assert lines(there) == sorted(f"[{engine}] {i}" for engine in range(4) for i in range(2))
    assert off == "Auto Parallel Disabled\n"
    assert here == "here\n"


# --- the page ------------------------------------------------------------------------------------


def test_the_reference_has_every_magic_and_every_option(prompt: Prompt) -> None:
    page = DOCS.read_text()
    for parser in extension_of(prompt.shell).magics[""].parsers.values():
        assert f"`{parser.magic}" in page
        for name in parser.names:
            assert f"`{name}" in page, name
