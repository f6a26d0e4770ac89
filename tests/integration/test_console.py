"""Consoles on engines: a real `jupyter console`, and Jupyter's own client for the details."""

import fcntl
import json
import os
import queue
import re
import signal
import stat
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pexpect
import psutil
import pytest
from jupyter_client import BlockingKernelClient
from jupyter_core.utils import ensure_event_loop

import enginery
from enginery import Cluster, bind_kernel
from enginery.engine import actions
from enginery.engine.console.place import Place

PATIENCE = 30


@pytest.fixture(scope="module", autouse=True)
def loop():
    """The event loop that Jupyter's client makes for this thread, and keeps."""
    yield
    ensure_event_loop().close()


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Two engines, which are kernels from the first test on."""
    profile = tmp_path_factory.mktemp("console") / "profile_console"
    with Cluster(n=2, profile_dir=profile) as client:
        client.wait_for_engines(2, timeout=PATIENCE)
        yield client


@pytest.fixture
def view(engines):
    """The engine on which the console is."""
    view = engines[0]
    view.block = True
    yield view
    view.apply_sync(actions.clear)


@pytest.fixture
def file(view):
    return view.apply_sync(bind_kernel)


@pytest.fixture
def hold(gate, tmp_path):
    """Start a task that lasts until the gate is opened; it runs when this returns."""
    begun, held = tmp_path / "begun", gate.held
    os.mkfifo(begun)

    def task():
        begun.open("w").close()  # which waits for who reads
        held()

    def start(view):
        result = view.apply_async(task)
        begun.open().close()
        return result

    return start


@contextmanager
def attached(file):
    """A client of Jupyter at the kernel of this file."""
    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield client
    finally:
        client.stop_channels()
        client.context.destroy(0)


@pytest.fixture
def console(file):
    with attached(file) as client:
        yield client


def run(console, code, **options):
    """Have code executed; the reply, and all that was published about it."""
    told = []

    def note(message):
        told.append((message["msg_type"], message["content"]))

    reply = console.execute_interactive(code, output_hook=note, timeout=PATIENCE, **options)
    return reply["content"], [each for each in told if each[0] != "status"]


def begin(console, code, **options):
    """Have code executed, and do not wait; the kernel has it when this returns."""
    asked = console.execute(code, **options)
    known = console.kernel_info()
    replies = {}
    while known not in replies:
        take_reply(console, replies)
    return asked, replies


def end(console, asked):
    """The reply to what was begun."""
    asked, replies = asked
    while asked not in replies:
        take_reply(console, replies)
    return replies[asked]


def take_reply(console, replies):
    message = console.get_shell_msg(timeout=PATIENCE)
    replies[message["parent_header"]["msg_id"]] = message["content"]


def wait_for(console, kind, text=""):
    """The next published message of this kind with this in it."""
    while True:
        message = console.get_iopub_msg(timeout=PATIENCE)
        if message["msg_type"] == kind and text in json.dumps(message["content"]):
            return message["content"]


def ask_control(console, kind):
    """The answer to a request on the control channel."""
    console.control_channel.send(console.session.msg(kind, {}))
    return console.get_control_msg(timeout=PATIENCE)["content"]


# --- a real console ---------------------------------------------------------------------------


def typed(terminal, line):
    """Type a line, and wait until its echo is there."""
    terminal.send(line)
    terminal.expect_exact(line[-1:])
    terminal.send("\r")


@contextmanager
def terminal_at(file, home):
    env = {**os.environ, "HOME": str(home), "TERM": "dumb", "PROMPT_TOOLKIT_NO_CPR": "1"}
    jupyter = [sys.executable, "-m", "jupyter_console"]
    command = [*jupyter, "--existing", file, "--ZMQTerminalInteractiveShell.highlighting_style=bw"]
    terminal = pexpect.spawn(
        command[0], command[1:], env=env, encoding="utf-8", timeout=PATIENCE, dimensions=(50, 150)
    )
    try:
        yield terminal
    finally:
        terminal.close(force=True)


def prompt(terminal, number):
    """Wait for the prompt of this number."""
    terminal.expect(rf"In [^\n]*?{number}[^\n]*?: ")


def test_a_console_sees_and_sets_what_the_client_does(engines, file, tmp_path, gate, hold):
    view = engines[0]
    view.block = True
    first = view.execute("0").number
    view.push({"a": 20})
    with terminal_at(file, tmp_path) as terminal:
        terminal.expect_exact("Engine 0")
        prompt(terminal, 1)  # of its own; it does not know better before the first reply
        typed(terminal, "a * 2 + 2")
        terminal.expect(rf"Out[^\n]*?{first + 1}[^\n]*?: [^\n]*?42")
        prompt(terminal, first + 2)
        held = hold(engines[1])
        typed(terminal, "b = a + 1; print('the ' + 'sum', b)")
        terminal.expect_exact("the sum 21")
        assert view["b"] == 21
        prompt(terminal, first + 3)
        typed(terminal, "answer = input('who' + '? ')")
        terminal.expect_exact("who? ")
        terminal.send("me\r")
        prompt(terminal, first + 4)
        assert view["answer"] == "me"
        typed(terminal, "1 / (b - 21)")
        terminal.expect_exact("ZeroDivisionError: division by zero")
        prompt(terminal, first + 5)
        typed(terminal, "%debug")
        terminal.expect_exact("ipdb>")
        terminal.send("p b * 2\r")
        terminal.expect_exact("42")
        terminal.expect_exact("ipdb>")
        terminal.send("q\r")
        prompt(terminal, first + 6)
        typed(terminal, "exit")
        terminal.expect_exact("keeping kernel alive")
        terminal.expect(pexpect.EOF)
    gate.open()
    held.get(PATIENCE)
    assert view.apply_sync(bind_kernel) == file


# --- what runs, and when -----------------------------------------------------------------------


def test_inputs_and_results_are_those_of_the_engine(view, console):
    number = view.execute("x = 1").number
    reply, told = run(console, "x + 1")
    assert reply["status"] == "ok"
    assert reply["execution_count"] == number + 1
    assert [kind for kind, _ in told] == ["execute_input", "execute_result"]
    assert told[1][1]["data"] == {"text/plain": "2"}
    assert view.execute("_ + 40").result == "42"
    assert view.execute(f"Out[{number + 1}], In[{number + 1}]").result == "(2, 'x + 1')"


def test_output_goes_to_the_console_in_order_and_not_to_a_task(view, console):
    code = """if True:
        import sys
        from IPython.display import HTML, display
        print("one")
        print("two", file=sys.stderr)
        display(HTML("<b>three</b>"))
        print("four")
    """
    _, told = run(console, code)
    assert [put_out(content) for _, content in told[1:] if content.get("text") != "\n"] == [
        ("stdout", "one"), ("stderr", "two"), (None, "<b>three</b>"), ("stdout", "four"),
    ]  # fmt: skip
    ar = view.apply_async(print, "five")
    ar.get(PATIENCE)
    assert ar.stdout == "five\n"


def put_out(content):
    text = content["text"].rstrip("\n") if "text" in content else content["data"]["text/html"]
    return content.get("name"), text


def test_a_lot_of_output_arrives_whole(console):
    _, told = run(console, "for i in range(20_000): print('x' * 50, i)")
    text = "".join(content["text"] for kind, content in told if kind == "stream")
    assert text == "".join(f"{'x' * 50} {i}\n" for i in range(20_000))


def test_an_error_comes_with_the_frames_of_the_user_alone(console):
    reply, told = run(console, "def f():\n    return 1 / 0\nf()")
    assert (reply["status"], reply["ename"]) == ("error", "ZeroDivisionError")
    shown = "\n".join(reply["traceback"])
    assert told[-1] == ("error", {k: reply[k] for k in ("ename", "evalue", "traceback")})
    assert "line 3" in shown
    assert "return 1 / 0" in shown
    assert "enginery" not in shown
    assert run(console, "f(")[0]["ename"] == "SyntaxError"
    assert "UsageError: Line magic" in run(console, "%nothing")[0]["traceback"][0]


def test_silent_and_unnumbered_inputs(view, console):
    number = view.execute("0").number
    assert run(console, "y = 5; y", silent=True)[1] == []
    assert run(console, "y", store_history=False)[0]["execution_count"] == number + 1
    reply, _ = run(console, "y", user_expressions={"twice": "y * 2", "bad": "nobody"})
    assert reply["execution_count"] == number + 1
    assert reply["user_expressions"]["twice"]["data"]["text/plain"] == "10"
    assert reply["user_expressions"]["bad"]["status"] == "error"


def test_an_input_waits_for_the_task_that_runs_and_later_tasks_for_it(view, console, gate, hold):
    view.push({"order": []})
    held = hold(view)
    asked = begin(console, "order.append('console')")
    later = view.execute("order.append('task')", block=False)
    assert console.complete("ord", reply=True, timeout=PATIENCE)["content"]["matches"]
    assert not held.ready()
    assert asked[0] not in asked[1]
    gate.open()
    assert end(console, asked)["status"] == "ok"
    later.get(PATIENCE)
    assert view["order"] == ["console", "task"]


def test_a_balanced_task_runs_while_a_console_is_attached(engines, console):
    run(console, "z = 1")
    results = engines.load_balanced_view().map_async(lambda x: x * x, range(50))
    assert run(console, "z + 1")[0]["status"] == "ok"
    assert results.get(PATIENCE) == [x * x for x in range(50)]


def test_it_runs_in_the_main_thread(console):
    code = "import threading; threading.current_thread() is threading.main_thread()"
    assert run(console, code)[1][-1][1]["data"]["text/plain"] == "True"


# --- what else a console asks ------------------------------------------------------------------


def test_completion_inspection_history_and_whole_inputs(view, console):
    view.push({"spectrum": [1]})
    found = console.complete("spectr.x", 6, reply=True, timeout=PATIENCE)["content"]
    assert (found["matches"], found["cursor_start"], found["cursor_end"]) == (["spectrum"], 0, 6)
    about = console.inspect("spectrum", reply=True, timeout=PATIENCE)["content"]
    assert about["found"]
    assert "list" in about["data"]["text/plain"]
    assert not console.inspect("nobody", reply=True, timeout=PATIENCE)["content"]["found"]
    run(console, "spectrum")
    told = console.history(hist_access_type="tail", n=1, reply=True, timeout=PATIENCE)["content"]
    assert [text for _, _, text in told["history"]] == ["spectrum"]
    console.is_complete("for x in y:")
    assert console.get_shell_msg(timeout=PATIENCE)["content"] == {
        "status": "incomplete", "indent": "    ",
    }  # fmt: skip


def test_two_consoles(file, console):
    with attached(file) as other:
        run(console, "shared = 'by one'")
        reply, told = run(other, "shared")
        assert told[-1][1]["data"]["text/plain"] == "'by one'"
        assert wait_for(console, "execute_input", "shared")["code"] == "shared"
        assert run(console, "1")[0]["execution_count"] == reply["execution_count"] + 1


def test_what_waits_is_not_run_after_an_error(view, console, gate, hold):
    held = hold(view)
    bad, good = begin(console, "1 / 0"), begin(console, "never = 1")
    gate.open()
    held.get(PATIENCE)
    assert end(console, bad)["status"] == "error"
    good[1].update(bad[1])
    assert end(console, good)["status"] == "aborted"
    with pytest.raises(NameError):
        view.pull("never")


# --- what cannot be told -----------------------------------------------------------------------

ODD = """
class Odd:
    def __init__(self, form):
        self.form = form
    def __repr__(self):
        return "odd"
    def _repr_json_(self):
        return self.form

class Mute:
    def __repr__(self):
        raise SystemExit("mute")

circular, deep = {}, {}
circular["again"] = circular
for _ in range(100_000):
    deep = {"deeper": deep}
"""


@pytest.mark.parametrize("form", ["{(1, 2): 3}", "circular", "deep", "{'n': 10 ** 5000}"])
def test_a_form_that_json_cannot_say_is_left_out_and_named(file, view, console, form):
    run(console, ODD)
    reply, told = run(console, f"Odd({form})", user_expressions={"also": f"Odd({form})"})
    assert (reply["status"], reply["user_expressions"]["also"]["status"]) == ("ok", "error")
    (result,) = [content for kind, content in told if kind == "execute_result"]
    assert result["data"] == {"text/plain": "odd"}
    assert "cannot be shown as application/json" in "".join(
        content["text"] for kind, content in told if kind == "stream"
    )
    run(console, "circular = deep = None")
    assert view.apply_sync(bind_kernel) == file


def test_a_value_that_ends_the_program_when_it_is_shown_is_an_error(console):
    run(console, ODD)
    assert run(console, "Odd({'mute': Mute()})")[0]["ename"] == "SystemExit"
    assert run(console, "get_ipython().payload_manager.write_payload({(1, 2): 3})")[0]["ename"] == (
        "TypeError"
    )
    code = "class Worse(Exception):\n  _render_traceback_ = Mute.__repr__\nraise Worse('so')"
    assert run(console, code)[0]["traceback"] == ["Worse: so"]
    assert run(console, "1")[0]["status"] == "ok"


def test_user_code_that_exits_while_it_is_completed_or_inspected_is_told(console):
    code = """
def leave(*_, **__):
    raise SystemExit("from here")

ip = get_ipython()
ip.object_inspect_mime = ip.Completer.completions = leave
"""
    run(console, code)
    try:
        for ask in (console.inspect, console.complete):
            said = ask("code", reply=True, timeout=PATIENCE)["content"]
            assert (said["status"], said["ename"]) == ("error", "SystemExit")
    finally:
        reply, _ = run(console, "del ip.object_inspect_mime, ip.Completer.completions")
    assert reply["status"] == "ok"


def test_a_request_that_makes_no_sense_is_answered(console):
    message = console.session.msg("execute_request", {})
    console.shell_channel.send(message)
    said = console.get_shell_msg(timeout=PATIENCE)["content"]
    assert (said["status"], said["ename"]) == ("error", "KeyError")


# --- interrupts --------------------------------------------------------------------------------


def endless(console):
    asked = begin(console, "print('it ' + 'runs')\nimport threading; threading.Event().wait()")
    wait_for(console, "stream", "it runs")
    return asked


def test_an_interrupt_request_interrupts_what_runs(view, console):
    asked = endless(console)
    assert ask_control(console, "interrupt_request")["status"] == "ok"
    assert end(console, asked)["ename"] == "KeyboardInterrupt"
    assert view.apply_sync(int, "7") == 7


def test_a_signal_of_the_client_interrupts_it_too(engines, console):
    asked = endless(console)
    engines.send_signal(signal.SIGINT, 0)
    assert end(console, asked)["ename"] == "KeyboardInterrupt"


def test_an_interrupt_drops_what_waits_and_leaves_the_task_alone(view, console, gate, hold):
    held = hold(view)
    asked = begin(console, "never = 1")
    ask_control(console, "interrupt_request")
    assert end(console, asked)["ename"] == "KeyboardInterrupt"
    assert not held.ready()
    gate.open()
    assert held.get(PATIENCE) is None
    with pytest.raises(NameError):
        view.pull("never")


# --- input -------------------------------------------------------------------------------------


def test_input_is_asked_for_at_the_console(view, console):
    asked = begin(console, "said = input('well? ')", allow_stdin=True)
    assert console.get_stdin_msg(timeout=PATIENCE)["content"]["prompt"] == "well? "
    console.input("yes")
    assert end(console, asked)["status"] == "ok"
    assert view["said"] == "yes"


def test_who_leaves_without_an_answer_does_not_block_the_engine(view, file):
    with attached(file) as console:
        begin(console, "said = input('well? ')", allow_stdin=True)
        console.get_stdin_msg(timeout=PATIENCE)
    view.apply_async(int).get(PATIENCE)


def test_nobody_is_asked_who_cannot_be(console):
    reply, _ = run(console, "input()", allow_stdin=False)
    assert (reply["ename"], "cannot be asked" in reply["evalue"]) == ("EOFError", True)


# --- binding -----------------------------------------------------------------------------------


def test_it_listens_for_its_user_alone_and_on_no_port(engines, file):
    directory = Path(file).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    assert json.loads(Path(file).read_text())["transport"] == "ipc"
    process = psutil.Process(engines[0].apply_sync(os.getpid))
    listening = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == []


def test_nothing_of_jupyter_is_needed_on_the_engine(view, file):
    loaded = view.apply_sync(lambda: set(__import__("sys").modules))
    assert not loaded & {"ipykernel", "jupyter_client", "jupyter_core", "tornado"}


def test_who_does_not_have_the_key_is_not_answered(file, console):
    with attached(file) as stranger:
        stranger.session.key = b"another"
        stranger.execute("1 / 0")
        assert run(console, "'still here'")[0]["status"] == "ok"
        with pytest.raises(queue.Empty):
            stranger.get_shell_msg(timeout=0.1)


def test_binding_again_gives_the_same_and_tells_how_to_attach(view, file):
    ar = view.apply_async(bind_kernel)
    assert ar.get(PATIENCE) == file
    assert ar.wait_for_output(PATIENCE)
    assert f"jupyter console --existing {file} " in ar.stdout


def test_a_kernel_that_has_ended_is_replaced(own_cluster):
    def end_kernel():
        from enginery.engine.namespace import here

        here().console.close()

    with own_cluster.connect_client_sync() as client:
        client.wait_for_engines(1, timeout=PATIENCE)
        engine = client[0]
        first = engine.apply_sync(bind_kernel)
        engine.apply_sync(end_kernel)
        with pytest.raises(enginery.RemoteError, match="no kernel yet"):
            engine.execute("%connect_info", block=True)
        second = engine.apply_sync(bind_kernel)
        assert second != first
        with attached(second) as console:
            assert run(console, "1")[0]["status"] == "ok"


def test_a_kernel_that_cannot_be_made_leaves_nothing(engines):
    def fail():
        import resource
        import tempfile
        from pathlib import Path

        import psutil

        from enginery import bind_kernel

        tempfile.gettempdir()  # which tries, the first time, whether a file can be written
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # no file can be written
        try:
            bind_kernel()
        except OSError as error:
            failed = error.strerror
        else:
            failed = None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        here = psutil.Process()
        links = [Path(f"/proc/self/fd/{fd}") for fd in Path("/proc/self/fd").iterdir()]
        places = [str(link.readlink()) for link in links if link.exists()]
        return failed, here.num_fds(), [place for place in places if "enginery-console" in place]

    view = engines[1]
    first, second = view.apply_sync(fail), view.apply_sync(fail)
    assert first[0] == second[0] == "File too large"
    assert first[1:] == second[1:]
    assert first[2] == []


@pytest.fixture
def temporary(monkeypatch):
    """A short directory for temporary files, of this process alone."""
    with tempfile.TemporaryDirectory(prefix="e-") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def test_a_draft_whose_maker_was_killed_is_removed_and_no_other(temporary):
    left, used = temporary / ".enginery-console-left", temporary / ".enginery-console-used"
    left.mkdir()
    used.mkdir()
    lock = os.open(used, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = Place("engine-0", "key")
    finally:
        os.close(lock)
    try:
        assert not left.exists()
        assert used.exists()
    finally:
        place.remove()


def test_many_places_are_made_at_once(temporary):
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda n: Place(f"engine-{n}", "key"), range(200)))
    there = [place.directory.is_dir() for place in places]
    for place in places:
        place.remove()
    assert all(there)
    assert list(temporary.iterdir()) == []


def test_magics(engines, view, file):
    assert file in view.execute("%console").stdout
    assert f"jupyter console --existing {file}\n" in view.execute("%connect_info").stdout
    with pytest.raises(enginery.RemoteError, match="no kernel yet"):
        engines[1].execute("%connect_info", block=True)


def test_only_an_engine_can_be_bound(view):
    with pytest.raises(RuntimeError, match=re.escape("rc[0].apply_sync(enginery.bind_kernel)")):
        bind_kernel()

    def in_a_fork():
        import os

        from enginery import bind_kernel

        read, write = os.pipe()
        if os.fork() == 0:
            try:
                bind_kernel()
            except RuntimeError:
                os.write(write, b"refused")
            os._exit(0)
        os.close(write)
        with open(read, "rb") as pipe:
            return pipe.read()

    assert view.apply_sync(in_a_fork) == b"refused"


# --- ends --------------------------------------------------------------------------------------


def test_a_console_does_not_end_its_engine(view, console):
    before = view.apply_sync(os.getpid)
    reply = console.shutdown(reply=True, timeout=PATIENCE)["content"]
    assert (reply["status"], "rc.shutdown" in reply["evalue"]) == ("error", True)
    reply, _ = run(console, "exit")
    assert reply["payload"] == [{"source": "ask_exit", "keepkernel": True}]
    assert view.apply_sync(os.getpid) == before


STUBBORN = """
import time
print('it ' + 'runs')
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.parametrize(
    "code", ["print('it ' + 'runs')", "print('it ' + 'runs'); input()", STUBBORN]
)
def test_an_engine_ends_with_its_console_and_leaves_nothing(own_cluster, code):
    with own_cluster.connect_client_sync() as client:
        client.wait_for_engines(2, timeout=PATIENCE)
        process = psutil.Process(client[0].apply_sync(os.getpid))
        file = client[0].apply_sync(bind_kernel)
        with attached(file) as console:
            begin(console, code, allow_stdin=True)
            wait_for(console, "stream", "it runs")
            own_cluster.stop_cluster_sync()
    assert not process.is_running()
    assert not Path(file).parent.exists()


def test_a_console_is_told_that_its_engine_ends(own_cluster):
    with own_cluster.connect_client_sync() as client:
        client.wait_for_engines(2, timeout=PATIENCE)
        with attached(client[0].apply_sync(bind_kernel)) as console:
            asked = endless(console)
            stopping = threading.Thread(target=own_cluster.stop_cluster_sync)
            stopping.start()
            reply = end(console, asked)
            stopping.join(PATIENCE)
    assert reply["ename"] in {"KeyboardInterrupt", "EngineError"}


def in_the_next_life(view, function):
    """What the function gives on the engine that takes the place of one that was killed."""
    while True:
        with suppress(enginery.EngineryError):  # it was sent to the one that was killed
            return view.apply_sync(function)


def test_what_a_killed_engine_has_left_is_removed_by_the_next(own_cluster):
    with own_cluster.connect_client_sync() as client:
        client.wait_for_engines(2, timeout=PATIENCE)
        files = client[:].apply_sync(bind_kernel)
        first = client[0]
        process = psutil.Process(first.apply_sync(os.getpid))
        process.kill()
        process.wait(PATIENCE)
        again = in_the_next_life(first, bind_kernel)
        assert again != files[0]
        assert not Path(files[0]).exists()
        assert Path(files[1]).exists()
