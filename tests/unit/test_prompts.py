"""Replies as at the engines' prompts: coloured in IPython, rich in a notebook, plain elsewhere."""

import sys
from types import SimpleNamespace

import pytest
from IPython.lib.pretty import pretty

from enginery.client.display import prompts
from enginery.client.display.prompts import GREEN, RED, RESET
from enginery.client.executed import ResultList
from enginery.engine.reply import ExecuteReply


def reply(engine=0, number=1, raw="a", data=None, **metadata):
    one = ExecuteReply(number, raw, raw, data)
    one.came_with({"engine_id": engine, "stdout": "", "outputs": []} | metadata)
    return one


@pytest.fixture
def ipython(monkeypatch):
    """Pretends that this is IPython; its `published` are what was displayed."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("ENGINERY_PREFIX", raising=False)
    published = []
    shell = SimpleNamespace(
        colors="linux", kernel=None, published=published,
        display_formatter=SimpleNamespace(active_types=["text/plain", "text/html"]),
        display_pub=SimpleNamespace(publish=lambda **shown: published.append(shown)),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    return shell


def test_prompts_have_the_colours_of_ipython(ipython):
    listed = ResultList([reply(raw="print(a)\na", stdout="5\n", data={"text/plain": "5"})])
    plain = "<Results List>\n[0] In [1]: print(a)\na\n[0] Out[1]: 5\n5\n"
    assert repr(listed) == plain
    told = pretty(listed)
    assert told == (
        f"<Results List>\n{GREEN}[0] In [1]:{RESET} print(a)\na\n{RED}[0] Out[1]:{RESET} 5\n5\n"
    )
    ipython.colors = "nocolor"
    assert pretty(listed) == plain


def test_a_terminal_shows_the_text(ipython):
    with pytest.raises(NotImplementedError):
        ResultList([reply()])._ipython_display_()


def test_a_notebook_shows_everything_in_its_own_form(ipython, capsys):
    ipython.kernel, ipython.colors = object(), "nocolor"
    figure = {"data": {"text/plain": "<Figure>", "text/html": "<img>"}, "metadata": {},
              "transient": {}, "update": False}  # fmt: skip
    table = {"text/plain": "   a", "text/html": "<table>"}
    ResultList(
        [
            reply(0, 3, "draw(); t\n", table, stdout="drawn\n", outputs=[figure]),
            reply(1, 2, "t", {"text/plain": "5"}),
        ]
    )._ipython_display_()
    assert capsys.readouterr().out == (
        "<Results List>\n[0] In [3]: draw(); t\n[0] drawn\n[0]\n[0] Out[3]:\n"
        "[1] In [2]: t\n[1] Out[2]: 5\n"
    )
    assert [shown["data"] for shown in ipython.published] == [figure["data"], table]


def test_one_reply_shows_its_value_in_every_form():
    data, metadata = reply(data={"text/plain": "5", "text/html": "<b>"})._repr_mimebundle_()
    assert data == {"text/plain": "[0] In [1]: a\n[0] Out[1]: 5\n", "text/html": "<b>"}
    assert metadata == {}


def test_a_value_of_several_lines_begins_on_its_own(ipython, capsys, monkeypatch):
    ipython.colors = "nocolor"
    prompts.value(reply(data={"text/plain": "1\n2"}))
    prompts.value(reply())
    monkeypatch.setenv("ENGINERY_PREFIX", "0")
    prompts.value(reply(data={"text/plain": "x"}))
    assert capsys.readouterr().out == "[0] Out[1]:\n1\n2\nOut[1]: x\n"


def test_a_long_value_is_cut(ipython, capsys, monkeypatch):
    monkeypatch.setattr(prompts, "SHOWN", 3)
    prompts.value(reply(data={"text/plain": "12345"}))
    assert "12345" not in (told := capsys.readouterr().out)
    assert "more of this value is not shown here" in told
