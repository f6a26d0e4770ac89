"""What is shown in a notebook changes in place while it can, and stays as static HTML."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest

from .front_end import Message, play

START = """
import enginery
import enginery.client.display.working
enginery.client.display.working.PATIENCE = 30  # seconds, on a busy machine
cluster = enginery.Cluster(n=2, profile_dir="profile_notebook")
rc = cluster.start_and_connect_sync()
lview = rc.load_balanced_view()

def held(path):
    open(path).close()  # which waits until somebody opens it for writing
"""

THREAD_HAS_ENDED = """
import threading, time
end = time.monotonic() + 30
while any(t.name == "enginery-shown" for t in threading.enumerate()) and time.monotonic() < end:
    time.sleep(0.01)
print([t.name for t in threading.enumerate() if t.name == "enginery-shown"])
hooks = get_ipython().events.callbacks["post_run_cell"]
print([hook for hook in hooks if "enginery" in getattr(hook, "__module__", "")])
"""

STOP = "rc.close(); cluster.stop_cluster_sync()"


def printed(cell: nbformat.NotebookNode) -> str:
    """What a cell has printed, on both streams."""
    return "".join(output["text"] for output in cell.outputs if output.output_type == "stream")


def of(messages: list[Message], first: str) -> list[Message]:
    """The messages of the one output that began with this text."""
    id = next(message.id for message in messages if message.text.startswith(first))
    return [message for message in messages if message.id == id]


def only_plain_html(messages: list[Message]) -> bool:
    """Whether there are no widgets and no scripts, and a text beside all HTML."""
    return all(
        message.kinds == {"text/plain", "text/html"} and "<script" not in message.html
        for message in messages
    )


def test_a_result_is_kept_up_to_date_until_it_is_done(tmp_path: Path) -> None:
    gates = [tmp_path / f"gate{i}" for i in range(4)]
    cells = [
        START,
        f"ar = lview.map_async(held, {[str(gate) for gate in gates]})\nar",
        "ar.get()",
        THREAD_HAS_ENDED,
        "ar",
        STOP,
    ]
    waiting_for = ["2 running", "1 of 4 done, 2 running", "1 of 4 done", "1 of 4 done"]
    notebook, messages = play(cells, list(zip(waiting_for, gates, strict=True)), tmp_path / "home")
    assert only_plain_html(messages)
    first, *updates = of(messages, "<AsyncResult map(held)")
    assert not first.update
    assert first.text.startswith("<AsyncResult map(held): 0 of 4 done")
    assert all(message.update for message in updates)
    assert any(re.search("1 of 4 done, 2 running, .* left>", m.text) for m in updates)
    assert all("<progress" in message.html for message in [first, *updates[:-1]])
    assert updates[-1].text == "<AsyncResult map(held): 4 of 4 done>"
    (shown,) = notebook.cells[1].outputs
    assert shown["data"]["text/plain"] == "<AsyncResult map(held): 4 of 4 done>"
    assert "4 of 4 done" in shown["data"]["text/html"]
    assert "<progress" not in shown["data"]["text/html"]
    assert printed(notebook.cells[3]) == "[]\n[]\n"
    (again,) = notebook.cells[4].outputs  # what is done is a plain output of its cell
    assert again["output_type"] == "execute_result"
    assert again["data"] == shown["data"]


def test_a_result_that_ends_in_its_cell_is_saved_as_it_ended(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    busy = """
from enginery.client.display.shown import Shown
Shown._update = lambda self: False  # as if its thread had no time
"""
    cells = [
        START + busy,
        f"ar = lview.map_async(held, [{str(gate)!r}])\ndisplay(ar)\nar.get()",
        STOP,
    ]
    notebook, messages = play(cells, [("0 of 1 done", gate)], tmp_path / "home")
    assert "0 of 1 done" in messages[0].text
    shown, values = notebook.cells[1].outputs
    assert shown["data"]["text/plain"] == "<AsyncResult map(held): 1 of 1 done>"
    assert values["data"]["text/plain"] == "[None]"


def test_of_a_client_the_latest_display_is_kept_up_to_date(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    cells = [
        START,
        "rc",
        "rc",
        f"lview.apply_sync(held, {str(gate)!r})",
        "rc.close()",
        THREAD_HAS_ENDED,
        "rc",
        "cluster.stop_cluster_sync()",
    ]
    notebook, messages = play(cells, [("(1 busy, 1 idle)", gate)], tmp_path / "home")
    assert only_plain_html(messages)
    displays = [message for message in messages if not message.update]
    assert len(displays) == 2
    old, new = displays
    for shown in displays:
        assert re.match(
            r"<Client notebook \w+: 2 engines \(0 busy, 2 idle\), 0 tasks waiting, controller .*>\n"
            r"  engine 0  idle  \S+  pid \d+\n"
            r"  engine 1  idle  \S+  pid \d+$",
            shown.text,
        )
        assert shown.html.count("<tr>") == 2
    after = messages[messages.index(new) :]
    assert all(message.id == new.id for message in after)
    assert any("(1 busy, 1 idle)" in message.text for message in after)
    assert (
        notebook.cells[1].outputs[0]["data"]["text/plain"]
        == [message.text for message in messages if message.id == old.id].pop()
    )
    (last,) = notebook.cells[2].outputs
    assert last["data"]["text/plain"].endswith(": closed>")
    assert printed(notebook.cells[5]) == "[]\n[]\n"
    (closed,) = notebook.cells[6].outputs
    assert closed["data"] == last["data"]


def test_views_and_clusters_as_html(tmp_path: Path) -> None:
    cells = [START, "rc[:]", "lview", "cluster", "[lview.map_async(abs, [1, 2])]", STOP]
    notebook, _ = play(cells, [], tmp_path / "home")
    direct, balanced, cluster, listed = (cell.outputs[0]["data"] for cell in notebook.cells[1:5])
    assert direct["text/plain"] == "<DirectView [0, 1]>"
    assert "<b>DirectView</b> [0, 1]<" in direct["text/html"]
    assert balanced["text/plain"] == "<LoadBalancedView all 2 engines, leastload, retries=0>"
    assert "<b>LoadBalancedView</b> all 2 engines, leastload, retries=0<" in balanced["text/html"]
    assert ": running, local, 2 of 2 engines, log " in cluster["text/plain"]
    assert "</b> running, local, 2 of 2 engines, log " in cluster["text/html"]
    assert re.fullmatch(r"\[<AsyncResult: map\(abs\):(pending|ok)>\]", listed["text/plain"])


@pytest.mark.parametrize("wanted", ["True", "'auto'"])
def test_progress_is_a_bar_of_which_a_line_stays(tmp_path: Path, wanted: str) -> None:
    gates = [tmp_path / f"gate{i}" for i in range(4)]
    paths = [str(gate) for gate in gates]
    cells = [START, f"lview.map_sync(held, {paths}, progress={wanted})", STOP]
    waiting_for = ["2 running", "1 of 4 done, 2 running", "1 of 4 done", "1 of 4 done"]
    notebook, messages = play(cells, list(zip(waiting_for, gates, strict=True)), tmp_path / "home")
    assert only_plain_html(messages)
    first, *updates = messages
    assert not first.update
    assert {message.id for message in messages} == {first.id}
    assert any(
        re.match(r"map\(held\): 1 of 4 done, 2 running, [\d.]+/s, .* left$", message.text)
        and '<progress value="1" max="4"' in message.html
        for message in updates
    )
    shown, values = notebook.cells[1].outputs
    line = r"map\(held\): 4 items on [12] engines? in .* \([\d.]+/s\)"
    assert re.fullmatch(line, shown["data"]["text/plain"])
    assert re.search(line, shown["data"]["text/html"])
    assert "<progress" not in shown["data"]["text/html"]
    assert values["data"]["text/plain"] == "[None, None, None, None]"
    assert printed(notebook.cells[1]) == ""


def test_an_interrupted_wait_leaves_how_far_it_was(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    interrupt = """
import os, signal, threading
from pathlib import Path
def interrupt():
    open("seen").close()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
"""
    cells = [
        START + interrupt,
        f"""
try:
    lview.map_sync(held, [{str(gate)!r}], progress=True)
except KeyboardInterrupt:
    print("interrupted")
""",
        f"end = os.open({str(gate)!r}, os.O_RDWR); rc.wait(timeout=30)",
        STOP,
    ]
    home = tmp_path / "home"
    os.mkfifo(gate)
    notebook, _ = play(cells, [("1 running", home / "seen")], home)
    outputs = notebook.cells[1].outputs
    assert len(outputs) == 2, outputs
    bar, said = outputs
    assert said["text"] == "interrupted\n"
    assert bar["data"]["text/plain"] == "map(held): 0 of 1 done, 1 running"
    assert "<progress" not in bar["data"]["text/html"]
