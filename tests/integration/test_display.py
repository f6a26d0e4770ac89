"""What user code prints and displays: rich, in order, complete, and bounded (rows A9, H2)."""

import base64
import os
import time

import psutil
import pytest

import enginery
from enginery.client.display.progress import follow
from enginery.client.outputs import HEAD, LEFT_OUT, TAIL

PATIENCE = 60.0


def test_a_figure_comes_back_as_an_image(rc):
    code = "%matplotlib inline\nimport matplotlib.pyplot as plt\nprint('drawn')\nplt.plot([1, 2]);"
    replies = rc[:2].execute(code, block=True)
    for engine, reply in enumerate(replies):
        [figure] = reply.outputs
        assert base64.b64decode(figure["data"]["image/png"]).startswith(b"\x89PNG")
        assert (reply.stdout, reply.engine) == ("drawn\n", engine)


def test_a_function_displays_as_richly(rc):
    def shows():
        from IPython.display import HTML, display

        print("before")
        display(HTML("<b>x</b>"))
        print("after")
        return os.getpid()

    result = rc[:].apply_async(shows)
    pids = result.get(PATIENCE)
    assert result.wait_for_output(PATIENCE)
    assert result.stdout == ["before\nafter\n"] * len(pids)
    html = {"text/plain": "<IPython.core.display.HTML object>", "text/html": "<b>x</b>"}
    assert [[shown["data"] for shown in each] for each in result.outputs] == [[html]] * len(pids)
    single = rc[0].apply_async(shows)
    single.get(PATIENCE)
    assert single.wait_for_output(PATIENCE)
    assert [shown["data"] for shown in single.outputs] == [html]


def test_a_table_is_given_in_every_form(rc):
    code = "import pandas\npandas.DataFrame({'a': [1, 2]})"
    reply = rc[1].execute(code, block=True)
    assert "<table" in reply.data["text/html"]
    assert reply.result.split() == ["a", "0", "1", "1", "2"]
    assert reply.started <= reply.completed


def test_results_print_as_at_the_prompts_of_the_engines(own_cluster):
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=PATIENCE)
        dview = rc[:]
        assert repr(dview.execute("a=5", block=True)) == (
            "<Results List>\n[0] In [1]: a=5\n[1] In [1]: a=5"
        )
        assert repr(dview.execute("print(a)\na + 1", block=True)) == (
            "<Results List>\n"
            "[0] In [2]: print(a)\na + 1\n[0] Out[2]: 5\n6\n\n"
            "[1] In [2]: print(a)\na + 1\n[1] Out[2]: 5\n6\n"
        )
        reply = rc[1].execute("d=10; print(d)", block=True)
        assert repr(reply) == "[1] In [3]: d=10; print(d)\n[1] Out[3]: 10\n"
        assert str(reply) == (
            "{'input': {'translated': 'd=10; print(d)', 'raw': 'd=10; print(d)'}, "
            "'number': 3, 'id': 1, 'stdout': '10\\n'}"
        )
        assert reply["input"]["raw"] == reply.raw
        with pytest.raises(AttributeError, match="has no 'colour'"):
            _ = reply.colour


def test_what_is_displayed_is_shown_while_it_runs(rc, gate, capsys):
    held = gate.held

    def talk():
        print("first")
        held()
        print("last")

    result = rc[2].apply_async(talk)
    shown = ""
    with result.stream_output():
        deadline = time.monotonic() + PATIENCE
        while "[2] first\n" not in shown and time.monotonic() < deadline:
            shown += capsys.readouterr().out
            result.wait(0.01)
        assert not result.ready()
        gate.open()
        result.get(PATIENCE)
    assert shown + capsys.readouterr().out == "[2] first\n[2] last\n"


def test_a_thousand_lines_of_each_engine_come_complete_and_in_order(rc):
    def lines():
        for i in range(1000):
            print(i)

    result = rc[:].apply_async(lines)
    items = rc.load_balanced_view().map_async(abs, range(500))
    result.get(PATIENCE)
    assert result.wait_for_output(PATIENCE)
    assert result.stdout == ["".join(f"{i}\n" for i in range(1000))] * 4
    assert items.get(PATIENCE) == list(range(500))


def test_a_hundred_megabytes_are_bounded_everywhere_with_a_notice(own_cluster):
    def flood():
        line = "x" * 99 + "\n"
        for _ in range(1 << 10):
            print(line * (1 << 10), end="")
        print("the end")

    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=PATIENCE)
        processes = [psutil.Process(), psutil.Process(own_cluster.controller_pid)]
        before = [process.memory_info().rss for process in processes]
        result = rc[0].apply_async(flood)
        result.get(PATIENCE)
        assert result.wait_for_output(PATIENCE)
        # The end of it, or where a client that was too slow for it would have it.
        assert result.stdout.endswith(("\nthe end\n", LEFT_OUT))
        assert LEFT_OUT in result.stdout
        assert len(result.stdout) < HEAD + TAIL + (1 << 20)
        grown = [p.memory_info().rss - b for p, b in zip(processes, before, strict=True)]
        assert max(grown) < 200 << 20  # of which 80 are what may be on its way to a client
        assert rc[:].apply_sync(abs, -1) == [1, 1]


def test_output_that_nobody_fetches_is_dropped_and_said(own_cluster):
    """A client that does nothing reads nothing; the controller keeps little for it."""

    def flood():
        for _ in range(1 << 10):
            print("x" * (100 << 10))

    with own_cluster.connect_client_sync() as rc, own_cluster.connect_client_sync() as other:
        rc.wait_for_engines(2, timeout=PATIENCE)
        other.wait_for_engines(2, timeout=PATIENCE)
        controller = psutil.Process(own_cluster.controller_pid)
        before = controller.memory_info().rss
        result = rc[0].apply_async(flood)
        assert other[0].apply_async(abs, -1).get(PATIENCE) == 1
        assert controller.memory_info().rss - before < 200 << 20
        result.get(PATIENCE)
        assert result.wait_for_output(PATIENCE)
        assert LEFT_OUT in result.stdout


def test_an_interrupt_is_gentle(rc):
    def deaf():
        print("begun")
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            return "caught"

    def hears():
        print("begun")
        time.sleep(600)

    lives = {id: engine.incarnation for id, engine in rc.link.engines.items()}
    caught, stopped, waiting = (
        rc[0].apply_async(deaf), rc[1].apply_async(hears), rc[1].apply_async(abs, -1)
    )  # fmt: skip
    for result in (caught, stopped):
        assert rc.link.wait(lambda result=result: "begun" in result.stdout, PATIENCE)
    for result in (caught, waiting, stopped):
        result.interrupt()
    assert caught.get(PATIENCE) == "caught"
    for result in (stopped, waiting):
        with pytest.raises(enginery.TaskAborted):
            result.get(PATIENCE)
    assert rc[:].apply_sync(abs, -1) == [1] * 4
    assert {id: engine.incarnation for id, engine in rc.link.engines.items()} == lives


# --- how far a task is by its own word (UX) -----------------------------------------------------


def test_a_long_item_tells_how_far_it_is(rc, gate):
    held = gate.held

    def long(i):
        for k in range(4):
            enginery.progress(k, 4)
            if k == 3:
                held()
        return i

    result = rc.load_balanced_view().map_async(long, range(2))
    assert rc.link.wait(lambda: result.part == 1.5, PATIENCE)
    assert result.progress == 0
    assert result.eta is not None
    shown = []

    def look(progress):
        shown.append(progress)
        gate.open()

    assert follow(result, look, timeout=PATIENCE)
    assert (shown[0].done, shown[0].part, shown[0].advanced) == (0, 1.5, 1.5)
    assert (shown[-1].done, shown[-1].part) == (2, 0.0)
    assert result.get() == [0, 1]
    assert result.part == 0.0


@pytest.mark.parametrize(("k", "n"), [(2, 1), (-1, 1), (0, 0), (1, float("nan"))])
def test_what_is_no_part_of_a_whole_is_refused(k, n):
    with pytest.raises(ValueError, match="k of n are done"):
        enginery.progress(k, n)


def test_at_home_it_says_nothing():
    assert enginery.progress(1, 2) is None


def test_an_engine_has_no_keyboard_and_says_so(rc):
    for call in (lambda: rc[0].apply_sync(input, "name?"), lambda: rc[1].execute("input()").get()):
        with pytest.raises(EOFError, match="cannot ask on an engine; attach a console"):
            call()


def test_what_another_client_has_run_is_not_waited_for_longer(rc, cluster):
    """Its output went to the client that ran it."""
    printed = rc[0].apply_async(print, "for its own client")
    assert printed.wait(PATIENCE)
    with cluster.connect_client_sync() as other:
        fetched = other.get_result(printed.msg_ids)
        assert fetched.get(PATIENCE) == [None]
        assert fetched.wait_for_output(PATIENCE)
        assert fetched.stdout == [""]
    assert printed.wait_for_output(PATIENCE)
    assert printed.stdout == "for its own client\n"


def test_what_was_let_go_and_fetched_again_is_not_waited_for_longer(rc):
    """What it put out went with its result."""
    printed = rc[0].apply_async(print, "for who held it")
    assert printed.wait_for_output(PATIENCE)
    (id,) = printed.msg_ids
    del printed
    rc[0].apply_sync(abs, -1)  # whose result is `rc.last` now
    assert id not in rc.calls.slots
    fetched = rc.get_result(id)
    assert fetched.get(PATIENCE) is None
    assert fetched.wait_for_output(0)
    assert fetched.stdout == ""


def test_what_runs_and_was_let_go_puts_out_for_who_asks_again(rc, gate):
    held = gate.held

    def prints():
        held()
        print("now")

    (id,) = rc[0].apply_async(prints).msg_ids
    rc[1].apply_sync(abs, -1)  # whose result is `rc.last` now
    again = rc.get_result(id)
    gate.open()
    assert again.wait_for_output(PATIENCE)
    assert again.stdout == "now\n"
