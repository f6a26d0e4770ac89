"""What clients, views and results say of themselves: the same as text and HTML, never too long."""

import re
from types import SimpleNamespace

import pytest

from enginery.client.display import reprs
from enginery.client.display.progress import Progress
from enginery.client.display.working import Working
from enginery.error import ControllerLost

STATUS = {"engines": 4, "busy": 3, "hosts": 2, "waiting": 12}


def engines(n):
    return [{"id": i, "load": i % 2, "host": f"n{i}", "pid": 4711 + i} for i in range(n)]


def words(html):
    """What a reader of the HTML sees."""
    return re.sub(r"<[^>]*>", " ", html).replace("&lt;", "<").replace("&gt;", ">").split()


def test_how_far_a_result_is():
    so_far = Progress(8771, 7, 3, 10_000, 880.0, 123.0)
    assert so_far.told() == "8,771 of 10,000 done, 7 running, 3 failed, 2 min 3 s left"
    assert str(so_far) == "8,771 of 10,000 done, 7 running, 3 failed, 10/s, 2 min 3 s left"
    assert str(Progress(0, None, 0, 10, 0.0)) == "0 of 10 done"


def test_what_a_cluster_does_now():
    assert reprs.cluster_now(STATUS) == "4 engines (3 busy, 1 idle) on 2 hosts, 12 tasks waiting"
    one = {"engines": 1, "busy": 0, "hosts": 1, "waiting": 1}
    assert reprs.cluster_now(one) == "1 engine (0 busy, 1 idle), 1 task waiting"
    none = {"engines": 0, "busy": 0, "hosts": 0, "waiting": 0}
    assert reprs.cluster_now(none) == "0 engines, 0 tasks waiting"


def test_at_most_20_engines_are_listed():
    assert reprs.listed([0, 1, 2, 3]) == "[0, 1, 2, 3]"
    assert reprs.listed(range(20)).endswith(", 18, 19]")
    assert reprs.listed(range(64)).endswith(", 18, 19, … and 44 more]")


@pytest.mark.parametrize(("n", "more"), [(20, False), (64, True)])
def test_a_table_of_engines(n, more):
    table = reprs.rows(engines(n))
    text = reprs.with_rows("<Client default: 64 engines>", table)
    html = reprs.html("<Client default: 64 engines>", table=table)
    assert text.splitlines()[:3] == [
        "<Client default: 64 engines>",
        "  engine 0   idle  n0   pid 4711",
        "  engine 1   busy  n1   pid 4712",
    ]
    for shown in (text, html):
        assert ("… and 44 more" in shown) is more
        assert "engine 19" in shown
        assert "engine 20" not in shown


def test_text_says_as_much_as_html():
    table = reprs.rows(engines(3))
    line = "<Client default: 3 engines, controller n1:10101>"
    text = reprs.with_rows(line, table).translate(str.maketrans("<>", "  "))
    assert set(words(reprs.html(line, table=table))) <= {"default", *text.split()}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("<DirectView [0, 1, 2, 3]>", "DirectView [0, 1, 2, 3]"),
        (
            "<LoadBalancedView all 4 engines, leastload, retries=0>",
            "LoadBalancedView all 4 engines, leastload, retries=0",
        ),
        ("<AsyncResult map(<lambda>): 3 of 4 done>", "AsyncResult map(<lambda>) 3 of 4 done"),
        ("<AsyncResult: <lambda>:ok>", "AsyncResult <lambda>:ok"),
    ],
)
def test_a_line_as_html(line, told):
    html = reprs.html(line)
    assert words(html) == told.split()
    assert "<lambda>" not in html
    assert "<script" not in html
    assert "var(--jp-" in html


# --- what is asked for it -------------------------------------------------------------------------


class AskedLink:
    """Answers as a controller, and counts the questions; its clock moves by what they take."""

    closed, ended, lost_since = False, "", None

    def __init__(self, monkeypatch):
        self.now, self.asked, self.error = 100.0, [], None
        monkeypatch.setattr("enginery.client.display.working.monotonic", lambda: self.now)

    def ask(self, message, timeout):
        assert timeout <= 0.5
        self.asked.append(message.what)
        if self.error is not None:
            self.now += timeout
            raise self.error
        self.now += 0.001
        if message.what == "status":
            return {"scheme": "leastload"}
        return [{"running": ["a-1"]}, {"running": []}, {"running": ["b-7"]}]


@pytest.fixture
def link(monkeypatch):
    return AskedLink(monkeypatch)


def test_what_runs(link):
    seen = Working(link).look()
    assert seen.running == {"a-1", "b-7"}
    assert len(seen.engines) == 3


def test_many_who_look_ask_once(link):
    working = Working(link)
    assert working.last() is None
    for _ in range(1000):
        working.look()
    assert link.asked == ["status", "engines"]
    link.now += 1.0
    assert working.look().running == {"a-1", "b-7"}
    assert link.asked == ["status", "engines"] * 2
    working.look(again=True)
    assert link.asked == ["status", "engines"] * 3


def test_a_controller_that_does_not_answer_is_not_waited_for(link):
    link.error = ControllerLost("gone")
    working, begin = Working(link), link.now
    for _ in range(1000):
        assert working.look() is None
    assert link.now - begin <= 0.5
    link.error = None
    link.now += 1.0
    assert working.look() is not None


@pytest.mark.parametrize("gone", [{"closed": True}, {"ended": "stop"}, {"lost_since": 5.0}])
def test_a_controller_that_is_gone_is_not_asked(link, gone):
    vars(link).update(gone)
    assert Working(link).look() is None
    assert link.asked == []


def test_by_the_scheme_pure_nobody_knows_what_runs(link):
    link.ask = lambda message, timeout: (
        {"scheme": "pure"} if message.what == "status" else [{"running": []}]
    )
    seen = Working(link).look()
    assert seen.running is None
    assert isinstance(seen.engines, list)
    assert SimpleNamespace(**seen.status).scheme == "pure"
